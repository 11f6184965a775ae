"""Exercise 16: keys and values of earlier tokens."""

import torch
from torch import Tensor


class KVCache:
    """Keys and values of each layer, (batch, heads, length, dim); empty at the start."""

    def __init__(self) -> None: ...  # write this

    def update(self, key: Tensor, value: Tensor, layer: int = 0) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens, (batch, heads, new, dim), and return all of this layer so far."""
        ...  # write this

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was, in every layer: for beam search."""
        ...  # write this

    def crop(self, length: int) -> None:
        """Keep the first `length` positions of every layer."""
        ...  # write this
