"""Exercise 9: a block of BERT."""

from pieces import FeedForward, LayerNorm, MultiHeadAttention
from torch import Tensor, nn


class EncoderBlock(nn.Module):
    """Post-norm: x = LayerNorm(x + attention(x)), then x = LayerNorm(x + feed_forward(x)). BERT's eps is 1e-12."""

    def __init__(self, hidden_size: int, num_heads: int, inner_size: int, eps: float = 1e-12) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """From and to (batch, length, hidden_size); the mask is that of the attention."""
        ...  # write this
