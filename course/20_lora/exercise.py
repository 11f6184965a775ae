"""Exercise 20: a small update of a large matrix."""

import torch
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """linear(x) + alpha / rank · B A x, where only A (rank, inputs) and B (outputs, rank) are trained.

    B begins at 0, so that nothing changes before training; A begins with random numbers.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, inputs) to (batch, length, outputs)."""
        ...  # write this

    def merge(self) -> nn.Linear:
        """A new linear layer that gives the same without A and B."""
        ...  # write this
