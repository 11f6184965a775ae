"""Exercise 20: a small update of a large matrix."""

import torch
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """linear(x) + alpha / rank · B A x, where only A (rank, inputs) and B (outputs, rank) are trained.

    B begins at 0, so that nothing changes before training; A begins with random numbers.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, linear.in_features) / rank)
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, inputs) to (batch, length, outputs)."""
        return self.linear(x) + self.scale * (x @ self.a.T) @ self.b.T

    def merge(self) -> nn.Linear:
        """A new linear layer that gives the same without A and B."""
        merged = nn.Linear(self.linear.in_features, self.linear.out_features)
        with torch.no_grad():
            merged.weight.copy_(self.linear.weight + self.scale * self.b @ self.a)
            merged.bias.copy_(self.linear.bias)
        return merged
