"""Exercise 6: several attentions side by side."""

from pieces import attention
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Self-attention with several heads: four linear maps, for queries, keys, values and the output."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from x to x.

        Args:
            x: (batch, length, hidden_size).
            mask: bool, broadcasts to (batch, heads, queries, keys); True = may see.

        Returns:
            (batch, length, hidden_size).
        """
        batch, length, hidden = x.shape

        def split(y: Tensor) -> Tensor:  # (batch, heads, length, dim)
            return y.reshape(batch, length, self.num_heads, -1).transpose(1, 2)

        mixed = attention(split(self.query(x)), split(self.key(x)), split(self.value(x)), mask)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, hidden))
