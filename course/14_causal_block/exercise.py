"""Exercise 14: a block of GPT-2."""

from pieces import FeedForward, LayerNorm, MultiHeadAttention, causal_mask
from torch import Tensor, nn


class CausalBlock(nn.Module):
    """Pre-norm: x = x + attention(LayerNorm(x)), then x = x + feed_forward(LayerNorm(x)). No token sees a later one."""

    def __init__(self, hidden_size: int, num_heads: int, inner_size: int) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """From and to (batch, length, hidden_size)."""
        ...  # write this
