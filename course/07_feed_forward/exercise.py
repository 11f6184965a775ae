"""Exercise 7: what happens to each position on its own."""

from torch import Tensor, nn
from torch.nn import functional as F


class FeedForward(nn.Module):
    """Two linear maps, from hidden_size to inner_size and back, with an exact GELU between them."""

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """W₂ gelu(W₁ x + b₁) + b₂, from and to (batch, length, hidden_size)."""
        ...  # write this
