"""TrainingLoss: the loop's micro-step, made of a Trainer's `training_step`, and the normalization of its loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.training.loop.distributed import world_size
from minitransformers.training.loop.objective import Counts, count_labels
from minitransformers.training.loop.run import Run
from minitransformers.training.trainer.arguments import TrainingArguments


@runtime_checkable
class Stepper(Protocol):
    """The methods of a Trainer that make up a step; subclasses may override them."""

    args: TrainingArguments
    loss_is_scaled_for_ga: bool | None
    current_gradient_accumulation_steps: int
    current_flos: float

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any: ...  # noqa: D102
    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any: ...  # noqa: D102
    def floating_point_ops(self, inputs: Any) -> float | int: ...  # noqa: D102
    def _track_num_input_tokens(self, inputs: Any) -> None: ...


class TrainingLoss:
    """Takes the batches of each step, and calls `training_step` for each of them.

    A loss is normalized if the losses of a step's batches, averaged over the processes, add up to the mean over all of
    its labels.

    Args:
        trainer: whose methods are called.
        model: as it is trained.
        batches_per_epoch: of this process; None if it is not known.

    Attributes:
        counts: the labels of all batches of the step, while a loss is computed.
        own: the labels of the current batch.
        is_normalized: whether the loss that was computed last is divided by these counts.
    """

    def __init__(self, trainer: Stepper, model: Any, batches_per_epoch: int | None) -> None:
        self.trainer, self.model, self.batches_per_epoch = trainer, model, batches_per_epoch
        self.counts: Counts | None = None
        self.own: Counts = {}
        self.is_normalized = False
        self.processes = 1  # whose labels are counted together
        self._number: Any = None  # returned by `get_batch_samples`
        self._local: dict[str, int] = {}  # the labels of the step's batches in this process
        self._left: int | None = 0  # batches in the epoch
        self._run: Run | None = None

    def begin_epoch(self, run: Run) -> None:
        """Let `take` find out how many batches of the epoch are used already."""
        self._left, self._run = None, run

    def take(self, batches: Iterator[Any], number: int) -> list[Any]:
        """The batches of the next step."""
        trainer = self.trainer
        if self._left is None:
            self._left = (self.batches_per_epoch or 0) - (self._run.progress.batch if self._run is not None else 0)
        if self.batches_per_epoch is not None:
            number = max(1, min(number, self._left))
        taken, self._number = trainer.get_batch_samples(batches, number, trainer.args.device)
        self._left -= number
        self._local = {}
        for batch in taken:
            for kind, count in count_labels(self.model, batch).items():
                self._local[kind] = self._local.get(kind, 0) + count
        trainer.current_gradient_accumulation_steps = len(taken)
        return list(taken)

    def __call__(self, run: Run, batch: Any, counts: Counts) -> Tensor:
        """The forward and backward pass of a batch; returns its part of the loss."""
        trainer, self.own = self.trainer, count_labels(run.model, batch)
        is_shared = trainer.args.average_tokens_across_devices
        counts, self.processes = (counts, world_size()) if is_shared else (self._local, 1)
        self.counts = counts if self._number is None else {**counts, "labels": float(self._number)}
        number = self._number if self._number is not None else number_of_labels(self.counts, batch)
        self.is_normalized = False
        try:
            loss = trainer.training_step(run.model, batch, number)
        finally:
            self.counts = None
        trainer.current_flos += float(trainer.floating_point_ops(batch))
        trainer._track_num_input_tokens(batch)
        # Gradients are averaged over the processes, and so are the losses, which the loop adds.
        return torch.as_tensor(loss).detach() / world_size()

    def normalized(self, loss: Any) -> Tensor:
        """The loss of the current batch, normalized, if that has not been done.

        Raises:
            InputError: a loss that is not one number.
        """
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InputError(f"compute_loss must return one number, a tensor, not {loss!r:.80}.")
        if self.counts is None:
            return loss
        if not any(self.own.values()):
            return 0 * loss
        given, factor = self.trainer.loss_is_scaled_for_ga, 1.0
        if not (self.is_normalized if given is None else given):  # a mean over the batch: weighted by its labels
            factor = sum(self.own.values()) / max(1, sum(self.counts.values()))
        return loss * (factor if self.is_normalized else factor * self.processes)


def number_of_labels(counts: Counts, batch: Any) -> Tensor | None:
    """The number of labels as a tensor on the device of the batch; None for a batch without labels."""
    if "labels" not in counts:
        return None
    values = batch.values() if hasattr(batch, "values") else ()
    device = next((value.device for value in values if isinstance(value, Tensor)), None)
    return torch.tensor(int(counts["labels"]), device=device)


def takes_number(compute_loss: Callable[..., Any]) -> bool:
    """Whether an override of `compute_loss` takes `num_items_in_batch`, by name or in `**kwargs`."""
    parameters = inspect.signature(compute_loss).parameters
    return "num_items_in_batch" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
