"""Exercise 2: from ids to vectors."""

import torch
from torch import Tensor, nn


class Embedding(nn.Module):
    """A table with one trained row for each id. Its only parameter has the shape (vocab_size, hidden_size).

    Do not use nn.Embedding here.
    """

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        ...  # write this

    def forward(self, ids: Tensor) -> Tensor:
        """The row of each id: from (batch, length) to (batch, length, hidden_size)."""
        ...  # write this
