"""The bricks: plain numbers in, no config, no model. Import any of them alone and build your own model with it."""

from minitransformers.nn import cache_pytree as cache_pytree  # registers caches as pytree nodes
from minitransformers.nn.attention import (
    AttentionOutput,
    MultiHeadAttention,
    attend,
    attention_kernel,
    eager_attention,
    fused_attention,
    merge_heads,
    split_heads,
)
from minitransformers.nn.blocks import BlockOutput, DecoderBlock, EncoderBlock
from minitransformers.nn.cache import Cache, CacheLayer, DynamicCache, EncoderDecoderCache
from minitransformers.nn.feed_forward import ACTIVATIONS, FeedForward, GatedFeedForward, activation_function
from minitransformers.nn.masks import (
    AttentionMask,
    causal_mask,
    document_mask,
    local_mask,
    padding_mask,
    prefix_mask,
)
from minitransformers.nn.normalization import LayerNorm, RMSNorm, layer_norm, rms_norm
from minitransformers.nn.patches import PatchEmbedding, cut_into_patches, resize_positions
from minitransformers.nn.positions import (
    Rotary,
    SinusoidalPositions,
    count_positions,
    positions_from_mask,
    relative_buckets,
    rotary_frequencies,
    rotary_positions,
    rotate,
    sinusoidal_positions,
)
from minitransformers.nn.static_cache import StaticCache, StaticLayer

__all__ = [
    "ACTIVATIONS",
    "AttentionMask",
    "AttentionOutput",
    "BlockOutput",
    "Cache",
    "CacheLayer",
    "DecoderBlock",
    "DynamicCache",
    "EncoderBlock",
    "EncoderDecoderCache",
    "FeedForward",
    "GatedFeedForward",
    "LayerNorm",
    "MultiHeadAttention",
    "PatchEmbedding",
    "RMSNorm",
    "Rotary",
    "SinusoidalPositions",
    "StaticCache",
    "StaticLayer",
    "activation_function",
    "attend",
    "attention_kernel",
    "causal_mask",
    "count_positions",
    "cut_into_patches",
    "document_mask",
    "eager_attention",
    "fused_attention",
    "layer_norm",
    "local_mask",
    "merge_heads",
    "padding_mask",
    "positions_from_mask",
    "prefix_mask",
    "relative_buckets",
    "resize_positions",
    "rms_norm",
    "rotary_frequencies",
    "rotary_positions",
    "rotate",
    "sinusoidal_positions",
    "split_heads",
]
