"""How good a model is on data that it was not trained on: loss, perplexity, and how many predictions are right."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.training.loop.batches import Batch, even_batches, to_device
from minitransformers.training.loop.distributed import sum_over_ranks, unwrap
from minitransformers.training.loop.objective import count_labels, loss_shares, shifts_labels
from minitransformers.training.loop.precision import autocast
from minitransformers.training.loop.random_state import random_state, set_random_state
from minitransformers.training.loop.settings import Settings


def evaluate(model: nn.Module, batches: Iterable[Batch], settings: Settings | None = None) -> dict[str, float]:
    """Measure `model` on all of `batches`, and on those of all other ranks, without dropout and without learning.

    Random numbers go on afterwards as if nothing had been: whether a run is evaluated does not change what it learns.

    Args:
        settings: whose `precision` to compute in; float32 unless given.

    Returns:
        "loss", the mean over all labels; "perplexity", e to the mean loss of a token, where labels are tokens; and the
        portion of labels that the model holds most likely: "token_accuracy" where they are the next tokens,
        "mask_accuracy" where they are masked ones, "nsp_accuracy" for `next_sentence_label`, "accuracy" for classes.

    Raises:
        InputError: there is no batch, or none with a label that counts.
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
                    means, output = loss_shares(model, moved, counts)
                measured: dict[str, int | float] = {}
                for kind, mean in means.items():
                    measured |= {f"{kind} loss": float(mean) * counts[kind], f"{kind} number": counts[kind]}
                    measured |= {f"{kind} {name}": right for name, right in _right(model, output, moved, kind).items()}
                for name, value in sum_over_ranks([measured], device).items():
                    sums[name] += value
    finally:
        model.train(was_training)
        set_random_state(random)
    return _metrics(sums)


def _right(model: nn.Module, output: Any, batch: Batch, kind: str) -> dict[str, float]:
    """How many labels of a kind have the largest logit, by the name that their portion has."""
    field = {"labels": ("logits", "prediction_logits"), "next_sentence_label": ("seq_relationship_logits",)}.get(kind)
    logits = next((output[name] for name in field or () if name in output), None)
    labels = batch.get(kind)
    if logits is None or labels is None or logits.shape[:-1] != labels.shape or labels.is_floating_point():
        return {}  # regression, several labels at once, answers
    config = getattr(unwrap(model), "config", None)
    name = "nsp_accuracy" if kind == "next_sentence_label" else "accuracy"
    if labels.ndim > 1 and logits.shape[-1] == getattr(config, "vocab_size", None):
        is_next = shifts_labels(model) or getattr(config, "is_encoder_decoder", False)
        name = "token_accuracy" if is_next else "mask_accuracy"
    if kind == "labels" and shifts_labels(model):
        logits, labels = logits[..., :-1, :], labels[..., 1:]
    return {name: float(((logits.argmax(dim=-1) == labels) & (labels != IGNORED)).sum())}


def _metrics(sums: Mapping[str, float]) -> dict[str, float]:
    numbers = {name.removesuffix(" number"): value for name, value in sums.items() if name.endswith(" number")}
    if not any(numbers.values()):
        raise InputError("batches has no label that counts: all are −100.")
    metrics = {"loss": sum(sums[f"{kind} loss"] / number for kind, number in numbers.items() if number)}
    for name, value in sums.items():
        kind, _, what = name.partition(" ")
        if what.endswith("accuracy") and numbers[kind]:
            metrics[what] = value / numbers[kind]
        if what in ("token_accuracy", "mask_accuracy") and numbers[kind]:
            loss = sums[f"{kind} loss"] / numbers[kind]
            metrics["perplexity"] = math.exp(loss) if loss < 700 else math.inf
    return metrics
