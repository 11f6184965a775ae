"""Hooks: what is told of a run's events, and may ask for things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minitransformers.training.loop.run import Run


class Hooks:
    """What is told of a run's events; a subclass says what to do at those that concern it.

    A hook may set `run.should_log`, `run.should_evaluate`, `run.should_save`, and `run.progress.stopped` to end the
    run. One with `state_dict` and `load_state_dict` (of what JSON can hold) is kept in checkpoints.
    """

    def on_train_begin(self, run: Run) -> None:
        """After a checkpoint was loaded, if one was."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first batch of an epoch, or of the rest of one."""

    def on_step_begin(self, run: Run) -> None:
        """Before the first micro-batch of a step."""

    def on_substep_end(self, run: Run) -> None:
        """After the backward pass of each micro-batch but the last of a step."""

    def on_pre_optimizer_step(self, run: Run) -> None:
        """Gradients are there, added up and clipped."""

    def on_optimizer_step(self, run: Run) -> None:
        """Weights are new; gradients are there still."""

    def on_step_end(self, run: Run) -> None:
        """The step counts; logging, evaluation and saving come next."""

    def on_log(self, run: Run, record: dict[str, Any]) -> None:
        """Before the record goes to the loggers; entries may be added. On the main process loggers follow."""

    def on_evaluate(self, run: Run, metrics: Mapping[str, float]) -> None:
        """After an evaluation."""

    def on_save(self, run: Run, directory: Path) -> None:
        """After a checkpoint was written."""

    def on_epoch_end(self, run: Run) -> None:
        """After the last batch of an epoch, or of the run; logging, evaluation and saving come next."""

    def on_train_end(self, run: Run) -> None:
        """After the last step."""
