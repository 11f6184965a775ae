"""The transformer's layers: attention and feed-forward, each with a residual connection and a norm.

Two orders are in use. Post-norm, norm(x + f(x)), is the paper's and BERT's (Vaswani et al., 2017, §3.1); pre-norm,
x + f(norm(x)), is GPT-2's and most later models' (Radford et al., 2019, §2.3).

These are the textbook's blocks, for the original transformer and for models of your own. Each family in `models/`
writes its own block, with the names of its checkpoints.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.nn.attention import MultiHeadAttention
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.feed_forward import FeedForward
from minitransformers.nn.masks import AttentionMask
from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import Rotary


class BlockOutput(NamedTuple):
    """Hidden states, and attention weights where the kernel computes them."""

    hidden_states: Float[Tensor, "batch length hidden"]
    attention: Float[Tensor, "batch heads query key"] | None
    cross_attention: Float[Tensor, "batch heads query context"] | None = None


class EncoderBlock(nn.Module):
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
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attention = MultiHeadAttention(hidden_size, num_heads, dropout=attention_dropout)
        self.self_attention_norm = LayerNorm(hidden_size, eps=eps)
        self.feed_forward = FeedForward(hidden_size, intermediate_size, activation=activation)
        self.feed_forward_norm = LayerNorm(hidden_size, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        hidden_states: Float[Tensor, "batch length hidden"],
        mask: AttentionMask | Bool[Tensor, "#batch #heads #length length"] | None = None,
        *,
        rotary: Rotary | None = None,
        kernel: str = "sdpa",
    ) -> BlockOutput:
        """Transform a sequence; for `mask`, `rotary` and `kernel` see `MultiHeadAttention`."""
        x = hidden_states
        attend = {"mask": mask, "rotary": rotary, "kernel": kernel}
        if self.pre_norm:
            attended, weights = self.self_attention(self.self_attention_norm(x), **attend)
            x = x + self.dropout(attended)
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        else:
            attended, weights = self.self_attention(x, **attend)
            x = self.self_attention_norm(x + self.dropout(attended))
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return BlockOutput(x, weights)


class DecoderBlock(nn.Module):
    """Causal self-attention, cross-attention to a context where asked for, then feed-forward.

    Args:
        hidden_size, num_heads, intermediate_size, activation, dropout, attention_dropout, eps, pre_norm: see
            `EncoderBlock`.
        cross_attention: add attention to a context (an encoder's output).
        context_size: width of the context; default `hidden_size`.
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
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attention = MultiHeadAttention(hidden_size, num_heads, dropout=attention_dropout, causal=True)
        self.self_attention_norm = LayerNorm(hidden_size, eps=eps)
        self.cross_attention = None
        if cross_attention:
            self.cross_attention = MultiHeadAttention(
                hidden_size, num_heads, dropout=attention_dropout, context_size=context_size
            )
            self.cross_attention_norm = LayerNorm(hidden_size, eps=eps)
        self.feed_forward = FeedForward(hidden_size, intermediate_size, activation=activation)
        self.feed_forward_norm = LayerNorm(hidden_size, eps=eps)
        self.dropout = nn.Dropout(dropout)

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
            mask: who may attend to whom, True = may; combined with causality. None: the past.
            context: input of the cross-attention; without it, that sub-layer is left out.
            context_mask: which parts of the context may be attended to.
            cache, cross_cache: earlier keys and values of the self-attention and of the cross-attention.
            rotary, kernel: see `MultiHeadAttention`.

        Raises:
            InputError: a context for a block without cross-attention.
        """
        x, cross_weights = hidden_states, None
        if context is not None and self.cross_attention is None:
            raise InputError("This block was built without cross_attention=True and cannot attend to a context.")
        attend = {"mask": mask, "cache": cache, "rotary": rotary, "kernel": kernel}
        cross_attend = {"context": context, "mask": context_mask, "cache": cross_cache, "kernel": kernel}
        if self.pre_norm:
            attended, weights = self.self_attention(self.self_attention_norm(x), **attend)
            x = x + self.dropout(attended)
            if context is not None and self.cross_attention is not None:
                attended, cross_weights = self.cross_attention(self.cross_attention_norm(x), **cross_attend)
                x = x + self.dropout(attended)
            x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        else:
            attended, weights = self.self_attention(x, **attend)
            x = self.self_attention_norm(x + self.dropout(attended))
            if context is not None and self.cross_attention is not None:
                attended, cross_weights = self.cross_attention(x, **cross_attend)
                x = self.cross_attention_norm(x + self.dropout(attended))
            x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return BlockOutput(x, weights, cross_weights)
