"""Exercise 6: several attentions side by side."""

from pieces import attention
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Self-attention with several heads: four linear maps, for queries, keys, values and the output."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from x to x.

        Args:
            x: (batch, length, hidden_size).
            mask: bool, broadcasts to (batch, heads, queries, keys); True = may see.

        Returns:
            (batch, length, hidden_size).
        """
        ...  # write this
