"""Run: what `train` keeps of a run, and what is due after each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from minitransformers.errors import InputError
from minitransformers.training.loop.batches import Batch, Batches
from minitransformers.training.loop.distributed import rank, unwrap
from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.precision import check_weights, make_scaler
from minitransformers.training.loop.progress import ProgressBar
from minitransformers.training.loop.settings import Settings


@dataclass
class Progress:
    """How far a run is: what a checkpoint keeps as numbers.

    Attributes:
        step: steps of the optimizer taken.
        epoch: epochs finished.
        batch, rows: of this epoch, the micro-batches that this rank has used, and the examples that all have used.
        tokens: read so far on all ranks, padding not counted.
        records: given to the loggers.
        skipped: steps that were left out because the loss was not finite.
        best, best_step: the best value of `Settings.metric`, and when that was.
        waited: evaluations since then.
        stopped: the run has been ended before its time, by `Settings.patience` or a hook.
        left_epoch: the run has ended in the middle of an epoch, and the hooks were told.
        loss, grad_norm, learning_rate: of the last step; an Adafactor may have no learning rate of its own.
        loss_sum, loss_steps: since the last record, for its mean.
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
    loss: float = math.nan
    grad_norm: float = math.nan
    learning_rate: float | None = math.nan
    loss_sum: float = 0.0
    loss_steps: int = 0


class Run:
    """One run of training: its parts, how far it is, and what is to be done after this step."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        batches: Batches,
        settings: Settings,
        hooks: Sequence[Hooks] = (),
        loggers: Sequence[Callable[[dict[str, Any]], None]] = (),
        validation: Iterable[Batch] | None = None,
    ) -> None:
        self.model, self.optimizer, self.schedule, self.batches = model, optimizer, schedule, batches
        self.settings, self.hooks, self.loggers, self.validation = settings, [*hooks], [*loggers], validation
        self._check_evaluations()
        parameter = next((parameter for parameter in model.parameters() if parameter.requires_grad), None)
        if parameter is None:
            raise InputError("model has no parameter that requires a gradient: there is nothing to train.")
        self.device = parameter.device
        check_weights(model, settings.precision)
        self.scaler = make_scaler(settings.precision, self.device)
        self.progress = Progress()
        self.history: list[dict[str, Any]] = []  # the records of this process, all ranks have them
        self.should_log = self.should_evaluate = self.should_save = False
        if settings.gradient_checkpointing:
            self._plain("gradient_checkpointing_enable")()
        if settings.compile:
            model.compile(backend="inductor" if settings.compile is True else settings.compile)
        if settings.show_progress and rank() == 0:
            self.hooks.append(ProgressBar())

    @property
    def is_finished(self) -> bool:
        """Whether there is no step to take any more."""
        settings, progress = self.settings, self.progress
        return (
            progress.stopped
            or (settings.steps is not None and progress.step >= settings.steps)
            or (settings.epochs is not None and progress.epoch >= settings.epochs)
        )

    @property
    def num_steps(self) -> int | None:
        """Steps of the whole run, where that is known."""
        if not len(self.batches) or self.settings.epochs is None:
            return self.settings.steps
        steps = math.ceil(len(self.batches) / self.settings.accumulation) * self.settings.epochs
        return steps if self.settings.steps is None else min(steps, self.settings.steps)

    def call(self, event: str, *arguments: Any) -> None:
        """Tell all hooks of an event."""
        for hook in self.hooks:
            getattr(hook, event)(self, *arguments)

    def advance(
        self, batches: int, *, loss: float, tokens: float, rows: float, grad_norm: float, learning_rate: float | None
    ) -> None:
        """Count a step, and see what is due after it."""
        progress, settings = self.progress, self.settings
        progress.step += 1
        progress.batch += batches
        progress.left_epoch = False
        progress.rows += int(rows)
        progress.tokens += int(tokens)
        progress.loss, progress.grad_norm, progress.learning_rate = loss, grad_norm, learning_rate
        if math.isfinite(loss):
            progress.loss_sum, progress.loss_steps = progress.loss_sum + loss, progress.loss_steps + 1
        else:
            progress.skipped += 1
        self.should_log = _is_due(progress.step, settings.log_every)
        self.should_evaluate = _is_due(progress.step, settings.evaluate_every)
        self.should_save = settings.output_dir is not None and (
            _is_due(progress.step, settings.save_every) or self.is_finished
        )

    def takes(self, what: str) -> bool:
        """Whether `what` ("log", "evaluate", "save") is to be done now; asked once, it is done."""
        is_due = bool(getattr(self, f"should_{what}"))
        setattr(self, f"should_{what}", False)
        return is_due

    def log_step(self) -> None:
        """A record of the steps since the last one: their mean loss, and the last one's gradient norm and rate."""
        progress = self.progress
        mean = progress.loss_sum / progress.loss_steps if progress.loss_steps else math.nan
        record = {"loss": mean, "grad_norm": progress.grad_norm, "learning_rate": progress.learning_rate}
        if progress.skipped:
            record["skipped"] = progress.skipped
        progress.loss_sum, progress.loss_steps = 0.0, 0
        self.log(record)

    def log(self, record: Mapping[str, Any]) -> None:
        """Give a record to hooks and loggers, with the step and epoch it belongs to; one with nothing in it is none."""
        if not record:
            return
        progress = self.progress
        fraction = progress.batch / len(self.batches) if len(self.batches) else 0.0
        full = {"step": progress.step, "epoch": round(progress.epoch + fraction, 4), **record}
        progress.records += 1
        self.call("on_log", full)
        self.history.append(full)
        if rank() == 0:
            for logger in self.loggers:
                logger(full)

    def step_schedule(self) -> None:
        """The learning rate of the next step, where the schedule counts steps."""
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()

    def compare(self, metrics: Mapping[str, float]) -> None:
        """See whether the model is better than ever: then it is to be saved; if not for long, the run ends.

        A ReduceLROnPlateau goes by the same metric.
        """
        progress, settings = self.progress, self.settings
        if isinstance(self.schedule, ReduceLROnPlateau) and metrics:  # the Trainer's `evaluate` gives none
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
        """Count an epoch; where it is the last, the run is to be saved."""
        was_finished = self.is_finished
        self.progress.epoch, self.progress.batch, self.progress.rows = self.progress.epoch + 1, 0, 0
        if self.is_finished and not was_finished:
            self.should_save = self.settings.output_dir is not None

    def _metric(self, metrics: Mapping[str, float]) -> float:
        name = self.settings.metric
        if name not in metrics:
            raise InputError(f"metric={name!r} is not among what the evaluation gave: {sorted(metrics)}.")
        return float(metrics[name])

    def _check_evaluations(self) -> None:
        """Whether there will be evaluations, where something goes by them."""
        settings = self.settings
        followers = {
            f"evaluate_every={settings.evaluate_every}": settings.evaluate_every is not None,
            "keep_best=True": settings.keep_best,
            f"patience={settings.patience}": settings.patience is not None,
            "schedule=ReduceLROnPlateau(…)": isinstance(self.schedule, ReduceLROnPlateau),
        }
        for follower in (name for name, is_on in followers.items() if is_on):
            if self.validation is None:
                raise InputError(f"{follower} needs validation=…: what shall the model be measured on?")
            if settings.evaluate_every is None and not self.hooks:  # which may ask for evaluations
                raise InputError(f"{follower} follows evaluations: set evaluate_every.")

    def explain_nan(self, loss: float) -> str:
        """What to say, and to do, when the loss is not finite."""
        return (
            f"The loss of step {self.progress.step + 1} is {loss}; no weight was changed by it. A smaller learning "
            f"rate, more warm-up, max_grad_norm or precision='bf16' may help; on_nan='skip' leaves such steps out."
        )

    def _plain(self, method: str) -> Callable[..., Any]:
        plain = unwrap(self.model)
        if not hasattr(plain, method):
            raise InputError(f"{type(plain).__name__} has no {method}().")
        found: Callable[..., Any] = getattr(plain, method)
        return found


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0
