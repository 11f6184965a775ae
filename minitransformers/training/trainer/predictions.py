"""Results of evaluations: predictions, metrics and speeds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from minitransformers.errors import InputError
from minitransformers.training.trainer.nested import denumpify_detensorize, expand_like


class EvalPrediction:
    """The argument of `compute_metrics`: `predictions` and `label_ids`, NumPy arrays or tuples of them.

    It also has `inputs` and `losses` if `include_for_metrics` names them. It can be unpacked like a tuple:
    `logits, labels = prediction`.
    """

    def __init__(self, predictions: Any, label_ids: Any, inputs: Any = None, losses: Any = None) -> None:
        self.predictions = predictions
        self.label_ids = label_ids
        self.inputs = inputs
        self.losses = losses

    def _parts(self) -> tuple[Any, ...]:
        return (self.predictions, self.label_ids, *(each for each in (self.inputs, self.losses) if each is not None))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts())

    def __getitem__(self, index: int) -> Any:
        return self._parts()[index]


class BatchResult(NamedTuple):
    """The result of one batch of an evaluation: its rows, its loss and the weight of the loss in the mean, and arrays.

    Missing values are None.
    """

    rows: int
    loss: float | None
    loss_weight: int
    predictions: Any
    labels: Any
    inputs: Any


class EvalLoopOutput(NamedTuple):
    """The result of `Trainer.evaluation_loop`."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, Any]
    num_samples: int


class PredictionOutput(NamedTuple):
    """The result of `Trainer.predict`: predictions (logits), labels or None, and metrics."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, Any]


class TrainOutput(NamedTuple):
    """The result of `Trainer.train`."""

    global_step: int
    training_loss: float
    metrics: dict[str, Any]


def concatenate(batches: list[Any]) -> Any:
    """Concatenate the arrays of all batches, also inside tuples and dictionaries; None without batches.

    If the batches differ in their second dimension, the length of their texts, shorter ones are padded with −100.
    """
    if not batches:
        return None
    first = batches[0]
    if isinstance(first, list | tuple):
        return type(first)(concatenate(list(parts)) for parts in zip(*batches, strict=True))
    if isinstance(first, Mapping):
        return {name: concatenate([batch[name] for batch in batches]) for name in first}
    arrays = [np.atleast_1d(batch) for batch in batches]
    if arrays[0].ndim > 1:
        length = max(array.shape[1] for array in arrays)
        arrays = [expand_like(array, length) for array in arrays]
    return np.concatenate(arrays)


def check_metrics(metrics: Any) -> dict[str, Any]:
    """The metrics as plain numbers.

    Raises:
        InputError: they are not a dictionary with names as keys.
    """
    if not isinstance(metrics, Mapping):
        raise InputError(
            f"compute_metrics must return a dictionary, such as {{'accuracy': 0.9}}, not {type(metrics).__name__} "
            f"({metrics!r:.60})."
        )
    for name in metrics:
        if not isinstance(name, str):
            raise InputError(f"compute_metrics must name its metrics by strings, not {name!r}.")
    return {name: denumpify_detensorize(value) for name, value in metrics.items()}


def speed_metrics(
    split: str,
    start_time: float,
    num_samples: float | int | None = None,
    num_steps: float | int | None = None,
    num_tokens: float | int | None = None,
) -> dict[str, float]:
    """The seconds since `start_time`, and the samples, steps and tokens per second."""
    runtime = max(time.time() - start_time, 1e-9)
    speeds = {f"{split}_runtime": round(runtime, 4)}
    if num_samples is not None:
        speeds[f"{split}_samples_per_second"] = round(num_samples / runtime, 3)
    if num_steps is not None:
        speeds[f"{split}_steps_per_second"] = round(num_steps / runtime, 3)
    if num_tokens is not None:
        speeds[f"{split}_tokens_per_second"] = round(num_tokens / runtime, 3)
    return speeds
