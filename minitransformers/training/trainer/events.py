"""Between the loop and the Trainer: what the loop does is told to callbacks, and what they ask for to the loop."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from minitransformers.errors import InputError, nearest
from minitransformers.training.loop.checkpoint_directories import checkpoints_in, remove_checkpoint
from minitransformers.training.loop.distributed import from_main, rank, sum_over_ranks
from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.state import load_weights
from minitransformers.training.trainer.arguments import SaveStrategy, TrainingArguments
from minitransformers.training.trainer.callbacks import ExportableState, TrainerState, name_of_best_metric
from minitransformers.training.trainer.data_loaders import has_length
from minitransformers.training.trainer.predictions import speed_metrics

if TYPE_CHECKING:
    from minitransformers.training.trainer.trainer import Trainer

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"

# After these the loop does nothing that a callback could ask for: `on_step_end` comes first.
WITHIN_STEPS = ("on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_optimizer_step")


@dataclass(frozen=True)
class Plan:
    """How long a run of the Trainer is."""

    max_steps: int
    num_epochs: int
    batches_per_epoch: int
    num_samples: float | int

    @classmethod
    def of(cls, args: TrainingArguments, loader: Any, num_examples: int) -> Plan:
        """What the arguments say about that data."""
        updates_of = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        if not has_length(loader):
            steps = args.max_steps
            return cls(steps, sys.maxsize, steps * args.gradient_accumulation_steps, steps * updates_of)
        batches = len(loader)
        if not batches:
            raise InputError(
                f"The training data has {num_examples} examples, fewer than one batch of {args.train_batch_size}, and "
                f"dataloader_drop_last=True drops that."
            )
        updates = -(-batches // args.gradient_accumulation_steps)
        if args.max_steps > 0:
            epochs, samples = -(-args.max_steps // updates), float(args.max_steps * updates_of)
            return cls(args.max_steps, epochs, batches, samples)
        steps = math.ceil(args.num_train_epochs * updates)
        return cls(steps, math.ceil(args.num_train_epochs), batches, num_examples * args.num_train_epochs)


class Events(Hooks):
    """Between the loop and the Trainer: what the loop does is told to callbacks, what they ask for is told to the loop.

    Its state is the Trainer's in checkpoints.
    """

    def __init__(self, trainer: Trainer, plan: Plan) -> None:
        self.trainer, self.plan = trainer, plan
        self.total_loss, self.num_losses, self.step_at_start, self.last_logged = 0.0, 0, 0, 0
        self.metrics: dict[str, Any] = {}
        self.run: Any = None

    # ---- events, in the loop's order ---------------------------------------------------------------------------------

    def on_train_begin(self, run: Run) -> None:
        """After a checkpoint was loaded, if one was."""
        trainer = self.trainer
        self.run, self.started = run, time.time()
        self.step_at_start = self.last_logged = trainer.state.global_step
        trainer.tokens_at_start = trainer.state.num_input_tokens_seen
        run.progress.stopped = False  # by a callback, before the run was continued
        if rank() == 0:
            for each in trainer.loggers:
                each.rewind(len(trainer.state.log_history))
        self._tell("on_train_begin")
        if trainer.args.eval_on_start and not self.step_at_start:
            trainer.evaluate(ignore_keys=trainer.ignore_keys)

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first batch of an epoch."""
        self._tell("on_epoch_begin")

    def on_step_begin(self, run: Run) -> None:
        """Before the first batch of an update."""
        self._tell("on_step_begin")

    def on_substep_end(self, run: Run) -> None:
        """After a batch that is not the last of an update."""
        self._tell("on_substep_end")

    def on_pre_optimizer_step(self, run: Run) -> None:
        """Gradients are there."""
        self._tell("on_pre_optimizer_step")

    def on_optimizer_step(self, run: Run) -> None:
        """Weights are new."""
        self._tell("on_optimizer_step")

    def on_step_end(self, run: Run) -> None:
        """The update counts."""
        progress, state = run.progress, self.trainer.state
        state.global_step = progress.step
        state.epoch = progress.epoch + progress.batch / self.plan.batches_per_epoch
        computed = sum_over_ranks([self.trainer.take_counts()], run.device)
        state.total_flos += computed["flos"]
        state.num_input_tokens_seen += int(computed["tokens"])
        if math.isfinite(progress.loss):
            self.total_loss, self.num_losses = self.total_loss + progress.loss, self.num_losses + 1
        self._tell("on_step_end")

    def on_epoch_end(self, run: Run) -> None:
        """An epoch, or the run, is over."""
        self._tell("on_epoch_end")

    def on_log(self, run: Run, record: dict[str, Any]) -> None:
        """The loop has a record of the steps since the last one."""
        self.last_logged = run.progress.step
        logs = {name: value for name, value in record.items() if name not in ("step", "epoch")}
        self.trainer.log(logs, start_time=self.started)
        self._pass_on()

    def on_save(self, run: Run, directory: Path) -> None:
        """A checkpoint was written: its state again, as a file for people, and what else belongs to a model."""
        if rank() == 0:
            self.trainer.save_beside(directory)
            self.trainer.state.save_to_json(directory / STATE)
            self.trainer.push_checkpoint(directory)
            self._remove_old(directory)
        # Noted by the process that wrote the checkpoint, and loaded by all together at the end.
        self.trainer.state.best_model_checkpoint = from_main(self.trainer.state.best_model_checkpoint)
        self._tell("on_save")

    def on_train_end(self, run: Run) -> None:
        """The last step was taken."""
        trainer, state = self.trainer, self.trainer.state
        steps = state.global_step - self.step_at_start
        samples = self.plan.num_samples * steps / max(state.max_steps, 1)
        self.metrics = speed_metrics("train", self.started, samples, steps)
        self.metrics |= {"total_flos": state.total_flos, "train_loss": self.total_loss / max(self.num_losses, 1)}
        trainer.log(self.metrics)
        trainer.finish_pushes()
        if trainer.args.load_best_model_at_end and state.best_model_checkpoint is not None:
            load_weights(trainer.model, state.best_model_checkpoint)
        self._tell("on_train_end")

    def evaluate(self) -> dict[str, float]:
        """The loop's `evaluate`: the Trainer measures and logs, so there is nothing left for the loop to log."""
        trainer = self.trainer
        metrics = trainer.evaluate(ignore_keys=trainer.ignore_keys)
        if isinstance(trainer.lr_scheduler, ReduceLROnPlateau):
            trainer.lr_scheduler.step(self._metric(metrics))
        is_best = trainer.args.metric_for_best_model is not None and self._compare(self._metric(metrics))
        if trainer.args.save_strategy == SaveStrategy.BEST:
            trainer.control.should_save = is_best
        self._pass_on()
        return {}

    # ---- state, for checkpoints --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The Trainer's state as it is to be in the checkpoint that is being written."""
        trainer, state = self.trainer, self.trainer.state
        if state.best_global_step is not None:
            best = Path(trainer.args.output_dir or "") / f"checkpoint-{state.best_global_step}"
            if best.is_dir() or state.best_global_step == state.global_step:
                state.best_model_checkpoint = str(best)
        state.stateful_callbacks = {}
        for callback in self._exportable():
            state.stateful_callbacks.setdefault(type(callback).__name__, []).append(callback.state())
        return {"state": asdict(state), "losses": [self.total_loss, self.num_losses]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        trainer, now = self.trainer, self.trainer.state
        # What the arguments say today, and which process this is: the state is the main one's.
        arguments = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
        kept = (*arguments, "is_local_process_zero", "is_world_process_zero")
        present = {name: getattr(now, name) for name in kept}
        trainer.state = TrainerState(**{**state["state"], **present})
        best = trainer.state.best_model_checkpoint
        if best is not None and not Path(best).is_dir():
            logger.warning("The best checkpoint %s is not there any more: it cannot be loaded at the end.", best)
            trainer.state.best_model_checkpoint = None
        self.total_loss, self.num_losses = state["losses"]
        if trainer.args.restore_callback_states_from_checkpoint:
            saved = {name: list(states) for name, states in trainer.state.stateful_callbacks.items()}
            for callback in self._exportable():
                for attributes in saved.get(type(callback).__name__, [])[:1]:
                    saved[type(callback).__name__].pop(0)
                    for name, value in attributes["attributes"].items():
                        setattr(callback, name, value)

    # ---- what they need ----------------------------------------------------------------------------------------------

    def _tell(self, event: str) -> None:
        self.trainer.tell(event)
        if event not in WITHIN_STEPS:
            self._pass_on()

    def _pass_on(self) -> None:
        """What callbacks ask for, to the loop: on all processes what those of any process ask for."""
        if self.run is None:
            return
        asked = sum_over_ranks([asdict(self.trainer.control)], self.run.device)
        control, progress = self.trainer.control, self.run.progress
        for name, number in asked.items():
            setattr(control, name, number > 0)
        self.run.should_log = control.should_log and progress.step > self.last_logged
        self.run.should_evaluate, self.run.should_save = control.should_evaluate, control.should_save
        progress.stopped = control.should_training_stop

    def _exportable(self) -> list[Any]:
        return [each for each in self.trainer.callback_handler.callbacks if isinstance(each, ExportableState)]

    def _metric(self, metrics: Mapping[str, float]) -> float:
        name = name_of_best_metric(self.trainer.args)
        if name not in metrics:
            raise InputError(
                f"metric_for_best_model={self.trainer.args.metric_for_best_model!r}: there is no {name!r} among the "
                f"metrics {sorted(metrics)}.{nearest(name, metrics)}"
            )
        return float(metrics[name])

    def _compare(self, value: float) -> bool:
        """Whether the model is better than ever; then that is noted."""
        args, state = self.trainer.args, self.trainer.state
        if state.best_metric is None:
            state.best_metric = -math.inf if args.greater_is_better else math.inf
        if not (value > state.best_metric if args.greater_is_better else value < state.best_metric):
            return False
        state.best_metric = value
        if args.save_strategy != SaveStrategy.NO:
            state.best_global_step = state.global_step
        return True

    def _remove_old(self, latest: Path) -> None:
        """Keep `save_total_limit` checkpoints, and in any case the best and the latest."""
        limit, best = self.trainer.args.save_total_limit, self.trainer.state.best_model_checkpoint
        if limit is None:
            return
        kept = {latest, *([] if best is None else [Path(best)])}
        found = checkpoints_in(latest.parent)
        removable = [directory for directory in found if directory not in kept]
        for directory in removable[: max(0, len(found) - max(limit, len(kept)))]:
            remove_checkpoint(directory)
