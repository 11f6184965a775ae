"""Texts side by side in one row, without padding.

A batch of texts of different lengths is padded to the longest, and every layer computes the padding, too. In a packed
row, (1, all tokens, hidden), there is none. All layers but attention treat every token by itself and give the same
numbers. Attention runs text by text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from minitransformers.errors import InputError
from minitransformers.nn.cache import Cache, CacheLayer


def packed_attention(
    query: Float[Tensor, "1 heads tokens dim"],
    key: Float[Tensor, "1 key_heads tokens dim"],
    value: Float[Tensor, "1 key_heads tokens value_dim"],
    *,
    lengths: Sequence[int],
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    cache: PackedLayer | None = None,
) -> Float[Tensor, "1 heads tokens value_dim"]:
    """Attention within each text of a packed row.

    Args:
        lengths: the number of tokens of each text, in the order of the row. Neighbours of the same length are computed
            in one call.
        is_causal: a token sees itself and those before it.
        scale: factor of the scores; 1/√dim where it is None.
        dropout: probability of dropping an attention weight; not with a cache.
        cache: keys and values of earlier tokens of each text; the new ones are added to it.
    """
    if key.shape[1] != query.shape[1]:
        copies = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(copies, dim=1), value.repeat_interleave(copies, dim=1)
    if cache is not None:
        parts = cache.attend(query, key, value, lengths, scale)
        return torch.cat(list(parts), dim=2)
    attended, start = [], 0
    for length, group in groupby(lengths):
        texts = len(list(group))
        end = start + length * texts
        q, k, v = (
            part[0, :, start:end].reshape(part.shape[1], texts, length, -1).transpose(0, 1)
            for part in (query, key, value)
        )  # (texts, heads, length, dim)
        output = F.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=is_causal and length > 1, scale=scale
        )
        attended.append(output.transpose(0, 1).flatten(1, 2))  # (heads, texts · length, dim)
        start = end
    return torch.cat(attended, dim=1)[None]


class PackedLayer(CacheLayer):
    """The keys and values of one attention layer for several texts, each with memory of its own.

    Attributes:
        texts: the cache of each text, (1, heads, length, dim).
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[CacheLayer] = []

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float | None
    ) -> Iterator[Tensor]:
        """Causal attention of each text's new tokens to itself: (1, heads, new tokens, dim) for each."""
        parts = (torch.split(part, list(lengths), dim=2) for part in (query, key, value))
        for text, q, k, v in zip(self.texts, *parts, strict=True):
            past, new = text.length, q.shape[2]
            if past and new > 1:
                raise InputError("A text in a packed row goes on by one token at a time.")
            keys, values = text.update(k, v)
            yield F.scaled_dot_product_attention(q, keys, values, is_causal=new > 1, scale=scale)


class PackedCache(Cache):
    """The cache of a model that reads packed rows.

    Attributes:
        lengths: the number of new tokens of each text in the next forward pass. A new text comes with its whole prompt
            and is computed with the others, which come with one token each.
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__([PackedLayer() for _ in range(num_layers)])
        self.lengths: tuple[int, ...] = ()

    def add_text(self, capacity: int) -> None:
        """Make room for one more text of at most `capacity` tokens."""
        for layer in self.layers:
            layer.texts.append(CacheLayer(capacity))

    def keep_texts(self, indices: Sequence[int]) -> None:
        """Forget all texts but these."""
        for layer in self.layers:
            layer.texts = [layer.texts[index] for index in indices]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """0: the tokens of the cache are not in front of the row, but belong to its texts."""
        return 0

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Refused: keys and values of several texts are no tensor."""
        raise InputError("A PackedCache is read by the model's attention only.")
