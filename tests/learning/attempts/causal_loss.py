"""Losses of language models as learners write them: wrong ones with the cause that must be named, and right ones."""

import torch
from torch.nn import functional as F


def entropy(logits, labels, **options):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), **options)


def right(logits, labels):
    return entropy(logits[:, :-1], labels[:, 1:])


def by_hand(logits, labels):
    logits, labels = logits[:, :-1], labels[:, 1:]
    counted = labels != -100
    chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(chosen * counted).sum() / counted.sum()


def not_shifted(logits, labels):
    return entropy(logits, labels)


def shifted_in_the_collator_too(logits, labels):
    labels = labels[:, 1:]
    logits = logits[:, :-1]
    return entropy(logits[:, :-1], labels[:, 1:])


def backwards(logits, labels):
    return entropy(logits[:, 1:], labels[:, :-1])


def rolled(logits, labels):
    return entropy(logits, torch.roll(labels, -1, dims=1))


def counts_the_ignored(logits, labels):
    return entropy(logits[:, :-1], labels[:, 1:].clamp(min=0))


def over_all_positions(logits, labels):
    losses = entropy(logits[:, :-1], labels[:, 1:], reduction="none")
    return losses.mean()


def mean_of_texts(logits, labels):
    return torch.stack([entropy(a[:-1], b[1:]) for a, b in zip(logits, labels, strict=True)]).mean()


def added_up(logits, labels):
    return entropy(logits[:, :-1], labels[:, 1:], reduction="sum")


def softmax_first(logits, labels):
    return entropy(logits[:, :-1].softmax(-1), labels[:, 1:])


def in_bits(logits, labels):
    return right(logits, labels) / torch.tensor(2.0).log()


def sign_forgotten(logits, labels):
    return -right(logits, labels)


def last_token_lost(logits, labels):
    return entropy(logits[:, :-2], labels[:, 1:-1])


def shifted_twice_and_added_up(logits, labels):
    return entropy(logits[:, :-2], labels[:, 2:], reduction="sum")


WRONG = [
    (not_shifted, "labels are not shifted"),
    (shifted_in_the_collator_too, "labels are shifted twice"),
    (backwards, "labels are shifted backwards"),
    (rolled, "labels are rolled"),
    (counts_the_ignored, "labels of −100 are not ignored"),
    (over_all_positions, "the number of all positions"),
    (mean_of_texts, "the mean is taken in each text first"),
    (added_up, "losses are added up"),
    (softmax_first, "a softmax is applied before the cross-entropy"),
    (in_bits, "to base 2"),
    (sign_forgotten, "the sign is missing"),
    (last_token_lost, "the last token is never a label"),
    (
        shifted_twice_and_added_up,
        "labels are shifted twice: the logits at t are compared with the token at t + 2; and losses",
    ),
]
RIGHT = [right, by_hand]
