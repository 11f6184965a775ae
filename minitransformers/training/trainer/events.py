"""Events: the hooks by which the loop calls the callbacks of a Trainer, and the callbacks' requests reach the loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch.optim.lr_scheduler import ReduceLROnPlateau

from minitransformers.errors import InputError, nearest
from minitransformers.training.loop.checkpoint_directories import checkpoints_in, remove_checkpoint
from minitransformers.training.loop.checkpoints import load_weights
from minitransformers.training.loop.distributed import from_main, rank, sum_over_ranks
from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.logs import Logger
from minitransformers.training.loop.run import Run
from minitransformers.training.trainer.arguments import SaveStrategy, TrainingArguments
from minitransformers.training.trainer.callbacks import CallbackHandler, name_of_best_metric
from minitransformers.training.trainer.plan import Plan
from minitransformers.training.trainer.predictions import speed_metrics
from minitransformers.training.trainer.publisher import Publisher
from minitransformers.training.trainer.state import TrainerControl, TrainerState
from minitransformers.training.trainer.training_loss import TrainingLoss

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"

# The loop ignores requests after these events: `on_step_end` comes first.
WITHIN_STEPS = ("on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step")


@runtime_checkable
class EventReceiver(Protocol):
    """The parts and methods of a Trainer that its events use; subclasses may override the methods."""

    args: TrainingArguments
    model: Any
    lr_scheduler: Any
    state: TrainerState
    control: TrainerControl
    callback_handler: CallbackHandler
    loggers: list[Logger]
    publisher: Publisher
    ignore_keys: list[str] | None
    tokens_at_start: int

    def call_callbacks(self, event: str) -> None: ...  # noqa: D102
    def evaluate(self, *, ignore_keys: list[str] | None = ...) -> dict[str, float]: ...  # noqa: D102
    def log(self, logs: dict[str, Any], start_time: float | None = ...) -> None: ...  # noqa: D102
    def save_companions(self, directory: Path) -> None: ...  # noqa: D102


class Events(Hooks):
    """Hooks of the loop that update the state of a Trainer and call its callbacks.

    In checkpoints, the state of these hooks is the state of the Trainer.
    """

    def __init__(self, trainer: EventReceiver, plan: Plan, loss: TrainingLoss) -> None:
        self.trainer, self.plan, self.loss = trainer, plan, loss
        self.total_loss, self.num_losses, self.step_at_start, self.last_logged = 0.0, 0, 0, 0
        self.metrics: dict[str, Any] = {}

    # ---- events, in the loop's order ---------------------------------------------------------------------------------

    def on_train_begin(self, run: Run) -> None:
        """Note the first step, and evaluate if `eval_on_start` says so."""
        trainer = self.trainer
        self.started = time.time()
        self.step_at_start = self.last_logged = trainer.state.global_step
        trainer.tokens_at_start = trainer.state.num_input_tokens_seen
        run.progress.stopped = False  # a callback may have stopped the run before it was resumed
        if rank() == 0:
            for each in trainer.loggers:
                each.rewind(len(trainer.state.log_history))
        self._call("on_train_begin", run)
        if trainer.args.eval_on_start and not self.step_at_start:
            trainer.evaluate(ignore_keys=trainer.ignore_keys)

    def on_epoch_begin(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_epoch_begin", run)

    def on_step_begin(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_step_begin", run)

    def on_substep_end(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_substep_end", run)

    def on_pre_optimizer_step(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_pre_optimizer_step", run)

    def on_optimizer_step(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_optimizer_step", run)

    def on_step_end(self, run: Run) -> None:
        """Update the state."""
        progress, state = run.progress, self.trainer.state
        state.global_step = progress.step
        state.epoch = progress.epoch + progress.batch / self.plan.batches_per_epoch
        counts = sum_over_ranks([self.loss.pop_counts()], run.device)
        state.total_flos += counts["flos"]
        state.num_input_tokens_seen += int(counts["tokens"])
        if math.isfinite(progress.loss):
            self.total_loss, self.num_losses = self.total_loss + progress.loss, self.num_losses + 1
        self._call("on_step_end", run)

    def on_epoch_end(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_epoch_end", run)

    def on_log(self, run: Run, record: dict[str, Any]) -> None:
        """Log the record through the Trainer."""
        self.last_logged = run.progress.step
        logs = {name: value for name, value in record.items() if name not in ("step", "epoch")}
        self.trainer.log(logs, start_time=self.started)
        self._pass_requests(run)

    def on_evaluate(self, run: Run, metrics: Mapping[str, float]) -> None:
        """Pass on the requests of the callbacks of the evaluation."""
        self._pass_requests(run)

    def on_save(self, run: Run, directory: Path) -> None:
        """Complete the checkpoint with the files of the Trainer, and remove old ones."""
        trainer = self.trainer
        if rank() == 0:
            trainer.save_companions(directory)
            trainer.state.save_to_json(directory / STATE)
            self._push(directory)
            self._remove_old(directory)
        # Set by the process that wrote the checkpoint, and needed by all at the end.
        trainer.state.best_model_checkpoint = from_main(trainer.state.best_model_checkpoint)
        self._call("on_save", run)

    def on_train_end(self, run: Run) -> None:
        """Log the metrics of the training, and load the best model if `load_best_model_at_end` says so."""
        trainer, state = self.trainer, self.trainer.state
        steps = state.global_step - self.step_at_start
        samples = self.plan.num_samples * steps / max(state.max_steps, 1)
        self.metrics = speed_metrics("train", self.started, samples, steps)
        self.metrics |= {"total_flos": state.total_flos, "train_loss": self.total_loss / max(self.num_losses, 1)}
        trainer.log(self.metrics)
        trainer.publisher.finish()
        if trainer.args.load_best_model_at_end and state.best_model_checkpoint is not None:
            load_weights(trainer.model, state.best_model_checkpoint)
        self._call("on_train_end", run)

    def evaluate(self) -> dict[str, float]:
        """The loop's `evaluate`. The Trainer logs the metrics itself, so none are returned to the loop."""
        trainer = self.trainer
        metrics = trainer.evaluate(ignore_keys=trainer.ignore_keys)
        if isinstance(trainer.lr_scheduler, ReduceLROnPlateau):
            trainer.lr_scheduler.step(self._best_metric(metrics))
        args = trainer.args
        is_best = args.metric_for_best_model is not None and trainer.state.update_best(self._best_metric(metrics), args)
        if args.save_strategy == SaveStrategy.BEST:
            trainer.control.should_save = is_best
        return {}

    # ---- state, for checkpoints --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The Trainer's state for the checkpoint that is being written."""
        trainer, state = self.trainer, self.trainer.state
        if state.best_global_step is not None:
            best = trainer.args.output_path / f"checkpoint-{state.best_global_step}"
            if best.is_dir() or state.best_global_step == state.global_step:
                state.best_model_checkpoint = str(best)
        state.stateful_callbacks = {}
        for callback in trainer.callback_handler.exportable:
            state.stateful_callbacks.setdefault(type(callback).__name__, []).append(callback.state())
        return {"state": asdict(state), "losses": [self.total_loss, self.num_losses]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the Trainer's state, except the fields of the current arguments and of this process."""
        trainer, now = self.trainer, self.trainer.state
        arguments = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
        kept = (*arguments, "is_local_process_zero", "is_world_process_zero")
        present = {name: getattr(now, name) for name in kept}
        trainer.state = TrainerState(**{**state["state"], **present})
        best = trainer.state.best_model_checkpoint
        if best is not None and not Path(best).is_dir():
            logger.warning("The best checkpoint %s no longer exists: it cannot be loaded at the end.", best)
            trainer.state.best_model_checkpoint = None
        self.total_loss, self.num_losses = state["losses"]
        if trainer.args.restore_callback_states_from_checkpoint:
            saved = {name: list(states) for name, states in trainer.state.stateful_callbacks.items()}
            for callback in trainer.callback_handler.exportable:
                for attributes in saved.get(type(callback).__name__, [])[:1]:
                    saved[type(callback).__name__].pop(0)
                    for name, value in attributes["attributes"].items():
                        setattr(callback, name, value)

    # ---- helpers -----------------------------------------------------------------------------------------------------

    def _call(self, event: str, run: Run) -> None:
        self.trainer.call_callbacks(event)
        if event not in WITHIN_STEPS:
            self._pass_requests(run)

    def _pass_requests(self, run: Run) -> None:
        """Pass the requests of the callbacks to the loop, on all processes those of any process."""
        control, progress = self.trainer.control, run.progress
        for name, number in sum_over_ranks([asdict(control)], run.device).items():
            setattr(control, name, number > 0)
        run.should_log = control.should_log and progress.step > self.last_logged
        run.should_evaluate, run.should_save = control.should_evaluate, control.should_save
        progress.stopped = control.should_training_stop

    def _best_metric(self, metrics: Mapping[str, float]) -> float:
        name = name_of_best_metric(self.trainer.args)
        if name not in metrics:
            raise InputError(
                f"metric_for_best_model={self.trainer.args.metric_for_best_model!r}: there is no {name!r} among the "
                f"metrics {sorted(metrics)}.{nearest(name, metrics)}"
            )
        return float(metrics[name])

    def _push(self, directory: Path) -> None:
        trainer, state = self.trainer, self.trainer.state
        if trainer.publisher.takes_checkpoint():
            trainer.call_callbacks("on_push_begin")
            by_steps = trainer.args.save_strategy == SaveStrategy.STEPS
            position = f"step {state.global_step}" if by_steps else f"epoch {int(state.epoch)}"
            trainer.publisher.push_checkpoint(directory, f"Training in progress, {position}")

    def _remove_old(self, latest: Path) -> None:
        """Keep `save_total_limit` checkpoints, and always the best and the latest."""
        limit, best = self.trainer.args.save_total_limit, self.trainer.state.best_model_checkpoint
        if limit is None:
            return
        kept = {latest, *([] if best is None else [Path(best)])}
        found = checkpoints_in(latest.parent)
        removable = [directory for directory in found if directory not in kept]
        for directory in removable[: max(0, len(found) - max(limit, len(kept)))]:
            remove_checkpoint(directory)
