"""What evaluations give: predictions of all batches in one array, and how fast they came."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED


class EvalPrediction:
    """What `compute_metrics` is given: `predictions` and `label_ids`, NumPy arrays or tuples of them.

    Also `inputs` and `losses`, where `include_for_metrics` asks for them. It can be taken apart like a tuple:
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


class Measured(NamedTuple):
    """What one batch of an evaluation gave: None for what it has not, or nobody asked for."""

    rows: int
    loss: float | None
    predictions: Any
    labels: Any
    inputs: Any


class EvalLoopOutput(NamedTuple):
    """What `Trainer.evaluation_loop` gives."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, Any]
    num_samples: int


class PredictionOutput(NamedTuple):
    """What `Trainer.predict` gives: predictions (logits), labels or None, and metrics."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, Any]


class TrainOutput(NamedTuple):
    """What `Trainer.train` gives."""

    global_step: int
    training_loss: float
    metrics: dict[str, Any]


def to_numpy(values: Any) -> Any:
    """Tensors as arrays, in tuples and dictionaries too. NumPy has no bfloat16; float32 holds each of its values."""
    if isinstance(values, list | tuple):
        return type(values)(to_numpy(each) for each in values)
    if isinstance(values, Mapping):
        return {name: to_numpy(each) for name, each in values.items()}
    tensor = values.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def concatenate(batches: list[Any]) -> Any:
    """The arrays of all batches as one, in tuples and dictionaries too; None where there are none.

    Where batches differ in their second dimension, the length of their texts, shorter ones are filled up with −100.
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
        arrays = [_filled_up(array, length) for array in arrays]
    return np.concatenate(arrays)


def _filled_up(array: np.ndarray, length: int) -> np.ndarray:
    if array.shape[1] == length:
        return array
    filled = np.full_like(array, IGNORED, shape=(array.shape[0], length, *array.shape[2:]))
    filled[:, : array.shape[1]] = array
    return filled


def check_metrics(metrics: Any) -> dict[str, Any]:
    """The metrics as plain numbers, after a look at whether they are a dictionary by name.

    Raises:
        InputError: they are not.
    """
    if not isinstance(metrics, Mapping):
        raise InputError(
            f"compute_metrics must return a dictionary, such as {{'accuracy': 0.9}}, not {type(metrics).__name__} "
            f"({metrics!r:.60})."
        )
    for name in metrics:
        if not isinstance(name, str):
            raise InputError(f"compute_metrics must name its metrics by strings, not {name!r}.")
    return {name: _plain(value) for name, value in metrics.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1):
        return value.item()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def speed_metrics(
    split: str,
    start_time: float,
    num_samples: float | int | None = None,
    num_steps: float | int | None = None,
    num_tokens: float | int | None = None,
) -> dict[str, float]:
    """How long it took since `start_time` (seconds), and how many samples, steps and tokens a second that is."""
    runtime = max(time.time() - start_time, 1e-9)
    speeds = {f"{split}_runtime": round(runtime, 4)}
    if num_samples is not None:
        speeds[f"{split}_samples_per_second"] = round(num_samples / runtime, 3)
    if num_steps is not None:
        speeds[f"{split}_steps_per_second"] = round(num_steps / runtime, 3)
    if num_tokens is not None:
        speeds[f"{split}_tokens_per_second"] = round(num_tokens / runtime, 3)
    return speeds
