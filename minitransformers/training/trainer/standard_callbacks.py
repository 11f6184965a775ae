"""The callbacks of this library: scheduled actions, progress bars, printing, a loss curve, early stopping.

Each is a `TrainerCallback` (callbacks.py) as a user would write one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from minitransformers.errors import InputError
from minitransformers.training.trainer.arguments import IntervalStrategy, SaveStrategy, TrainingArguments
from minitransformers.training.trainer.callbacks import ExportableState, TrainerCallback, name_of_best_metric
from minitransformers.training.trainer.data_loaders import has_length
from minitransformers.training.trainer.state import TrainerControl, TrainerState
from minitransformers.utils.logging import tqdm

logger = logging.getLogger(__name__)


class DefaultFlowCallback(TrainerCallback):
    """Requests logging, evaluation, saving and the end of training, as the arguments say."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Request the actions that are due at this step. At the last step, evaluation and saving by steps are due."""
        step, is_last = state.global_step, state.global_step >= state.max_steps
        if (step == 1 and args.logging_first_step) or (
            args.logging_strategy == IntervalStrategy.STEPS and step % state.logging_steps == 0
        ):
            control.should_log = True
        if args.eval_strategy == IntervalStrategy.STEPS and args.eval_delay <= step:
            control.should_evaluate |= step % state.eval_steps == 0 or is_last
        if args.save_strategy == SaveStrategy.STEPS:
            control.should_save |= step % state.save_steps == 0 or is_last
        control.should_training_stop |= is_last
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Request the actions that are due after each epoch."""
        control.should_log |= args.logging_strategy == IntervalStrategy.EPOCH
        control.should_evaluate |= args.eval_strategy == IntervalStrategy.EPOCH and args.eval_delay <= state.epoch
        control.should_save |= args.save_strategy == SaveStrategy.EPOCH
        return control


class ProgressCallback(TrainerCallback):
    """Progress bars for training and evaluation on the terminal, by tqdm; records are printed above them."""

    def __init__(self, max_str_len: int = 100) -> None:
        self.training_bar: Any = None
        self.prediction_bar: Any = None
        self.max_str_len = max_str_len

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar of the training."""
        if state.is_world_process_zero:
            self.training_bar = tqdm(total=state.max_steps, initial=state.global_step, dynamic_ncols=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance the training bar by one step."""
        if self.training_bar is not None:
            self.training_bar.update(1)

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Advance the bar of an evaluation by one batch; the first batch opens it."""
        if state.is_world_process_zero:
            if self.prediction_bar is None:  # a stream has no length: its bar counts
                total, is_alone = (
                    len(eval_dataloader) if has_length(eval_dataloader) else None,
                    self.training_bar is None,
                )
                self.prediction_bar = tqdm(total=total, leave=is_alone, dynamic_ncols=True)
            self.prediction_bar.update(1)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Close the bar of the evaluation."""
        if self.prediction_bar is not None:
            self.prediction_bar.close()
        self.prediction_bar = None

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> None:
        """Close the bar of the prediction."""
        self.on_evaluate(args, state, control)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Print the record above the bar."""
        if self.training_bar is not None:
            shown = {name: value for name, value in logs.items() if name != "total_flos"}
            self.training_bar.write(str({name: self._short(value) for name, value in shown.items()}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar; it stays on the terminal."""
        if self.training_bar is not None:
            self.training_bar.close()
        self.training_bar = None

    def _short(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > self.max_str_len:
            return f"[{len(value)} characters, more than max_str_len={self.max_str_len}]"
        return f"{value:.4g}" if isinstance(value, float) else value


class PrinterCallback(TrainerCallback):
    """Prints each record."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        """Print the record on one line."""
        if state.is_local_process_zero and logs is not None:
            shown = {name: value for name, value in logs.items() if name != "total_flos"}
            print({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in shown.items()})


class LossCurveCallback(TrainerCallback):
    """Draws all losses so far to loss.png in `output_dir`, after each evaluation and at the end."""

    def __init__(self) -> None:
        from minitransformers.visualization import (
            draw_losses,  # fails here without matplotlib, not at the first evaluation
        )

        self._draw = draw_losses

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Draw the curve, if there is a loss."""
        drawn = ("loss", "eval_loss")
        if state.is_world_process_zero and any(name in record for record in state.log_history for name in drawn):
            self._draw(state.log_history, title=args.run_name or "", path=Path(args.output_dir or "") / "loss.png")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the curve of the whole run."""
        self.on_evaluate(args, state, control)


class EarlyStoppingCallback(TrainerCallback, ExportableState):
    """Ends training when the evaluations no longer improve.

    Args:
        early_stopping_patience: number of evaluations in a row without an improvement.
        early_stopping_threshold: the metric must improve by more than this.
    """

    def __init__(self, early_stopping_patience: int = 1, early_stopping_threshold: float | int | None = 0.0) -> None:
        self.early_stopping_patience = early_stopping_patience
        self.early_stopping_threshold = early_stopping_threshold or 0.0
        self.early_stopping_patience_counter = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Refuse arguments without evaluations, or without a metric."""
        if args.metric_for_best_model is None:
            raise InputError("EarlyStoppingCallback needs metric_for_best_model: set it in TrainingArguments.")
        if args.eval_strategy == IntervalStrategy.NO:
            raise InputError("EarlyStoppingCallback needs evaluations: set eval_strategy to 'steps' or 'epoch'.")
        if not args.load_best_model_at_end and state.is_world_process_zero:
            logger.warning("Training ends with the last model: load_best_model_at_end=True loads the best one.")

    def check_metric_value(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metric_value: float
    ) -> None:
        """Count an evaluation without an improvement; an improvement sets the counter to 0."""
        if state.best_metric is None:
            is_better = True
        else:
            sign = 1 if args.greater_is_better else -1
            gain = sign * (metric_value - state.best_metric)
            is_better = gain > self.early_stopping_threshold and gain > 0
        self.early_stopping_patience_counter = 0 if is_better else self.early_stopping_patience_counter + 1

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        """End training when too many evaluations in a row brought no improvement."""
        name = name_of_best_metric(args)
        value = metrics.get(name)
        if value is None:
            logger.warning("EarlyStoppingCallback has no effect: the metrics have no %s.", name)
            return
        self.check_metric_value(args, state, control, value)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def state(self) -> dict[str, Any]:
        """The arguments, and the number of evaluations in a row without an improvement."""
        return {
            "args": {
                "early_stopping_patience": self.early_stopping_patience,
                "early_stopping_threshold": self.early_stopping_threshold,
            },
            "attributes": {"early_stopping_patience_counter": self.early_stopping_patience_counter},
        }
