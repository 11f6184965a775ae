"""Hooks: objects whose methods the loop calls at each event of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minitransformers.training.loop.run import Run


class Hooks:
    """One method for each event of a run; a subclass overrides the methods it needs.

    A hook may set `run.should_log`, `run.should_evaluate` and `run.should_save`, and `run.progress.stopped` to end the
    run. The state of a hook with `state_dict` and `load_state_dict` (values that JSON can hold) is kept in checkpoints.
    A hook with `save_model(run, directory)` writes the model's files of a checkpoint, on all ranks.
    """

    def on_resume(self, run: Run, directory: Path) -> None:
        """Called after a checkpoint was loaded, before `on_train_begin`."""

    def on_train_begin(self, run: Run) -> None:
        """Called once the run is at its first step, after a checkpoint was loaded if there is one."""

    def on_epoch_begin(self, run: Run) -> None:
        """Called before the first batch of an epoch, or of the rest of an epoch after a resume."""

    def on_step_begin(self, run: Run) -> None:
        """Called before the first micro-batch of a step."""

    def on_substep_end(self, run: Run) -> None:
        """Called after the backward pass of each micro-batch of a step except the last."""

    def on_pre_optimizer_step(self, run: Run) -> None:
        """Called when the gradients of a step are accumulated and clipped."""

    def on_optimizer_step(self, run: Run) -> None:
        """Called after the weights were updated, before the gradients are cleared."""

    def on_step_end(self, run: Run) -> None:
        """Called when the step is counted, before logging, evaluation and saving."""

    def on_termination(self, run: Run) -> None:
        """Called after the step in which SIGTERM arrived, before the checkpoint with which the process ends."""

    def on_log(self, run: Run, record: dict[str, Any]) -> None:
        """Called before the record goes to the loggers; the hook may add entries."""

    def on_evaluate(self, run: Run, metrics: Mapping[str, float]) -> None:
        """Called after an evaluation."""

    def on_save(self, run: Run, directory: Path) -> None:
        """Called after a checkpoint was written."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after the last batch of an epoch, or of the run, before logging, evaluation and saving."""

    def on_train_end(self, run: Run) -> None:
        """Called after the last step."""


def call_hooks(hooks: Iterable[Hooks], event: str, run: Run, *arguments: Any) -> None:
    """Call the method named `event` of each hook."""
    for hook in hooks:
        getattr(hook, event)(run, *arguments)
