"""Temporary."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.nn.attention import attention_kernel, merge_heads, split_heads
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.positions import Rotary, rotate


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own projection (Vaswani et al., 2017, §3.2.2).

    Attends to the input itself, or to a `context` (cross-attention).

    Args:
        hidden_size: width of input and output.
        num_heads: number of heads; must divide `hidden_size` unless `head_dim` is given.
        num_key_value_heads: number of heads that keys and values have, each of which serves as many heads of queries
            (grouped-query attention: Ainslie et al., 2023); default: `num_heads`.
        dropout: probability with which an attention weight is dropped while training.
        bias: whether the projections have biases; `output_bias` says it for the last one, where that differs.
        causal: a query sees only itself and what came before it.
        cross: the keys and values come from a context of width `context_size` (default: `hidden_size`).
        fused: queries, keys and values come from one projection `query_key_value` (with `cross`: keys and values from
            `key_value`) instead of three, as GPT-2 stores them.
        scale: factor of the scores; 1/√head_dim where it is None.
        upcast: see `eager_attention`.

    Raises:
        InputError: `num_heads` does not divide `hidden_size`, or `num_key_value_heads` does not divide `num_heads`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        num_key_value_heads: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        output_bias: bool | None = None,
        causal: bool = False,
        cross: bool = False,
        context_size: int | None = None,
        fused: bool = False,
        scale: float | None = None,
        upcast: bool = False,
    ) -> None:
        super().__init__()
        if head_dim is None and hidden_size % num_heads:
            raise InputError(f"hidden_size={hidden_size} is not a multiple of num_heads={num_heads}.")
        self.num_heads = num_heads
        self.num_key_value_heads = num_key_value_heads or num_heads
        if num_heads % self.num_key_value_heads:
            raise InputError(f"num_heads={num_heads} is not a multiple of num_key_value_heads={num_key_value_heads}.")
        self.head_dim = head_dim or hidden_size // num_heads
        self.dropout = dropout
        self.causal = causal
        self.scale = scale
        self.upcast = upcast
        self.fused = fused
        self.cross = cross

        inner_size, key_size = num_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        context_size = context_size or hidden_size
        if not fused or cross:
            self.query = nn.Linear(hidden_size, inner_size, bias=bias)
        if not fused:
            self.key = nn.Linear(context_size, key_size, bias=bias)
            self.value = nn.Linear(context_size, key_size, bias=bias)
        elif cross:
            self.key_value = nn.Linear(context_size, 2 * key_size, bias=bias)
        else:
            self.query_key_value = nn.Linear(hidden_size, inner_size + 2 * key_size, bias=bias)
        self.output = nn.Linear(inner_size, hidden_size, bias=bias if output_bias is None else output_bias)

    def forward(
        self,
        hidden_states: Float[Tensor, "batch query hidden"],
        *,
        context: Float[Tensor, "batch key context"] | None = None,
        mask: AttentionMask | Bool[Tensor, "#batch #heads #query key_and_past"] | None = None,
        cache: CacheLayer | None = None,
        rotary: Rotary | None = None,
        kernel: str = "sdpa",
    ) -> tuple[Float[Tensor, "batch query hidden"], Float[Tensor, "batch heads query key_and_past"] | None]:
        """Attend; give the output and, from the eager kernel, the attention weights.

        Args:
            hidden_states: where the queries come from, and without `context` also keys and values.
            context: where keys and values come from; needed by cross-attention unless `cache` has them.
            mask: who may attend to whom, True = may; joined with causality if the module is causal. An
                `AttentionMask` is the whole rule: causality is not added to it.
            cache: keys and values of earlier tokens; the new ones are added to it. In cross-attention it is filled
                once, by the first call.
            rotary: the positions of `hidden_states`, by which queries and keys are turned (self-attention only).
            kernel: "sdpa" (fused) or "eager" (gives the weights).
        """
        query, key, value = self._project(hidden_states, context, cache, rotary)
        if not isinstance(mask, AttentionMask):
            mask = AttentionMask(allowed=mask, is_causal=self.causal)
        output, weights = attention_kernel(kernel)(
            query,
            key,
            value,
            mask=mask.allowed,
            bias=mask.bias,
            is_causal=mask.is_causal,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            upcast=self.upcast,
        )
        return self.output(merge_heads(output)), weights

    def _project(
        self,
        hidden_states: Tensor,
        context: Tensor | None,
        cache: CacheLayer | None,
        rotary: Rotary | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not self.cross:
            if self.fused:
                query, key, value = self.split_fused(self.query_key_value(hidden_states))
            else:
                query, key, value = self.query(hidden_states), self.key(hidden_states), self.value(hidden_states)
        else:
            query = self.query(hidden_states)
            if cache is not None and cache.length:  # the context does not change between steps
                key, value = cache.read()
                return split_heads(query, self.num_heads), self._for_all_heads(key), self._for_all_heads(value)
            if context is None:
                raise InputError("Cross-attention needs context=…, or a cache that holds its keys and values.")
            if self.fused:
                key, value = self.key_value(context).chunk(2, dim=-1)
            else:
                key, value = self.key(context), self.value(context)

        query = split_heads(query, self.num_heads)
        key, value = split_heads(key, self.num_key_value_heads), split_heads(value, self.num_key_value_heads)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        if cache is not None:
            key, value = cache.update(key, value)
        return query, self._for_all_heads(key), self._for_all_heads(value)

    def split_fused(self, fused: Float[Tensor, "batch length all"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads: they lie one after the other, unless a family has another order."""
        widths = (self.num_heads, self.num_key_value_heads, self.num_key_value_heads)
        query, key, value = torch.split(fused, [heads * self.head_dim for heads in widths], dim=-1)
        return query, key, value

    def _for_all_heads(self, per_head: Tensor) -> Tensor:
        """Keys or values, each head of them repeated for the heads of queries that share it."""
        copies = self.num_heads // self.num_key_value_heads
        return per_head if copies == 1 else per_head.repeat_interleave(copies, dim=1)
