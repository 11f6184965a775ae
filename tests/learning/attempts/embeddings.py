"""Embedding tables as learners write them: wrong ones with the cause that must be named, and right ones."""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


class Table(nn.Module):
    def __init__(self, vocab_size, hidden_size):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab_size, hidden_size) * 0.02)

    def forward(self, ids):
        return self.weight[ids]


class ScaledLikeTheOriginal(Table):
    def forward(self, ids):
        return self.weight[ids] * sqrt(self.weight.shape[1])


class CountsFromOne(Table):
    def forward(self, ids):
        return self.weight[ids - 1]


class LooksUpPositions(Table):
    def forward(self, ids):
        return self.weight[torch.arange(ids.shape[1])].expand(len(ids), -1, -1)


class BagOfWords(Table):
    def forward(self, ids):
        return self.weight[ids].sum(dim=1, keepdim=True).expand(-1, ids.shape[1], -1)


class IdZeroIsPadding(Table):
    def forward(self, ids):
        return self.weight[ids].masked_fill((ids == 0).unsqueeze(-1), 0.0)


class LikeAConvolution(Table):
    def forward(self, ids):
        return self.weight[ids].transpose(1, 2)


class UnitLength(Table):
    def forward(self, ids):
        return F.normalize(self.weight[ids], dim=-1)


class ReadsData(Table):
    def forward(self, ids):
        return self.weight.data[ids]


class IsNotTrained(nn.Module):
    def __init__(self, vocab_size, hidden_size):
        super().__init__()
        self.weight = torch.randn(vocab_size, hidden_size)

    def forward(self, ids):
        return self.weight[ids]


class Transposed(nn.Module):
    def __init__(self, vocab_size, hidden_size):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden_size, vocab_size))

    def forward(self, ids):
        return self.weight.T[ids]


class Drops(Table):
    def forward(self, ids):
        return F.dropout(self.weight[ids], 0.5)


class OneHot(Table):
    def forward(self, ids):
        return F.one_hot(ids, len(self.weight)).float() @ self.weight


WRONG = [
    (ScaledLikeTheOriginal, "multiplied by √hidden"),
    (CountsFromOne, "off by one: id i gets row i − 1"),
    (LooksUpPositions, "that of the position"),
    (BagOfWords, "are added up"),
    (IdZeroIsPadding, "row 0 is taken as padding"),
    (LikeAConvolution, "(batch, hidden, length)"),
    (UnitLength, "normalized to length 1"),
    (ReadsData, "no gradient reaches the table"),
    (IsNotTrained, "no nn.Parameter of this shape"),
    (Transposed, "no nn.Parameter of this shape"),
    (Drops, "dropout is active in evaluation"),
]
RIGHT = [Table, OneHot, nn.Embedding]
