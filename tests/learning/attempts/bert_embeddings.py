"""BERT's embeddings as learners write them: wrong ones with the cause that must be named, and a right one."""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


class Right(nn.Module):
    def __init__(self, vocab_size, hidden_size, max_positions, segments):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, hidden_size)
        self.positions = nn.Embedding(max_positions, hidden_size)
        self.segments = nn.Embedding(segments, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def places(self, ids):
        return torch.arange(ids.shape[1])

    def forward(self, input_ids, token_type_ids):
        x = self.tokens(input_ids) + self.positions(self.places(input_ids)) + self.segments(token_type_ids)
        return self.dropout(self.norm(x))


class NoPositions(Right):
    def forward(self, input_ids, token_type_ids):
        return self.norm(self.tokens(input_ids) + self.segments(token_type_ids))


class NoSegments(Right):
    def forward(self, input_ids, token_type_ids):
        return self.norm(self.tokens(input_ids) + self.positions(self.places(input_ids)))


class NoNorm(Right):
    def forward(self, input_ids, token_type_ids):
        return self.tokens(input_ids) + self.positions(self.places(input_ids)) + self.segments(token_type_ids)


class NormTooEarly(Right):
    def forward(self, input_ids, token_type_ids):
        tokens = self.norm(self.tokens(input_ids))
        return tokens + self.positions(self.places(input_ids)) + self.segments(token_type_ids)


class PositionsFromOne(Right):
    def places(self, ids):
        return torch.arange(1, ids.shape[1] + 1)


class PositionsSkipPadding(Right):
    def places(self, ids):
        return (ids.ne(0).cumsum(1) - 1).clamp(min=0)


class PositionsByText(Right):
    def places(self, ids):
        return torch.arange(ids.shape[0])[:, None]


class SegmentsExchanged(Right):
    def forward(self, input_ids, token_type_ids):
        return super().forward(input_ids, 1 - token_type_ids)


class Scaled(Right):
    def forward(self, input_ids, token_type_ids):
        tokens = self.tokens(input_ids) * sqrt(self.tokens.embedding_dim)
        return self.norm(tokens + self.positions(self.places(input_ids)) + self.segments(token_type_ids))


class AlwaysDrops(Right):
    def forward(self, input_ids, token_type_ids):
        x = self.tokens(input_ids) + self.positions(self.places(input_ids)) + self.segments(token_type_ids)
        return F.dropout(self.norm(x), 0.1)


class OneTable(nn.Module):
    def __init__(self, vocab_size, hidden_size, max_positions, segments):
        super().__init__()
        self.tokens, self.norm = nn.Embedding(vocab_size, hidden_size), nn.LayerNorm(hidden_size)

    def forward(self, input_ids, token_type_ids):
        return self.norm(self.tokens(input_ids))


class TwoMistakes(Right):
    def forward(self, input_ids, token_type_ids):
        return self.tokens(input_ids) + self.segments(token_type_ids)


WRONG = [
    (NoPositions, "the positions are missing"),
    (NoSegments, "the segments are missing"),
    (NoNorm, "the layer norm is missing"),
    (NormTooEarly, "applied to the tokens alone"),
    (PositionsFromOne, "positions are off by one"),
    (PositionsSkipPadding, "positions skip tokens with id 0"),
    (PositionsByText, "the number of the text"),
    (SegmentsExchanged, "segments 0 and 1 are exchanged"),
    (Scaled, "multiplied by √hidden"),
    (AlwaysDrops, "dropout is active in evaluation"),
    (OneTable, "there is no table of the positions"),
    (TwoMistakes, "the positions are missing; and the layer norm is missing"),
]
RIGHT = [Right]
