"""Layer norms as learners write them: wrong ones with the cause that must be named, and right ones."""

import torch
from torch import nn


class Right(nn.Module):
    def __init__(self, hidden_size, eps=1e-5):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(hidden_size)), nn.Parameter(torch.zeros(hidden_size))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return self.gamma * (x - mean) / torch.sqrt(variance + self.eps) + self.beta


class OverPositions(Right):
    def forward(self, x):
        mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / torch.sqrt(variance + self.eps) + self.beta


class LikeABatchNorm(Right):
    def forward(self, x):
        mean, variance = x.mean(0, keepdim=True), x.var(0, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / torch.sqrt(variance + self.eps) + self.beta


class OverAll(Right):
    def forward(self, x):
        mean, variance = x.mean((1, 2), keepdim=True), x.var((1, 2), keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / torch.sqrt(variance + self.eps) + self.beta


class Unbiased(Right):
    def forward(self, x):
        return self.gamma * (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + self.eps) + self.beta


class EpsOutside(Right):
    def forward(self, x):
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / (std + self.eps) + self.beta


class NoRoot(Right):
    def forward(self, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / (variance + self.eps) + self.beta


class NoMean(Right):
    def forward(self, x):
        return self.gamma * x / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + self.eps) + self.beta


class NoWeight(Right):
    def forward(self, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(variance + self.eps) + self.beta


class FixedEps(Right):
    def forward(self, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / torch.sqrt(variance + 1e-5) + self.beta


class BiasInside(Right):
    def forward(self, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return self.gamma * ((x - mean) / torch.sqrt(variance + self.eps) + self.beta)


class BeginsAtZero(Right):
    def __init__(self, hidden_size, eps=1e-5):
        super().__init__(hidden_size, eps)
        nn.init.zeros_(self.gamma)


class OneNumber(Right):
    def __init__(self, hidden_size, eps=1e-5):
        super().__init__(1, eps)


def of_pytorch(hidden_size, eps):
    return nn.LayerNorm(hidden_size, eps=eps)


WRONG = [
    (OverPositions, "over positions, not over features"),
    (LikeABatchNorm, "over the batch, not over features"),
    (OverAll, "over positions and features together"),
    (Unbiased, "divides by n − 1"),
    (EpsOutside, "eps is added to the root"),
    (NoRoot, "the square root is missing"),
    (NoMean, "the mean is not subtracted"),
    (NoWeight, "the weight is missing"),
    (FixedEps, "always 1e-5"),
    (BiasInside, "the bias is added before the weight multiplies"),
    (BeginsAtZero, "the weight does not begin at 1"),
    (OneNumber, "expected the parameters weight and bias"),
]
RIGHT = [Right, of_pytorch]


class RightRMS(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(hidden_size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class SubtractsTheMean(RightRMS):
    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class DividesByTheSquare(RightRMS):
    def forward(self, x):
        return x / (x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class RMSOverPositions(RightRMS):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + self.eps) * self.weight


class ForgetsEps(RightRMS):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)) * self.weight


class ForgetsTheWeight(RightRMS):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class AddsTheWeight(RightRMS):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) + self.weight


class KeepsABias(RightRMS):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__(hidden_size, eps)
        self.bias = nn.Parameter(torch.zeros(hidden_size))


WRONG_RMS = [
    (SubtractsTheMean, "the mean is subtracted"),
    (DividesByTheSquare, "the square root is missing"),
    (RMSOverPositions, "over positions, not over features"),
    (ForgetsEps, "eps is missing"),
    (ForgetsTheWeight, "the weight is missing"),
    (AddsTheWeight, "the weight is added, not multiplied"),
    (KeepsABias, "expected the parameters weight"),
]
RIGHT_RMS = [RightRMS]
