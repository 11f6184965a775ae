"""Exercise 8: layer norm and RMS norm."""

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """(x − mean) / √(variance + eps) · weight + bias, over the features of each position.

    Do not use nn.LayerNorm here. The weight is defined before the bias; they begin at 1 and 0.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """The normalized x, of the same shape (batch, length, hidden_size)."""
        mean = x.mean(-1, keepdim=True)
        variance = x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


class RMSNorm(nn.Module):
    """x / √(mean of x² + eps) · weight, over the features of each position: no mean is subtracted, no bias added."""

    def __init__(self, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """The normalized x, of the same shape (batch, length, hidden_size)."""
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight
