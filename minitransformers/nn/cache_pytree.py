"""Caches as pytree nodes: they pass through torch.export, torch.func and distributed wrappers."""

from __future__ import annotations

import torch.utils._pytree as pytree
from torch import Tensor

from minitransformers.nn.cache import DynamicCache, EncoderDecoderCache


def _flatten(cache: DynamicCache) -> tuple[list[Tensor], list[bool]]:
    filled = [layer.length > 0 for layer in cache.layers]
    return [tensor for layer in cache.layers if layer.length for tensor in layer.read()], filled


def _unflatten(tensors: list[Tensor], filled: list[bool]) -> DynamicCache:
    cache, remaining = DynamicCache(), iter(tensors)
    for index, is_filled in enumerate(filled):
        layer = cache.layer(index)
        if is_filled:
            layer._keys, layer._values = next(remaining), next(remaining)
            layer.length = layer._keys.shape[2] if isinstance(layer._keys, Tensor) else 0
    return cache


pytree.register_pytree_node(
    DynamicCache,
    _flatten,
    _unflatten,  # type: ignore[arg-type]
    serialized_type_name="minitransformers.nn.cache.DynamicCache",
)
pytree.register_pytree_node(
    EncoderDecoderCache,
    lambda cache: ([cache.self_attention_cache, cache.cross_attention_cache], None),
    lambda caches, _: EncoderDecoderCache(*caches),
    serialized_type_name="minitransformers.nn.cache.EncoderDecoderCache",
)
