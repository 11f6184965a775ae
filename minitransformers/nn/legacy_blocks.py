"""A transformer's layers: attention and feed-forward, each with a residual connection and a norm.

Two orders are in use. Post-norm, norm(x + f(x)), is the paper's and BERT's (Vaswani et al., 2017, §3.1); pre-norm,
x + f(norm(x)), is GPT-2's and most later models' (Radford et al., 2019, §2.3).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.feed_forward import FeedForward
from minitransformers.nn.legacy_attention import MultiHeadAttention
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import Rotary


class BlockOutput(NamedTuple):
    """What a block gives: its hidden states, and attention weights where the kernel has them."""

    hidden_states: Float[Tensor, "batch length hidden"]
    attention: Float[Tensor, "batch heads query key"] | None
    cross_attention: Float[Tensor, "batch heads query context"] | None


class Block(nn.Module):
    """Self-attention, cross-attention where there is one, and feed-forward, made of the parts that are given.

    `EncoderBlock` and `DecoderBlock` put the usual parts together; models with parts of their own use this class.

    Args:
        self_attention, feed_forward: the sub-layers.
        norm: makes a norm; each sub-layer gets one.
        cross_attention: a further sub-layer between the two, which attends to a context.
        dropout: after each sub-layer.
        pre_norm: norm before each sub-layer instead of after its residual connection.
    """

    def __init__(
        self,
        self_attention: MultiHeadAttention,
        feed_forward: nn.Module,
        norm: Callable[[], nn.Module],
        *,
        cross_attention: MultiHeadAttention | None = None,
        dropout: float = 0.0,
        pre_norm: bool,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.dropout = nn.Dropout(dropout)
        self.self_attention = self_attention
        self.self_attention_norm = norm()
        if cross_attention is not None:
            self.cross_attention = cross_attention
            self.cross_attention_norm = norm()
        self.feed_forward = feed_forward
        self.feed_forward_norm = norm()

    def forward(
        self,
        hidden_states: Float[Tensor, "batch length hidden"],
        mask: AttentionMask | Bool[Tensor, "#batch #heads #length length_and_past"] | None = None,
        *,
        context: Float[Tensor, "batch context_length context"] | None = None,
        context_mask: AttentionMask | Bool[Tensor, "#batch #heads #length context_length"] | None = None,
        cache: CacheLayer | None = None,
        cross_cache: CacheLayer | None = None,
        rotary: Rotary | None = None,
        kernel: str = "sdpa",
    ) -> BlockOutput:
        """Transform a sequence, or the next tokens of one whose earlier tokens are in `cache`.

        Args:
            mask: who may attend to whom (None: everybody to everybody), on top of the causality of a decoder; an
                `AttentionMask` is the whole rule.
            context: what cross-attention attends to; without it, that sub-layer is left out.
            context_mask: which parts of the context may be attended to.
            cache, cross_cache: earlier keys and values of the self-attention and of the cross-attention.
            rotary: the positions, where self-attention turns queries and keys by them.

        Raises:
            InputError: a context for a block that has no cross-attention.
        """
        x = hidden_states
        attended, weights = self.self_attention(
            self._before(self.self_attention_norm, x), mask=mask, cache=cache, rotary=rotary, kernel=kernel
        )
        x = self._after(self.self_attention_norm, x, attended)

        cross_weights = None
        if context is not None:
            if not hasattr(self, "cross_attention"):
                raise InputError("This block was built without cross_attention=True and cannot attend to a context.")
            attended, cross_weights = self.cross_attention(
                self._before(self.cross_attention_norm, x),
                context=context,
                mask=context_mask,
                cache=cross_cache,
                kernel=kernel,
            )
            x = self._after(self.cross_attention_norm, x, attended)

        x = self._after(self.feed_forward_norm, x, self.feed_forward(self._before(self.feed_forward_norm, x)))
        return BlockOutput(x, weights, cross_weights)

    def _before(self, norm: nn.Module, hidden_states: Tensor) -> Tensor:
        return norm(hidden_states) if self.pre_norm else hidden_states

    def _after(self, norm: nn.Module, hidden_states: Tensor, update: Tensor) -> Tensor:
        hidden_states = hidden_states + self.dropout(update)
        return hidden_states if self.pre_norm else norm(hidden_states)


class EncoderBlock(Block):
    """Bidirectional self-attention, then feed-forward.

    Args:
        hidden_size: width of the hidden states.
        num_heads: number of attention heads.
        intermediate_size: width inside the feed-forward network.
        activation: its activation, by name.
        dropout: after each sub-layer.
        attention_dropout: on the attention weights.
        eps: of the norms.
        pre_norm: norm before each sub-layer instead of after its residual connection.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        activation: str = "gelu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        eps: float = 1e-12,
        pre_norm: bool = False,
    ) -> None:
        super().__init__(
            MultiHeadAttention(hidden_size, num_heads, dropout=attention_dropout),
            FeedForward(hidden_size, intermediate_size, activation=activation),
            lambda: LayerNorm(hidden_size, eps=eps),
            dropout=dropout,
            pre_norm=pre_norm,
        )


class DecoderBlock(Block):
    """Causal self-attention, cross-attention to a context where asked for, then feed-forward.

    Args:
        hidden_size, num_heads, intermediate_size, activation, dropout, attention_dropout, eps, pre_norm: see
            `EncoderBlock`.
        cross_attention: add attention to a context (an encoder's output).
        context_size: width of the context; default `hidden_size`.
        fused: queries, keys and values come from one projection, as in GPT-2.
        scale, upcast: of the attention scores; see `MultiHeadAttention`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        activation: str = "gelu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        eps: float = 1e-5,
        pre_norm: bool = True,
        cross_attention: bool = False,
        context_size: int | None = None,
        fused: bool = False,
        scale: float | None = None,
        upcast: bool = False,
    ) -> None:
        attention = partial(
            MultiHeadAttention,
            hidden_size,
            num_heads,
            dropout=attention_dropout,
            fused=fused,
            scale=scale,
            upcast=upcast,
        )
        super().__init__(
            attention(causal=True),
            FeedForward(hidden_size, intermediate_size, activation=activation),
            lambda: LayerNorm(hidden_size, eps=eps),
            cross_attention=attention(cross=True, context_size=context_size) if cross_attention else None,
            dropout=dropout,
            pre_norm=pre_norm,
        )
