"""WandbCallback: records of a run on Weights & Biases, for report_to="wandb"."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from minitransformers.training.loop.logs import MissingPackageError
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.callbacks import TrainerCallback
from minitransformers.training.trainer.state import TrainerControl, TrainerState

# Metrics of the whole training, which are a summary and no curve.
SUMMARY = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos")


class WandbCallback(TrainerCallback):
    """Logs records, arguments and the model's config with the package wandb, under the names of `transformers`.

    Curves of the training are named train/…, curves of evaluations eval/… and test/…. The environment variables
    WANDB_PROJECT (by default "huggingface") and WANDB_WATCH ("gradients", "parameters" or "all") are used.

    Raises:
        MissingPackageError: wandb is not installed.
    """

    def __init__(self) -> None:
        try:
            self._wandb: Any = import_module("wandb")
        except ImportError as error:
            raise MissingPackageError(
                "report_to='wandb' needs the package wandb: `pip install wandb` installs it."
            ) from error
        self._initialized = False

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        """Start the run of wandb, unless the script has, and log the arguments and the model's config."""
        self._initialized = True
        if not state.is_world_process_zero:
            return
        config: Any = getattr(model, "config", None)
        values = {**(config.to_dict() if hasattr(config, "to_dict") else {}), **args.to_dict()}
        name: dict[str, Any] = {} if args.run_name is None else {"name": args.run_name}
        if state.trial_name is not None:
            name = {"name": state.trial_name, "group": args.run_name or args.output_dir}
        if self._wandb.run is None:
            self._wandb.init(project=os.environ.get("WANDB_PROJECT", "huggingface"), **name)
        self._wandb.config.update(values, allow_val_change=True)
        if getattr(self._wandb, "define_metric", None):
            self._wandb.define_metric("train/global_step")
            self._wandb.define_metric("*", step_metric="train/global_step", step_sync=True)
        watched = os.environ.get("WANDB_WATCH", "false")
        if watched in ("all", "parameters", "gradients"):
            self._wandb.watch(model, log=watched, log_freq=max(100, int(state.logging_steps)))
        if hasattr(model, "num_parameters"):
            self._wandb.config["model/num_parameters"] = model.num_parameters()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Start the run; each trial of a search has one of its own."""
        if state.is_hyper_param_search:
            self._wandb.finish()
            self._initialized = False
        if not self._initialized:
            self.setup(args, state, model, **kwargs)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        logs: Any = None,
        **kwargs: Any,
    ) -> None:
        """Log the record; the metrics of the whole training go to the run's summary."""
        if not self._initialized:
            self.setup(args, state, model)
        if state.is_world_process_zero:
            for name in SUMMARY:
                if name in logs:
                    self._wandb.run.summary[name] = logs[name]
            curves = {_curve(name): value for name, value in logs.items() if name not in SUMMARY}
            self._wandb.log({**curves, "train/global_step": state.global_step})

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """Log the metrics of a prediction."""
        if not self._initialized:
            self.setup(args, state, model)
        if state.is_world_process_zero:
            self._wandb.log({_curve(name): value for name, value in metrics.items()})


def _curve(name: str) -> str:
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"
