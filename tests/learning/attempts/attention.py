"""Attentions as learners write them: wrong ones with the cause that must be named, and right ones."""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


def no_scale(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, float("-inf"))
    return F.softmax(scores, dim=-1) @ v


def divides_by_d(query, key, value, mask=None):
    scores = torch.matmul(query, key.transpose(-2, -1)) / query.size(-1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return torch.matmul(F.softmax(scores, dim=-1), value)


def multiplies_by_root(query, key, value, mask=None):
    scores = query @ key.mT * sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    return scores.softmax(-1) @ value


def divides_by_root_of_length(q, k, v):
    return (q @ k.transpose(1, 2) / sqrt(k.shape[1])).softmax(dim=-1) @ v


def sigmoid_of_scores(q, k, v):
    return torch.sigmoid(q @ k.transpose(1, 2) / sqrt(q.shape[-1])) @ v


def scales_the_weights(q, k, v):
    return (q @ k.transpose(1, 2)).softmax(dim=-1) / sqrt(q.shape[-1]) @ v


def softmax_over_queries(q, k, v, mask=None):
    scores = q @ k.transpose(1, 2) / sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return F.softmax(scores, dim=1) @ v


def softmax_over_batch(q, k, v):
    return F.softmax(q @ k.transpose(1, 2) / sqrt(q.shape[-1]), dim=0) @ v


def no_softmax(queries, keys, values):
    return queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5 @ values


def mask_after_softmax(q, k, v, mask=None):
    weights = (q @ k.transpose(-2, -1) / sqrt(q.size(-1))).softmax(-1)
    if mask is not None:
        weights = weights * mask
    return weights @ v, weights


def mask_is_forgotten(q, k, v, attn_mask=None):
    return (q @ k.transpose(-2, -1) / sqrt(q.size(-1))).softmax(-1) @ v


def mask_is_inverted(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    return scores.softmax(-1) @ v


def mask_multiplies_scores(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))
    if mask is not None:
        scores = scores * mask
    return scores.softmax(-1) @ v


def mask_is_added(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1) @ v


def mask_is_transposed(q, k, v, mask=None):
    scores = k @ q.transpose(-2, -1) / sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.transpose(-2, -1).softmax(-1) @ v


def averages_keys(q, k, v):
    return (q @ k.transpose(-2, -1) / sqrt(q.size(-1))).softmax(-1) @ k


def queries_and_keys_exchanged(q, k, v):
    return (k @ q.transpose(-2, -1) / sqrt(q.size(-1))).softmax(-1) @ v


def two_mistakes(q, k, v, mask=None):
    weights = (q @ k.transpose(-2, -1)).softmax(-1)
    if mask is not None:
        weights = weights * mask
    return weights @ v


def always_drops(q, k, v):
    return F.dropout((q @ k.transpose(-2, -1) / sqrt(q.size(-1))).softmax(-1), 0.5) @ v


def right(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


def right_with_weights(queries, keys, values, mask=None):
    scores = torch.einsum("bqd,bkd->bqk", queries, keys) / sqrt(queries.shape[-1])
    weights = (scores if mask is None else scores.masked_fill(mask == 0, -1e9)).softmax(dim=-1)
    return weights @ values, weights


class MultiHead(nn.Module):
    """A right one, of which the wrong ones change a method."""

    def __init__(self, d_model=8, n_heads=2):
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(d_model, d_model) for _ in range(4))
        self.dropout = nn.Dropout(0.1)

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.n_heads, self.d_head).transpose(1, 2)

    def merge(self, x):
        return x.transpose(1, 2).contiguous().view(x.size(0), x.size(2), -1)

    def scale(self):
        return sqrt(self.d_head)

    def weights(self, scores, mask):
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(-1)

    def output(self, x):
        return self.W_o(x)

    def forward(self, x, mask=None):
        q, k, v = self.split(self.W_q(x)), self.split(self.W_k(x)), self.split(self.W_v(x))
        weights = self.weights(q @ k.transpose(-2, -1) / self.scale(), mask)
        return self.output(self.merge(self.dropout(weights) @ v))


class MergedWithoutTranspose(MultiHead):
    def merge(self, x):
        return x.contiguous().view(x.size(0), x.size(2), -1)


class SplitWithoutTranspose(MultiHead):
    def split(self, x):
        return x.view(x.size(0), self.n_heads, x.size(1), self.d_head)


class ScaledByHiddenSize(MultiHead):
    def scale(self):
        return sqrt(self.d_head * self.n_heads)


class WithoutScale(MultiHead):
    def scale(self):
        return 1.0


class WithoutOutputProjection(MultiHead):
    def output(self, x):
        return x


class OneHead(MultiHead):
    def forward(self, x, mask=None):
        weights = self.weights(
            self.W_q(x) @ self.W_k(x).transpose(-2, -1) / sqrt(x.size(-1)), None if mask is None else mask[:, 0]
        )
        return self.W_o(weights @ self.W_v(x))


class SoftmaxOverQueries(MultiHead):
    def weights(self, scores, mask):
        return (scores if mask is None else scores.masked_fill(~mask, float("-inf"))).softmax(-2)


class SoftmaxBeforeMask(MultiHead):
    def weights(self, scores, mask):
        return scores.softmax(-1) if mask is None else scores.softmax(-1) * mask


class MaskForgotten(MultiHead):
    def weights(self, scores, mask):
        return scores.softmax(-1)


class FunctionalDropout(MultiHead):
    def weights(self, scores, mask):
        return F.dropout(super().weights(scores, mask), 0.3)


WRONG = [
    (no_scale, "the division by √d is missing"),
    (divides_by_d, "divided by d, not by √d"),
    (multiplies_by_root, "multiplied by √d"),
    (divides_by_root_of_length, "the root of the number of keys"),
    (sigmoid_of_scores, "a sigmoid stands in place of the softmax"),
    (scales_the_weights, "the division by √d comes after the softmax"),
    (softmax_over_queries, "the softmax runs over queries, not over keys"),
    (softmax_over_batch, "the softmax runs over the batch"),
    (no_softmax, "the softmax is missing"),
    (mask_after_softmax, "the mask is applied after the softmax"),
    (mask_is_forgotten, "the mask is ignored"),
    (mask_is_inverted, "the mask is inverted"),
    (mask_multiplies_scores, "the mask sets hidden scores to 0"),
    (mask_is_added, "the mask is added"),
    (mask_is_transposed, "the mask is transposed"),
    (averages_keys, "the keys are averaged"),
    (queries_and_keys_exchanged, "queries and keys are exchanged"),
    (two_mistakes, "the division by √d is missing; and the mask is applied after the softmax"),
    (always_drops, "dropout is active in evaluation"),
    (MergedWithoutTranspose, "heads are merged without transposing them back"),
    (SplitWithoutTranspose, "heads are split without a transpose"),
    (ScaledByHiddenSize, "the root of the hidden size"),
    (WithoutScale, "the division by √d is missing"),
    (WithoutOutputProjection, "the output projection is missing"),
    (OneHead, "only one head"),
    (SoftmaxOverQueries, "the softmax runs over queries"),
    (SoftmaxBeforeMask, "the mask is applied after the softmax"),
    (MaskForgotten, "the mask is ignored"),
    (FunctionalDropout, "dropout is active in evaluation"),
]
RIGHT = [right, right_with_weights, MultiHead]
