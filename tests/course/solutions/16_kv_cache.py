"""Exercise 16: keys and values of earlier tokens."""

import torch
from torch import Tensor


class KVCache:
    """Keys and values of each layer, (batch, heads, length, dim); empty at the start."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, key: Tensor, value: Tensor, layer: int = 0) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens, (batch, heads, new, dim), and return all of this layer so far."""
        if layer in self.layers:
            keys, values = self.layers[layer]
            key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        self.layers[layer] = (key, value)
        return key, value

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was, in every layer: for beam search."""
        self.layers = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self.layers.items()}

    def crop(self, length: int) -> None:
        """Keep the first `length` positions of every layer."""
        self.layers = {layer: (k[:, :, :length], v[:, :, :length]) for layer, (k, v) in self.layers.items()}
