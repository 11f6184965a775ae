"""The KV cache: keys and values of tokens that have been seen, so that each new token costs one step.

Bricks take a cache and own none. A model makes one where `use_cache` is on and none was given.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.utils._pytree as pytree
from jaxtyping import Float, Int
from torch import Tensor

from minitransformers.errors import InputError


class AttentionCache:
    """Keys and values of one attention layer, each (batch, heads, length, dim).

    Without gradients, new tokens are written into memory that is allocated ahead, doubling as it fills. With
    gradients they are concatenated, since autograd forbids to overwrite what an earlier step has saved.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.length = 0
        self._capacity = capacity  # how many tokens to make room for at the first write
        self._key: Tensor | None = None
        self._value: Tensor | None = None
        self._is_own = False  # whether the memory was made here, and not by the caller who may still look at it

    def append(
        self, key: Float[Tensor, "batch heads new dim"], value: Float[Tensor, "batch heads new value_dim"]
    ) -> tuple[Float[Tensor, "batch heads length dim"], Float[Tensor, "batch heads length value_dim"]]:
        """Add the keys and values of new tokens; give those of all tokens so far."""
        if self._key is None or self._value is None:
            self.length = key.shape[2]
            self._key, self._value = self._with_room(key, self._capacity), self._with_room(value, self._capacity)
            self._is_own = self._key is not key
            return self.read()
        if key.shape[0] != self._key.shape[0]:
            raise InputError(
                f"The cache holds {self._key.shape[0]} sequences and the input {key.shape[0]}: "
                f"pass the same batch, or reorder the cache to it."
            )
        start, self.length = self.length, self.length + key.shape[2]
        self._key = self._extended(self._key, key, start)
        self._value = self._extended(self._value, value, start)
        self._is_own = True
        return self.read()

    def read(self) -> tuple[Float[Tensor, "batch heads length dim"], Float[Tensor, "batch heads length value_dim"]]:
        """The keys and values of all tokens so far."""
        if self._key is None or self._value is None:
            raise InputError("The cache is empty.")
        return self._key[:, :, : self.length], self._value[:, :, : self.length]

    def reorder(self, rows: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch, in that order; rows may repeat (beam search, several samples a prompt).

        `start`: of the tokens before it, each row has the same as the row that replaces it, so that they can stay.
        """
        if self._key is not None and self._value is not None:
            rows = rows.to(self._key.device)
            self._key, self._value = self._reordered(self._key, rows, start), self._reordered(self._value, rows, start)
            self._is_own = True

    def crop(self, length: int) -> None:
        """Forget all tokens after the first `length`."""
        self.length = min(self.length, length)

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
        if torch.compiler.is_compiling():  # which cannot trace is_inference(), and reuses memory by itself
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


class KeyValueCache:
    """The caches of a whole model: of each layer's self-attention and, where there is any, cross-attention.

    Args:
        num_layers: number of blocks; 0 for as many as the first model that uses the cache has.
        capacity: number of tokens to make room for at once, where it is known how many will come.
    """

    def __init__(self, num_layers: int = 0, capacity: int = 0) -> None:
        self.self_attention: list[AttentionCache] = []
        self.cross_attention: list[AttentionCache] = []
        self._capacity = capacity
        self.add_layers(num_layers)

    def add_layers(self, num_layers: int) -> None:
        """Give the cache `num_layers` more layers, empty ones."""
        self.self_attention += [AttentionCache(self._capacity) for _ in range(num_layers)]
        self.cross_attention += [AttentionCache() for _ in range(num_layers)]

    @property
    def length(self) -> int:
        """Number of tokens seen so far."""
        return self.self_attention[0].length if self.self_attention else 0

    def get_seq_length(self) -> int:
        """`length`, under the name it has in transformers."""
        return self.length

    def reorder(self, rows: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Keep the given rows of the batch, in that order, in every layer; rows may repeat.

        `start`: of the first so many tokens, and of the context, each row has the same as the row that replaces it.
        """
        for cache in self.self_attention:
            cache.reorder(rows, start)
        if not start:
            for cache in self.cross_attention:
                cache.reorder(rows)

    def crop(self, length: int) -> None:
        """Forget all tokens after the first `length`; what cross-attention holds of the context stays."""
        for cache in self.self_attention:
            cache.crop(length)

    def __len__(self) -> int:
        return len(self.self_attention)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (cache.read() for cache in self.self_attention if cache.length)


# As a pytree node the cache passes through torch.export, torch.func and distributed wrappers.


def _flatten(cache: KeyValueCache) -> tuple[list[Tensor], list[bool]]:
    layers = [*cache.self_attention, *cache.cross_attention]
    filled = [layer._key is not None for layer in layers]
    return [
        tensor for layer, is_filled in zip(layers, filled, strict=True) if is_filled for tensor in layer.read()
    ], filled


def _unflatten(tensors: list[Tensor], filled: list[bool]) -> KeyValueCache:
    cache = KeyValueCache(len(filled) // 2)
    remaining = iter(tensors)
    for layer, is_filled in zip([*cache.self_attention, *cache.cross_attention], filled, strict=True):
        if is_filled:
            layer._key, layer._value = next(remaining), next(remaining)
            layer.length = layer._key.shape[2] if isinstance(layer._key, Tensor) else 0
    return cache


pytree.register_pytree_node(
    KeyValueCache,
    _flatten,
    _unflatten,  # type: ignore[arg-type]
    serialized_type_name="minitransformers.nn.cache.KeyValueCache",
)
