"""What encoder–decoders are tried with: a source, a target, and the labels of their heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from drawing import MASKS, Draw, Example, Sizes, Values, attention_mask, seeds, span_labels, token_labels
from hypothesis import strategies as st
from task_examples import classification_config, problem_labels
from torch import Tensor

SOURCE_MASKS = MASKS[:5]  # cross-attention needs one of two dimensions

DrawConfig = Callable[..., dict[str, Any]]
SizesOf = Callable[[dict[str, Any], str], Sizes]
"""Configuration, "encoder" or "decoder" -> what its input must fit."""


def source(draw: Draw, sizes: Sizes, batch: int, *, may_be_encoded: bool = True, ids_only: bool = False) -> Any:
    """The encoder's input, or now and then what it has given before."""
    length, values = draw(st.integers(1, sizes.max_length)), Values(draw(seeds()))
    arguments: dict[str, Any] = {}
    mask, _ = attention_mask(draw, draw(st.sampled_from(SOURCE_MASKS)), values, batch, length, sizes.num_heads)
    if mask is not None:
        arguments["attention_mask"] = mask
    kind = "ids" if ids_only else draw(st.sampled_from(["ids", "ids", "ids", "embeds", "encoded"]))
    vectors = values.normal(batch, length, sizes.hidden_size)
    if kind == "embeds":
        arguments["inputs_embeds"] = vectors
    elif kind == "encoded" and may_be_encoded:
        arguments["encoder_outputs"] = (vectors,)
    else:
        arguments["input_ids"] = values.ids(sizes.vocab_size, batch, length)
    return arguments


def target(draw: Draw, sizes: Sizes, batch: int) -> tuple[dict[str, Any], Tensor]:
    """The decoder's input, and which of its tokens to compare."""
    length, values = draw(st.integers(1, sizes.max_length)), Values(draw(seeds()))
    arguments: dict[str, Any] = {}
    kind = draw(st.sampled_from(MASKS))
    mask, is_token = attention_mask(draw, kind, values, batch, length, sizes.num_heads)
    if mask is not None:
        arguments["decoder_attention_mask"] = mask
    if draw(st.sampled_from([True, False, False])):
        arguments["decoder_inputs_embeds"] = values.normal(batch, length, sizes.hidden_size)
    else:
        arguments["decoder_input_ids"] = values.ids(sizes.vocab_size, batch, length)
    return arguments, is_token if kind == "left" else torch.ones_like(is_token)


def use_cache(draw: Draw) -> dict[str, bool]:
    return draw(st.sampled_from([{}, {"use_cache": True}, {"use_cache": False}]))


@st.composite
def backbone(draw: Draw, config: DrawConfig, sizes: SizesOf) -> Example:
    chosen, batch = config(draw), draw(st.integers(1, 3))
    arguments = source(draw, sizes(chosen, "encoder"), batch) | use_cache(draw)
    further, real = target(draw, sizes(chosen, "decoder"), batch)
    return Example(chosen, arguments | further, real, draw(seeds()))


@st.composite
def language_model(draw: Draw, config: DrawConfig, sizes: SizesOf) -> Example:
    """Labels beside a target of its own."""
    example = draw(backbone(config, sizes))
    if draw(st.booleans()):
        labels = token_labels(draw, example.real, example.config["vocab_size"])
        example.arguments["labels"] = labels
    return example


@st.composite
def shifted_labels(draw: Draw, config: DrawConfig, sizes: SizesOf) -> Example:
    """Labels alone, of which the decoder's input is made."""
    chosen, batch = config(draw), draw(st.integers(1, 3))
    arguments = source(draw, sizes(chosen, "encoder"), batch)
    real = torch.ones(batch, draw(st.integers(1, sizes(chosen, "decoder").max_length)), dtype=torch.bool)
    labels = token_labels(draw, real, chosen["vocab_size"])
    if labels is None:  # of which there would be no loss
        labels = torch.zeros_like(real, dtype=torch.long)
    return Example(chosen, {**arguments, "labels": labels}, real, draw(seeds()))


@st.composite
def sequence_classification(draw: Draw, config: DrawConfig, sizes: SizesOf, problem: str) -> Example:
    """Every text has one end, or two."""
    chosen, num_labels = classification_config(draw, config, problem)
    batch = draw(st.integers(1, 3))
    arguments = source(draw, sizes(chosen, "encoder"), batch, ids_only=True) | use_cache(draw)
    ids, end = arguments["input_ids"], chosen["eos_token_id"]
    ids[ids == end] = (end + 1) % chosen["vocab_size"]
    number = draw(st.integers(1, min(2, ids.shape[1])))
    places = torch.rand(ids.shape, generator=torch.Generator().manual_seed(draw(seeds()))).topk(number).indices
    ids.scatter_(1, places, end)
    if draw(st.booleans()):  # otherwise the decoder reads the source
        arguments["decoder_input_ids"] = Values(draw(seeds())).ids(chosen["vocab_size"], *ids.shape)
    if draw(st.sampled_from([True, True, True, False])):
        arguments["labels"] = problem_labels(draw, problem, batch, num_labels)
    return Example(chosen, arguments, torch.ones_like(ids, dtype=torch.bool), draw(seeds()))


@st.composite
def question_answering(draw: Draw, config: DrawConfig, sizes: SizesOf) -> Example:
    """The decoder reads the source, or something else."""
    chosen, batch, labelled = config(draw), draw(st.integers(1, 3)), draw(st.booleans())
    arguments = source(draw, sizes(chosen, "encoder"), batch, ids_only=True)
    if draw(st.booleans()):
        further, real = target(draw, sizes(chosen, "decoder"), batch)
        if labelled and not real.all():  # the loss compares all positions, those of padding too
            del further["decoder_attention_mask"]
            real = torch.ones_like(real)
        arguments |= further
    else:
        real = torch.ones_like(arguments["input_ids"], dtype=torch.bool)
    if labelled:
        arguments |= span_labels(draw, *real.shape)
    return Example(chosen, arguments | ({} if labelled else use_cache(draw)), real, draw(seeds()))


@st.composite
def encoder_alone(draw: Draw, config: DrawConfig, sizes: SizesOf, *, classes: bool) -> Example:
    """T5's encoder, with or without a classifier of its tokens."""
    chosen, batch = (
        config(draw, **({"num_labels": draw(st.integers(2, 5))} if classes else {})),
        draw(st.integers(1, 3)),
    )
    arguments = source(draw, sizes(chosen, "encoder"), batch, may_be_encoded=False)
    shape = next(value for name, value in arguments.items() if name.startswith("input")).shape[:2]
    real = torch.ones(shape, dtype=torch.bool)
    if classes and draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["num_labels"])
    return Example(chosen, arguments, real, draw(seeds()))
