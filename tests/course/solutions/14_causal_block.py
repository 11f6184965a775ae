"""Exercise 14: a block of GPT-2."""

from pieces import FeedForward, LayerNorm, MultiHeadAttention, causal_mask
from torch import Tensor, nn


class CausalBlock(nn.Module):
    """Pre-norm: x = x + attention(LayerNorm(x)), then x = x + feed_forward(LayerNorm(x)). No token sees a later one."""

    def __init__(self, hidden_size: int, num_heads: int, inner_size: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(hidden_size)
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.feed_forward_norm = LayerNorm(hidden_size)
        self.feed_forward = FeedForward(hidden_size, inner_size)

    def forward(self, x: Tensor) -> Tensor:
        """From and to (batch, length, hidden_size)."""
        x = x + self.attention(self.attention_norm(x), causal_mask(x.shape[1]))
        return x + self.feed_forward(self.feed_forward_norm(x))
