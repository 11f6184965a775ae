"""Blocks of a GPT as learners write them: wrong ones with the cause that must be named, and right ones."""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


class Right(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_heads = 2
        self.ln_1, self.ln_2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def mask(self, length):
        return torch.ones(length, length, dtype=torch.bool).tril()

    def attend(self, x):
        batch, length, width = x.shape
        q, k, v = (y.view(batch, length, 2, 4).transpose(1, 2) for y in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(-2, -1) / sqrt(4)
        weights = scores.masked_fill(~self.mask(length), float("-inf")).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, length, width))

    def feed_forward(self, x):
        return self.down(F.gelu(self.up(x)))

    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return x + self.feed_forward(self.ln_2(x))


class WithTheFusedKernel(Right):
    def attend(self, x):
        batch, length = x.shape[:2]
        q, k, v = (y.view(batch, length, 2, 4).transpose(1, 2) for y in self.qkv(x).chunk(3, dim=-1))
        return self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class NoMask(Right):
    def mask(self, length):
        return torch.ones(length, length, dtype=torch.bool)


class MaskTransposed(Right):
    def mask(self, length):
        return torch.ones(length, length, dtype=torch.bool).triu()


class SeesTheNext(Right):
    def mask(self, length):
        return torch.ones(length, length, dtype=torch.bool).tril(1)


class DoesNotSeeItself(Right):
    def mask(self, length):
        return torch.ones(length, length, dtype=torch.bool).tril(-1)


class MaskAfterSoftmax(Right):
    def attend(self, x):
        batch, length, width = x.shape
        q, k, v = (y.view(batch, length, 2, 4).transpose(1, 2) for y in self.qkv(x).chunk(3, dim=-1))
        weights = (q @ k.transpose(-2, -1) / sqrt(4)).softmax(-1) * self.mask(length)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, length, width))


class PostNorm(Right):
    def forward(self, x):
        x = self.ln_1(x + self.attend(x))
        return self.ln_2(x + self.feed_forward(x))


class OneResidual(Right):
    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return self.feed_forward(self.ln_2(x))


class InParallel(Right):
    def forward(self, x):
        return x + self.attend(self.ln_1(x)) + self.feed_forward(self.ln_2(x))


class SameNorm(Right):
    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return x + self.feed_forward(self.ln_1(x))


class NotMerged(Right):
    def attend(self, x):
        batch, length, width = x.shape
        q, k, v = (y.view(batch, length, 2, 4).transpose(1, 2) for y in self.qkv(x).chunk(3, dim=-1))
        scores = (q @ k.transpose(-2, -1) / sqrt(4)).masked_fill(~self.mask(length), float("-inf"))
        return self.proj((scores.softmax(-1) @ v).reshape(batch, length, width))


WRONG = [
    (NoMask, "there is no causal mask"),
    (MaskTransposed, "the mask is transposed"),
    (SeesTheNext, "off by one: a query sees one key too many"),
    (DoesNotSeeItself, "a token does not see itself"),
    (MaskAfterSoftmax, "the mask is applied after the softmax"),
    (PostNorm, "the norms are at the other place"),
    (OneResidual, "the residual around the feed-forward is missing"),
    (InParallel, "the feed-forward gets the block's input"),
    (SameNorm, "the same norm is used twice"),
    (NotMerged, "heads are merged without transposing"),
]
RIGHT = [Right, WithTheFusedKernel]
