"""The loss of a micro-batch, normalized by the number of labels in the whole batch.

A mean of means is not the mean: micro-batches have different numbers of labels. So the labels of all micro-batches, on
all ranks, are counted first, and each sum of losses is divided by that number. The losses and gradients of the
micro-batches then add up to those of one large batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED, token_cross_entropy
from minitransformers.training.loop.batches import LABELS, Batch, num_rows
from minitransformers.training.loop.distributed import unwrap

Counts = Mapping[str, int | float]


def normalized_loss(model: nn.Module, batch: Batch, counts: Counts) -> Tensor:
    """The sum of the micro-batch's losses, divided by the `counts` of labels in the whole batch (see `count_labels`).

    A micro-batch without labels has a loss of 0 and gradients of 0: a mean over no label would be NaN and spoil all
    weights.

    Raises:
        InputError: the model's output has no loss.
    """
    losses, _ = normalized_losses(model, batch, counts)
    return sum(losses.values(), start=next(iter(losses.values())).new_zeros(()))


def count_labels(model: nn.Module, batch: Any) -> dict[str, int]:
    """The number of labels of each kind, without those that are −100; of a batch without labels, the number of rows.

    A causal language model predicts the next token from each token, so the first label of a row does not count.
    """
    values = batch if isinstance(batch, Mapping) else {}  # a user's collator may return something else
    labels = {name: values[name] for name in LABELS if isinstance(values.get(name), Tensor)}
    if not labels and "shift_labels" not in values:
        return {"rows": num_rows(batch)}
    if isinstance(values.get("shift_labels"), Tensor):  # the collator has shifted them
        labels["labels"] = values["shift_labels"]
    elif "labels" in labels and shifts_labels(model):
        labels["labels"] = labels["labels"][..., 1:]
    return {name: int(values.ne(IGNORED).sum()) for name, values in labels.items()}


def normalized_losses(model: nn.Module, batch: Batch, counts: Counts) -> tuple[dict[str, Tensor], Any]:
    """`normalized_loss` by kind of label, and the model's output."""
    own = count_labels(model, batch)
    if {"labels", "next_sentence_label"} <= own.keys():  # two means, over different numbers of labels
        output = model(**batch)
        _, prediction_logits, seq_relationship_logits = output[:3]
        scores = {"labels": prediction_logits, "next_sentence_label": seq_relationship_logits}
        return {
            kind: token_cross_entropy(logits, batch[kind].view(logits.shape[:-1]), num_items=max(1, int(counts[kind])))
            for kind, logits in scores.items()
        }, output
    kind = next(iter(own))
    if not own[kind]:
        # Other ranks wait for the backward pass, which needs a label to be differentiable: add one, weighted 0.
        names = [name for name in ("labels", "shift_labels") if kind == "labels" and batch.get(name) is not None]
        loss, output = _loss(model, {**batch, **{name: _with_one_label(batch[name]) for name in names}})
        return {kind: 0 * loss}, output
    if kind == "labels" and takes_num_items(model):
        loss, output = _loss(model, {**batch, "num_items_in_batch": int(counts[kind])})
        return {kind: loss}, output
    loss, output = _loss(model, batch)
    return {kind: own[kind] / counts[kind] * loss}, output


def shifts_labels(model: nn.Module) -> bool:
    """Whether the model compares the logits at position t with the label at t + 1, as decoders do."""
    plain = unwrap(model)
    can_generate = getattr(plain, "can_generate", None)
    has_encoder = getattr(getattr(plain, "config", None), "is_encoder_decoder", False)
    return can_generate is not None and bool(can_generate()) and not has_encoder


def takes_num_items(model: nn.Module) -> bool:
    """Whether the forward pass takes `num_items_in_batch`, the divisor of the summed losses."""
    return "num_items_in_batch" in inspect.signature(unwrap(model).forward).parameters


def has_loss(output: Sequence[Any]) -> bool:
    """Whether the first entry of a model's output, a tuple, is a loss: one number."""
    return len(output) > 0 and isinstance(output[0], Tensor) and output[0].numel() == 1


def _loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Any]:
    output = model(**batch)
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(output, tuple | list) and has_loss(output):
        loss = output[0]
    if loss is None:
        raise InputError(
            f"{type(unwrap(model)).__name__} gave no loss for a batch with {sorted(batch)}: does the batch have the "
            f"labels that the model needs?"
        )
    return loss, output


def _with_one_label(labels: Tensor) -> Tensor:
    labels = labels.clone()
    labels[(0,) * (labels.ndim - 1) + (-1,)] = 0
    return labels
