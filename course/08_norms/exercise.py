"""Exercise 8: layer norm and RMS norm."""

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """(x − mean) / √(variance + eps) · weight + bias, over the features of each position.

    Do not use nn.LayerNorm here. The weight is defined before the bias; they begin at 1 and 0.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """The normalized x, of the same shape (batch, length, hidden_size)."""
        ...  # write this


class RMSNorm(nn.Module):
    """x / √(mean of x² + eps) · weight, over the features of each position: no mean is subtracted, no bias added."""

    def __init__(self, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """The normalized x, of the same shape (batch, length, hidden_size)."""
        ...  # write this
