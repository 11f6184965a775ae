"""The loss of a micro-batch, normalized by the number of labels in the whole batch.

A mean of means is not the mean: micro-batches have different numbers of labels. So the labels of all micro-batches, on
all ranks, are counted first, and each sum of losses is divided by that number. The losses and gradients of the
micro-batches then add up to those of one large batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED, token_cross_entropy
from minitransformers.training.loop.batches import LABELS, Batch, Repeated, num_rows
from minitransformers.training.loop.distributed import unwrap
from minitransformers.training.loop.loss_only import loss_only

Counts = Mapping[str, int | float]


def normalized_loss(model: nn.Module, batch: Batch, counts: Counts) -> Tensor:
    """The sum of the micro-batch's losses, divided by the `counts` of labels in the whole batch (see `count_labels`).

    A micro-batch without labels has a loss of 0 and gradients of 0: a mean over no label would be NaN and spoil all
    weights.

    Raises:
        InputError: the model's output has no loss.
    """
    losses, _ = normalized_losses(model, batch, counts, reads_output=False)
    return sum(losses.values(), start=next(iter(losses.values())).new_zeros(()))


def count_labels(model: nn.Module, batch: Any) -> dict[str, int]:
    """The number of labels of each kind that count in the loss; of a batch without labels, the number of rows.

    Labels of −100 do not count, except in regression. A causal language model predicts the next token from each token,
    so the first label of a row does not count. Positions of answers beyond the text do not count. Models with other
    rules state them in a method `_count_labels(batch)`. In a repeated batch, no label counts.
    """
    values = batch if isinstance(batch, Mapping) else {}  # a user's collator may return something else
    plain: Any = unwrap(model)
    own = plain._count_labels(values) if hasattr(plain, "_count_labels") else {}
    own = own or _count_by_name(plain, values) or {"rows": num_rows(batch)}
    return dict.fromkeys(own, 0) if isinstance(batch, Repeated) else own


def _count_by_name(model: nn.Module, batch: Batch) -> dict[str, int]:
    labels = {name: batch[name] for name in LABELS if isinstance(batch.get(name), Tensor)}
    if isinstance(batch.get("shift_labels"), Tensor):  # the collator has shifted them
        labels["labels"] = batch["shift_labels"]
    elif "labels" in labels and shifts_labels(model):
        labels["labels"] = labels["labels"][..., 1:]
    if "labels" in labels:
        labels.pop("mc_labels", None)  # the loss of the choices is an output of its own
    return {name: int(_counts(model, name, values, batch).sum()) for name, values in labels.items()}


def _counts(model: nn.Module, name: str, labels: Tensor, batch: Batch) -> Tensor:
    """Which labels count in the loss."""
    if name.endswith("_positions"):
        scored = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
        length = next((batch[each].shape[1] for each in scored if isinstance(batch.get(each), Tensor)), None)
        return torch.ones_like(labels) if length is None else labels < length
    is_regression = labels.is_floating_point() or (
        type(model).__name__.endswith(("ForSequenceClassification", "ForImageClassification"))
        and getattr(getattr(model, "config", None), "num_labels", None) == 1
    )
    return torch.ones_like(labels) if is_regression else labels != IGNORED


def normalized_losses(
    model: nn.Module, batch: Batch, counts: Counts, *, reads_output: bool = True
) -> tuple[dict[str, Tensor], Any]:
    """`normalized_loss` by kind of label, and the model's output.

    With `reads_output=False`, logits that the loss does not need are missing in the output (see loss_only.py).
    """
    if reads_output:
        return _normalized_losses(model, batch, counts)
    with loss_only(model, batch):
        return _normalized_losses(model, batch, counts)


def _normalized_losses(model: nn.Module, batch: Batch, counts: Counts) -> tuple[dict[str, Tensor], Any]:
    own = count_labels(model, batch)
    kind = next(iter(own))
    if not any(own.values()):
        # Other ranks wait for the backward pass, which needs a label to be differentiable: add one, weighted 0.
        loss, output = _loss(model, {**batch, **_with_one_label(batch)})
        return dict.fromkeys(own, 0 * loss), output  # the same kinds on all ranks
    if len(own) > 1:
        return _losses_of_kinds(model, batch, own, counts)
    if kind == "labels" and takes_num_items(model):
        loss, output = _loss(model, {**batch, "num_items_in_batch": int(counts[kind])})
        return {kind: loss}, output
    loss, output = _loss(model, batch)
    return {kind: own[kind] / counts[kind] * loss}, output


def _losses_of_kinds(model: nn.Module, batch: Batch, own: Counts, counts: Counts) -> tuple[dict[str, Tensor], Any]:
    """The losses of a model that adds up several means, over different numbers of labels: of tokens and pairs, say.

    They are computed from the scores, which follow the loss in the output. If their means do not add up to the model's
    own loss, which a subclass may have changed, that is weighted by the share of all labels.
    """
    loss, output = _loss(model, batch)
    scores = [*(output.values() if isinstance(output, Mapping) else output)][1 : 1 + len(own)]
    labels = {kind: _labels_of(logits, batch[kind]) for kind, logits in zip(own, scores, strict=False)}
    sums = {
        kind: _sum_of_losses(logits, labels[kind], kind)
        for kind, logits in zip(own, scores, strict=False)
        if isinstance(logits, Tensor) and logits.shape[:-1].numel() == labels[kind].numel()
    }
    has_all = all(own.values())  # otherwise a mean is NaN
    total = sum((value / max(1, own[kind]) for kind, value in sums.items()), start=loss.new_zeros(()))
    if sums.keys() == own.keys() and (not has_all or torch.isclose(total, loss, rtol=1e-3, equal_nan=True)):
        return {kind: value / max(1, counts[kind]) for kind, value in sums.items()}, output
    weighted = sum(own.values()) / sum(counts.values()) * loss
    return {**dict.fromkeys(own, 0 * loss), next(iter(own)): weighted}, output


def _labels_of(logits: Any, labels: Tensor) -> Tensor:
    """The labels, without those of −100 where the logits are without them."""
    has_label = labels != IGNORED
    is_selected = isinstance(logits, Tensor) and logits.shape[:-1] == (int(has_label.sum()),)
    return labels[has_label] if is_selected else labels


def _sum_of_losses(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    labels, share = labels.view(logits.shape[:-1]), 1.0
    if kind.endswith("_positions"):  # see `span_loss`
        labels, share = labels.clamp(min=0), 0.5
        labels = labels.masked_fill(labels >= logits.shape[-1], IGNORED)
    return share * token_cross_entropy(logits, labels, num_items=1)


def shifts_labels(model: nn.Module) -> bool:
    """Whether the model compares the logits at position t with the label at t + 1, as decoders do."""
    plain = unwrap(model)
    if hasattr(plain, "_shifts_labels"):
        return bool(plain._shifts_labels)
    can_generate = getattr(plain, "can_generate", None)
    has_encoder = getattr(getattr(plain, "config", None), "is_encoder_decoder", False)
    return can_generate is not None and bool(can_generate()) and not has_encoder


def takes_num_items(model: nn.Module) -> bool:
    """Whether the forward pass takes `num_items_in_batch`, the divisor of the summed losses."""
    forward = unwrap(model).forward
    return _takes_num_items(getattr(forward, "__func__", forward))


@lru_cache(maxsize=256)
def _takes_num_items(forward: Callable[..., Any]) -> bool:
    return "num_items_in_batch" in inspect.signature(forward).parameters


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


def _with_one_label(batch: Batch) -> dict[str, Tensor]:
    """The batch's labels of classes, with a first class at the end of the first row."""
    labels = {name: batch[name].clone() for name in (*LABELS, "shift_labels") if isinstance(batch.get(name), Tensor)}
    for values in labels.values():
        values[(0,) * (values.ndim - 1) + (-1,)] = 0
    return labels
