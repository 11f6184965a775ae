"""What the laws are tried on, drawn by hypothesis, which shrinks a failure to the smallest one.

Tiny models of every class of every family, with weights that show mistakes, and batches with labels as each class takes
them. `tiny_encoders`, `tiny_decoders`, `tiny_encoder_decoders` and `tiny_image_models` draw one of all families that
have such a model; `tiny_models` draws of the classes that it is given. `labelled_batches` makes the input for any of
them: ids, for an encoder–decoder also those of the target, or images.

Ids are below `VOCAB_SIZE`, texts at most `MAX_LENGTH` tokens long, and 0 is the padding, unless told otherwise. The
parts that batches are made of are in `minitransformers.testing.batches`, and can be imported from here.
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

from minitransformers.configs.config import Config
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.models.qwen2 import LAYER_TYPES
from minitransformers.nn.feed_forward import ACTIVATIONS
from minitransformers.testing.batches import (
    MAX_LENGTH,
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
from minitransformers.testing.examples import label_sizes, with_one_end
from minitransformers.testing.families import (
    BACKBONES,
    CLASSES,
    DECODERS,
    ENCODERS,
    LABELS,
    OF_IMAGES,
    PADDING,
    SHIFTED,
    VOCAB_SIZE,
    WITH_CACHE,
    WITH_CHOICES,
    WITH_ENDS,
    WITH_TARGET,
    Label,
    classes_of,
    listed_class,
    small_fields,
)
from minitransformers.testing.weights import draw_weights, without_dropout

__all__ = [
    "CLASSES",
    "MAX_LENGTH",
    "PADDING",
    "VOCAB_SIZE",
    "attention_masks",
    "classes_of",
    "cut_points",
    "labelled_batches",
    "labels_of",
    "orders",
    "seeds",
    "texts",
    "tiny_configs",
    "tiny_decoders",
    "tiny_encoder_decoders",
    "tiny_encoders",
    "tiny_image_models",
    "tiny_models",
    "token_batches",
    "token_ids",
]

_WITH_CLASSES = [m for m, labels in LABELS.items() if any(label.limit == "num_labels" for label in labels.values())]


@contextmanager
def _global_generator_kept() -> Iterator[None]:
    """Strategies must leave it as it is, and run-time type checks draw from it which items of a list to look at."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


# ---- configurations --------------------------------------------------------------------------------------------------

_SIZES, _WINDOWS = st.integers(1, 20), st.integers(1, 6)
_ACTIVATIONS, _EPSILONS = st.sampled_from(sorted(ACTIVATIONS)), st.sampled_from([1e-12, 1e-5])

# A field of this name is drawn in every family that has one.
_FIELDS: dict[str, SearchStrategy[Any]] = {
    "hidden_act": _ACTIVATIONS,
    "hidden_activation": _ACTIVATIONS,
    "activation": _ACTIVATIONS,
    "activation_function": _ACTIVATIONS,
    "afn": st.sampled_from(["gelu", "relu", "silu"]),
    "classifier_activation": _ACTIVATIONS,
    "feed_forward_proj": st.builds("{}{}".format, st.sampled_from(["", "gated-"]), _ACTIVATIONS),
    "intermediate_size": _SIZES,
    "n_inner": st.none() | _SIZES,
    "hidden_dim": _SIZES,
    "d_ff": _SIZES,
    "encoder_ffn_dim": _SIZES,
    "decoder_ffn_dim": _SIZES,
    "embedding_size": st.integers(3, 8),
    "type_vocab_size": st.integers(1, 3),
    "decoder_layers": st.integers(1, 3),
    "num_decoder_layers": st.integers(1, 3),
    "inner_group_num": st.integers(1, 2),
    "d_kv": st.integers(1, 5),
    "relative_attention_num_buckets": st.integers(4, 12),
    "relative_attention_max_distance": st.integers(7, 16),
    "window_size": _WINDOWS,
    "sliding_window": _WINDOWS,
    "local_attention": st.integers(2, 8),
    "max_window_layers": st.integers(0, 3),
    "layer_norm_eps": _EPSILONS,
    "layer_norm_epsilon": _EPSILONS,
    "rms_norm_eps": _EPSILONS,
    "norm_eps": _EPSILONS,
    "classifier_pooling": st.sampled_from(["cls", "mean"]),
    **dict.fromkeys(
        [
            "attention_bias",
            "classifier_bias",
            "decoder_bias",
            "mlp_bias",
            "norm_bias",
            "qkv_bias",
            "reorder_and_upcast_attn",
            "scale_attn_by_inverse_layer_idx",
            "scale_attn_weights",
            "scale_decoder_outputs",
            "scale_embedding",
            "sinusoidal_pos_embds",
            "tie_word_embeddings",
            "use_parallel_residual",
        ],
        st.booleans(),
    ),
}


def _fields_of_sizes(heads: int, head_dim: int, layers: int) -> dict[str, SearchStrategy[Any]]:
    """Likewise, those whose values must fit the sizes."""
    kinds = st.sampled_from(["global", "local"])
    return {
        "num_key_value_heads": st.sampled_from([number for number in range(1, heads + 1) if heads % number == 0]),
        "decoder_attention_heads": st.sampled_from([1, heads]),
        "num_hidden_groups": st.integers(1, layers),
        "attention_types": st.lists(kinds, min_size=layers, max_size=layers).map(lambda of_layers: [[of_layers, 1]]),
        "layer_types": st.lists(st.sampled_from(LAYER_TYPES), min_size=layers, max_size=layers),
    }


def _turns(config_class: type[Config], head_dim: int) -> SearchStrategy[Any]:
    """`rope_parameters` of a family, but for those that change with the length of the text."""
    stretched = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}
    kinds = st.sampled_from([{}, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "llama3", **stretched}])
    if "partial_rotary_factor" not in getattr(config_class, "rope_defaults", {}):
        return kinds
    part = st.sampled_from([0.5, 1.0] if head_dim % 4 == 0 else [1.0])  # of the head, an even number
    return part.map(lambda factor: {"partial_rotary_factor": factor})


@st.composite
def tiny_configs(draw: DrawFn, /, *config_classes: type[Config], **fixed: Any) -> Config:
    """Configurations of one of these families: see `tiny_models`."""
    config_class = draw(st.sampled_from(config_classes))
    return draw(_configs(classes_of(config_class)[0], **fixed))  # type: ignore[no-any-return]


@st.composite
def _configs(draw: DrawFn, model_class: type[PreTrainedModel], /, **fixed: Any) -> Config:
    config_class = model_class.config_class
    turns = "rope_parameters" in config_class._fields
    heads, layers = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    head_dim = draw(st.sampled_from([2, 4]) if turns else st.integers(2, 5))
    drawn = {
        "hidden_size": heads * head_dim,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "attn_implementation": draw(st.sampled_from(["eager", "sdpa"])),
    }
    for name, values in {**_FIELDS, **_fields_of_sizes(heads, head_dim, layers)}.items():
        if name in config_class._fields:
            drawn[name] = draw(values)
    if turns:
        drawn["rope_parameters"] = draw(_turns(config_class, head_dim))
    with _global_generator_kept():
        return config_class(**small_fields(model_class, **{**drawn, **fixed}))


# ---- models ----------------------------------------------------------------------------------------------------------


@st.composite
def tiny_models(
    draw: DrawFn, /, *classes: type[PreTrainedModel], dtype: torch.dtype = torch.float64, **fixed: Any
) -> PreTrainedModel:
    """Models of one of `classes`, in evaluation mode, every weight drawn (see `draw_weights`).

    They have 1 to 3 layers, 1 to 4 heads, any activation, no dropout, and any of the flags that real checkpoints use.

    Args:
        dtype: of the weights; in float64 laws are sharp.
        fixed: fields of the config, which are not drawn.
    """
    model_class = draw(st.sampled_from(classes))
    if model_class in _WITH_CLASSES:
        fixed = {"num_labels": draw(st.integers(1, 4)), **fixed}
    config = draw(_configs(model_class, **fixed))
    seed, scale = draw(seeds()), draw(st.sampled_from([0.02, 0.2, 0.5]))
    with _global_generator_kept():
        model: PreTrainedModel = model_class(config).to(dtype).eval()
        return without_dropout(draw_weights(model, seed=seed, scale=scale))


def tiny_encoders(**fixed: Any) -> SearchStrategy[PreTrainedModel]:
    """Bidirectional models of texts: ids in, a vector for each token out. T5's is its encoder alone."""
    return tiny_models(*ENCODERS, **fixed)


def tiny_decoders(*, with_cache: bool = False, **fixed: Any) -> SearchStrategy[PreTrainedModel]:
    """Causal models with a language-model head, of each family that has them.

    Args:
        with_cache: only those that have a cache of keys and values, which GPT-1 has not.
    """
    return tiny_models(*[m for m in DECODERS if m in WITH_CACHE or not with_cache], **fixed)


def tiny_encoder_decoders(**fixed: Any) -> SearchStrategy[PreTrainedModel]:
    """Models that write a target, given a source: `input_ids` and `decoder_input_ids` in, scores of tokens out."""
    return tiny_models(*[m for m in WITH_TARGET if LABELS[m]], **fixed)


def tiny_image_models(**fixed: Any) -> SearchStrategy[PreTrainedModel]:
    """Backbones of image models: `pixel_values` in, a vector for the image and for each of its patches out."""
    return tiny_models(*[m for m in BACKBONES if m in OF_IMAGES], **fixed)


# ---- batches with labels ---------------------------------------------------------------------------------------------


@st.composite
def labelled_batches(
    draw: DrawFn, model: PreTrainedModel, *, padding: str = "right", batch: int | None = None
) -> dict[str, Tensor]:
    """Arguments for `model`: ids and masks, or images, and labels of every kind that its class takes.

    Args:
        padding: of texts, see `token_batches`; a target, of an encoder–decoder, is padded on the right, or not at all.
        batch: number of rows.
    """
    with _global_generator_kept():
        model_class, config = listed_class(model), model.config
        rows = draw(st.integers(1, 3)) if batch is None else batch
        arguments: dict[str, Tensor]
        if model_class in OF_IMAGES:
            arguments = {"pixel_values": draw(_images(model, rows))}
        elif model_class in WITH_CHOICES:
            texts_of_all = draw(_texts(model, padding, rows * draw(st.integers(1, 3))))
            arguments = {name: tensor.reshape(rows, -1, tensor.shape[1]) for name, tensor in texts_of_all.items()}
        else:
            arguments = draw(_texts(model, padding, rows))
        if model_class in WITH_ENDS:
            ids = with_one_end(arguments["input_ids"], arguments["attention_mask"], config.eos_token_id)
            arguments["input_ids"] = ids
        if model_class in WITH_TARGET:
            target = draw(_texts(model, "none" if padding == "none" else "right", rows))
            arguments |= {f"decoder_{name}": tensor for name, tensor in target.items()}
        if model_class in SHIFTED:
            # The first token of a text is predicted from nothing, or from the padding in front of it.
            assume(_is_predicted(arguments["attention_mask"]).any())
        for name, label in LABELS[model_class].items():
            arguments[name] = draw(_labels(model, label, arguments))
        return arguments


def _texts(model: PreTrainedModel, padding: str, rows: int) -> SearchStrategy[dict[str, Tensor]]:
    return token_batches(padding=padding, batch=rows, min_length=2, vocab_size=model.config.vocab_size)


def _images(model: PreTrainedModel, rows: int) -> SearchStrategy[Tensor]:
    config: Any = model.config
    shape = (rows, config.num_channels, config.image_size, config.image_size)
    return seeds().map(
        lambda seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
            model.dtype
        )
    )


def _is_predicted(mask: Tensor) -> Tensor:
    """1 at tokens in front of which there is one."""
    return mask * F.pad(mask[..., :-1], (1, 0))


def _labels(model: PreTrainedModel, label: Label, batch: dict[str, Tensor]) -> SearchStrategy[Tensor]:
    """Labels of one kind."""
    shape, limit, is_token = label_sizes(model, label, batch)
    if label.limit == "num_labels" and label.shape == "row":
        return _sequence_labels(torch.Size(shape), limit)
    if label.limit == "length":
        # A position of one of the real tokens
        mask = batch["attention_mask"]
        first, number = mask.argmax(dim=-1), mask.sum(dim=-1)
        anywhere = labels_of(torch.Size(shape), mask.shape[-1])
        return anywhere.map(lambda drawn: first + drawn.clamp(min=0) % number)
    if not label.may_be_ignored:
        numbers = labels_of(torch.Size(shape), limit).map(lambda drawn: drawn.clamp(min=0))
        return numbers.map(Tensor.bool) if label.shape == "patch" else numbers
    if is_token is None:
        return labels_of(torch.Size(shape), limit)
    counted = _is_predicted(is_token) if listed_class(model) in SHIFTED else is_token
    return labels_of(torch.Size(shape), limit, ignored=counted)


def _sequence_labels(rows: torch.Size, num_labels: int) -> SearchStrategy[Tensor]:
    """Numbers for one label; for more of them classes, or 0/1 of each as floating point."""
    if num_labels == 1:
        return labels_of(rows, 5).map(lambda labels: labels.clamp(min=-3).double())
    several = labels_of(torch.Size((*rows, num_labels)), 2).map(lambda labels: labels.clamp(min=0).double())
    return labels_of(rows, num_labels) | several
