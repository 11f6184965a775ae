"""ViT's table: configurations, images and labels for every class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from cases import Case, Family
from drawing import MASKS, Draw, Example, Values, attention_mask, seeds
from hypothesis import strategies as st
from mutations import EVERYWHERE
from task_examples import PROBLEMS, classification_config, problem_labels
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads, patch = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 4))
    hidden_size = heads * draw(st.integers(4, 8))
    return {
        "hidden_size": hidden_size,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 40)),
        "hidden_act": draw(st.sampled_from(list(ACTIVATIONS))),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-7, 1e-5, 1e-2])),
        "image_size": patch * draw(st.integers(1, 4)),
        "patch_size": patch,
        "num_channels": draw(st.integers(1, 3)),
        "qkv_bias": draw(st.sampled_from([True, True, False])),
        "encoder_stride": draw(st.sampled_from([patch, patch, 3])),
        "pooler_output_size": draw(st.sampled_from([hidden_size, 7])),
        "pooler_act": draw(st.sampled_from(["tanh", "gelu", "relu"])),
        **fixed,
    }


def images(draw: Draw, config: dict[str, Any], *, square: bool = False) -> tuple[dict[str, Any], Tensor]:
    """Images, now and then of another size than the model's, with or without mask; and which vectors to compare."""
    batch, patch, values = draw(st.integers(1, 3)), config["patch_size"], Values(draw(seeds()))
    rows = columns = config["image_size"] // patch
    arguments: dict[str, Any] = {}
    interpolate = draw(st.sampled_from([None, False, True, True]))
    if interpolate is not None:
        arguments["interpolate_pos_encoding"] = interpolate
    if interpolate:
        rows = draw(st.integers(1, 5))
        columns = rows if square else draw(st.integers(1, 5))
    arguments["pixel_values"] = values.normal(batch, config["num_channels"], rows * patch, columns * patch)
    length = 1 + rows * columns
    kind = draw(st.sampled_from(("none", "none", *MASKS)))
    mask, _ = attention_mask(draw, kind, values, batch, length, config["num_attention_heads"])
    if mask is not None:
        arguments["attention_mask"] = mask
    return arguments, torch.ones(batch, length, dtype=torch.bool)


def hidden_patches(draw: Draw, real: Tensor) -> Tensor:
    """Which patches are hidden, as bool or as 0 and 1."""
    hidden = Values(draw(seeds())).chance(0.5, real.shape[0], real.shape[1] - 1)
    return hidden if draw(st.booleans()) else hidden.long()


@st.composite
def backbone(draw: Draw, pooler: bool, mask_token: bool) -> Example:
    chosen = config(draw)
    arguments, real = images(draw, chosen)
    if mask_token and draw(st.booleans()):
        arguments["bool_masked_pos"] = hidden_patches(draw, real)
    constructor = {"add_pooling_layer": pooler, "use_mask_token": mask_token}
    return Example(chosen, arguments, real, draw(seeds()), constructor)


@st.composite
def image_classification(draw: Draw, config: Callable[..., dict[str, Any]], images: Callable[..., Any]) -> Example:
    """For a family whose `config` and `images` are drawn so."""
    problem = draw(st.sampled_from(list(PROBLEMS)))
    chosen, num_labels = classification_config(draw, config, problem)
    arguments, real = images(draw, chosen)
    if draw(st.sampled_from([True, True, True, False])):
        arguments["labels"] = problem_labels(draw, problem, len(real), num_labels)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def masked_image_modeling(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = images(draw, chosen, square=True)  # the only form that the reference reconstructs
    own_size = arguments["pixel_values"].shape[-1] == chosen["image_size"]
    if own_size and chosen["encoder_stride"] == chosen["patch_size"] and draw(st.sampled_from([True, True, False])):
        arguments["bool_masked_pos"] = hidden_patches(draw, real)
    return Example(chosen, arguments, real, draw(seeds()))


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state"})
_EVERYWHERE = tuple(mutation for mutation in EVERYWHERE if mutation not in ("no segments", "training mode"))
_OF_A_HEAD = ("attention scale", "other labels")

_CASES = [
    Case("ViTModel", backbone(True, False), _PER_TOKEN, (*_EVERYWHERE, "linear pooler", "patches turned")),
    Case("ViTModel", backbone(False, True), _PER_TOKEN, (*_EVERYWHERE, "nothing hidden"), "with mask token"),
    Case("ViTForImageClassification", image_classification(config, images), _PER_TOKEN, _OF_A_HEAD),
    Case("ViTForMaskedImageModeling", masked_image_modeling(), _PER_TOKEN, ("attention scale", "nothing hidden")),
]

VIT = Family(
    "ViTConfig",
    config,
    _CASES,
    smallest={
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 6,
        "image_size": 8,
        "patch_size": 4,
        "encoder_stride": 4,
    },
)
