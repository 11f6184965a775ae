"""Exercise 10: what BERT's first block is given."""

import torch
from pieces import Embedding, LayerNorm
from torch import Tensor, nn


class BertEmbeddings(nn.Module):
    """LayerNorm(token + position + segment), then dropout. All three tables are trained; eps is 1e-12."""

    def __init__(
        self, vocab_size: int, hidden_size: int, max_positions: int, segments: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        ...  # write this

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """From ids and segments, both (batch, length), to (batch, length, hidden_size)."""
        ...  # write this
