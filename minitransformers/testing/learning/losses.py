"""`check_causal_loss` and `check_pretraining_loss`: cross-entropies, with the right labels and the right mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minitransformers.testing.learning.judging import CALLABLE, CheckError, call, judge_outputs, tensor_of

CAUSAL = "causal_loss(logits, labels) -> loss; logits (batch, length, vocabulary), labels (batch, length), −100 = none"
PRETRAINING = (
    "pretraining_loss(mlm_logits, nsp_logits, mlm_labels, nsp_labels) -> loss; mlm_logits (batch, length, vocabulary), "
    "nsp_logits (batch, 2), mlm_labels (batch, length) with −100 = none, nsp_labels (batch,)"
)
IGNORED, VOCABULARY = -100, 6
TOKEN_MISTAKES = {
    "ignored counted": "labels of −100 are not ignored: they are taken as token 0",
    "over all": "the sum is divided by the number of all positions, not of the labels that count",
    "per text": "the mean is taken in each text first: texts with few labels weigh too much",
    "sum": "losses are added up, not averaged",
    "softmax twice": "a softmax is applied before the cross-entropy, which has one of its own",
    "no log": "the logarithm is missing: the loss is 1 − p, not −log p",
    "negative": "the sign is missing: the loss is log p",
    "base 2": "the logarithm is to base 2, not natural",
}
CAUSAL_MISTAKES = {
    "not shifted": "labels are not shifted: the logits at t are compared with the token at t, not at t + 1",
    "twice": "labels are shifted twice: the logits at t are compared with the token at t + 2",
    "backwards": "labels are shifted backwards: the logits at t are compared with the token at t − 1",
    "rolled": "labels are rolled, not cut: the last position is compared with the text's first token",
    "last dropped": "the last token is never a label: one position too many is cut",
    **TOKEN_MISTAKES,
}
PRETRAINING_MISTAKES = {
    "shifted": "labels are shifted: a masked token is predicted at its own place",
    "no mlm": "the loss of the masked tokens is missing",
    "no nsp": "the loss of the sentence pairs is missing",
    "mean of two": "the two losses are averaged, not added up",
    "nsp swapped": "classes 0 and 1 of the sentence pairs are exchanged",
    "nsp sum": "the losses of the sentence pairs are added up, not averaged",
    **TOKEN_MISTAKES,
}


def token_loss(logits: Tensor, labels: Tensor, wrong: frozenset[str] = frozenset()) -> Tensor:
    """The mean of −log p(label) over the labels that are not −100, with the mistakes that `wrong` names."""
    counted = torch.ones_like(labels, dtype=torch.bool) if "ignored counted" in wrong else labels != IGNORED
    probabilities = logits.softmax(-1)
    probabilities = probabilities.softmax(-1) if "softmax twice" in wrong else probabilities
    right = probabilities.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    each = 1 - right if "no log" in wrong else right.log() if "negative" in wrong else -right.log()
    each = torch.where(counted, each / (0.6931471805599453 if "base 2" in wrong else 1), 0)
    if "sum" in wrong:
        return each.sum()
    if "per text" in wrong:
        return (each.sum(-1) / counted.sum(-1)).mean()
    return each.sum() / (counted.numel() if "over all" in wrong else counted.sum())


def causal_loss(logits: Tensor, labels: Tensor, wrong: frozenset[str] = frozenset()) -> Tensor:
    """The loss of a language model in plain steps, with the mistakes that `wrong` names."""
    if "not shifted" in wrong:
        return token_loss(logits, labels, wrong)
    if "rolled" in wrong:
        return token_loss(logits, labels.roll(-1, 1), wrong)
    if "backwards" in wrong:
        return token_loss(logits[:, 1:], labels[:, :-1], wrong)
    if "last dropped" in wrong:
        return token_loss(logits[:, :-2], labels[:, 1:-1], wrong)
    by = 2 if "twice" in wrong else 1
    return token_loss(logits[:, :-by], labels[:, by:], wrong)


def check_causal_loss(function: Callable[..., Any]) -> None:
    """Check the loss of a language model: the logits at t are compared with the token at t + 1.

    Args:
        function: `causal_loss(logits, labels)`, where `labels` are the input ids themselves, −100 where none is wanted.

    Raises:
        CheckError: a law is broken.
    """
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 6, VOCABULARY, generator=draw) * 2
    labels = torch.randint(1, VOCABULARY, (2, 6), generator=draw)
    some = labels.clone()
    some[0, 3:], some[1, 1] = IGNORED, IGNORED
    cases = [(logits[:1, :3], labels[:1, :3]), (logits, labels), (logits, some)]
    laws = [
        ("The logits at t are compared with the token at t + 1.", "the loss of 3 tokens"),
        ("The loss is the mean over all next tokens.", "the loss of 2 texts"),
        ("Labels of −100 do not count.", "the loss of 2 texts, some labels −100"),
    ]

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        return scalar(call(function, {"logits": logits.clone(), "labels": labels.clone()}, CAUSAL), CAUSAL)

    judge_outputs(
        [run(*case) for case in cases],
        lambda wrong: (causal_loss(*case, wrong).reshape(1) for case in cases),
        CAUSAL_MISTAKES,
        laws,
    )


def pretraining_loss(
    mlm_logits: Tensor,
    nsp_logits: Tensor,
    mlm_labels: Tensor,
    nsp_labels: Tensor,
    wrong: frozenset[str] = frozenset(),
) -> Tensor:
    """BERT's loss in plain steps (Devlin et al., 2019, §A.2), with the mistakes that `wrong` names."""
    if "shifted" in wrong:
        mlm_logits, mlm_labels = mlm_logits[:, :-1], mlm_labels[:, 1:]
    tokens = token_loss(mlm_logits, mlm_labels, wrong)
    of_pairs = wrong & {"softmax twice", "no log", "negative", "base 2"} | ({"sum"} if "nsp sum" in wrong else set())
    pairs = token_loss(nsp_logits, 1 - nsp_labels if "nsp swapped" in wrong else nsp_labels, of_pairs)
    total = tokens * ("no mlm" not in wrong) + pairs * ("no nsp" not in wrong)
    return total / 2 if "mean of two" in wrong else total


def check_pretraining_loss(function: Callable[..., Any]) -> None:
    """Check BERT's loss: the mean over the masked tokens plus the mean over the sentence pairs.

    Args:
        function: `pretraining_loss(mlm_logits, nsp_logits, mlm_labels, nsp_labels)`, without a shift.

    Raises:
        CheckError: a law is broken.
    """
    draw = torch.Generator().manual_seed(0)
    mlm_logits, nsp_logits = (
        torch.randn(3, 5, VOCABULARY, generator=draw) * 2,
        torch.randn(3, 2, generator=draw) * 2,
    )
    labels = torch.randint(1, VOCABULARY, (3, 5), generator=draw)
    some = torch.full_like(labels, IGNORED)
    some[0, 1:4], some[1, 2], some[2, :2] = labels[0, 1:4], labels[1, 2], labels[2, :2]
    pairs = torch.tensor([0, 1, 1])
    names = ("mlm_logits", "nsp_logits", "mlm_labels", "nsp_labels")
    cases = [(mlm_logits[:1], nsp_logits[:1], labels[:1], pairs[:1]), (mlm_logits, nsp_logits, some, pairs)]
    laws = [
        ("The loss is that of the tokens plus that of the pair.", "the loss of one pair"),
        ("Only selected tokens count, each as much as any other.", "the loss of 3 pairs, most labels −100"),
    ]

    def run(case: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        given = {name: value.clone() for name, value in zip(names, case, strict=True)}
        return scalar(call(function, given, PRETRAINING), PRETRAINING)

    judge_outputs(
        [run(case) for case in cases],
        lambda wrong: (pretraining_loss(*case, wrong).reshape(1) for case in cases),
        PRETRAINING_MISTAKES,
        laws,
    )


def scalar(output: Any, expected: str) -> Tensor:
    """A loss as a tensor of one number."""
    loss = torch.tensor(output) if isinstance(output, float) else tensor_of(output, expected)
    if loss.numel() != 1:
        raise CheckError(CALLABLE, f"it returns numbers of shape {tuple(loss.shape)}, not one", f"expected: {expected}")
    return loss.reshape(1).float()
