"""What the laws are tried on, drawn by hypothesis, which shrinks a failure to the smallest one.

Tiny models of every class, with weights that show mistakes, and batches with labels as each class takes them. Ids are
below `VOCAB_SIZE`, texts at most `MAX_LENGTH` tokens long, and 0 is the padding, unless told otherwise. The parts that
batches are made of are in `minitransformers.testing.batches`, and can be imported from here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hypothesis import assume, strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor
from torch.nn import functional as F

from minitransformers.configuration import Config
from minitransformers.models.bert import BertConfig, BertForSequenceClassification, BertLMHeadModel, BertModel
from minitransformers.models.gpt2 import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel
from minitransformers.models.pretrained import PreTrainedModel
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.testing.batches import (
    MAX_LENGTH,
    PADDING,
    VOCAB_SIZE,
    DrawFn,
    attention_masks,
    cut_points,
    labels_of,
    orders,
    seeds,
    texts,
    token_batches,
    token_ids,
)
from minitransformers.testing.examples import (
    BERT_CLASSES,
    CAUSAL,
    GPT2_CLASSES,
    LABELS,
    WITH_CHOICES,
    Label,
    labels_of_class,
)
from minitransformers.testing.weights import draw_weights

__all__ = [
    "BERT_CLASSES",
    "GPT2_CLASSES",
    "MAX_LENGTH",
    "PADDING",
    "VOCAB_SIZE",
    "attention_masks",
    "bert_configs",
    "cut_points",
    "gpt2_configs",
    "labelled_batches",
    "labels_of",
    "orders",
    "seeds",
    "texts",
    "tiny_decoders",
    "tiny_encoders",
    "tiny_models",
    "token_batches",
    "token_ids",
]

_WITH_CLASSES = [
    model_class
    for model_class, labels in LABELS.items()
    if any(label.limit == "num_labels" for label in labels.values())
]


@contextmanager
def _global_generator_kept() -> Iterator[None]:
    """Strategies must leave it as it is, and run-time type checks draw from it which items of a list to look at."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


# ---- models ----------------------------------------------------------------------------------------------------------


@st.composite
def bert_configs(draw: DrawFn, /, **fixed: Any) -> BertConfig:
    """Tiny BERTs: 1 to 3 layers, odd head counts, any activation, no dropout; `fixed` fields are not drawn."""
    heads = draw(st.integers(1, 4))
    drawn = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": heads * draw(st.integers(2, 5)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 20)),
        "hidden_act": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 3 * MAX_LENGTH,
        "type_vocab_size": draw(st.integers(1, 3)),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5])),
        "tie_word_embeddings": draw(st.booleans()),
        "pad_token_id": PADDING,
        "attn_implementation": draw(st.sampled_from(["eager", "sdpa"])),
    }
    with _global_generator_kept():
        return BertConfig(**{**drawn, **fixed})


@st.composite
def gpt2_configs(draw: DrawFn, /, **fixed: Any) -> GPT2Config:
    """Tiny GPT-2s, likewise, with any of the flags that real checkpoints use."""
    heads = draw(st.integers(1, 4))
    drawn = {
        "vocab_size": VOCAB_SIZE,
        "n_positions": 3 * MAX_LENGTH,
        "n_embd": heads * draw(st.integers(2, 5)),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": heads,
        "n_inner": draw(st.none() | st.integers(1, 20)),
        "activation_function": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "summary_first_dropout": 0.0,
        "classifier_dropout": 0.0,
        "scale_attn_weights": draw(st.booleans()),
        "scale_attn_by_inverse_layer_idx": draw(st.booleans()),
        "reorder_and_upcast_attn": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": PADDING,
        "attn_implementation": draw(st.sampled_from(["eager", "sdpa"])),
    }
    with _global_generator_kept():
        return GPT2Config(**{**drawn, **fixed})


_CONFIGS: dict[type[Config], Any] = {BertConfig: bert_configs, GPT2Config: gpt2_configs}


@st.composite
def tiny_models(
    draw: DrawFn, /, *classes: type[PreTrainedModel], dtype: torch.dtype = torch.float64, **fixed: Any
) -> PreTrainedModel:
    """Models of one of `classes`, in evaluation mode, every weight drawn (see `draw_weights`).

    Args:
        dtype: of the weights; in float64 laws are sharp.
        fixed: fields of the config.
    """
    model_class = draw(st.sampled_from(classes))
    if model_class is BertLMHeadModel:
        fixed = {"is_decoder": True, **fixed}
    if model_class in _WITH_CLASSES:
        fixed = {"num_labels": draw(st.integers(1, 4)), **fixed}
    config = draw(_CONFIGS[model_class.config_class](**fixed))
    seed, scale = draw(seeds()), draw(st.sampled_from([0.02, 0.2, 0.5]))
    with _global_generator_kept():
        model: PreTrainedModel = model_class(config).to(dtype).eval()
        return draw_weights(model, seed=seed, scale=scale)


def tiny_encoders(**fixed: Any) -> SearchStrategy[PreTrainedModel]:
    """Bidirectional models: ids in, a vector for each token out."""
    return tiny_models(BertModel, **fixed)


def tiny_decoders(**fixed: Any) -> SearchStrategy[PreTrainedModel]:
    """Causal models with a language-model head, of each family that has them."""
    return tiny_models(BertLMHeadModel, GPT2LMHeadModel, **fixed)


# ---- batches with labels ---------------------------------------------------------------------------------------------


@st.composite
def labelled_batches(
    draw: DrawFn, model: PreTrainedModel, *, padding: str = "right", batch: int | None = None
) -> dict[str, Tensor]:
    """Arguments for `model`: ids, mask, and labels of every kind that its class takes.

    Args:
        padding: see `token_batches`.
        batch: number of rows.
    """
    rows = draw(st.integers(1, 3)) if batch is None else batch
    choices = draw(st.integers(1, 3)) if isinstance(model, WITH_CHOICES) else 1
    arguments: dict[str, Tensor] = draw(
        token_batches(padding=padding, batch=rows * choices, min_length=2, vocab_size=model.config.vocab_size)
    )
    if isinstance(model, WITH_CHOICES):
        arguments = {name: tensor.reshape(rows, choices, -1) for name, tensor in arguments.items()}
    mask = arguments["attention_mask"]
    if isinstance(model, CAUSAL):
        # The first token of a text is predicted from nothing, or from the padding in front of it.
        assume((mask * F.pad(mask[..., :-1], (1, 0))).any())
    for name, label in labels_of_class(model).items():
        arguments[name] = draw(_labels(model, label, mask, rows, choices))
    return arguments


def _labels(model: PreTrainedModel, label: Label, mask: Tensor, rows: int, choices: int) -> SearchStrategy[Tensor]:
    """Labels of one kind."""
    if label.limit == "num_labels" and isinstance(
        model, (BertForSequenceClassification, GPT2ForSequenceClassification)
    ):
        return _sequence_labels(torch.Size([rows]), model.config.num_labels)
    if label.shape == "token":
        counted = mask * F.pad(mask[..., :-1], (1, 0)) if isinstance(model, CAUSAL) else mask
        return labels_of(mask.shape, getattr(model.config, str(label.limit)), ignored=counted)
    if label.limit == "length":
        # A position of one of the real tokens
        shape = mask.shape[:-1] if label.shape == "choice" else torch.Size([rows])
        first, number = mask.argmax(dim=-1), mask.sum(dim=-1)
        anywhere = labels_of(shape, mask.shape[-1])
        return anywhere.map(lambda drawn: first + drawn.clamp(min=0) % number)
    return labels_of(torch.Size([rows]), choices if label.limit == "choices" else int(label.limit))


def _sequence_labels(rows: torch.Size, num_labels: int) -> SearchStrategy[Tensor]:
    """Numbers for one label; for more of them classes, or 0/1 of each as floating point."""
    if num_labels == 1:
        return labels_of(rows, 5).map(lambda labels: labels.clamp(min=-3).double())
    several = labels_of(torch.Size((*rows, num_labels)), 2).map(lambda labels: labels.clamp(min=0).double())
    return labels_of(rows, num_labels) | several
