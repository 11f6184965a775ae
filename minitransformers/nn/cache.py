"""The KV cache: keys and values of earlier tokens, so that each new token costs one step.

Bricks take the cache of one layer and own none. A model makes one where `use_cache` is on and none is given. The
interface is that of transformers' `DynamicCache` and `EncoderDecoderCache`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.utils._pytree as pytree
from jaxtyping import Float, Int
from torch import Tensor

from minitransformers.errors import InputError


class CacheLayer:
    """Keys and values of one attention layer, each (batch, heads, length, dim).

    Without gradients, new tokens are written into memory that is allocated ahead and doubles when it is full. With
    gradients they are concatenated, because autograd forbids overwriting what an earlier step has saved.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.length = 0
        self._capacity = capacity  # number of tokens to allocate memory for at the first write
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._is_own = False  # whether the memory was allocated here; a caller may still read its own tensors

    @property
    def keys(self) -> Float[Tensor, "batch heads length dim"] | None:
        """The keys of all tokens so far; None while the layer is empty."""
        return None if self._keys is None else self._keys[:, :, : self.length]

    @property
    def values(self) -> Float[Tensor, "batch heads length value_dim"] | None:
        """The values of all tokens so far; None while the layer is empty."""
        return None if self._values is None else self._values[:, :, : self.length]

    def update(
        self, key_states: Float[Tensor, "batch heads new dim"], value_states: Float[Tensor, "batch heads new value_dim"]
    ) -> tuple[Float[Tensor, "batch heads length dim"], Float[Tensor, "batch heads length value_dim"]]:
        """Add the keys and values of new tokens; return those of all tokens so far.

        Raises:
            InputError: the batch is not the one that the cache holds.
        """
        if self._keys is None or self._values is None:
            self.length = key_states.shape[2]
            self._keys, self._values = (self._with_room(new, self._capacity) for new in (key_states, value_states))
            self._is_own = self._keys is not key_states
            return self.read()
        if key_states.shape[0] != self._keys.shape[0]:
            raise InputError(
                f"The cache holds {self._keys.shape[0]} sequences and the input {key_states.shape[0]}: "
                f"pass the same batch, or select rows of the cache with batch_select_indices."
            )
        start, self.length = self.length, self.length + key_states.shape[2]
        self._keys = self._extended(self._keys, key_states, start)
        self._values = self._extended(self._values, value_states, start)
        self._is_own = True
        return self.read()

    def read(self) -> tuple[Float[Tensor, "batch heads length dim"], Float[Tensor, "batch heads length value_dim"]]:
        """The keys and values of all tokens so far.

        Raises:
            InputError: the layer is empty.
        """
        if self._keys is None or self._values is None:
            raise InputError("The cache is empty.")
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def reorder(self, rows: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch, in that order; rows may repeat (beam search, several samples a prompt).

        `start`: the first `start` tokens of each row equal those of the row that replaces it and need not be copied.
        """
        if self._keys is not None and self._values is not None:
            rows = rows.to(self._keys.device)
            self._keys, self._values = (self._reordered(old, rows, start) for old in (self._keys, self._values))
            self._is_own = True

    def crop(self, length: int) -> None:
        """Forget all tokens after the first `length`; a negative `length` counts from the end."""
        self.length = max(self.length + length, 0) if length < 0 else min(self.length, length)

    def _with_room(self, new: Tensor, capacity: int) -> Tensor:
        if capacity <= new.shape[2] or torch.is_grad_enabled():
            return new  # a plain forward pass copies nothing
        memory = new.new_empty(*new.shape[:2], capacity, new.shape[3])
        memory[:, :, : new.shape[2]] = new
        return memory

    def _reordered(self, memory: Tensor, rows: Tensor, start: int) -> Tensor:
        foreign = memory.is_inference() and not torch.is_inference_mode_enabled()
        may_write = self._is_own and not (foreign or memory.requires_grad or torch.is_grad_enabled())
        if not start or not may_write or len(rows) != len(memory):
            return self._with_room(memory[:, :, : self.length].index_select(0, rows), memory.shape[2])
        moved = (rows != torch.arange(len(rows), device=rows.device)).nonzero().squeeze(1)
        recent = memory[:, :, start : self.length]
        recent[moved] = recent[rows[moved]]
        return memory

    def _extended(self, memory: Tensor, new: Tensor, start: int) -> Tensor:
        if torch.compiler.is_compiling():  # the compiler cannot trace is_inference(), and reuses memory by itself
            return torch.cat([memory[:, :, :start], new], dim=2)
        if torch.is_grad_enabled() or memory.requires_grad:
            # Tensors made in inference mode cannot take part in autograd; a copy can.
            memory = memory.clone() if memory.is_inference() and not torch.is_inference_mode_enabled() else memory
            return torch.cat([memory[:, :, :start], new], dim=2)
        foreign = memory.is_inference() and not torch.is_inference_mode_enabled()  # must not be written to
        if self.length > memory.shape[2] or foreign or not self._is_own:
            larger = memory.new_empty(*memory.shape[:2], max(self.length, 2 * start), memory.shape[3])
            larger[:, :, :start] = memory[:, :, :start]
            memory = larger
        memory[:, :, start : self.length] = new
        return memory


class DynamicCache:
    """The cache of a model's self-attention: one `CacheLayer` for each block.

    Args:
        config: the model's configuration; accepted as in transformers. Layers are made when they are first used.
        capacity: number of tokens to allocate memory for, where the final length is known.
    """

    def __init__(self, config: Any = None, *, capacity: int = 0) -> None:
        self.layers: list[CacheLayer] = []
        self._capacity = capacity

    def layer(self, index: int) -> CacheLayer:
        """The cache of block `index`, made where it does not exist yet."""
        while len(self.layers) <= index:
            self.layers.append(CacheLayer(self._capacity))
        return self.layers[index]

    self_layer = layer

    def cross_layer(self, index: int) -> None:
        """There is no cross-attention."""

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Add keys and values of new tokens to block `layer_idx`; return those of all its tokens."""
        return self.layer(layer_idx).update(key_states, value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of tokens in the cache."""
        return self.layers[layer_idx].length if layer_idx < len(self.layers) else 0

    def reorder_cache(self, beam_idx: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch in every layer, in that order; see `CacheLayer.reorder`."""
        for layer in self.layers:
            layer.reorder(beam_idx, start)

    def batch_select_indices(self, indices: Int[Tensor, " new_batch"]) -> None:
        """Keep the given rows of the batch, in that order."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row of the batch `repeats` times; copies are neighbours."""
        if self.layers and self.layers[0].keys is not None:
            self.reorder_cache(torch.arange(self.layers[0].keys.shape[0]).repeat_interleave(repeats))

    def crop(self, max_length: int) -> None:
        """Forget all tokens after the first `max_length`; a negative number counts from the end."""
        for layer in self.layers:
            layer.crop(max_length)

    def reset(self) -> None:
        """Forget everything."""
        self.layers = []

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (layer.read() for layer in self.layers if layer.length)


class EncoderDecoderCache:
    """Two caches of a decoder with cross-attention: of its own tokens, and of the encoder's output.

    Keys and values of the encoder's output are computed at the first step and read at all later ones.
    """

    def __init__(
        self, self_attention_cache: DynamicCache | None = None, cross_attention_cache: DynamicCache | None = None
    ) -> None:
        self.self_attention_cache = DynamicCache() if self_attention_cache is None else self_attention_cache
        self.cross_attention_cache = DynamicCache() if cross_attention_cache is None else cross_attention_cache

    def self_layer(self, index: int) -> CacheLayer:
        """The cache of block `index`'s self-attention."""
        return self.self_attention_cache.layer(index)

    def cross_layer(self, index: int) -> CacheLayer:
        """The cache of block `index`'s cross-attention."""
        return self.cross_attention_cache.layer(index)

    @property
    def is_updated(self) -> dict[int, bool]:
        """For each layer, whether the keys and values of the encoder's output are in the cache."""
        return {index: layer.length > 0 for index, layer in enumerate(self.cross_attention_cache.layers)}

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of the decoder's tokens in the cache."""
        return self.self_attention_cache.get_seq_length(layer_idx)

    def reorder_cache(self, beam_idx: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch in every layer, in that order.

        With `start`, rows are replaced by rows of the same prompt, whose encoder output is the same.
        """
        self.self_attention_cache.reorder_cache(beam_idx, start)
        if not start:
            self.cross_attention_cache.reorder_cache(beam_idx)

    def batch_select_indices(self, indices: Int[Tensor, " new_batch"]) -> None:
        """Keep the given rows of the batch, in that order."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row of the batch `repeats` times; copies are neighbours."""
        self.self_attention_cache.batch_repeat_interleave(repeats)
        self.cross_attention_cache.batch_repeat_interleave(repeats)

    def crop(self, max_length: int) -> None:
        """Forget the decoder's tokens after the first `max_length`; the encoder's output stays."""
        self.self_attention_cache.crop(max_length)

    def reset(self) -> None:
        """Forget everything."""
        self.self_attention_cache.reset()
        self.cross_attention_cache.reset()

    def __len__(self) -> int:
        return len(self.self_attention_cache)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Keys and values of the self-attention and of the cross-attention, layer by layer."""
        for own, of_context in zip(self.self_attention_cache.layers, self.cross_attention_cache.layers, strict=True):
            yield (*own.read(), *of_context.read())


Cache = DynamicCache | EncoderDecoderCache


def as_cache(cache: Any) -> Cache:
    """`cache` as one of the classes here; caches of transformers, which adapters pass, are read layer by layer.

    Raises:
        InputError: it is no cache.
    """
    if isinstance(cache, (DynamicCache, EncoderDecoderCache)):
        return cache
    if hasattr(cache, "self_attention_cache") and hasattr(cache, "cross_attention_cache"):
        return EncoderDecoderCache(
            *(_copied(part) for part in (cache.self_attention_cache, cache.cross_attention_cache))
        )
    if hasattr(cache, "layers") and hasattr(cache, "get_seq_length"):
        return _copied(cache)
    raise InputError(
        f"past_key_values must be the cache that an earlier call returned (DynamicCache or EncoderDecoderCache), "
        f"got {type(cache).__name__}."
    )


def _copied(cache: Any) -> DynamicCache:
    copy = DynamicCache()
    for index, layer in enumerate(cache.layers):
        if layer.keys is not None and layer.keys.numel():
            copy.update(layer.keys, layer.values, index)
    return copy


# As pytree nodes, caches pass through torch.export, torch.func and distributed wrappers.


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
