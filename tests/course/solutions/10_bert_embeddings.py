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
        self.tokens = Embedding(vocab_size, hidden_size)
        self.positions = Embedding(max_positions, hidden_size)
        self.segments = Embedding(segments, hidden_size)
        self.norm = LayerNorm(hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """From ids and segments, both (batch, length), to (batch, length, hidden_size)."""
        positions = self.positions(torch.arange(input_ids.shape[1])[None])
        return self.dropout(self.norm(self.tokens(input_ids) + positions + self.segments(token_type_ids)))
