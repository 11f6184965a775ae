"""Checks of what a model is called with, made before any computing, each error naming argument, value and remedy.

Shapes and types are checked everywhere; values on CPU tensors only (see `can_read_values`). Attention masks are
read in masks.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.nn.losses import IGNORED, problem_of


def read_shape(
    input_ids: Tensor | None, inputs_embeds: Tensor | None, hidden_size: int, prefix: str = ""
) -> tuple[int, int]:
    """(batch, length) of the input, given as ids or as embedded vectors.

    Args:
        prefix: what the arguments' names begin with, for messages; "decoder_" in encoder–decoders.

    Raises:
        InputError: both or neither are given, or a shape or type is wrong.
    """
    ids_name, embeds_name = f"{prefix}input_ids", f"{prefix}inputs_embeds"
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError(_one_of(ids_name, embeds_name, both=input_ids is not None))
    if input_ids is not None:
        check_type(ids_name, input_ids)
        if input_ids.ndim != 2:
            remedy = f": add the batch dimension with {ids_name}[None]." if input_ids.ndim == 1 else "."
            raise InputError(f"{ids_name} has shape {tuple(input_ids.shape)}; expected (batch, length){remedy}")
        batch_size, length = input_ids.shape
    else:
        if not isinstance(inputs_embeds, Tensor) or not inputs_embeds.is_floating_point():
            raise InputError(f"{embeds_name} must be a floating-point tensor, got {kind_of(inputs_embeds)}.")
        if inputs_embeds.ndim != 3 or inputs_embeds.shape[-1] != hidden_size:
            raise InputError(
                f"{embeds_name} has shape {tuple(inputs_embeds.shape)}; expected (batch, length, {hidden_size})."
            )
        batch_size, length, _ = inputs_embeds.shape
    if length == 0:
        raise InputError("The input has no tokens: pass at least one.")
    return batch_size, length


def _one_of(ids_name: str, embeds_name: str, both: bool) -> str:
    return f"Pass either {ids_name} or {embeds_name}" + (", not both." if both else ".")


def check_type(name: str, ids: object) -> None:
    """Refuse what is no tensor of whole numbers, in a type that embeddings and losses take."""
    if isinstance(ids, Mapping):
        raise InputError(f"{name} must be a tensor, got {kind_of(ids)}: pass its entries by name, model(**inputs).")
    if not isinstance(ids, Tensor):
        raise InputError(
            f"{name} must be a tensor, got {kind_of(ids)}: tokenizers give tensors with return_tensors='pt'."
        )
    if ids.dtype not in (torch.int64, torch.int32):
        raise InputError(f"{name} must be whole numbers (torch.long), got {ids.dtype}: convert with {name}.long().")


def check_dtype(name: str, vectors: Tensor | None, dtype: torch.dtype, *, may_be_widened: bool = False) -> None:
    """Refuse vectors of another type than the model's weights; under autocast, which converts them, any type will do.

    `may_be_widened`: the model first adds embeddings of its own type, so vectors of a narrower type become wide enough.
    """
    if vectors is None or vectors.dtype == dtype or torch.is_autocast_enabled(vectors.device.type):
        return
    narrow = vectors.dtype in (torch.float16, torch.bfloat16, torch.float32)
    if not (may_be_widened and narrow and torch.promote_types(vectors.dtype, dtype) == dtype):
        raise InputError(f"{name} is {vectors.dtype} and the model {dtype}: convert with {name}.to(model.dtype).")


def check_ids(
    name: str, ids: Tensor | None, shape: tuple[int, ...], limit: int | None = None, limit_name: str = ""
) -> None:
    """Refuse ids of another shape, or outside 0 … limit − 1.

    Args:
        shape: the expected shape, such as (batch, length); a batch of 1 applies to all rows.
        limit: None where there is no largest id.
        limit_name: the field of the config that sets the limit, for the message.
    """
    if ids is None:
        return
    check_type(name, ids)
    if tuple(ids.shape) not in (shape, (1, *shape[1:])):
        raise InputError(f"{name} has shape {tuple(ids.shape)}; expected {shape}.")
    if can_read_values(ids) and ids.numel():
        low, high = (int(value) for value in ids.aminmax())
        if limit is None and low < 0:
            raise InputError(f"{name} holds {low}; positions count from 0.")
        if limit is not None and (low < 0 or high >= limit):
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
    """Refuse labels of a sequence classifier that do not fit its problem (see `sequence_classification_loss`)."""
    if labels is None:
        return
    if not isinstance(labels, Tensor) or labels.is_complex():
        raise InputError(f"labels must be a tensor of numbers, got {kind_of(labels)}.")
    problem = problem_type or problem_of(labels, num_labels)
    if problem == "single_label_classification":
        check_labels(labels, (batch_size,), num_labels)
        return
    shapes = [(batch_size, num_labels)] + ([(batch_size,)] if num_labels == 1 else [])
    if tuple(labels.shape) not in shapes:
        kind = "regression" if problem == "regression" else "multi-label classification"
        raise InputError(f"labels has shape {tuple(labels.shape)}; expected {shapes[-1]} for {kind}.")
    if (
        problem == "multi_label_classification"
        and can_read_values(labels)
        and not ((labels >= 0) & (labels <= 1)).all()
    ):
        raise InputError("labels of multi-label classification must be between 0 and 1, one per class.")


def check_span(name: str, positions: Tensor | None, batch_size: int) -> None:
    """Refuse answer positions that are not one whole number a row."""
    if positions is None:
        return
    check_type(name, positions)
    if tuple(positions.shape) not in ((batch_size,), (batch_size, 1)):
        raise InputError(f"{name} has shape {tuple(positions.shape)}; expected {(batch_size,)}.")


def choices_shape(
    input_ids: Tensor | None, inputs_embeds: Tensor | None, *, may_be_one_text: bool = False
) -> tuple[int, ...]:
    """(batch, choices, length) of a multiple-choice input: ids of that shape, or their vectors.

    With `may_be_one_text` also (choices, length), the choices of one text.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError(_one_of("input_ids", "inputs_embeds", both=input_ids is not None))
    name, tensor, ndim = ("input_ids", input_ids, 3) if input_ids is not None else ("inputs_embeds", inputs_embeds, 4)
    if not isinstance(tensor, Tensor) or not ndim - may_be_one_text <= tensor.ndim <= ndim:
        got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise InputError(f"{name} is {got}; expected {ndim} dimensions, (batch, choices, length …).")
    return tuple(tensor.shape if input_ids is not None else tensor.shape[:-1])


def flatten_choices(tensor: Tensor | None, ndim: int = 3) -> Tensor | None:
    """(batch, choices, …) as (batch · choices, …), so that every choice is a sequence of its own.

    A tensor with another number of dimensions than `ndim` has no choices, and is returned as it is.
    """
    return tensor.flatten(0, 1) if isinstance(tensor, Tensor) and tensor.ndim == ndim else tensor


def check_pixels(
    pixel_values: Tensor | None,
    *,
    num_channels: int,
    image_size: tuple[int, int],
    patch_size: tuple[int, int],
    may_be_of_another_size: bool,
) -> Tensor:
    """Refuse what is no batch of images that a model can cut into patches; else give it back."""
    if pixel_values is None:
        raise InputError("Pass pixel_values: an image processor makes them of images.")
    if not isinstance(pixel_values, Tensor) or not pixel_values.is_floating_point():
        raise InputError(
            f"pixel_values must be a floating-point tensor, got {kind_of(pixel_values)}: make it with an image "
            f"processor, which brings pixels of 0 … 255 to the range that the model was trained with."
        )
    shape = tuple(pixel_values.shape)
    if pixel_values.ndim != 4 or not shape[0]:
        remedy = ": add the batch dimension with pixel_values[None]." if pixel_values.ndim == 3 else "."
        raise InputError(f"pixel_values has shape {shape}; expected (batch, channels, height, width){remedy}")
    if shape[1] != num_channels:
        remedy = " The channels come first: pixel_values.permute(0, 3, 1, 2)." if shape[3] == num_channels else ""
        raise InputError(
            f"pixel_values has shape {shape}, that is {shape[1]} channels; the model has num_channels={num_channels}."
            f"{remedy}"
        )
    size = shape[2:]
    if size != image_size and not may_be_of_another_size:
        raise InputError(
            f"pixel_values shows images of {size[0]} × {size[1]} pixels; the model takes image_size={image_size}: "
            f"resize them with an image processor, or pass interpolate_pos_encoding=True."
        )
    if not all(size) or any(side % patch for side, patch in zip(size, patch_size, strict=True)):
        raise InputError(
            f"pixel_values shows images of {size[0]} × {size[1]} pixels, which patches of {patch_size[0]} × "
            f"{patch_size[1]} do not divide: resize or crop them."
        )
    return pixel_values


def check_logits_to_keep(logits_to_keep: int | Tensor, shape: tuple[int, int], labels: Tensor | None) -> None:
    """Refuse what does not say which logits to keep (see `keep_positions`), or labels for logits that are not kept."""
    length = shape[1]
    if isinstance(logits_to_keep, int):
        if logits_to_keep < 0:
            raise InputError(f"logits_to_keep={logits_to_keep} must be a number of last positions, 0 for all.")
        partial = logits_to_keep > 0
    else:
        partial = True
        shapes = {1: (length,), 2: shape}
        if not isinstance(logits_to_keep, Tensor) or logits_to_keep.ndim not in shapes:
            raise InputError(
                f"logits_to_keep must be a number, or a tensor of positions, got {kind_of(logits_to_keep)}."
            )
        if logits_to_keep.dtype == torch.bool:
            if tuple(logits_to_keep.shape) != shapes[logits_to_keep.ndim]:
                raise InputError(f"logits_to_keep has shape {tuple(logits_to_keep.shape)}; expected {shape}.")
        else:
            check_type("logits_to_keep", logits_to_keep)
            if logits_to_keep.ndim == 2 and logits_to_keep.shape[0] != shape[0]:
                raise InputError(f"logits_to_keep has {logits_to_keep.shape[0]} rows; the input has {shape[0]}.")
            check_ids("logits_to_keep", logits_to_keep, tuple(logits_to_keep.shape), length, "length of the input")
    if partial and labels is not None:
        raise InputError("labels need the logits of all positions: leave out logits_to_keep, or the labels.")


def check_ends_are_known(batch_size: int, input_ids: Tensor | None, pad_token_id: int | None) -> None:
    """For classifiers that read the last token of each sequence: refuse a batch where ends of sequences are unknown.

    Ends are found by the padding token, so there must be one. In embedded vectors padding cannot be seen, and the last
    vector of the row is read: that gets a warning.
    """
    if batch_size > 1 and pad_token_id is None:
        raise InputError(
            "A batch of more than one sequence needs model.config.pad_token_id, to find where each one ends: "
            "assign tokenizer.pad_token_id to it."
        )
    if batch_size > 1 and input_ids is None and not torch.compiler.is_compiling():
        warn("With inputs_embeds padding cannot be seen: the last vector counts.")


def kind_of(value: object) -> str:
    """What something is, for messages: its class, and of a tensor the type of its numbers."""
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def can_read_values(tensor: Tensor) -> bool:
    """Whether the values of `tensor` may be looked at: on CPU, and not while tracing, exporting or in torch.func.

    On other devices a look would wait for the device; while tracing there are no values.
    """
    return (
        not torch.compiler.is_compiling()
        and tensor.device.type == "cpu"
        and type(tensor) in (Tensor, torch.nn.Parameter)  # a FakeTensor has no values
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # nor has one row of a vmap
    )
