"""The KV cache: keys and values of earlier tokens, so that each new token costs one step.

Bricks take the cache of one layer and own none. A model makes one where `use_cache` is on and none is given. The
interface is that of transformers' `DynamicCache` and `EncoderDecoderCache`; what only callers ask is in
cache_interface.py, and caches of a fixed size are in static_cache.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.cache_interface import CacheInterface, LayerInterface


class CacheLayer(LayerInterface):
    """Keys and values of one attention layer, each (batch, heads, length, dim).

    Without gradients, new tokens are written into memory that is allocated ahead and doubles when it is full. With
    gradients they are concatenated, because autograd forbids overwriting what an earlier step has saved.
    """

    def __init__(self, capacity: int = 0, **_: Any) -> None:
        self.length = 0
        self._capacity = capacity  # number of tokens to allocate memory for at the first write
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._is_own = False  # whether the memory was allocated here; a caller may still read its own tensors

    @property
    def keys(self) -> Float[Tensor, "batch heads length dim"] | None:
        """The keys of all tokens so far; None while the layer is empty. Assign both `keys` and `values`, or neither."""
        return self._whole(self._keys)

    @keys.setter
    def keys(self, keys: Tensor | None) -> None:
        self._values = self.values
        self._keys, self._is_own, self.length = keys, False, 0 if keys is None else keys.shape[2]

    @property
    def values(self) -> Float[Tensor, "batch heads length value_dim"] | None:
        """The values of all tokens so far; None while the layer is empty."""
        return self._whole(self._values)

    @values.setter
    def values(self, values: Tensor | None) -> None:
        self._keys = self.keys
        self._values, self._is_own, self.length = values, False, 0 if values is None else values.shape[2]

    def _whole(self, memory: Tensor | None) -> Tensor | None:
        if memory is None or self._keys is None or self._values is None:
            return memory
        # They differ in size only after one of them was assigned, and before the other is.
        return memory[:, :, : self.length] if self._keys.shape[2] == self._values.shape[2] else memory

    def update(
        self,
        key_states: Float[Tensor, "batch heads new dim"],
        value_states: Float[Tensor, "batch heads new value_dim"],
        *_: Any,
        **__: Any,
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

    def reorder(self, beam_idx: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch, in that order; rows may repeat (beam search, several samples a prompt).

        `start`: the first `start` tokens of each row equal those of the row that replaces it and need not be copied.
        """
        if self._keys is not None and self._values is not None:
            rows = beam_idx.to(self._keys.device)
            self._keys, self._values = (self._reordered(old, rows, start) for old in (self._keys, self._values))
            self._is_own = True

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last n tokens, given as −n; 0 changes nothing.

        A positive number is, as in transformers 4, the number of tokens to keep.
        """
        if tokens_to_remove < 0:
            self.length = max(self.length + tokens_to_remove, 0)
        elif tokens_to_remove > 0:
            self.length = min(self.length, tokens_to_remove)

    reorder_cache = reorder

    def batch_select_indices(self, indices: Int[Tensor, " new_batch"]) -> None:
        """Keep the given rows of the batch, in that order."""
        if self._keys is not None:
            self.reorder(torch.arange(self._keys.shape[0], device=indices.device)[indices])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row of the batch `repeats` times; copies are neighbours."""
        if self._keys is not None:
            self.reorder(torch.arange(self._keys.shape[0]).repeat_interleave(repeats))

    def reset(self) -> None:
        """Forget everything."""
        self._keys, self._values, self._is_own, self.length = None, None, False, 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate memory of the type, device and sizes of these keys and values, which are not kept."""
        self._keys, self._values = (
            self._with_room(new[:, :, :0], self._capacity) for new in (key_states, value_states)
        )

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


DynamicLayer = CacheLayer  # its name in transformers


class OffloadedLayer(CacheLayer):
    """A layer whose memory is on the CPU: only the layer that attends has its keys and values on the device."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens; return those of all tokens so far, on the device of the new ones."""
        self._attending = key_states.device
        super().update(key_states.cpu(), value_states.cpu())
        return self.read()

    def read(self) -> tuple[Tensor, Tensor]:
        """The keys and values of all tokens so far, on the device of the latest ones."""
        keys, values = super().read()
        device = getattr(self, "_attending", keys.device)
        return keys.to(device), values.to(device)


class Cache(CacheInterface):
    """The cache of a model's self-attention: one layer for each block.

    Args:
        layers: `CacheLayer`s or a user's own layers, one for each block.
        layer_class_to_replicate: the class of layers, which are made when they are first used.
        offloading, offload_only_non_sliding: see `DynamicCache`, which has them.
    """

    def __init__(
        self,
        layers: list[Any] | None = None,
        layer_class_to_replicate: Any = None,
        offloading: bool = False,
        offload_only_non_sliding: bool = True,
    ) -> None:
        if (layers is None) == (layer_class_to_replicate is None):
            raise InputError("A Cache needs either `layers` or `layer_class_to_replicate`; a DynamicCache neither.")
        if offloading:
            raise InputError(
                "offloading=True needs a DynamicCache or a StaticCache, or layers that are OffloadedLayers."
            )
        self.layers: list[Any] = [] if layers is None else layers
        self.layer_class_to_replicate = layer_class_to_replicate

    def layer(self, index: int) -> Any:
        """The cache of block `index`, made where it does not exist yet."""
        while len(self.layers) <= index:
            if self.layer_class_to_replicate is None:
                raise InputError(f"The cache has {len(self.layers)} layers, and none for block {index}.")
            self.layers.append(self.layer_class_to_replicate())
        return self.layers[index]

    self_layer = layer

    def cross_layer(self, index: int) -> Any:
        """There is no cross-attention."""
        return None

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Add keys and values of new tokens to block `layer_idx`; return those of all its tokens."""
        keys, values = self.layer(layer_idx).update(key_states, value_states)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Number of tokens in the cache."""
        return self.layers[layer_idx].length if layer_idx < len(self.layers) else 0

    def reorder_cache(self, beam_idx: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch in every layer, in that order; see `CacheLayer.reorder`."""
        for layer in self.layers:
            layer.reorder(beam_idx, start)

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last n tokens, given as −n; see `CacheLayer.crop`."""
        for layer in self.layers:
            layer.crop(tokens_to_remove)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[tuple[Tensor | None, ...]]:
        """Keys and values of each layer, and the size of its window: None, as no layer here forgets tokens."""
        return ((layer.keys, layer.values, None) for layer in self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} layers, {self.get_seq_length()} tokens)"


class DynamicCache(Cache):
    """A cache that grows with the text.

    Args:
        ddp_cache_data: (keys, values) of each layer, to begin with; None for an empty layer.
        config: the model's configuration: the cache then has its layers from the start. Otherwise layers are made
            when they are first used.
        offloading: keep the memory on the CPU; each layer's keys and values are copied to the device when it attends.
        offload_only_non_sliding: has no effect: no layer here forgets tokens outside of a window.
        capacity: number of tokens to allocate memory for, where the final length is known.
    """

    def __init__(
        self,
        ddp_cache_data: Iterable[tuple[Tensor | None, ...]] | None = None,
        config: Any = None,
        offloading: bool = False,
        offload_only_non_sliding: bool = False,
        *,
        capacity: int = 0,
    ) -> None:
        kind = OffloadedLayer if offloading else CacheLayer
        self.layers, self.layer_class_to_replicate = [], functools.partial(kind, capacity)
        for index in range(0 if config is None else layer_count(config)):
            self.layer(index)
        for index, (keys, values, *_) in enumerate(ddp_cache_data or ()):
            layer = self.layer(index)
            if keys is not None and values is not None:
                layer.update(keys, values)


def layer_count(config: Any) -> int:
    """Number of blocks that have a cache: of a model or, with an encoder, of its decoder."""
    return int(config.get_text_config(decoder=True).num_hidden_layers)


class EncoderDecoderCache(Cache):
    """Two caches of a decoder with cross-attention: of its own tokens, and of the encoder's output.

    Keys and values of the encoder's output are computed at the first step and read at all later ones.
    """

    def __init__(self, *caches: Any) -> None:
        if len(caches) == 1:
            pairs = [(tuple(entry)[: len(entry) // 2], tuple(entry)[len(entry) // 2 :]) for entry in caches[0]]
            caches = tuple(DynamicCache(part) for part in zip(*pairs, strict=True))
        own, of_context = caches or (DynamicCache(), DynamicCache())
        for cache in (own, of_context):
            if not isinstance(cache, Cache):
                raise InputError(f"EncoderDecoderCache takes two caches, got {type(cache).__name__}.")
        self.self_attention_cache: Cache = own
        self.cross_attention_cache: Cache = of_context

    @property
    def layers(self) -> list[Any]:  # type: ignore[override]
        """The layers of the self-attention's cache."""
        return self.self_attention_cache.layers

    def layer(self, index: int) -> Any:
        """The cache of block `index`'s self-attention."""
        return self.self_attention_cache.layer(index)

    self_layer = layer

    def cross_layer(self, index: int) -> Any:
        """The cache of block `index`'s cross-attention."""
        return self.cross_attention_cache.layer(index)

    @property
    def is_updated(self) -> dict[int, bool]:
        """For each layer, whether the keys and values of the encoder's output are in the cache."""
        return {index: layer.length > 0 for index, layer in enumerate(self.cross_attention_cache.layers)}

    def reorder_cache(self, beam_idx: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch in every layer, in that order.

        With `start`, rows are replaced by rows of the same prompt, whose encoder output is the same.
        """
        self.self_attention_cache.reorder_cache(beam_idx, start)
        if not start:
            self.cross_attention_cache.reorder_cache(beam_idx)

    def batch_select_indices(self, indices: Int[Tensor, " new_batch"]) -> None:
        """Keep the given rows of the batch, in that order."""
        self.self_attention_cache.batch_select_indices(indices)
        self.cross_attention_cache.batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row of the batch `repeats` times; copies are neighbours."""
        self.self_attention_cache.batch_repeat_interleave(repeats)
        self.cross_attention_cache.batch_repeat_interleave(repeats)

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the decoder's last n tokens, given as −n; the encoder's output stays. See `CacheLayer.crop`."""
        self.self_attention_cache.crop(tokens_to_remove)

    def reset(self) -> None:
        """Forget everything."""
        self.self_attention_cache.reset()
        self.cross_attention_cache.reset()

    def __iter__(self) -> Iterator[tuple[Tensor | None, ...]]:
        """The entries of both caches, layer by layer: own keys, values and None, then those of the encoder's output."""
        for own, of_context in zip(self.self_attention_cache, self.cross_attention_cache, strict=False):
            yield (*own, *of_context)


def as_cache(cache: Any) -> Cache:
    """`cache` as one of the classes here; caches of transformers, which adapters pass, are read layer by layer.

    Raises:
        InputError: it is no cache.
    """
    if isinstance(cache, Cache):
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
