"""LoRA layers as learners write them."""

import torch
from torch import nn


class Lora(nn.Module):
    """A right one, of which the wrong ones change a part."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.freeze()
        self.A = nn.Parameter(torch.randn(rank, linear.in_features) * 0.02)
        self.B = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.rank, self.alpha = rank, alpha
        self.start()

    def freeze(self):
        for parameter in self.linear.parameters():
            parameter.requires_grad = False

    def start(self):
        pass

    def scale(self):
        return self.alpha / self.rank

    def update(self, x):
        return x @ self.A.T @ self.B.T * self.scale()

    def forward(self, x):
        return self.linear(x) + self.update(x)


class TwoLayers(nn.Module):
    """A right one of two linear layers, which can be merged."""

    def __init__(self, base, r, lora_alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(base.in_features, r, bias=False), nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        self.scaling = lora_alpha / r

    def forward(self, x):
        return self.base(x) + self.scaling * self.up(self.down(x))

    def merge(self):
        merged = nn.Linear(self.base.in_features, self.base.out_features)
        merged.weight.data = self.base.weight + self.scaling * self.up.weight @ self.down.weight
        merged.bias.data = self.base.bias
        return merged


class Transposed(Lora):
    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        self.A, self.B = nn.Parameter(self.A.data.T.clone()), nn.Parameter(self.B.data.T.clone())

    def update(self, x):
        return x @ self.A @ self.B * self.scale()


class RandomB(Lora):
    def start(self):
        nn.init.normal_(self.B)


class AllZeros(Lora):
    def start(self):
        nn.init.zeros_(self.A)


class NotFrozen(Lora):
    def freeze(self):
        pass


class BiasTrained(Lora):
    def freeze(self):
        self.linear.weight.requires_grad = False


class NoScale(Lora):
    def scale(self):
        return 1


class Alpha(Lora):
    def scale(self):
        return self.alpha


class Inverse(Lora):
    def scale(self):
        return self.rank / self.alpha


class RootOfRank(Lora):
    def scale(self):
        return self.alpha / self.rank**0.5


class OverRank(Lora):
    def scale(self):
        return 1 / self.rank


class NoBias(Lora):
    def forward(self, x):
        return x @ self.linear.weight.T + self.update(x)


class UpdateOnly(Lora):
    def forward(self, x):
        return self.update(x)


class BaseOnly(Lora):
    def forward(self, x):
        return self.linear(x)


class Subtracts(Lora):
    def forward(self, x):
        return self.linear(x) - self.update(x)


class WithActivation(Lora):
    def update(self, x):
        return torch.relu(x @ self.A.T) @ self.B.T * self.scale()


class ScalesTheBase(Lora):
    def forward(self, x):
        return self.scale() * (self.linear(x) + x @ self.A.T @ self.B.T)


class Drops(Lora):
    def update(self, x):
        return super().update(nn.functional.dropout(x, 0.3))


class SquareUpdate(Lora):
    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha)
        del self.B
        self.B = nn.Parameter(torch.zeros(linear.out_features, linear.in_features))

    def update(self, x):
        return x @ self.B.T


class MergesWithoutScale(TwoLayers):
    def merge(self):
        self.scaling = 1.0
        return super().merge()


class MergedTwice(TwoLayers):
    def merge(self):
        self.base.weight.data += self.scaling * self.up.weight @ self.down.weight


WRONG = [
    (RandomB, "B does not begin at 0"),
    (AllZeros, "A and B both begin at 0"),
    (NotFrozen, "the layer is not frozen: linear.weight, linear.bias"),
    (BiasTrained, "the layer is not frozen: linear.bias"),
    (NoScale, "the scale α/r is missing"),
    (Alpha, "multiplied by α, not by α/r"),
    (Inverse, "multiplied by r/α"),
    (RootOfRank, "multiplied by α/√r"),
    (OverRank, "divided by r, and α is missing"),
    (NoBias, "the bias of the layer is lost"),
    (UpdateOnly, "the layer itself is lost"),
    (BaseOnly, "the update is not added"),
    (Subtracts, "the update is subtracted"),
    (WithActivation, "an activation between A and B"),
    (ScalesTheBase, "the scale multiplies the layer too"),
    (Drops, "dropout is active in evaluation"),
    (SquareUpdate, "A or B has another shape"),
    (MergesWithoutScale, "the scale α/r is missing"),
    (MergedTwice, "after merge() the update is still added"),
]
RIGHT = [Lora, TwoLayers, Transposed]
