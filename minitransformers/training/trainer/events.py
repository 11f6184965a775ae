"""Events: the hooks by which the loop calls the callbacks of a Trainer, and the callbacks' requests reach the loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from minitransformers.training.loop.distributed import rank
from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.logs import Logger
from minitransformers.training.loop.run import Run
from minitransformers.training.trainer.accelerator import Accelerator
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.callbacks import CallbackHandler
from minitransformers.training.trainer.plan import Plan
from minitransformers.training.trainer.predictions import speed_metrics
from minitransformers.training.trainer.publisher import Publisher
from minitransformers.training.trainer.state import TrainerControl, TrainerState
from minitransformers.training.trainer.training_loss import TrainingLoss

logger = logging.getLogger(__name__)

# The loop ignores requests after these events: `on_step_end` comes first.
WITHIN_STEPS = ("on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step")


@runtime_checkable
class EventReceiver(Protocol):
    """The parts and methods of a Trainer that its events use; subclasses may override the methods."""

    args: TrainingArguments
    accelerator: Accelerator
    lr_scheduler: Any
    state: TrainerState
    control: TrainerControl
    callback_handler: CallbackHandler
    loggers: list[Logger]
    publisher: Publisher
    _run: Run | None
    _initial_num_input_tokens_seen: int
    _globalstep_last_logged: int

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]: ...
    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None: ...
    def _share_requests(self) -> None: ...
    def _note_callback_states(self) -> None: ...
    def _load_callback_state(self) -> None: ...
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None: ...
    def _load_best_model(self) -> None: ...
    def _get_output_dir(self, trial: Any) -> str: ...
    def log(self, logs: dict[str, Any], start_time: float | None = ...) -> None: ...  # noqa: D102
    def store_flos(self) -> None: ...  # noqa: D102
    def save_model(self, output_dir: Any = ..., _internal_call: bool = ...) -> None: ...  # noqa: D102


class Events(Hooks):
    """Hooks of the loop that update the state of a Trainer and call its callbacks.

    In checkpoints, the state of these hooks is the state of the Trainer.

    Args:
        trainer: whose methods are called.
        plan: the length of the run.
        loss: the loop's micro-step.
        trial, ignore_keys: of `train`.
    """

    def __init__(
        self, trainer: EventReceiver, plan: Plan, loss: TrainingLoss, trial: Any, ignore_keys: list[str] | None
    ) -> None:
        self.trainer, self.plan, self.loss, self.trial, self.ignore_keys = trainer, plan, loss, trial, ignore_keys
        self.total_loss, self.num_losses, self.step_at_start = 0.0, 0, 0
        self.metrics: dict[str, Any] = {}

    # ---- events, in the loop's order ---------------------------------------------------------------------------------

    def on_resume(self, run: Run, directory: Path) -> None:
        """Let the Trainer load the weights its own way, and start the epoch anew if `ignore_data_skip` says so."""
        self.trainer._load_from_checkpoint(str(directory))
        if self.trainer.args.ignore_data_skip:
            run.progress.batch = run.progress.rows = 0

    def on_train_begin(self, run: Run) -> None:
        """Note the first step, and evaluate if `eval_on_start` says so."""
        trainer = self.trainer
        trainer._run, trainer.accelerator.scaler = run, run.scaler
        self.started = time.time()
        self.step_at_start = trainer._globalstep_last_logged = trainer.state.global_step
        trainer._initial_num_input_tokens_seen = trainer.state.num_input_tokens_seen
        run.progress.stopped = False  # a callback may have stopped the run before it was resumed
        if rank() == 0:
            for each in trainer.loggers:
                each.rewind(len(trainer.state.log_history))
        self._call("on_train_begin", run)
        trainer.control.should_evaluate |= run.progress.owes_evaluation
        if trainer.args.eval_on_start and not self.step_at_start:
            trainer._evaluate(self.trial, self.ignore_keys, skip_scheduler=True)

    def on_epoch_begin(self, run: Run) -> None:
        """Call the callbacks."""
        self.loss.begin_epoch(run)
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
        self.trainer.store_flos()
        if math.isfinite(progress.loss):
            self.total_loss, self.num_losses = self.total_loss + progress.loss, self.num_losses + 1
        elif not self.trainer.args.logging_nan_inf_filter:
            progress.loss_sum, progress.loss_steps = progress.loss_sum + progress.loss, progress.loss_steps + 1
        self._call("on_step_end", run)

    def on_termination(self, run: Run) -> None:
        """Request a checkpoint, and leave an evaluation that is due to the process that continues the run."""
        control = self.trainer.control
        run.progress.owes_evaluation = control.should_evaluate
        control.should_evaluate, control.should_save = False, True

    def on_epoch_end(self, run: Run) -> None:
        """Call the callbacks."""
        self._call("on_epoch_end", run)

    def report(self, run: Run) -> None:
        """The loop's `report`: log, evaluate and save through the Trainer, as its control says."""
        progress = run.progress
        losses = torch.tensor(progress.loss_sum, dtype=torch.float64)
        self.trainer._maybe_log_save_evaluate(
            losses,
            progress.grad_norm,
            run.model,
            self.trial,
            progress.epoch,
            self.ignore_keys,
            self.started,
            learning_rate=progress.learning_rate,
        )
        if progress.loss_sum and not losses:  # an override has logged them
            progress.loss_sum, progress.loss_steps = 0.0, 0
        self.trainer._share_requests()

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
            trainer._load_best_model()
        self._call("on_train_end", run)

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def save_model(self, run: Run, directory: Path) -> None:
        """Write the model's files of a checkpoint."""
        self.trainer.save_model(str(directory), _internal_call=True)

    def state_dict(self) -> dict[str, Any]:
        """The Trainer's state for the checkpoint that is being written."""
        trainer, state = self.trainer, self.trainer.state
        if state.best_global_step is not None:
            best = Path(trainer._get_output_dir(self.trial)) / f"checkpoint-{state.best_global_step}"
            if best.is_dir() or state.best_global_step == state.global_step:
                state.best_model_checkpoint = str(best)
        trainer._note_callback_states()
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
        trainer._load_callback_state()

    # ---- helpers -----------------------------------------------------------------------------------------------------

    def _call(self, event: str, run: Run) -> None:
        trainer = self.trainer
        trainer.control = getattr(trainer.callback_handler, event)(trainer.args, trainer.state, trainer.control)
        if event not in WITHIN_STEPS:
            trainer._share_requests()
