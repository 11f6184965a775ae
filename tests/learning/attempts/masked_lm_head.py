"""Heads for masked tokens as learners write them: wrong ones with the cause that must be named, and a right one."""

import torch
from torch import nn
from torch.nn import functional as F


class Right(nn.Module):
    def __init__(self, table):
        super().__init__()
        vocab, hidden = table.shape
        self.dense, self.norm = nn.Linear(hidden, hidden), nn.LayerNorm(hidden, eps=1e-12)
        self.table, self.bias = table, nn.Parameter(torch.zeros(vocab))

    def transform(self, x):
        return self.norm(F.gelu(self.dense(x)))

    def forward(self, x):
        return self.transform(x) @ self.table.T + self.bias


class NoTransform(nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table, self.bias = table, nn.Parameter(torch.zeros(len(table)))

    def forward(self, x):
        return x @ self.table.T + self.bias


class NoBias(Right):
    def __init__(self, table):
        super().__init__(table)
        del self.bias

    def forward(self, x):
        return self.transform(x) @ self.table.T


class NoActivation(Right):
    def transform(self, x):
        return self.norm(self.dense(x))


class NoNorm(Right):
    def transform(self, x):
        return F.gelu(self.dense(x))


class NormInFront(Right):
    def transform(self, x):
        return F.gelu(self.dense(self.norm(x)))


class NormBeforeActivation(Right):
    def transform(self, x):
        return F.gelu(self.norm(self.dense(x)))


class Probabilities(Right):
    def forward(self, x):
        return super().forward(x).softmax(-1)


class LogProbabilities(Right):
    def forward(self, x):
        return F.log_softmax(super().forward(x), dim=-1)


class CopiesTheTable(Right):
    def __init__(self, table):
        super().__init__(table)
        self.table = nn.Parameter(table.detach().clone())


class WithAResidual(Right):
    def transform(self, x):
        return self.norm(F.gelu(self.dense(x))) + x


WRONG = [
    (NoTransform, "the linear map before the table is missing; and the layer norm before the table is missing"),
    (NoBias, "the bias of the vocabulary is missing"),
    (NoActivation, "the activation after the linear map is missing"),
    (NoNorm, "the layer norm before the table is missing"),
    (NormInFront, "before the linear map"),
    (NormBeforeActivation, "before the activation"),
    (Probabilities, "the output is probabilities"),
    (LogProbabilities, "the output is log-probabilities"),
    (CopiesTheTable, "the table is a copy"),
    (WithAResidual, "there is no residual in the head"),
]
RIGHT = [Right]
