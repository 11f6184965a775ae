"""Losses of the task heads. A label of -100 is not counted, as everywhere in the field."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100


def token_cross_entropy(
    logits: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    num_items: int | Int[Tensor, ""] | None = None,
    upcast: bool = False,
) -> Float[Tensor, ""]:
    """Mean of −log p(label) over the labels that are not -100; NaN where there is none.

    `num_items` divides the sum in place of their number: with the count of a whole batch, the losses of its
    micro-batches add up to the batch's. `upcast`: score half-precision logits in float32.
    """
    if upcast and logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    logits, labels = logits.flatten(0, -2), labels.flatten().long()
    if num_items is None:
        return F.cross_entropy(logits, labels, ignore_index=IGNORED)
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / num_items


def causal_lm_loss(
    logits: Float[Tensor, "*batch length vocab"],
    labels: Int[Tensor, "*batch length"],
    *,
    num_items: int | Int[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of each next token: the logits at position t are scored against the label at t + 1.

    Labels are shifted here, so a model is given `labels=input_ids`. Half-precision logits are scored in float32.
    """
    return token_cross_entropy(logits[..., :-1, :], labels[..., 1:], num_items=num_items, upcast=True)


def sequence_classification_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Shaped[Tensor, "batch ..."],
    problem_type: str | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error, cross-entropy, or binary cross-entropy of each class, by the problem.

    Args:
        labels: (batch,) numbers, or (batch, classes) of them, for "regression"; (batch,) classes for
            "single_label_classification"; (batch, classes) of 0 and 1 for "multi_label_classification".
        problem_type: one of these; None: see `problem_of`.
    """
    problem_type = problem_type or problem_of(labels, num_classes=logits.shape[-1])
    if problem_type == "single_label_classification":
        return token_cross_entropy(logits, labels.reshape(-1))
    # The finer of both dtypes: a bfloat16 model is scored in float32 where its labels have that.
    dtype = torch.promote_types(logits.dtype, labels.dtype)
    logits, labels = logits.to(dtype), labels.to(dtype).reshape(logits.shape)
    if problem_type == "regression":
        return F.mse_loss(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels)


def problem_of(labels: Shaped[Tensor, "*batch"], num_classes: int) -> str:
    """The problem that labels stand for where no `problem_type` says it.

    A single class is a number to predict. Of several, floating-point labels say of each whether it holds, and whole
    numbers say which one it is.
    """
    if num_classes == 1:
        return "regression"
    return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def span_loss(
    start_logits: Float[Tensor, "batch length"],
    end_logits: Float[Tensor, "batch length"],
    start_positions: Int[Tensor, "batch ..."] | None,
    end_positions: Int[Tensor, "batch ..."] | None,
) -> Float[Tensor, ""] | None:
    """Mean cross-entropy of the answer's start and end (Devlin et al., 2018, §4.2); None where one is not known.

    A position beyond the sequence, where the answer was cut off, is not counted.
    """
    if start_positions is None or end_positions is None:
        return None
    length = start_logits.shape[1]
    losses = [
        F.cross_entropy(logits, positions.view(-1).long().clamp(0, length), ignore_index=length)
        for logits, positions in ((start_logits, start_positions), (end_logits, end_positions))
    ]
    return (losses[0] + losses[1]) / 2
