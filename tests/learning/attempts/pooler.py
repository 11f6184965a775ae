"""Poolers as learners write them: wrong ones with the cause that must be named, and a right one."""

import torch
from torch import nn


class Right(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, x):
        return torch.tanh(self.dense(x[:, 0]))


class FirstText(Right):
    def forward(self, x):
        return torch.tanh(self.dense(x[0]))


class LastToken(Right):
    def forward(self, x):
        return torch.tanh(self.dense(x[:, -1]))


class SecondToken(Right):
    def forward(self, x):
        return torch.tanh(self.dense(x[:, 1] if x.shape[1] > 1 else x[:, 0]))


class Mean(Right):
    def forward(self, x):
        return torch.tanh(self.dense(x.mean(dim=1)))


class Largest(Right):
    def forward(self, x):
        return torch.tanh(self.dense(x.max(dim=1).values))


class NoTanh(Right):
    def forward(self, x):
        return self.dense(x[:, 0])


class TanhFirst(Right):
    def forward(self, x):
        return self.dense(torch.tanh(x[:, 0]))


class Relu(Right):
    def forward(self, x):
        return torch.relu(self.dense(x[:, 0]))


class NoMap(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()

    def forward(self, x):
        return torch.tanh(x[:, 0])


WRONG = [
    (FirstText, "the index is x[0]"),
    (LastToken, "the last token is read"),
    (SecondToken, "the second token is read"),
    (Mean, "the mean over all tokens"),
    (Largest, "the largest number over all tokens"),
    (NoTanh, "the tanh is missing"),
    (TanhFirst, "the tanh comes before"),
    (Relu, "a relu stands in place"),
    (NoMap, "the linear map is missing"),
]
RIGHT = [Right]
