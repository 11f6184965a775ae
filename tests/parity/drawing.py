"""Random tiny inputs, of every kind that a model takes: what hypothesis draws, and what a seed fills in.

Hypothesis chooses what makes cases different (sizes, kinds of mask, which labels); the numbers inside tensors come from
a seed that it chooses. Everything is drawn in float64; `cast` brings an example to the dtype of a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

Draw = Callable[[st.SearchStrategy[Any]], Any]

MASKS = ("none", "all ones", "right", "holes", "left", "4-D bool", "4-D additive")
WITHOUT_LEFT = tuple(kind for kind in MASKS if kind != "left")


@dataclass(frozen=True)
class Sizes:
    """What the input of a model must fit, under one name for all families.

    `embedding_size` is the width of `inputs_embeds`, where it is not `hidden_size`; no `num_token_types`: no segments.
    """

    vocab_size: int
    hidden_size: int
    num_heads: int
    max_length: int
    num_token_types: int
    pad_token_id: int | None = None
    causal: bool = False
    embedding_size: int | None = None
    has_windows: bool = False


@dataclass
class Example:
    """One model and one input, from which both libraries' are made.

    Attributes:
        config: keyword arguments of both configuration classes.
        constructor: further arguments of the model's constructor.
        arguments: of the model's forward, in the form that ours takes.
        real: (sequences, length), the tokens whose results are compared; see comparing.py.
        seed: where the weights come from.
    """

    config: dict[str, Any]
    arguments: dict[str, Any]
    real: Tensor
    seed: int
    constructor: dict[str, Any] = field(default_factory=dict)


# ---- weights ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def redraw_parameters(model: nn.Module, seed: int) -> None:
    """Give every parameter, biases and norms too, new values at its own scale between 0.02 and 1.

    First values are too kind to a test: biases of 0 and norms of 1 hide that they are used at all, and matrices of 0.02
    leave softmax and activations where they are almost linear.
    """
    random = torch.Generator().manual_seed(seed)
    buffers = [(name, buffer) for name, buffer in model.named_buffers() if name == "final_logits_bias"]
    for name, parameter in (*model.named_parameters(), *buffers):
        scale = 0.02 ** torch.rand((), generator=random).item()
        centre = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0  # the weights of norms
        parameter.copy_(centre + scale * torch.randn(parameter.shape, generator=random, dtype=torch.float64))


# ---- inputs ----------------------------------------------------------------------------------------------------------


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**32 - 1)


class Values:
    """Tensors from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(seed)

    def ids(self, high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=self._random)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random, dtype=torch.float64)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._random) < probability


def token_inputs(
    draw: Draw, sizes: Sizes, masks: tuple[str, ...] = MASKS, choices: int | None = None, max_batch: int = 3
) -> tuple[dict[str, Any], Tensor]:
    """Tokens, with or without mask, segments and positions; and which tokens to compare.

    Args:
        masks: the kinds of attention mask to draw from.
        choices: give every input a second dimension of this size (multiple choice).
    """
    batch, length = draw(st.integers(1, max_batch)), draw(st.integers(1, sizes.max_length))
    rows = batch * (choices or 1)
    values = Values(draw(seeds()))
    arguments: dict[str, Any] = {}

    kind = draw(st.sampled_from(masks))
    mask, is_token = attention_mask(draw, kind, values, rows, length, sizes.num_heads)
    if choices is None and draw(st.sampled_from([False, False, True])):
        arguments["inputs_embeds"] = values.normal(rows, length, sizes.embedding_size or sizes.hidden_size)
    else:
        ids = values.ids(sizes.vocab_size, rows, length)
        if sizes.pad_token_id is not None:
            ids[ids == sizes.pad_token_id] = (sizes.pad_token_id + 1) % sizes.vocab_size
            ids[~is_token] = sizes.pad_token_id
        arguments["input_ids"] = ids
    if mask is not None:
        arguments["attention_mask"] = mask

    segments = draw(st.sampled_from(["none", "pair", "any"])) if sizes.num_token_types else "none"
    if segments == "pair" and sizes.num_token_types > 1:
        start_of_second = values.ids(length + 1, rows, 1)
        arguments["token_type_ids"] = (torch.arange(length) >= start_of_second).long()
    elif segments == "any":
        arguments["token_type_ids"] = values.ids(sizes.num_token_types, rows, length)

    positions = draw(st.sampled_from(["none", "none", "from the mask", "any", "any, one row for all"]))
    if positions == "from the mask":
        arguments["position_ids"] = (is_token.long().cumsum(-1) - 1).clamp(min=0)
    elif positions != "none":
        arguments["position_ids"] = values.ids(sizes.max_length, 1 if "one row" in positions else rows, length)

    if choices is not None:
        arguments = {name: _unflatten(tensor, batch, choices) for name, tensor in arguments.items()}
    # Padding in front of a text has no key to attend to; behind a window, no padding need have any.
    may_lack_keys = (kind == "left" and sizes.causal) or sizes.has_windows
    real = is_token if may_lack_keys else torch.ones_like(is_token)
    return arguments, real


def _unflatten(tensor: Tensor, batch: int, choices: int) -> Tensor:
    return tensor.expand(batch * choices, *tensor.shape[1:]).unflatten(0, (batch, choices))


def attention_mask(
    draw: Draw, kind: str, values: Values, rows: int, length: int, num_heads: int
) -> tuple[Tensor | None, Tensor]:
    """The mask, and which tokens are no padding."""
    every = torch.ones(rows, length, dtype=torch.bool)
    if kind == "none":
        return None, every
    if kind in ("4-D bool", "4-D additive"):
        shape = (draw(st.sampled_from([1, rows])), draw(st.sampled_from([1, num_heads])), length, length)
        allowed = values.chance(0.7, *shape) | torch.eye(length, dtype=torch.bool)  # nobody is left without a key
        if kind == "4-D bool":
            return allowed, every
        return values.normal(*shape).masked_fill(~allowed, -torch.inf), every
    real_lengths = values.ids(length, rows, 1) + 1
    positions = torch.arange(length)
    is_token = {
        "all ones": every,
        "right": positions < real_lengths,
        "left": positions >= length - real_lengths,
        "holes": values.chance(0.7, rows, length) | (positions == 0),
    }[kind]
    mask = is_token.to(draw(st.sampled_from([torch.long, torch.bool, torch.float64])))
    return mask, is_token


def context_inputs(draw: Draw, sizes: Sizes, rows: int) -> dict[str, Any]:
    """An encoder's output for cross-attention, with or without a mask; now and then nothing."""
    if draw(st.sampled_from([False, False, False, True])):
        return {}
    length, values = draw(st.integers(1, 6)), Values(draw(seeds()))
    arguments = {"encoder_hidden_states": values.normal(rows, length, sizes.hidden_size)}
    if draw(st.booleans()):
        arguments["encoder_attention_mask"] = (values.chance(0.7, rows, length) | (torch.arange(length) == 0)).long()
    return arguments


# ---- labels ----------------------------------------------------------------------------------------------------------


def token_labels(draw: Draw, real: Tensor, num_classes: int, *, shifted: bool = False) -> Tensor | None:
    """A class for each token, -100 for some and for those whose logits are not compared; None where nothing is left.

    Args:
        shifted: the model scores the label of each token with the logits of the token before.
    """
    values = Values(draw(seeds()))
    scored = real & values.chance(draw(st.sampled_from([0.5, 1.0])), *real.shape)
    if shifted:
        scored[:, 1:] &= real[:, :-1]
    labels = values.ids(num_classes, *real.shape).masked_fill(~scored, -100)
    counted = labels[:, 1:] if shifted else labels
    return labels if (counted != -100).any() else None


def class_labels(draw: Draw, rows: int, num_classes: int) -> Tensor:
    """A class for each sequence, as (rows,) or (rows, 1)."""
    labels = Values(draw(seeds())).ids(num_classes, rows)
    return labels[:, None] if draw(st.booleans()) else labels


def span_labels(draw: Draw, rows: int, length: int) -> dict[str, Tensor]:
    """Where answers start and end; some lie beyond the text, where it was cut off, but the first one does not."""
    values = Values(draw(seeds()))
    labels = {}
    for name in ("start_positions", "end_positions"):
        positions = values.ids(length + 3, rows)
        positions[0] %= length
        labels[name] = positions[:, None] if draw(st.booleans()) else positions
    return labels


# ---- dtypes, and the reference's forms -------------------------------------------------------------------------------


def cast(arguments: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The same arguments, floating-point tensors in another dtype."""

    def converted(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(converted, value))
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return {name: converted(value) for name, value in arguments.items()}


def as_the_reference_takes_it(arguments: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The same arguments with bool 4-D masks in the additive form, the only one that its eager kernel knows."""
    given = dict(arguments)
    for name in ("attention_mask", "decoder_attention_mask"):
        mask = given.get(name)
        if mask is not None and mask.ndim == 4 and mask.dtype == torch.bool:
            given[name] = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
    return given


def chunk(arguments: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    """The arguments for tokens start … stop − 1 of a sequence, given those before: its tokens, and the mask so far.

    Of an encoder–decoder, the target is cut and the source stays.
    """
    pieces: dict[str, Any] = {}
    if any(name.startswith("decoder_") for name in arguments):
        target = {name.removeprefix("decoder_"): v for name, v in arguments.items() if name.startswith("decoder_")}
        sources = ("input_ids", "inputs_embeds", "attention_mask", "encoder_outputs")
        pieces = {name: value for name, value in arguments.items() if name in sources}
        return pieces | {f"decoder_{name}": value for name, value in chunk(target, start, stop).items()}
    for name, value in arguments.items():
        if name in ("input_ids", "token_type_ids", "position_ids"):
            pieces[name] = value[..., start:stop]
        elif name == "inputs_embeds":
            pieces[name] = value[..., start:stop, :]
        elif name == "attention_mask":
            pieces[name] = value[..., start:stop, :stop] if value.ndim == 4 else value[..., :stop]
        elif name.startswith("encoder_"):
            pieces[name] = value
    return pieces
