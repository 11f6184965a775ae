"""Feed-forward layers as learners write them: wrong ones with the cause that must be named, and right ones."""

import torch
from torch import nn
from torch.nn import functional as F


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 10), nn.Linear(10, 6)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class WithRelu(Base):
    def forward(self, x):
        return self.down(F.relu(self.up(x)))


class NoActivation(Base):
    def forward(self, x):
        return self.down(self.up(x))


class ActivationAtTheEnd(Base):
    def forward(self, x):
        return F.relu(self.down(self.up(x)))


class TwoActivations(Base):
    def forward(self, x):
        return F.gelu(self.down(F.gelu(self.up(x))))


class ActivationOfTheInput(Base):
    def forward(self, x):
        return self.down(self.up(F.gelu(x)))


class WithItsResidual(Base):
    def forward(self, x):
        return x + self.down(F.gelu(self.up(x)))


class ForgetsTheBias(Base):
    def forward(self, x):
        return F.gelu(x @ self.up.weight.T) @ self.down.weight.T + self.down.bias


class SoftmaxInside(Base):
    def forward(self, x):
        return self.down(self.up(x).softmax(-1))


class CoarseGelu(Base):
    def forward(self, x):
        y = self.up(x)
        return self.down(y * torch.sigmoid(1.702 * y))


class MixesPositions(Base):
    def forward(self, x):
        return self.down(F.gelu(self.up(x).mean(dim=1, keepdim=True).expand(-1, x.shape[1], -1)))


class AlwaysDrops(Base):
    def forward(self, x):
        return F.dropout(self.down(F.gelu(self.up(x))), 0.3)


class TwoMistakes(Base):
    def forward(self, x):
        return x + self.down(self.up(x))


WRONG = [
    (NoActivation, "the activation is missing"),
    (ActivationAtTheEnd, "the activation comes after the second linear map"),
    (TwoActivations, "there is a second activation"),
    (ActivationOfTheInput, "the activation is applied to the input"),
    (WithItsResidual, "the residual is added inside"),
    (ForgetsTheBias, "the bias of the first linear map is missing"),
    (SoftmaxInside, "a softmax stands in place"),
    (CoarseGelu, "the coarse form of GELU"),
    (MixesPositions, "positions are mixed"),
    (AlwaysDrops, "dropout is active in evaluation"),
    (TwoMistakes, "the activation is missing: two linear maps in a row are one linear map; and the residual"),
]
RIGHT = [Base, WithRelu]
