"""Masks as learners write them."""

import torch


def excludes_itself(n):
    return torch.tril(torch.ones(n, n), diagonal=-1).bool()


def sees_the_next(n):
    return torch.tril(torch.ones(n, n), diagonal=1).bool()


def upper_triangle(length):
    return torch.triu(torch.ones(length, length)).bool()


def true_is_hidden(length):
    return torch.triu(torch.ones(length, length), diagonal=1).bool()


def hides_nothing(seq_len):
    return torch.ones(seq_len, seq_len, dtype=torch.bool)


def diagonal(size):
    return torch.eye(size).bool()


def first_key_only(length):
    mask = torch.zeros(length, length, dtype=torch.bool)
    mask[:, 0] = True
    return mask


def aligned_upper_left(queries, keys):
    return torch.ones(queries, keys).tril().bool()


def additive_excludes_itself(n):
    return torch.full((n, n), float("-inf")).triu(0)


def additive_inverted(n):
    return torch.full((n, n), float("-inf")).tril(-1)


def inverted_padding(attention_mask):
    return (attention_mask == 0)[:, None, None, :]


def of_queries(attention_mask):
    return attention_mask.bool()[:, None, :, None]


def of_both(attention_mask):
    real = attention_mask.bool()
    return (real[:, None, :] & real[:, :, None])[:, None]


def of_first_text(attention_mask):
    return attention_mask[0].bool()[None, None, None, :]


def padding_forgotten(attention_mask):
    return torch.ones_like(attention_mask).bool()[:, None, None, :]


def loses_last_token(attention_mask):
    lengths = attention_mask.sum(1, keepdim=True)
    return (torch.arange(attention_mask.shape[1]) < lengths - 1)[:, None, None, :]


def one_padding_too_many(attention_mask):
    lengths = attention_mask.sum(1, keepdim=True)
    return (torch.arange(attention_mask.shape[1]) <= lengths)[:, None, None, :]


def padding_on_the_left(attention_mask):
    return attention_mask.flip(1).bool()[:, None, None, :]


def causal_as_well(padding_mask):
    n = padding_mask.shape[1]
    return padding_mask.bool()[:, None, None, :] & torch.ones(n, n).tril().bool()


def right_causal(n):
    return torch.ones(n, n).tril()


def right_additive(n):
    return torch.full((n, n), float("-inf")).triu(1)


def right_cached(queries, keys):
    return torch.ones(queries, keys).tril(keys - queries).bool()


def right_padding(attention_mask):
    return attention_mask[:, None, None, :].bool()


def right_additive_padding(attention_mask):
    return (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min


WRONG = [
    (excludes_itself, "off by one: a query does not see itself"),
    (sees_the_next, "off by one: a query sees the next key"),
    (upper_triangle, "the mask is transposed"),
    (true_is_hidden, "the mask is inverted"),
    (hides_nothing, "nothing is hidden"),
    (diagonal, "a query sees only itself"),
    (first_key_only, "only the first key"),
    (aligned_upper_left, "aligned to the upper left"),
    (additive_excludes_itself, "off by one: a query does not see itself"),
    (additive_inverted, "the mask is transposed"),
]
WRONG_PADDING = [
    (inverted_padding, "the mask is inverted"),
    (of_queries, "padding is hidden as queries"),
    (of_both, "padding hides queries as well as keys"),
    (of_first_text, "every text gets the padding of the first one"),
    (padding_forgotten, "nothing is hidden"),
    (loses_last_token, "off by one: the last real token"),
    (one_padding_too_many, "off by one: the first padding token"),
    (padding_on_the_left, "the wrong side"),
    (causal_as_well, "the mask is causal too"),
]
RIGHT = [right_causal, right_additive, right_cached]
RIGHT_PADDING = [right_padding, right_additive_padding]
