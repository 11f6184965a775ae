"""Exercise 15: GPT, and the loss of a language model."""

import torch
from pieces import CausalBlock, Embedding, LayerNorm
from torch import Tensor, nn
from torch.nn import functional as F


class GPT(nn.Module):
    """Tokens plus positions, the blocks, a last norm, and the table of the tokens as the head.

    The feed-forward layers are four times as wide as the model.
    """

    def __init__(self, vocab_size: int, hidden_size: int, num_heads: int, num_layers: int, max_positions: int) -> None:
        super().__init__()
        self.tokens = Embedding(vocab_size, hidden_size)
        self.positions = Embedding(max_positions, hidden_size)
        self.blocks = nn.ModuleList(CausalBlock(hidden_size, num_heads, 4 * hidden_size) for _ in range(num_layers))
        self.norm = LayerNorm(hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        """From ids (batch, length) to the logits of each next token, (batch, length, vocab_size)."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1])[None])
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.weight.T


def causal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of −log p(next token): the logits at position t are compared with the label at t + 1.

    Args:
        logits: (batch, length, vocab_size).
        labels: (batch, length), the input ids themselves; −100 where none is wanted.

    Returns:
        One number.
    """
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
