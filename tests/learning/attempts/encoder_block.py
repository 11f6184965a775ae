"""Encoder blocks as learners write them."""

import torch
from attempts.attention import MultiHead, OneHead, SoftmaxBeforeMask, SoftmaxOverQueries, WithoutScale
from torch import nn
from torch.nn import functional as F


class Norm(nn.Module):
    """Layer norm by hand."""

    dim, unbiased, centred = -1, False, True

    def __init__(self, size):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.rand(size) + 0.5), nn.Parameter(torch.randn(size))
        self.eps = 1e-5

    def forward(self, x):
        mean = x.mean(self.dim, keepdim=True)
        std = torch.sqrt(x.var(self.dim, keepdim=True, unbiased=self.unbiased) + self.eps)
        return self.gamma * ((x - mean) if self.centred else x) / std + self.beta


class NormOverPositions(Norm):
    dim = 1


class NormOverEverything(Norm):
    dim = (1, 2)


class NormOverBatch(Norm):
    dim = 0


class UnbiasedNorm(Norm):
    unbiased = True


class UncentredNorm(Norm):
    centred = False


class Block(nn.Module):
    """A right block, of which the wrong ones change a part."""

    attention_class, norm_class, act = MultiHead, Norm, staticmethod(F.gelu)

    def __init__(self):
        super().__init__()
        self.attention = self.attention_class(8, 2)
        self.norm1, self.norm2 = self.norm_class(8), self.norm_class(8)
        self.fc1, self.fc2 = nn.Linear(8, 32), nn.Linear(32, 8)
        self.dropout = nn.Dropout(0.1)

    def feed_forward(self, x):
        return self.fc2(self.act(self.fc1(x)))

    def forward(self, x, mask=None):
        x = self.norm1(x + self.dropout(self.attention(x, mask)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


class ReluBlock(Block):
    act = staticmethod(F.relu)


class BuiltInNorms(Block):
    norm_class = nn.LayerNorm


class PreNorm(Block):
    def forward(self, x, mask=None):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.feed_forward(self.norm2(x))


class NoFirstResidual(Block):
    def forward(self, x, mask=None):
        x = self.norm1(self.attention(x, mask))
        return self.norm2(x + self.feed_forward(x))


class NoSecondResidual(Block):
    def forward(self, x, mask=None):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(self.feed_forward(x))


class NoResiduals(Block):
    def forward(self, x, mask=None):
        return self.norm2(self.feed_forward(self.norm1(self.attention(x, mask))))


class ResidualAfterNorm(Block):
    def forward(self, x, mask=None):
        x = x + self.norm1(self.attention(x, mask))
        return x + self.norm2(self.feed_forward(x))


class NormReused(Block):
    def forward(self, x, mask=None):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm1(x + self.feed_forward(x))


class NoFirstNorm(Block):
    def forward(self, x, mask=None):
        x = x + self.attention(x, mask)
        return self.norm2(x + self.feed_forward(x))


class NoSecondNorm(Block):
    def forward(self, x, mask=None):
        x = self.norm1(x + self.attention(x, mask))
        return x + self.feed_forward(x)


class PositionsNormed(Block):
    norm_class = NormOverPositions


class EverythingNormed(Block):
    norm_class = NormOverEverything


class BatchNormed(Block):
    norm_class = NormOverBatch


class Unbiased(Block):
    norm_class = UnbiasedNorm


class Uncentred(Block):
    norm_class = UncentredNorm


class NoActivation(Block):
    def feed_forward(self, x):
        return self.fc2(self.fc1(x))


class ActivationLast(Block):
    def feed_forward(self, x):
        return F.gelu(self.fc2(self.fc1(x)))


class Parallel(Block):
    def forward(self, x, mask=None):
        y = self.norm1(x + self.attention(x, mask))
        return self.norm2(y + self.feed_forward(x))


class DropsAlways(Block):
    def feed_forward(self, x):
        return F.dropout(super().feed_forward(x), 0.1)


class NoScale(Block):
    attention_class = WithoutScale


class OverQueries(Block):
    attention_class = SoftmaxOverQueries


class MaskNotPassed(Block):
    def forward(self, x, mask=None):
        return super().forward(x)


class MaskTooLate(Block):
    attention_class = SoftmaxBeforeMask


class SingleHead(Block):
    attention_class = OneHead


WRONG = [
    (PreNorm, "the norms are at the other place"),
    (NoFirstResidual, "the residual around the attention is missing"),
    (NoSecondResidual, "the residual around the feed-forward is missing"),
    (NoResiduals, "the residual around the attention is missing; and the residual around the feed-forward is missing"),
    (ResidualAfterNorm, "before the residual is added"),
    (NormReused, "the same norm is used twice"),
    (NoFirstNorm, "the norm of the attention is missing"),
    (NoSecondNorm, "the norm of the feed-forward is missing"),
    (PositionsNormed, "over positions, not over features"),
    (EverythingNormed, "over positions and features together"),
    (BatchNormed, "over the batch, not over features"),
    (Unbiased, "divides by n − 1"),
    (Uncentred, "does not subtract the mean"),
    (NoActivation, "the activation of the feed-forward is missing"),
    (ActivationLast, "after the second linear map"),
    (Parallel, "the feed-forward gets the block's input"),
    (DropsAlways, "dropout is active in evaluation"),
    (NoScale, "the division by √d is missing"),
    (OverQueries, "the softmax runs over queries"),
    (MaskNotPassed, "the mask is ignored"),
    (MaskTooLate, "the mask is applied after the softmax"),
    (SingleHead, "only one head"),
]
RIGHT = [Block, ReluBlock, BuiltInNorms]
