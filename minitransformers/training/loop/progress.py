"""Progress: the position of a run, as the numbers that a checkpoint keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minitransformers.training.loop.settings import Settings


@dataclass
class Progress:
    """The position of a run in its steps, epochs and data.

    Attributes:
        step: optimizer steps taken.
        epoch: epochs finished.
        batch: micro-batches of the current epoch that this rank has used.
        rows: examples of the current epoch that all ranks have used.
        tokens: tokens read on all ranks, without padding.
        records: records given to the loggers.
        skipped: steps without an update, because the loss or the gradient was not finite.
        best, best_step: the best value of `Settings.metric`, and its step.
        waited: evaluations since the best one.
        stopped: the run was ended early, by `Settings.patience` or a hook.
        left_epoch: the run ended in the middle of an epoch, and `on_epoch_end` was called.
        owes_evaluation: the process was ended before an evaluation that was due.
        loss, grad_norm, learning_rate: of the last step; the learning rate of an Adafactor may be None.
        loss_sum, loss_steps: sum and number of the losses since the last record.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    rows: int = 0
    tokens: int = 0
    records: int = 0
    skipped: int = 0
    best: float | None = None
    best_step: int | None = None
    waited: int = 0
    stopped: bool = False
    left_epoch: bool = False
    owes_evaluation: bool = False
    loss: float = math.nan
    grad_norm: float = math.nan
    learning_rate: float | None = math.nan
    loss_sum: float = 0.0
    loss_steps: int = 0

    def is_finished(self, settings: Settings) -> bool:
        """Whether all steps of the run have been taken."""
        return (
            self.stopped
            or (settings.steps is not None and self.step >= settings.steps)
            or (settings.epochs is not None and self.epoch >= settings.epochs)
        )
