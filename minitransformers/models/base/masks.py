"""Who may attend to whom, from the arguments of a model's `forward`: checks, masks, and two warnings.

Masks and how they combine are in nn/masks.py; all other arguments are checked in checks.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.models.base.checks import can_read_values, check_dtype, kind_of
from minitransformers.nn.cache import Cache
from minitransformers.nn.masks import (
    AttentionMask,
    causal_mask,
    document_mask,
    documents_from_positions,
    local_mask,
    padding_mask,
)

Shape = tuple[int, int, int, int]


def read_attention_mask(
    attention_mask: Tensor | None,
    shape: Shape,
    *,
    is_causal: bool,
    dtype: torch.dtype,
    device: torch.device,
    name: str = "attention_mask",
) -> AttentionMask:
    """The `attention_mask` argument of a model, in any form that users pass, as the kernel needs it.

    Args:
        attention_mask: None; (batch, key) with 1 for real tokens and 0 for padding, past tokens included; or the
            complete rule as (batch, heads, query, key), bool with True = may attend, or floating point to be added to
            the scores. A complete rule is taken as it is: causality is not added to it.
        shape: (batch, heads, query, key); keys include those in the cache.
        is_causal: whether queries must not see what comes after them.
        dtype: of the scores that a floating-point mask is added to.

    Raises:
        InputError: another shape or type, or a 2-D mask with values other than 0 and 1.
    """
    batch_size, _, query_length, key_length = shape
    if attention_mask is not None:
        if not isinstance(attention_mask, Tensor) or attention_mask.is_complex():
            raise InputError(
                f"{name} must be a tensor of 0 and 1, got {kind_of(attention_mask)}: tokenizers give it as a tensor."
            )
        if attention_mask.ndim == 4:
            return _read_complete_mask(attention_mask, shape, dtype, device, name)
        if attention_mask.shape != (batch_size, key_length):
            cached = key_length - query_length
            past = f" ({cached} cached and {query_length} new tokens)" if cached else ""
            raise InputError(
                f"{name} has shape {tuple(attention_mask.shape)}; expected {(batch_size, key_length)}{past}, or four "
                f"dimensions (batch, heads, query, key)."
            )
        if can_read_values(attention_mask):
            if attention_mask.dtype != torch.bool and not ((attention_mask == 0) | (attention_mask == 1)).all():
                raise InputError(
                    f"{name} of two dimensions holds values other than 0 (padding) and 1 (token); "
                    f"scores to be added need four dimensions (batch, heads, query, key)."
                )
            if attention_mask.all():  # nothing is padded: the fastest kernel is the one without a mask
                attention_mask = None
    if attention_mask is None:
        if not is_causal or query_length == 1:
            return AttentionMask()
        if query_length == key_length:
            return AttentionMask(is_causal=True)
        return AttentionMask(allowed=causal_mask(query_length, key_length, device=device))
    allowed = padding_mask(attention_mask.to(device))
    if is_causal and query_length > 1:
        allowed = allowed & causal_mask(query_length, key_length, device=device)
    return AttentionMask(allowed=allowed)


def _read_complete_mask(
    mask: Tensor, shape: Shape, dtype: torch.dtype, device: torch.device, name: str
) -> AttentionMask:
    batch_size, num_heads, query_length, key_length = shape
    if mask.shape[1] not in (1, num_heads):
        raise InputError(
            f"{name} has shape {tuple(mask.shape)}; expected (batch, heads, query, key) with heads {num_heads} or 1."
        )
    fits = mask.shape[0] in (1, batch_size) and mask.shape[2] in (1, query_length) and mask.shape[3] == key_length
    if not fits:
        raise InputError(
            f"{name} has shape {tuple(mask.shape)}; expected (batch, heads, query, key) with batch {batch_size} or 1, "
            f"query {query_length} or 1, and key {key_length}."
        )
    if mask.dtype == torch.bool:
        return AttentionMask(allowed=mask.to(device))
    if not mask.is_floating_point():
        raise InputError(
            f"{name} has four dimensions and dtype {mask.dtype}, which could mean 1 = attend or 1 to be added to the "
            f"score: pass bool (True = may attend) or floating point (added to the scores)."
        )
    # Entries at −inf become `False` in a boolean mask, so that every kernel knows a query without any key.
    allowed = mask > torch.finfo(mask.dtype).min
    bias = mask.masked_fill(~allowed, 0.0).to(device=device, dtype=dtype)
    return AttentionMask(allowed=allowed.to(device), bias=bias)


def separate_documents(mask: AttentionMask, position_ids: Tensor) -> AttentionMask:
    """A causal `mask`, within documents: `position_ids` (batch, length) that start again begin the next one."""
    documents = documents_from_positions(position_ids)
    if can_read_values(documents) and not documents.any():
        return mask
    length = position_ids.shape[1]
    return AttentionMask(causal_mask(length, device=documents.device) & document_mask(documents))


def within_window(
    mask: AttentionMask, window: int | None, query_length: int, key_length: int, device: torch.device
) -> AttentionMask:
    """A causal `mask`, restricted to the last `window` tokens up to the query's own (Jiang et al., 2023, §2).

    The cache keeps all tokens; later layers see those outside the window through others.
    """
    if window is None or key_length <= window:
        return mask
    return mask.restricted_to(local_mask(query_length, key_length, before=window - 1, device=device))


def read_context_mask(
    encoder_hidden_states: Tensor,
    encoder_attention_mask: Tensor | None,
    *,
    batch_size: int,
    query_length: int,
    context_size: int | None,
    num_heads: int,
    dtype: torch.dtype,
    cache: Cache | None = None,
) -> AttentionMask:
    """Who may attend to whom in cross-attention, after a check that the encoder's output fits this model.

    Args:
        context_size: the width that it must have; None where the model has no cross-attention.
        dtype: of the model's weights.
        cache: may hold keys and values of the encoder's output already.
    """
    if context_size is None:
        raise InputError(
            "encoder_hidden_states needs a model with cross-attention: build it with is_decoder=True (BERT) and "
            "add_cross_attention=True."
        )
    if not isinstance(encoder_hidden_states, Tensor):
        raise InputError(
            f"encoder_hidden_states must be a tensor, got {kind_of(encoder_hidden_states)}: of an encoder's output, "
            f"pass last_hidden_state."
        )
    shape = tuple(encoder_hidden_states.shape)
    if len(shape) != 3 or shape[0] != batch_size or not shape[1] or shape[2] != context_size:
        raise InputError(
            f"encoder_hidden_states has shape {shape}; expected ({batch_size}, length of the source, {context_size})."
        )
    check_dtype("encoder_hidden_states", encoder_hidden_states, dtype)
    of_context = None if cache is None else cache.cross_layer(0)
    cached_length = 0 if of_context is None else of_context.length
    if cached_length and cached_length != shape[1]:  # not `in`, which fails on symbolic integers
        raise InputError(
            f"encoder_hidden_states has {shape[1]} positions and past_key_values is of a source with {cached_length}: "
            f"pass the same source at each step, or start with a new cache."
        )
    return read_attention_mask(
        encoder_attention_mask,
        (batch_size, num_heads, query_length, shape[1]),
        is_causal=False,
        dtype=encoder_hidden_states.dtype,
        device=encoder_hidden_states.device,
        name="encoder_attention_mask",
    )


def warn_of_left_padding(attention_mask: Tensor) -> None:
    """Warn where a decoder would count the padding in front of a text as positions.

    The reference computes the same, and it is hardly ever wanted.
    """
    if attention_mask.ndim == 2 and can_read_values(attention_mask) and not attention_mask[:, 0].all():
        warn(
            "The batch is padded on the left and position_ids are not given, so that positions count the padding. "
            "Pass position_ids=positions_from_mask(attention_mask), pad on the right, or use generate()."
        )


def warn_of_packing(position_ids: Tensor) -> None:
    """Warn where documents that are packed into one row would see each other.

    As in the reference, positions that start again separate documents only where no cache is made.
    """
    if can_read_values(position_ids) and documents_from_positions(position_ids).any():
        warn(
            "position_ids start again within a row. Documents that are packed so are kept apart only without a cache: "
            "pass use_cache=False, or a mask of four dimensions."
        )
