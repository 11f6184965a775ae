"""BERT's losses as learners write them: wrong ones with the cause that must be named, and a right one."""

import torch
from torch.nn import functional as F


def tokens(logits, labels, **options):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), **options)


def right(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return tokens(mlm_logits, mlm_labels) + F.cross_entropy(nsp_logits, nsp_labels)


def tokens_only(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return tokens(mlm_logits, mlm_labels)


def pairs_only(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return F.cross_entropy(nsp_logits, nsp_labels)


def mean_of_both(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return right(mlm_logits, nsp_logits, mlm_labels, nsp_labels) / 2


def shifted(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return right(mlm_logits[:, :-1], nsp_logits, mlm_labels[:, 1:], nsp_labels)


def all_positions(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return tokens(mlm_logits, mlm_labels, reduction="none").mean() + F.cross_entropy(nsp_logits, nsp_labels)


def ignored_counted(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return right(mlm_logits, nsp_logits, mlm_labels.clamp(min=0), nsp_labels)


def pairs_exchanged(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return right(mlm_logits, nsp_logits, mlm_labels, 1 - nsp_labels)


def each_text_first(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    each = [F.cross_entropy(a, b) for a, b in zip(mlm_logits, mlm_labels, strict=True)]
    return torch.stack(each).mean() + F.cross_entropy(nsp_logits, nsp_labels)


def pairs_added_up(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return tokens(mlm_logits, mlm_labels) + F.cross_entropy(nsp_logits, nsp_labels, reduction="sum")


def softmax_of_both(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
    return right(mlm_logits.softmax(-1), nsp_logits.softmax(-1), mlm_labels, nsp_labels)


WRONG = [
    (tokens_only, "the loss of the sentence pairs is missing"),
    (pairs_only, "the loss of the masked tokens is missing"),
    (mean_of_both, "the two losses are averaged"),
    (shifted, "labels are shifted"),
    (all_positions, "the number of all positions"),
    (ignored_counted, "labels of −100 are not ignored"),
    (pairs_exchanged, "classes 0 and 1 of the sentence pairs are exchanged"),
    (each_text_first, "the mean is taken in each text first"),
    (pairs_added_up, "the losses of the sentence pairs are added up"),
    (softmax_of_both, "a softmax is applied before the cross-entropy"),
]
RIGHT = [right]
