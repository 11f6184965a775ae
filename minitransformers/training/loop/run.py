"""Run: the parts of a run, its progress, and the actions that are due after each step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from minitransformers.errors import InputError, TrainingError
from minitransformers.training.loop.batches import Batch, Batches
from minitransformers.training.loop.distributed import unwrap
from minitransformers.training.loop.precision import check_weights, make_scaler
from minitransformers.training.loop.progress import Progress
from minitransformers.training.loop.settings import Settings
from minitransformers.training.loop.weights import has_finite_weights

logger = logging.getLogger(__name__)

SMALLEST_SCALE = 2.0**-14  # of the loss, for "fp16": what overflows with it is a gradient above 10⁹


class Run:
    """One run of training.

    Attributes:
        model, optimizer, schedule, batches, settings, validation: the parts.
        progress: the position of the run.
        history: all records so far; every rank has them.
        should_log, should_evaluate, should_save: actions that are due after the current step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        batches: Batches,
        settings: Settings,
        validation: Iterable[Batch] | None = None,
    ) -> None:
        self.model, self.optimizer, self.schedule, self.batches = model, optimizer, schedule, batches
        self.settings, self.validation = settings, validation
        parameter = next((parameter for parameter in model.parameters() if parameter.requires_grad), None)
        if parameter is None:
            raise InputError("model has no parameter that requires a gradient: there is nothing to train.")
        self.device = parameter.device
        check_weights(model, settings.precision)
        self.scaler = make_scaler(settings.precision, self.device)
        self.progress = Progress()
        self.history: list[dict[str, Any]] = []
        self.should_log = self.should_evaluate = self.should_save = False
        if settings.gradient_checkpointing:
            self._method_of_model("gradient_checkpointing_enable")()
        if settings.compile:
            model.compile(backend="inductor" if settings.compile is True else settings.compile)

    @property
    def is_finished(self) -> bool:
        """Whether all steps have been taken."""
        return self.progress.is_finished(self.settings)

    @property
    def num_steps(self) -> int | None:
        """Steps of the whole run; None while that is unknown."""
        if not len(self.batches) or self.settings.epochs is None:
            return self.settings.steps
        steps = math.ceil(len(self.batches) / self.settings.accumulation) * self.settings.epochs
        return steps if self.settings.steps is None else min(steps, self.settings.steps)

    def advance(
        self,
        batches: int,
        *,
        loss: float,
        tokens: float,
        rows: float,
        grad_norm: float,
        learning_rate: float | None,
        is_skipped: bool = False,
    ) -> None:
        """Count a step, and set the actions that are due after it."""
        progress, settings = self.progress, self.settings
        progress.step += 1
        progress.batch += batches
        progress.left_epoch = False
        progress.rows += int(rows)
        progress.tokens += int(tokens)
        progress.loss, progress.grad_norm, progress.learning_rate = loss, grad_norm, learning_rate
        if not is_skipped:
            progress.loss_sum, progress.loss_steps = progress.loss_sum + loss, progress.loss_steps + 1
        else:
            progress.skipped += 1
        self.should_log = _is_due(progress.step, settings.log_every)
        self.should_evaluate = _is_due(progress.step, settings.evaluate_every)
        self.should_save = settings.output_dir is not None and (
            _is_due(progress.step, settings.save_every) or self.is_finished
        )

    def pop_due(self, action: str) -> bool:
        """Return whether `action` ("log", "evaluate", "save") is due, and clear it."""
        is_due = bool(getattr(self, f"should_{action}"))
        setattr(self, f"should_{action}", False)
        return is_due

    def pop_losses(self) -> dict[str, Any]:
        """The mean loss since the last record, and the last step's gradient norm and learning rate."""
        progress = self.progress
        mean = progress.loss_sum / progress.loss_steps if progress.loss_steps else math.nan
        record = {"loss": mean, "grad_norm": progress.grad_norm, "learning_rate": progress.learning_rate}
        if progress.skipped:
            record["skipped"] = progress.skipped
        progress.loss_sum, progress.loss_steps = 0.0, 0
        return record

    def with_step(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A record: the values, with the current step and epoch before them."""
        progress = self.progress
        fraction = progress.batch / len(self.batches) if len(self.batches) else 0.0
        return {"step": progress.step, "epoch": round(progress.epoch + fraction, 4), **values}

    def step_schedule(self) -> None:
        """Set the learning rate of the next step, if the schedule counts steps."""
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()

    def compare(self, metrics: Mapping[str, float]) -> None:
        """Save the model if it is the best so far, and end the run after `patience` evaluations without a better one.

        A ReduceLROnPlateau is stepped with the same metric.
        """
        progress, settings = self.progress, self.settings
        if isinstance(self.schedule, ReduceLROnPlateau) and metrics:  # the Trainer's `evaluate` returns none
            self.schedule.step(self._metric(metrics))
        if not (settings.keep_best or settings.patience):
            return
        value = self._metric(metrics)
        gain = math.inf if progress.best is None else value - progress.best
        if progress.best is not None and not settings.greater_is_better:
            gain = -gain
        if gain > settings.min_improvement and not math.isnan(value):
            progress.best, progress.best_step, progress.waited = value, progress.step, 0
            self.should_save = self.should_save or settings.keep_best
        else:
            progress.waited += 1
        if settings.patience is not None and progress.waited >= settings.patience and not progress.stopped:
            progress.stopped = True
            self.should_save = self.should_save or settings.output_dir is not None

    def next_epoch(self) -> None:
        """Count an epoch; after the last one, a checkpoint is due."""
        was_finished = self.is_finished
        self.progress.epoch, self.progress.batch, self.progress.rows = self.progress.epoch + 1, 0, 0
        if self.is_finished and not was_finished:
            self.should_save = self.settings.output_dir is not None

    @property
    def scaler_may_help(self) -> bool:
        """Whether a gradient that is not finite may be one that overflowed because the loss was scaled up."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= SMALLEST_SCALE

    def explain_nan(self, batches: int, loss: float, grad_norm: float) -> str:
        """The error message for a step of so many batches, whose loss or gradient is not finite."""
        progress = self.progress
        what = f"The gradient norm of step {progress.step + 1} is {grad_norm}, and its loss {loss}"
        if not math.isfinite(loss):
            what = f"The loss of step {progress.step + 1} is {loss}"
        first, last = progress.batch, progress.batch + batches - 1
        which = f"batch {first}" if first == last else f"batches {first} to {last}"
        return (
            f"{what} ({which} of epoch {progress.epoch}, counted from 0); the weights were not updated. A smaller "
            f"learning rate, more warm-up, max_grad_norm or precision='bf16' may help; on_nan='skip' leaves such steps "
            f"out."
        )

    def skip(self, batches: int, loss: float, grad_norm: float) -> None:
        """Warn of the first step that is left out; the records have the number of all.

        Raises:
            TrainingError: the weights themselves are not finite, so that no step would be better.
        """
        if not has_finite_weights(self.model):
            raise TrainingError(
                f"The weights are not finite at step {self.progress.step + 1}, so each loss will be {loss}: resume "
                f"from an earlier checkpoint, with a smaller learning rate."
            )
        if not self.progress.skipped:
            logger.warning("%s", self.explain_nan(batches, loss, grad_norm).split(" A smaller")[0])

    def _metric(self, metrics: Mapping[str, float]) -> float:
        name = self.settings.metric
        if name not in metrics:
            raise InputError(f"metric={name!r} is not among the metrics of the evaluation: {sorted(metrics)}.")
        return float(metrics[name])

    def _method_of_model(self, name: str) -> Callable[..., Any]:
        plain = unwrap(self.model)
        if not hasattr(plain, name):
            raise InputError(f"{type(plain).__name__} has no {name}().")
        method: Callable[..., Any] = getattr(plain, name)
        return method


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
