"""Masks are bool, True = may attend, and broadcast to (batch, heads, query, key).

Rules about who may attend to whom are combined with `&`; they become numbers only inside the attention kernel, once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from minitransformers.errors import InputError


def padding_mask(attention_mask: Shaped[Tensor, "batch key"]) -> Bool[Tensor, "batch 1 1 key"]:
    """Every query may attend to the real tokens (1), none to the padding (0)."""
    return attention_mask.to(torch.bool)[:, None, None, :]


def causal_mask(
    query_length: int, key_length: int | None = None, *, device: torch.device | str | None = None
) -> Bool[Tensor, "1 1 query key"]:
    """A query may attend to itself and to what came before it.

    The queries are the *last* of the keys (lower-right alignment): with 5 cached keys and 1 new query, that query
    sees all 6. So a whole sequence, a chunk of it and a single step are one formula.
    """
    key_length = query_length if key_length is None else key_length
    query_position = torch.arange(query_length, device=device)[:, None] + (key_length - query_length)
    key_position = torch.arange(key_length, device=device)[None, :]
    return (key_position <= query_position)[None, None]


def local_mask(
    query_length: int,
    key_length: int | None = None,
    *,
    before: int,
    after: int = 0,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "1 1 query key"]:
    """A query may attend to itself, to the `before` tokens before it and to the `after` tokens after it.

    Local or sliding-window attention (Child et al., 2019, §4.2; Beltagy et al., 2020, §3.1): with `after=0` causality
    is part of it, and a window of w tokens, the query's own included, is `before=w - 1`. The queries are the last of
    the keys, as in `causal_mask`.
    """
    key_length = query_length if key_length is None else key_length
    query_position = torch.arange(query_length, device=device)[:, None] + (key_length - query_length)
    distance = query_position - torch.arange(key_length, device=device)[None, :]
    return ((distance <= before) & (distance >= -after))[None, None]


def document_mask(document_ids: Int[Tensor, "batch length"]) -> Bool[Tensor, "batch 1 length length"]:
    """Block-diagonal: tokens attend within their own document, for documents packed into one row.

    `document_ids` numbers the document that each token belongs to. Combine with `causal_mask` for a decoder.
    """
    return (document_ids[:, :, None] == document_ids[:, None, :])[:, None]


def documents_from_positions(position_ids: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
    """Which document of its row each token belongs to, counted from 0: one ends where positions do not count on."""
    return (position_ids.diff(dim=-1, prepend=position_ids[:, :1] - 1) != 1).cumsum(dim=-1)


class AttentionMask(NamedTuple):
    """What the attention kernel is told of who may attend to whom.

    `allowed`: True = may attend; None = everybody may. `bias` is added to the scores. `is_causal` stands for
    `causal_mask` where nothing else restricts, so that fast kernels need no mask in memory.
    """

    allowed: Bool[Tensor, "#batch #heads #query key"] | None = None
    bias: Float[Tensor, "#batch #heads #query key"] | None = None
    is_causal: bool = False

    def restricted_to(self, rule: Bool[Tensor, "#batch #heads #query key"]) -> AttentionMask:
        """What both this mask and `rule` allow; where this one is causal, `rule` must be too."""
        return AttentionMask(rule if self.allowed is None else self.allowed & rule, self.bias)


def read_attention_mask(
    attention_mask: Tensor | None,
    *,
    batch_size: int,
    query_length: int,
    key_length: int,
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
        key_length: number of keys, those in the cache included.
        is_causal: whether queries must not see what comes after them.
        dtype: of the scores that a floating-point mask is added to.

    Raises:
        InputError: another shape or type, or a 2-D mask with values other than 0 and 1.
    """
    if attention_mask is None:
        if not is_causal or query_length == 1:
            return AttentionMask()
        if query_length == key_length:
            return AttentionMask(is_causal=True)
        return AttentionMask(allowed=causal_mask(query_length, key_length, device=device))

    if attention_mask.ndim == 4:
        return _read_complete_mask(attention_mask, (batch_size, query_length, key_length), dtype, device, name)

    if attention_mask.shape != (batch_size, key_length):
        past = (
            f" ({key_length - query_length} cached and {query_length} new tokens)" if key_length > query_length else ""
        )
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
            return read_attention_mask(
                None,
                batch_size=batch_size,
                query_length=query_length,
                key_length=key_length,
                is_causal=is_causal,
                dtype=dtype,
                device=device,
            )
    allowed = padding_mask(attention_mask.to(device))
    if is_causal and query_length > 1:
        allowed = allowed & causal_mask(query_length, key_length, device=device)
    return AttentionMask(allowed=allowed)


def _read_complete_mask(
    mask: Tensor, lengths: tuple[int, int, int], dtype: torch.dtype, device: torch.device, name: str
) -> AttentionMask:
    batch_size, query_length, key_length = lengths
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
    # What is added to forbid becomes a rule, so that a query without any key is known as such in every kernel.
    allowed = mask > torch.finfo(mask.dtype).min
    bias = mask.masked_fill(~allowed, 0.0).to(device=device, dtype=dtype)
    return AttentionMask(allowed=allowed.to(device), bias=bias)


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
