"""Checks of what a model is called with, made before any computing, each error naming argument, value and remedy.

Shapes and types are checked everywhere; values only where a look costs nothing (see `can_read_values`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.nn.masks import AttentionMask, can_read_values, read_attention_mask


def read_shape(input_ids: Tensor | None, inputs_embeds: Tensor | None, hidden_size: int) -> tuple[int, int]:
    """(batch, length) of the input, given as ids or as embedded vectors.

    Raises:
        InputError: both or neither are given, or a shape or type is wrong.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("Pass either input_ids or inputs_embeds" + (", not both." if input_ids is not None else "."))
    if input_ids is not None:
        check_type("input_ids", input_ids)
        if input_ids.ndim != 2:
            remedy = ": add the batch dimension with input_ids[None]." if input_ids.ndim == 1 else "."
            raise InputError(f"input_ids has shape {tuple(input_ids.shape)}; expected (batch, length){remedy}")
        batch_size, length = input_ids.shape
    else:
        assert inputs_embeds is not None
        if not isinstance(inputs_embeds, Tensor) or not inputs_embeds.is_floating_point():
            raise InputError(f"inputs_embeds must be a floating-point tensor, got {_kind(inputs_embeds)}.")
        if inputs_embeds.ndim != 3 or inputs_embeds.shape[-1] != hidden_size:
            raise InputError(
                f"inputs_embeds has shape {tuple(inputs_embeds.shape)}; expected (batch, length, {hidden_size})."
            )
        batch_size, length, _ = inputs_embeds.shape
    if length == 0:
        raise InputError("The input has no tokens: pass at least one.")
    return batch_size, length


def check_type(name: str, ids: Tensor) -> None:
    """Refuse what is no tensor of whole numbers."""
    if not isinstance(ids, Tensor):
        raise InputError(
            f"{name} must be a tensor, got {_kind(ids)}: tokenizers give tensors with return_tensors='pt'."
        )
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise InputError(f"{name} must be whole numbers (torch.long), got {ids.dtype}.")


def check_ids(name: str, ids: Tensor | None, shape: tuple[int, int], limit: int, limit_name: str) -> None:
    """Refuse ids of another shape, or outside 0 … limit − 1.

    Args:
        shape: (batch, length); a batch of 1 stands for all rows.
        limit_name: the field of the config that sets the limit, for the message.
    """
    if ids is None:
        return
    check_type(name, ids)
    if tuple(ids.shape) not in (shape, (1, shape[1])):
        raise InputError(f"{name} has shape {tuple(ids.shape)}; expected {shape}.")
    check_range(name, ids, limit, limit_name)


def check_range(name: str, ids: Tensor, limit: int, limit_name: str) -> None:
    """Refuse values outside 0 … limit − 1."""
    if can_read_values(ids) and ids.numel():
        low, high = (int(value) for value in ids.aminmax())
        if low < 0 or high >= limit:
            raise InputError(
                f"{name} holds {low if low < 0 else high}, outside 0 … {limit - 1} ({limit_name}={limit}). "
                f"Do tokenizer and model belong together?"
            )


def check_length(length: int, past_length: int, max_positions: int) -> None:
    """Refuse more tokens than the model has positions for."""
    if past_length + length > max_positions:
        cached = f" after {past_length} cached ones" if past_length else ""
        raise InputError(
            f"The input has {length} tokens{cached}, and the model has {max_positions} positions: truncate it "
            f"(tokenizer(…, truncation=True, max_length={max_positions}))."
        )


def check_labels(
    labels: Tensor | None, shape: Sequence[int], num_classes: int, name: str = "labels", may_ignore: bool = True
) -> None:
    """Refuse class labels of another shape or type, or outside 0 … num_classes − 1 and −100.

    Args:
        shape: the expected shape; a trailing dimension of 1 may be added, as some data sets have it.
        may_ignore: whether −100 (not counted in the loss) is allowed.
    """
    if labels is None:
        return
    check_type(name, labels)
    if tuple(labels.shape) not in (tuple(shape), (*shape, 1)):
        raise InputError(f"{name} has shape {tuple(labels.shape)}; expected {tuple(shape)}.")
    if can_read_values(labels):
        wrong = (labels >= num_classes) | (labels < 0)
        if may_ignore:
            wrong &= labels != IGNORED
        if wrong.any():
            ignored = f", or {IGNORED} for what is not counted" if may_ignore else ""
            raise InputError(f"{name} holds {int(labels[wrong][0])}; expected classes 0 … {num_classes - 1}{ignored}.")


def check_sequence_labels(labels: Tensor | None, batch_size: int, num_labels: int, problem_type: str | None) -> None:
    """Refuse labels of a sequence classifier that do not fit its kind of problem (see `classification_problem`)."""
    if labels is None:
        return
    if not isinstance(labels, Tensor):
        raise InputError(f"labels must be a tensor, got {_kind(labels)}.")
    regression = problem_type == "regression" or (problem_type is None and num_labels == 1)
    multi_label = problem_type == "multi_label_classification" or (
        problem_type is None and num_labels > 1 and labels.is_floating_point()
    )
    if not (regression or multi_label):
        check_labels(labels, (batch_size,), num_labels)
        return
    shapes = [(batch_size, num_labels)] + ([(batch_size,)] if num_labels == 1 else [])
    if tuple(labels.shape) not in shapes:
        kind = "regression" if regression else "multi-label classification"
        raise InputError(f"labels has shape {tuple(labels.shape)}; expected {shapes[-1]} for {kind}.")
    if multi_label and can_read_values(labels) and not ((labels >= 0) & (labels <= 1)).all():
        raise InputError("labels of multi-label classification must be between 0 and 1, one per class.")


def check_span(name: str, positions: Tensor | None, batch_size: int) -> None:
    """Refuse answer positions that are not one whole number a row."""
    if positions is None:
        return
    check_type(name, positions)
    if tuple(positions.shape) not in ((batch_size,), (batch_size, 1)):
        raise InputError(f"{name} has shape {tuple(positions.shape)}; expected {(batch_size,)}.")


def choices_shape(input_ids: Tensor | None, inputs_embeds: Tensor | None) -> tuple[int, int, int]:
    """(batch, choices, length) of a multiple-choice input: ids of that shape, or their vectors."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("Pass either input_ids or inputs_embeds" + (", not both." if input_ids is not None else "."))
    name, tensor, ndim = ("input_ids", input_ids, 3) if input_ids is not None else ("inputs_embeds", inputs_embeds, 4)
    if not isinstance(tensor, Tensor) or tensor.ndim != ndim:
        got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise InputError(f"{name} is {got}; expected {ndim} dimensions, (batch, choices, length …).")
    return tensor.shape[0], tensor.shape[1], tensor.shape[2]


def flatten_choices(tensor: Tensor | None) -> Tensor | None:
    """(batch, choices, …) as (batch · choices, …), so that every choice is a sequence of its own."""
    return None if tensor is None else tensor.flatten(0, 1)


def check_context(
    encoder_hidden_states: Tensor | None,
    encoder_attention_mask: Tensor | None,
    *,
    batch_size: int,
    query_length: int,
    context_size: int | None,
) -> AttentionMask:
    """Refuse an encoder's output that cross-attention cannot attend to; give the mask for it.

    Args:
        context_size: the width that it must have; None where the model has no cross-attention.
    """
    if encoder_hidden_states is None:
        return AttentionMask()
    if context_size is None:
        raise InputError(
            "encoder_hidden_states needs a model with cross-attention: build it with is_decoder=True (BERT) and "
            "add_cross_attention=True."
        )
    shape = tuple(encoder_hidden_states.shape)
    if len(shape) != 3 or shape[0] != batch_size or shape[2] != context_size:
        raise InputError(
            f"encoder_hidden_states has shape {shape}; expected ({batch_size}, length of the source, {context_size})."
        )
    return read_attention_mask(
        encoder_attention_mask,
        batch_size=batch_size,
        query_length=query_length,
        key_length=shape[1],
        is_causal=False,
        dtype=encoder_hidden_states.dtype,
        device=encoder_hidden_states.device,
        name="encoder_attention_mask",
    )


def warn_if_left_padded(attention_mask: Tensor | None, position_ids: Tensor | None, past_length: int) -> None:
    """Say so where a decoder's positions will count the padding in front of a text.

    That is what the reference computes too, and hardly ever what is wanted.
    """
    if attention_mask is None or position_ids is not None or past_length or attention_mask.ndim != 2:
        return
    if can_read_values(attention_mask) and not attention_mask[:, 0].all():
        warnings.warn(
            "The batch is padded on the left and position_ids are not given, so that positions count the padding. "
            "Pass position_ids=positions_from_mask(attention_mask), pad on the right, or use generate().",
            stacklevel=4,
        )


def _kind(value: object) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
