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


def prefix_mask(is_prefix: Bool[Tensor, "batch length"]) -> Bool[Tensor, "batch 1 length length"]:
    """Every query may attend to the whole prefix, and to what came before it: a prefix LM (Raffel et al., 2020, §3.2).

    `is_prefix` is True at the tokens that all others see. Combine with `padding_mask` where there is padding.
    """
    return causal_mask(is_prefix.shape[1], device=is_prefix.device) | is_prefix[:, None, None, :]


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
    `causal_mask` where nothing else restricts, so that fast kernels need no mask in memory. `lengths`: the row holds
    several texts of these lengths side by side, each of which sees only itself (nn/packed.py).
    """

    allowed: Bool[Tensor, "#batch #heads #query key"] | None = None
    bias: Float[Tensor, "#batch #heads #query key"] | None = None
    is_causal: bool = False
    lengths: tuple[int, ...] | None = None

    def restricted_to(self, rule: Bool[Tensor, "#batch #heads #query key"]) -> AttentionMask:
        """What both this mask and `rule` allow; where this one is causal, `rule` must be too."""
        if self.lengths is not None:
            raise InputError("Texts that are packed into one row cannot be restricted to a window.")
        return AttentionMask(rule if self.allowed is None else self.allowed & rule, self.bias)
