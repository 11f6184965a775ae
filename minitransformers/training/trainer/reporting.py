"""The Trainer's methods about logs, and what is due after a step: logging, evaluation, saving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from minitransformers.errors import InputError, TrainingError, nearest
from minitransformers.training.loop.distributed import rank, sum_over_ranks
from minitransformers.training.trainer.batch_size_finder import is_out_of_memory
from minitransformers.training.trainer.callbacks import name_of_best_metric
from minitransformers.training.trainer.parts import Parts
from minitransformers.training.trainer.predictions import speed_metrics
from minitransformers.training.trainer.reports import metrics_format, print_metrics, write_metrics
from minitransformers.training.trainer.strategies import SaveStrategy


class TrainerReporting(Parts):
    """Records of the run, and the actions that callbacks request."""

    def log(self, logs: dict[str, Any], start_time: float | int | None = None) -> None:
        """Add a record to `state.log_history`, and pass it to callbacks and to the loggers of `report_to`.

        `start_time` is the start of the training, for records of training: they get the tokens per second, if tokens
        are counted.
        """
        logs["epoch"] = self.state.epoch
        if self.args.include_num_input_tokens_seen != "no":
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
            if start_time is not None:
                tokens = self.state.num_input_tokens_seen - self._initial_num_input_tokens_seen
                logs.update(speed_metrics("train", start_time, num_tokens=tokens))
        record = {**logs, "step": self.state.global_step}
        self.state.log_history.append(record)
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)
        if rank() == 0:
            for each in self.loggers:
                each(record)

    @staticmethod
    def metrics_format(metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Metrics as people read them: times, rounded numbers."""
        return metrics_format(metrics)

    def log_metrics(self, split: str, metrics: Mapping[str, Any]) -> None:
        """Print one metric per line."""
        if rank() == 0:
            print_metrics(split, metrics)

    def save_metrics(self, split: str, metrics: Mapping[str, Any], combined: bool = True) -> None:
        """Write metrics to SPLIT_results.json in `output_dir`, and add them to all_results.json if `combined`."""
        if rank() == 0:
            write_metrics(self.args.output_path, split, metrics, combined)

    # ---- after a step, and after an epoch ----------------------------------------------------------------------------

    def _maybe_log_save_evaluate(
        self,
        tr_loss: Tensor,
        grad_norm: float | int | None,
        model: Any,
        trial: Any,
        epoch: float | int,
        ignore_keys_for_eval: list[str] | None,
        start_time: float,
        learning_rate: float | int | None = None,
    ) -> None:
        """Log, evaluate and save, if `control` says so.

        Args:
            tr_loss: the sum of the losses since the last record; one that logs sets it to 0 in place.
            grad_norm, learning_rate: of the last step.
            model: as it is trained.
            trial: of a search for hyperparameters.
            epoch: the number of the epoch.
            ignore_keys_for_eval: of `train`.
            start_time: of the training.
        """
        if self.control.should_log and self.state.global_step > self._globalstep_last_logged and self._run is not None:
            self._globalstep_last_logged = self.state.global_step
            tr_loss.zero_()
            self.log(self._run.pop_losses(), start_time)
            self._share_requests()
        if self.control.should_evaluate:
            metrics = self._evaluate(trial, ignore_keys_for_eval)
            is_best = self._determine_best_metric(metrics, trial)
            self._share_requests()
            if self.args.save_strategy == SaveStrategy.BEST:
                self.control.should_save = is_best
        if self.control.should_save:
            self._save_checkpoint(model, trial)
            self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def _evaluate(
        self, trial: Any, ignore_keys_for_eval: list[str] | None, skip_scheduler: bool = False
    ) -> dict[str, float]:
        """Evaluate during training, and pass the metrics to a search, and to a schedule that depends on them."""
        try:
            metrics: dict[str, float] = self.evaluate(ignore_keys=ignore_keys_for_eval)
        except RuntimeError as error:
            if self.args.auto_find_batch_size and is_out_of_memory(error):
                raise TrainingError(
                    "The memory does not suffice for an evaluation: auto_find_batch_size changes the batches of "
                    "training; reduce per_device_eval_batch_size."
                ) from error
            raise
        self._report_to_hp_search(trial, self.state.global_step, metrics)
        if isinstance(self.lr_scheduler, ReduceLROnPlateau) and not skip_scheduler:
            self.lr_scheduler.step(self._best_metric(metrics))
        return metrics

    def _determine_best_metric(self, metrics: Mapping[str, float], trial: Any = None) -> bool:
        """Record the metric of an evaluation if it is the best so far, and return whether it is."""
        args, state = self.args, self.state
        if args.metric_for_best_model is None:
            return False
        value = self._best_metric(metrics)
        if state.best_metric is None:
            state.best_metric = -math.inf if args.greater_is_better else math.inf
        if not (value > state.best_metric if args.greater_is_better else value < state.best_metric):
            return False
        state.best_metric = value
        if args.save_strategy != SaveStrategy.NO:
            state.best_global_step = state.global_step
        return True

    def _best_metric(self, metrics: Mapping[str, float]) -> float:
        name = name_of_best_metric(self.args)
        if name not in metrics:
            raise InputError(
                f"metric_for_best_model={self.args.metric_for_best_model!r}: there is no {name!r} among the metrics "
                f"{sorted(metrics)}.{nearest(name, metrics)}"
            )
        return float(metrics[name])

    def _share_requests(self) -> None:
        """Let all processes do what a callback of any of them requests."""
        for name, number in sum_over_ranks([asdict(self.control)], self.args.device).items():
            setattr(self.control, name, number > 0)
        if self._run is not None:
            self._run.progress.stopped = self.control.should_training_stop

    # ---- callbacks ---------------------------------------------------------------------------------------------------

    def add_callback(self, callback: Any) -> None:
        """Add a callback, or a new one of a class."""
        self.callback_handler.add_callback(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Remove and return a callback, or the first of a class."""
        return self.callback_handler.pop_callback(callback)

    def remove_callback(self, callback: Any) -> None:
        """Remove a callback, or the first of a class."""
        self.callback_handler.remove_callback(callback)
