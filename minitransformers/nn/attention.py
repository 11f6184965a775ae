"""Scaled dot-product attention in two kernels, and multi-head attention over it (Vaswani et al., 2017, §3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError, UnknownNameError, nearest
from minitransformers.nn.cache import CacheLayer
from minitransformers.nn.masks import AttentionMask, causal_mask
from minitransformers.nn.packed import PackedLayer, packed_attention
from minitransformers.nn.positions import Rotary, rotate


class AttentionOutput(NamedTuple):
    """The averaged values, and the weights of the average where the kernel computes them."""

    output: Float[Tensor, "batch heads query value_dim"] | Float[Tensor, "batch query hidden"]
    weights: Float[Tensor, "batch heads query key"] | None


def eager_attention(
    query: Float[Tensor, "batch heads query dim"],
    key: Float[Tensor, "batch heads key dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    mask: Bool[Tensor, "#batch #heads #query key"] | None = None,
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float | nn.Dropout = 0.0,
    upcast: bool = False,
) -> AttentionOutput:
    r"""softmax(QKᵀ·scale + bias) V over the keys that `mask` allows, with the weights (Vaswani et al., 2017, eq. 1).

    This is the specification that other kernels are tested against. A query that may attend to nothing gets zeros:
    there is nothing to average.

    Args:
        mask: True = may attend.
        bias: added to the scores, for instance relative positions.
        is_causal: a query sees the keys up to its own, aligned to the lower right.
        scale: factor of the scores; 1/√dim where it is None.
        dropout: probability of dropping a weight in the average, or a module that drops while it trains; the returned
            weights have none dropped.
        upcast: compute scores and softmax in at least float32, as Mistral's GPT-2 training and GPT-Neo did.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if is_causal:
        causal = causal_mask(query.shape[2], key.shape[2], device=query.device)
        mask = causal if mask is None else mask & causal
    if upcast:
        with torch.autocast(query.device.type, enabled=False):
            scores = _at_least_float32(query) @ _at_least_float32(key).transpose(-1, -2) * scale
    else:
        scores = query @ key.transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        # Matters only in rows without any key, whose softmax is uniform (finite, so that gradients stay finite).
        weights = weights.masked_fill(~mask, 0.0)
    weights = weights.to(value.dtype)
    dropped = dropout(weights) if isinstance(dropout, nn.Dropout) else F.dropout(weights, dropout)
    return AttentionOutput(dropped @ value, weights)


def fused_attention(
    query: Float[Tensor, "batch heads query dim"],
    key: Float[Tensor, "batch heads key dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    mask: Bool[Tensor, "#batch #heads #query key"] | None = None,
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float | nn.Dropout = 0.0,
    upcast: bool = False,
) -> AttentionOutput:
    """The same as `eager_attention` in one fused kernel of PyTorch, which never has the weights in memory.

    `upcast` changes nothing here: fused kernels accumulate in float32 as they are.
    """
    query_length, key_length = query.shape[2], key.shape[2]
    if is_causal and (mask is not None or bias is not None or query_length != key_length):
        # PyTorch's is_causal is aligned to the upper left, and cannot be combined with a mask.
        causal = causal_mask(query_length, key_length, device=query.device)
        mask, is_causal = (causal if mask is None else mask & causal), False

    without_keys = None
    if mask is not None and (bias is not None or query.device.type != "cpu"):
        # The CPU kernel gives zeros to a query without keys. To be sure of that where a bias is added and in the
        # kernels of other devices, such a query attends to everything, and its result is not used.
        without_keys = ~mask.any(dim=-1, keepdim=True)
        mask = mask | without_keys
    if bias is not None and mask is not None:
        bias = bias.masked_fill(~mask, torch.finfo(bias.dtype).min)
    output = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask if bias is None else bias,
        dropout_p=dropout.p * dropout.training if isinstance(dropout, nn.Dropout) else dropout,
        is_causal=is_causal,
        scale=scale,
    )
    if without_keys is not None:
        output = output.masked_fill(without_keys, 0.0)
    return AttentionOutput(output, None)


KERNELS: dict[str, Callable[..., AttentionOutput]] = {"eager": eager_attention, "sdpa": fused_attention}


def attention_kernel(name: str) -> Callable[..., AttentionOutput]:
    """The kernel of that name: the one entry point through which every model attends.

    Raises:
        UnknownNameError: there is no kernel of that name.
    """
    if name not in KERNELS:
        raise UnknownNameError(
            f"There is no attention kernel {name!r}; there are {list(KERNELS)}.{nearest(name, KERNELS)}"
        )
    return KERNELS[name]


def attend(
    query: Float[Tensor, "batch query hidden"],
    key: Float[Tensor, "batch key key_hidden"] | None,
    value: Float[Tensor, "batch key value_hidden"] | None,
    *,
    heads: int,
    mask: AttentionMask | Tensor | None = None,
    bias: Float[Tensor, "#batch #heads #query #all_keys"] | None = None,
    cache: CacheLayer | None = None,
    rotary: Rotary | None = None,
    scale: float | None = None,
    dropout: float | nn.Dropout = 0.0,
    upcast: bool = False,
    kernel: str = "sdpa",
) -> AttentionOutput:
    """Attention of several heads side by side, from projected vectors to their merged output (§3.2.2).

    Every model attends through this function: split into heads, rotate, add to the cache, run the kernel, merge.

    Args:
        query: `heads` vectors of width hidden / heads each, side by side.
        key, value: likewise. They may have fewer heads than the queries, each shared by as many queries' heads
            (grouped-query attention: Ainslie et al., 2023). None: those in the cache, for cross-attention after its
            first step.
        mask: who may attend to whom; a bool tensor (True = may attend) or a float one (added to the scores) is
            converted. None: everyone to everyone.
        bias: added to the scores, besides that of the mask; for instance relative positions.
        cache: keys and values of earlier tokens; the new ones are added to it.
        rotary: the positions by which queries and keys are rotated.
        scale: factor of the scores; 1/√width of a head where it is None.
        dropout: probability of dropping an attention weight, or a module that drops them while it trains.
        upcast: see `eager_attention`.
        kernel: "sdpa" (fused) or "eager" (the formula, and returns the weights).

    Returns:
        (batch, query, heads · value width), and the weights or None.
    """
    query = split_heads(query, heads)
    if key is None or value is None:
        if cache is None or not cache.length:
            raise InputError("Cross-attention needs a context, or a cache that holds its keys and values.")
        key, value = cache.read()
    else:
        key_heads = key.shape[-1] // query.shape[-1]
        key, value = split_heads(key, key_heads), split_heads(value, key_heads)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        if isinstance(mask, AttentionMask) and mask.lengths is not None:
            if bias is not None or not (cache is None or isinstance(cache, PackedLayer)):
                raise InputError("Texts that are packed into one row need attention without a bias, and a PackedCache.")
            attended = packed_attention(
                query,
                key,
                value,
                lengths=mask.lengths,
                is_causal=mask.is_causal,
                scale=scale,
                dropout=dropout.p * dropout.training if isinstance(dropout, nn.Dropout) else dropout,
                cache=cache,
            )
            return AttentionOutput(merge_heads(attended), None)
        if cache is not None:
            key, value = cache.update(key, value)
    if key.shape[1] != heads:
        copies = heads // key.shape[1]
        key, value = key.repeat_interleave(copies, dim=1), value.repeat_interleave(copies, dim=1)
    if not isinstance(mask, AttentionMask):
        is_rule = mask is None or mask.dtype == torch.bool
        mask = AttentionMask(allowed=mask) if is_rule else AttentionMask(bias=mask)
    if mask.bias is not None:
        bias = mask.bias if bias is None else bias + mask.bias
    output, weights = attention_kernel(kernel)(
        query,
        key,
        value,
        mask=mask.allowed,
        bias=bias,
        is_causal=mask.is_causal,
        scale=scale,
        dropout=dropout,
        upcast=upcast,
    )
    return AttentionOutput(merge_heads(output), weights)


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own projection (Vaswani et al., 2017, §3.2.2).

    Attends to the input itself or, where `forward` is given a `context`, to that (cross-attention).

    Args:
        hidden_size: width of input and output.
        num_heads: number of heads; must divide `hidden_size`.
        num_key_value_heads: number of heads of keys and values; default `num_heads`. See `attend`.
        dropout: probability of dropping an attention weight during training.
        bias: whether the projections have biases.
        causal: a query sees only itself and what came before it.
        context_size: width of the context; default `hidden_size`.

    Raises:
        InputError: `num_heads` does not divide `hidden_size`, or `num_key_value_heads` does not divide `num_heads`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        num_key_value_heads: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        causal: bool = False,
        context_size: int | None = None,
    ) -> None:
        super().__init__()
        num_key_value_heads = num_key_value_heads or num_heads
        if hidden_size % num_heads:
            raise InputError(f"hidden_size={hidden_size} is not a multiple of num_heads={num_heads}.")
        if num_heads % num_key_value_heads:
            raise InputError(f"num_heads={num_heads} is not a multiple of num_key_value_heads={num_key_value_heads}.")
        self.num_heads = num_heads
        self.causal = causal
        key_size = hidden_size // num_heads * num_key_value_heads
        self.query = nn.Linear(hidden_size, hidden_size, bias=bias)
        self.key = nn.Linear(context_size or hidden_size, key_size, bias=bias)
        self.value = nn.Linear(context_size or hidden_size, key_size, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, hidden_size, bias=bias)

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
        """Attend; return the output and, from the eager kernel, the attention weights.

        Args:
            hidden_states: input of the queries, and without `context` also of keys and values.
            context: input of keys and values. Its keys and values are computed once: later calls read the cache.
            mask: True = may attend, or an `AttentionMask`; combined with causality if the module is causal.
            cache: keys and values of earlier tokens; the new ones are added to it.
            rotary: the positions of `hidden_states`, by which queries and keys are rotated (self-attention only).
            kernel: "sdpa" (fused) or "eager" (returns the weights).
        """
        key = value = None
        if context is None or cache is None or not cache.length:
            source = hidden_states if context is None else context
            key, value = self.key(source), self.value(source)
        if not isinstance(mask, AttentionMask):
            mask = AttentionMask(allowed=mask)
        output, weights = attend(
            self.query(hidden_states),
            key,
            value,
            heads=self.num_heads,
            mask=mask._replace(is_causal=True) if self.causal else mask,
            cache=cache,
            rotary=rotary,
            dropout=self.dropout.p if self.training else 0.0,
            kernel=kernel,
        )
        return self.output(output), weights


def split_heads(
    projected: Float[Tensor, "batch length heads_and_dim"], num_heads: int
) -> Float[Tensor, "batch {num_heads} length dim"]:
    """Cut each vector into `num_heads` pieces and give every head its own sequence."""
    return rearrange(projected, "batch length (heads dim) -> batch heads length dim", heads=num_heads)


def merge_heads(per_head: Float[Tensor, "batch heads length dim"]) -> Float[Tensor, "batch length heads_and_dim"]:
    """The inverse of `split_heads`: the heads' vectors side by side."""
    return rearrange(per_head, "batch heads length dim -> batch length (heads dim)")


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
