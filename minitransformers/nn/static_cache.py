"""StaticCache: a KV cache whose memory has one size from the start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.cache import Cache, CacheLayer, OffloadedLayer, layer_count


class StaticLayer(CacheLayer):
    """Keys and values of one attention layer in memory for `max_cache_len` tokens, which is allocated once.

    New tokens are written after the earlier ones. Attention reads only the tokens that are there, and computes the same
    numbers as with a `CacheLayer`. Memory without a token is zero.

    Attributes:
        keys, values: (batch, heads, max_cache_len, dim) the whole memory; None before the first tokens.
    """

    is_compileable = True

    def __init__(self, max_cache_len: int, **_: Any) -> None:
        super().__init__(capacity=max_cache_len)
        self.max_cache_len = max_cache_len

    @property
    def keys(self) -> Tensor | None:
        """The memory of the keys."""
        return self._keys

    @keys.setter
    def keys(self, keys: Tensor | None) -> None:
        self._keys = keys

    @property
    def values(self) -> Tensor | None:
        """The memory of the values."""
        return self._values

    @values.setter
    def values(self, values: Tensor | None) -> None:
        self._values = values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the keys and values of new tokens; return those of all tokens so far.

        Raises:
            InputError: there is no room for them, or the batch is not the one that the cache holds.
        """
        if self.length + key_states.shape[2] > self.max_cache_len:
            raise InputError(
                f"StaticCache has room for max_cache_len={self.max_cache_len} tokens; it holds {self.length}, and "
                f"{key_states.shape[2]} are new: make a larger one, or take a DynamicCache."
            )
        return super().update(key_states, value_states)

    def get_max_length(self) -> int:
        """The most tokens that the layer can hold."""
        return self.max_cache_len

    def reset(self) -> None:
        """Forget all tokens; the memory stays and becomes zero."""
        self.length = 0
        for memory in (self._keys, self._values):
            if memory is not None:
                with torch.no_grad():
                    memory.zero_()

    def _with_room(self, new: Tensor, capacity: int) -> Tensor:
        memory = new.new_zeros(*new.shape[:2], self.max_cache_len, new.shape[3])
        memory[:, :, : new.shape[2]] = new
        return memory

    def _extended(self, memory: Tensor, new: Tensor, start: int) -> Tensor:
        if not torch.compiler.is_compiling() and memory.is_inference() and not torch.is_inference_mode_enabled():
            memory = memory.clone()  # memory of inference mode cannot be written to outside of it
        memory[:, :, start : self.length] = new
        return memory


class OffloadedStaticLayer(OffloadedLayer, StaticLayer):
    """A `StaticLayer` whose memory is on the CPU."""

    is_compileable = False


class StaticCache(Cache):
    """A cache whose memory is allocated once, for `max_cache_len` tokens, and never moves.

        cache = StaticCache(model.config, max_cache_len=1024)
        model(input_ids, past_key_values=cache)

    The memory is allocated with the first tokens, when batch size, type and device are known, or by
    `early_initialization`. `generate` makes one with `cache_implementation="static"`.

    Args:
        config: the model's configuration, which has the number of layers.
        max_cache_len: the most tokens that the cache can hold.
        offloading: keep the memory on the CPU; each layer's keys and values are copied to the device when it attends.
        offload_only_non_sliding: has no effect: no layer here forgets tokens outside of a window.
    """

    def __init__(
        self, config: Any, max_cache_len: int, offloading: bool = False, offload_only_non_sliding: bool = True, **_: Any
    ) -> None:
        if isinstance(max_cache_len, bool) or not isinstance(max_cache_len, int) or max_cache_len < 1:
            raise InputError(f"max_cache_len={max_cache_len!r} must be a whole number of at least 1.")
        kind = OffloadedStaticLayer if offloading else StaticLayer
        super().__init__([kind(max_cache_len) for _ in range(layer_count(config))])
