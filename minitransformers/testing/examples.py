"""A tiny model and a batch with labels for every class, the same at each call: for tests that need no more than one.

What hypothesis draws, many different ones, is in `minitransformers.testing.strategies`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from minitransformers.models.bert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)
from minitransformers.models.gpt2 import (
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2ForQuestionAnswering,
    GPT2ForSequenceClassification,
    GPT2ForTokenClassification,
    GPT2LMHeadModel,
    GPT2Model,
)
from minitransformers.models.pretrained import PreTrainedModel
from minitransformers.testing.weights import draw_weights

ModelType = TypeVar("ModelType", bound=PreTrainedModel)


class Label(NamedTuple):
    """A kind of label: how many there are, and below what number they are.

    `shape` is "token" (one for each), "row", or "choice" (one for each choice of each row). `limit` is a number, a
    field of the config, "choices", or "length".
    """

    shape: str
    limit: str | int


_TOKEN, _CLASS, _NAME = Label("token", "vocab_size"), Label("row", "num_labels"), Label("token", "num_labels")
_POSITION, _CHOICE, _FOLLOWS = Label("row", "length"), Label("row", "choices"), Label("row", 2)

LABELS: dict[type[PreTrainedModel], dict[str, Label]] = {
    BertModel: {},
    BertForPreTraining: {"labels": _TOKEN, "next_sentence_label": _FOLLOWS},
    BertForMaskedLM: {"labels": _TOKEN},
    BertLMHeadModel: {"labels": _TOKEN},
    BertForNextSentencePrediction: {"labels": _FOLLOWS},
    BertForSequenceClassification: {"labels": _CLASS},
    BertForMultipleChoice: {"labels": _CHOICE},
    BertForTokenClassification: {"labels": _NAME},
    BertForQuestionAnswering: {"start_positions": _POSITION, "end_positions": _POSITION},
    GPT2Model: {},
    GPT2LMHeadModel: {"labels": _TOKEN},
    GPT2DoubleHeadsModel: {"mc_token_ids": Label("choice", "length"), "labels": _TOKEN, "mc_labels": _CHOICE},
    GPT2ForSequenceClassification: {"labels": _CLASS},
    GPT2ForTokenClassification: {"labels": _NAME},
    GPT2ForQuestionAnswering: {"start_positions": _POSITION, "end_positions": _POSITION},
}
"""What each class is trained with."""

BERT_CLASSES = tuple(model_class for model_class in LABELS if model_class.config_class is BertConfig)
GPT2_CLASSES = tuple(model_class for model_class in LABELS if model_class.config_class is GPT2Config)
WITH_CHOICES = (BertForMultipleChoice, GPT2DoubleHeadsModel)
CAUSAL = (BertLMHeadModel, GPT2LMHeadModel, GPT2DoubleHeadsModel)

_SIZES = {"vocab_size": 13, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "pad_token_id": 0}
_NO_DROPOUT: dict[type, dict[str, Any]] = {
    BertConfig: {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    GPT2Config: {
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "summary_first_dropout": 0.0,
        "classifier_dropout": 0.0,
    },
}
_OWN: dict[type, dict[str, Any]] = {
    BertConfig: {"intermediate_size": 20, "max_position_embeddings": 24, "hidden_act": "gelu"},
    GPT2Config: {"n_positions": 24, "bos_token_id": 1, "eos_token_id": 2},
}


def labels_of_class(model: PreTrainedModel) -> dict[str, Label]:
    """What `model` is trained with, or the class that it derives from."""
    return next(LABELS[parent] for parent in type(model).__mro__ if parent in LABELS)


def tiny_model(
    model_class: type[ModelType],
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    dropout: bool = False,
    **fields: Any,
) -> ModelType:
    """Two layers of three heads over 13 tokens, in evaluation mode, every weight drawn (see `draw_weights`).

    Args:
        seed: of the weights.
        dropout: as in the config's defaults; otherwise there is none.
        fields: of the config. `BertLMHeadModel` is built as a decoder.
    """
    config_class = model_class.config_class
    decoder = {"is_decoder": True} if issubclass(model_class, BertLMHeadModel) else {}
    config = config_class(
        **{**_SIZES, **_OWN[config_class], **({} if dropout else _NO_DROPOUT[config_class]), **decoder, **fields}
    )
    return draw_weights(model_class(config).to(dtype).eval(), seed)


def example_batch(
    model: PreTrainedModel, *, rows: int = 2, length: int = 5, padding: int = 2, labels: bool = True, seed: int = 0
) -> dict[str, Tensor]:
    """Ids, mask, and labels of every kind that the class of `model` takes.

    Args:
        rows: texts, each with three choices where the class asks for them.
        length: tokens in each.
        padding: how many of them, on the right of the last text, are padding.
        labels: whether to give labels.
    """
    generator = torch.Generator().manual_seed(seed)
    choices = 3
    shape = (rows, choices, length) if isinstance(model, WITH_CHOICES) else (rows, length)
    mask = torch.ones(shape, dtype=torch.long)
    if padding:
        mask[-1, ..., -padding:] = 0
    ids = torch.randint(1, model.config.vocab_size, shape, generator=generator)
    batch = {"input_ids": ids * mask, "attention_mask": mask}
    for name, label in labels_of_class(model).items() if labels else ():
        limits = {"choices": choices, "length": length - padding}
        limit = limits.get(str(label.limit)) or (
            label.limit if isinstance(label.limit, int) else getattr(model.config, label.limit)
        )
        sizes = {"token": shape, "row": (rows,), "choice": (rows, choices)}
        batch[name] = torch.randint(0, limit, sizes[label.shape], generator=generator)
        if label.shape == "token":
            batch[name] = batch[name].masked_fill(mask == 0, -100)
    return batch
