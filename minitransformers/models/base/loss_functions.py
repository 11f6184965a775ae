"""`model.loss_function`: the losses of nn/losses.py in the form in which models of transformers call them.

A user's function that replaces one is given the same arguments by name. Each takes further ones, and ignores them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from minitransformers.nn.losses import (
    IGNORED,
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy as cross_entropy,
)


def ForCausalLMLoss(  # noqa: N802
    logits: Tensor,
    labels: Tensor,
    vocab_size: int,
    num_items_in_batch: int | Tensor | None = None,
    ignore_index: int = IGNORED,
    shift_labels: Tensor | None = None,
    **further: Any,
) -> Tensor:
    """Cross-entropy of each next token; see `causal_lm_loss`.

    Args:
        logits: (…, length, vocabulary).
        labels: (…, length), which are shifted here.
        vocab_size: the last dimension of the logits.
        num_items_in_batch: divides the sum of the losses in place of the number of labels.
        ignore_index: the label that is not counted.
        shift_labels: labels that are shifted already: the one at position t is that of token t + 1.
    """
    if shift_labels is not None:
        shift_labels = _with_ignored(shift_labels, ignore_index).view(logits.shape[:-1])
        return cross_entropy(logits, shift_labels, num_items=num_items_in_batch, upcast=True)
    return causal_lm_loss(logits, _with_ignored(labels, ignore_index), num_items=num_items_in_batch)


def ForMaskedLMLoss(  # noqa: N802
    logits: Tensor,
    labels: Tensor,
    vocab_size: int,
    num_items_in_batch: int | Tensor | None = None,
    ignore_index: int = IGNORED,
    **further: Any,
) -> Tensor:
    """Cross-entropy of each masked token; the arguments are those of `ForCausalLMLoss`."""
    labels = _with_ignored(labels, ignore_index).view(logits.shape[:-1])
    return cross_entropy(logits, labels, num_items=num_items_in_batch, upcast=True)


def ForSequenceClassificationLoss(labels: Tensor, pooled_logits: Tensor, config: Any, **further: Any) -> Tensor:  # noqa: N802
    """The loss of a classifier of sequences or images, by `config.problem_type`; see `sequence_classification_loss`."""
    return sequence_classification_loss(pooled_logits, labels, config.problem_type)


def ForTokenClassification(logits: Tensor, labels: Tensor, config: Any, **further: Any) -> Tensor:  # noqa: N802
    """Cross-entropy of each token's class."""
    return cross_entropy(logits, labels.view(logits.shape[:-1]), upcast=True)


def ForQuestionAnsweringLoss(  # noqa: N802
    start_logits: Tensor,
    end_logits: Tensor,
    start_positions: Tensor | None,
    end_positions: Tensor | None,
    **further: Any,
) -> Tensor | None:
    """Cross-entropy of the answer's start and end; see `span_loss`."""
    return span_loss(start_logits, end_logits, start_positions, end_positions)


def _with_ignored(labels: Tensor, ignore_index: int) -> Tensor:
    return labels if ignore_index == IGNORED else labels.masked_fill(labels == ignore_index, IGNORED)


# What the name of a class says of its head -> its loss
LOSS_MAPPING: dict[str, Callable[..., Any]] = {
    "ForCausalLM": ForCausalLMLoss,
    "ForConditionalGeneration": ForCausalLMLoss,
    "ForMaskedLM": ForMaskedLMLoss,
    "ForQuestionAnswering": ForQuestionAnsweringLoss,
    "ForSequenceClassification": ForSequenceClassificationLoss,
    "ForImageClassification": ForSequenceClassificationLoss,
    "ForTokenClassification": ForTokenClassification,
}
