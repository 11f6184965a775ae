"""What callers ask of a cache and of its layers, under the names of transformers.

`LayerInterface` and `CacheInterface` are the bases of the classes in cache.py, whose methods do the work.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from minitransformers.errors import InputError


class LayerInterface:
    """Questions that one layer of a cache answers, and transformers' names for what it does."""

    is_compileable: ClassVar[bool] = False  # whether its memory stays where it is, of one size
    is_sliding: ClassVar[bool] = False  # a window is a mask here, and the layer keeps all tokens
    is_croppable: ClassVar[bool] = True
    supports_early_init: ClassVar[bool] = True

    length: int
    _keys: Tensor | None
    _values: Tensor | None

    @property
    def is_initialized(self) -> bool:
        """Whether the layer has memory: since its first tokens, or since `lazy_initialization`."""
        return self._keys is not None

    @property
    def batch_size(self) -> int:
        """Number of rows; −1 before the first tokens."""
        return -1 if self._keys is None else self._keys.shape[0]

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of the keys; None before the first tokens."""
        return None if self._keys is None else self._keys.dtype

    @property
    def device(self) -> torch.device | None:
        """Device of the keys; None before the first tokens."""
        return None if self._keys is None else self._keys.device

    def get_seq_length(self) -> int:
        """Number of tokens in the layer."""
        return self.length

    def get_max_length(self) -> int:
        """The most tokens that the layer can hold; −1 where there is no limit."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys after `query_length` further tokens, and how many tokens before them are gone: none."""
        return self.length + query_length, 0


class CacheInterface:
    """Questions that a cache answers for all of its layers."""

    layers: list[Any]

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """The most tokens that layer `layer_idx`, or any layer, can hold; −1 where there is no limit."""
        if layer_idx is not None:
            return self.layers[layer_idx].get_max_length() if layer_idx < len(self.layers) else -1
        return max((layer.get_max_length() for layer in self.layers), default=-1)

    get_max_cache_shape = get_max_length  # the name in transformers 4

    @property
    def max_cache_len(self) -> int:
        """`get_max_length()`, under a name of transformers 4."""
        return self.get_max_length()

    @property
    def batch_size(self) -> int:
        """Number of rows; −1 while the cache is empty.

        Raises:
            InputError: the layers have different numbers of rows.
        """
        sizes = {layer.batch_size for layer in self.layers} - {-1}
        if len(sizes) > 1:
            raise InputError(f"The layers of the cache have different numbers of rows: {sorted(sizes)}.")
        return sizes.pop() if sizes else -1

    @property
    def max_batch_size(self) -> int:
        """`batch_size`, under a name of transformers 4."""
        return self.batch_size

    @property
    def is_compileable(self) -> bool:
        """Whether the memory of every layer stays where it is, of one size (`StaticCache`)."""
        return bool(self.layers) and all(layer.is_compileable for layer in self.layers)

    @property
    def is_initialized(self) -> bool:
        """Whether every layer has memory."""
        return bool(self.layers) and all(layer.is_initialized for layer in self.layers)

    @property
    def is_croppable(self) -> bool:
        """Whether `crop` leaves the cache as it was before the tokens came: it does in every layer here."""
        return all(layer.is_croppable for layer in self.layers)

    @property
    def is_sliding(self) -> list[bool]:
        """For each layer, whether it forgets tokens outside of a window: none here does."""
        return [layer.is_sliding for layer in self.layers]

    @property
    def is_linear(self) -> list[bool]:
        """For each layer, whether it is of linear attention: none here is."""
        return [False] * len(self.layers)

    @property
    def is_dummy(self) -> list[bool]:
        """For each layer, whether it stands for one without a cache: none here does."""
        return [False] * len(self.layers)

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Number of tokens before the next one: those in the cache."""
        return self.layers[layer_idx].get_seq_length() if layer_idx < len(self.layers) else 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Number of keys after `query_length` further tokens, and how many tokens before them are gone: none."""
        return self.get_query_offset(layer_idx) + query_length, 0

    def early_initialization(
        self,
        batch_size: int,
        num_heads: int | list[int],
        head_dim: int | list[int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        """Allocate the memory of every layer now, rather than with its first tokens.

        Args:
            batch_size: number of rows.
            num_heads, head_dim: of the keys and values, for all layers or one number for each.
            dtype, device: of the keys and values.

        Raises:
            InputError: a list that does not have one number for each layer.
        """
        sizes = [
            [value] * len(self.layers) if isinstance(value, int) else list(value) for value in (num_heads, head_dim)
        ]
        for name, values in zip(("num_heads", "head_dim"), sizes, strict=True):
            if len(values) != len(self.layers):
                raise InputError(f"{name}={values} has {len(values)} numbers, and the cache {len(self.layers)} layers.")
        for layer, heads, width in zip(self.layers, *sizes, strict=True):
            if not layer.is_initialized:
                empty = torch.empty(batch_size, heads, 0, width, dtype=dtype, device=device)
                layer.lazy_initialization(empty, empty)

    def activate_past_recording(self) -> None:
        """Keep tokens outside of a window so that `crop` can go back to them: here they are always kept."""

    def is_recording_past(self, layer_idx: int) -> bool:
        """Whether layer `layer_idx` keeps tokens outside of its window."""
        return True

    def batch_select_indices(self, indices: Int[Tensor, " new_batch"]) -> None:
        """Keep the given rows of the batch, in that order."""
        for layer in self.layers:
            layer.batch_select_indices(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row of the batch `repeats` times; copies are neighbours."""
        for layer in self.layers:
            layer.batch_repeat_interleave(repeats)

    def reset(self) -> None:
        """Forget everything."""
        for layer in self.layers:
            layer.reset()
