"""Evaluation of a model on data that it was not trained on: loss, perplexity and accuracy."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.training.loop.batches import Batch, Repeated, even_batches, to_device
from minitransformers.training.loop.distributed import sum_over_ranks, unwrap
from minitransformers.training.loop.objective import count_labels, normalized_losses, shifts_labels
from minitransformers.training.loop.precision import autocast
from minitransformers.training.loop.random_state import random_state, set_random_state
from minitransformers.training.loop.settings import Settings


def evaluate(model: nn.Module, batches: Iterable[Batch], settings: Settings | None = None) -> dict[str, float]:
    """Measure `model` on all of `batches`, on all ranks, without dropout and without gradients.

    The states of the random number generators are restored afterwards: an evaluation does not change the run.

    Args:
        settings: their `precision` is used; the default is float32.

    Returns:
        "loss", the mean over all labels; "perplexity", e to the mean loss of a token, if the labels are tokens; and the
        share of labels with the largest logit: "token_accuracy" for next tokens, "mask_accuracy" for masked tokens,
        "nsp_accuracy" for `next_sentence_label`, "sop_accuracy" for `sentence_order_label`, "accuracy" for classes.

    Raises:
        InputError: there is no batch, or all labels are −100.
    """
    device, was_training, random = next(model.parameters()).device, model.training, random_state()
    precision = "fp32" if settings is None else settings.precision
    sums: dict[str, float] = defaultdict(float)
    model.eval()
    try:
        with torch.no_grad():
            for batch in even_batches(batches):
                moved, counts = to_device(batch, device), count_labels(model, batch)
                with autocast(precision, device):
                    losses, output = normalized_losses(model, moved, counts)
                measured: dict[str, int | float] = {}
                for kind, loss in losses.items():
                    measured |= {f"{kind} loss": float(loss) * counts[kind], f"{kind} number": counts[kind]}
                    correct = _count_correct(model, output, moved, kind)
                    measured |= {f"{kind} {name}": number for name, number in correct.items()}
                for name, value in sum_over_ranks([measured], device).items():
                    sums[name] += value
    finally:
        model.train(was_training)
        set_random_state(random)
    return _metrics(sums)


def check_evaluations(
    settings: Settings, schedule: LRScheduler | None, validation: Iterable[Batch] | None, *, has_hooks: bool
) -> None:
    """Check that there will be evaluations, if a setting or the schedule depends on their metrics.

    Raises:
        InputError: there will be none.
    """
    dependent = {
        f"evaluate_every={settings.evaluate_every}": settings.evaluate_every is not None,
        "keep_best=True": settings.keep_best,
        f"patience={settings.patience}": settings.patience is not None,
        "schedule=ReduceLROnPlateau(…)": isinstance(schedule, ReduceLROnPlateau),
    }
    for argument in (name for name, is_on in dependent.items() if is_on):
        if validation is None:
            raise InputError(f"{argument} needs validation=…, the batches that the model is evaluated on.")
        if settings.evaluate_every is None and not has_hooks:  # a hook may request evaluations
            raise InputError(f"{argument} depends on evaluations: set evaluate_every.")


def _count_correct(model: nn.Module, output: Any, batch: Batch, kind: str) -> dict[str, float]:
    """The number of labels of a kind that have the largest logit, by the name of their accuracy."""
    fields = {
        "labels": ("logits", "prediction_logits"),
        "next_sentence_label": ("seq_relationship_logits",),
        "sentence_order_label": ("sop_logits",),
    }
    logits = next((output[name] for name in fields.get(kind, ()) if name in output), None)
    labels = batch.get(kind)
    if logits is None or labels is None or logits.shape[:-1] != labels.shape or labels.is_floating_point():
        return {}  # regression, multi-label classification, question answering
    config = getattr(unwrap(model), "config", None)
    name = {"next_sentence_label": "nsp_accuracy", "sentence_order_label": "sop_accuracy"}.get(kind, "accuracy")
    if labels.ndim > 1 and logits.shape[-1] == getattr(config, "vocab_size", None):
        is_next = shifts_labels(model) or getattr(config, "is_encoder_decoder", False)
        name = "token_accuracy" if is_next else "mask_accuracy"
    if kind == "labels" and shifts_labels(model):
        logits, labels = logits[..., :-1, :], labels[..., 1:]
    is_right = (logits.argmax(dim=-1) == labels) & (labels != IGNORED)
    return {name: 0.0 if isinstance(batch, Repeated) else float(is_right.sum())}  # the same names on all ranks


def _metrics(sums: Mapping[str, float]) -> dict[str, float]:
    numbers = {name.removesuffix(" number"): value for name, value in sums.items() if name.endswith(" number")}
    if not any(numbers.values()):
        raise InputError("batches has no labels: all are −100.")
    metrics = {"loss": sum(sums[f"{kind} loss"] / number for kind, number in numbers.items() if number)}
    for name, value in sums.items():
        kind, _, metric = name.partition(" ")
        if metric.endswith("accuracy") and numbers[kind]:
            metrics[metric] = value / numbers[kind]
        if metric in ("token_accuracy", "mask_accuracy") and numbers[kind]:
            loss = sums[f"{kind} loss"] / numbers[kind]
            metrics["perplexity"] = math.exp(loss) if loss < 700 else math.inf
    return metrics
