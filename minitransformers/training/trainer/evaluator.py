"""Evaluator: the half of the `Trainer` that changes no weights: losses, metrics and predictions of a model on data.

    trainer.evaluate()                       # {"eval_loss": …, "eval_accuracy": …}
    trainer.predict(dataset).predictions     # logits, in the data set's order

From top to bottom: data, `evaluate` and `predict`, what is done with one batch, and the model's loss, which training
takes too; then who is told of it all. Several processes have every n-th batch each, and all get all results.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader

from minitransformers.data.collators import DataCollatorWithPadding, default_data_collator
from minitransformers.errors import InputError
from minitransformers.files.atomic import write_text
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.tokenization import PreTrainedTokenizerBase
from minitransformers.training.loop.batches import num_rows, to_device
from minitransformers.training.loop.distributed import dealt_to_all, from_main, local_rank, rank, world_size
from minitransformers.training.loop.logs import JsonLines, Logger, TensorBoard
from minitransformers.training.loop.objective import Counts, count_labels, loss_shares, shifts_labels, smoothed_loss
from minitransformers.training.loop.precision import autocast
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.callbacks import CallbackHandler, TrainerCallback, TrainerControl, TrainerState
from minitransformers.training.trainer.data_loaders import has_length, label_names, make_loader, own_batches
from minitransformers.training.trainer.predictions import (
    EvalLoopOutput,
    EvalPrediction,
    Measured,
    PredictionOutput,
    check_metrics,
    concatenate,
    speed_metrics,
    to_numpy,
)
from minitransformers.training.trainer.standard_callbacks import (
    DefaultFlowCallback,
    LossCurveCallback,
    PrinterCallback,
    ProgressCallback,
)
from minitransformers.utils.logging import get_verbosity, set_verbosity


class Evaluator:
    """Measures a model on data sets, and tells callbacks and logs of it. See `Trainer`, which is made of it."""

    def __init__(
        self,
        *,
        args: TrainingArguments,
        data_collator: Callable[[list[Any]], Any] | None,
        eval_dataset: Any,
        processing_class: Any,
        compute_loss_func: Callable[..., Any] | None,
        compute_metrics: Callable[[EvalPrediction], Any] | None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None,
        callbacks: Sequence[Any],
    ) -> None:
        if not isinstance(args, TrainingArguments):
            raise InputError(f"args must be TrainingArguments, not {type(args).__name__}.")
        if args.get_process_log_level() != get_verbosity():
            set_verbosity(args.get_process_log_level())
        self.args = args
        self.data_collator = data_collator or (
            DataCollatorWithPadding(processing_class)
            if isinstance(processing_class, PreTrainedTokenizerBase)
            else default_data_collator
        )
        self.eval_dataset, self.processing_class = eval_dataset, processing_class
        self.compute_loss_func, self.compute_metrics = compute_loss_func, compute_metrics
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.model: Any = None  # `_take_model` comes next
        self.label_names: list[str] = []
        # What training adds, of which callbacks are told too.
        self.optimizer: Optimizer | None = None
        self.lr_scheduler: Any = None
        self.train_dataloader: Any = None
        self.eval_dataloader: Any = None
        # The labels of all batches that are accumulated, while training computes one; whether its loss was a share.
        self._counts: Counts | None = None
        self.tokens_at_start = 0  # of `state.num_input_tokens_seen`, where a run went on from a checkpoint
        self._is_share = False
        self.loggers = _loggers(args)
        self.control, self.state = TrainerControl(), TrainerState.of_this_process()
        own: list[type[TrainerCallback]] = [DefaultFlowCallback]
        if "loss_curve" in (args.report_to or ()):
            own.append(LossCurveCallback)
        shows = PrinterCallback if args.disable_tqdm else ProgressCallback
        self.callback_handler = CallbackHandler([*own, *callbacks, shows])

    def _take_model(self, model: nn.Module) -> None:
        """Look at the model, and move it to the device."""
        self.label_names = label_names(model) if self.args.label_names is None else list(self.args.label_names)
        own_loss = self.compute_loss_func is not None or type(self).compute_loss is not Evaluator.compute_loss
        if isinstance(model, PreTrainedModel) and not label_names(model) and not own_loss:
            raise InputError(
                f"{type(model).__name__} takes no labels and gives no loss: take a class with a head, such as "
                f"AutoModelForSequenceClassification, or pass compute_loss_func."
            )
        self.model = model.to(self.args.device)
        if hasattr(getattr(model, "config", None), "use_cache"):
            self.model.config.use_cache = self.args.use_cache
        if self.args.torch_compile:
            self.model.compile(backend=self.args.torch_compile_backend, mode=self.args.torch_compile_mode)

    # ---- data --------------------------------------------------------------------------------------------------------

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The batches of an evaluation; a text names one of several evaluation sets."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        if dataset is None:
            raise InputError("Trainer.evaluate needs eval_dataset=…, here or when the Trainer is made.")
        return self._loader(dataset, self.args.eval_batch_size)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """The batches of `predict`."""
        return self._loader(test_dataset, self.args.eval_batch_size)

    def _loader(self, dataset: Any, batch_size: int, sampler: Any = None) -> DataLoader[Any]:
        if has_length(dataset) and not len(dataset):
            raise InputError("The data set is empty.")
        columns = None
        if self.args.remove_unused_columns:
            taken = inspect.signature(self.model.forward).parameters
            columns = [*taken, "label", "label_ids", *self.label_names]
        return make_loader(dataset, self.data_collator, batch_size, self.args, columns=columns, sampler=sampler)

    # ---- evaluation --------------------------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Measure the model; give and log its metrics.

        Args:
            eval_dataset: by default the Trainer's; of several by name, each is measured.
            ignore_keys: fields of the model's output that are no predictions.
            metric_key_prefix: before each metric's name.
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, dict):
            metrics: dict[str, float] = {}
            for name, each in dataset.items():
                part = each if eval_dataset is not None else name
                metrics |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return metrics
        loader = self.get_eval_dataloader(eval_dataset)
        output = self._timed(loader, "Evaluation", self.compute_metrics is None or None, ignore_keys, metric_key_prefix)
        self.log(output.metrics)
        self.tell("on_evaluate", metrics=output.metrics)
        return output.metrics

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """Predictions for a data set, in its order, and metrics where it has labels."""
        output = self._timed(self.get_test_dataloader(test_dataset), "Prediction", None, ignore_keys, metric_key_prefix)
        self.tell("on_predict", metrics=output.metrics)
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Go through the batches of an evaluation, each process through its own, and put together what they gave.

        The loss is the mean over examples, each with the mean loss of its batch: what `transformers` reports. Where
        batches differ in their numbers of labels, that is not quite the mean over labels.
        """
        args = self.args
        only_loss = args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        was_training = self.model.training
        self.model.eval()
        self.eval_dataloader = dataloader
        measured: list[Measured] = []
        for batch in own_batches(dataloader):
            loss, logits, labels = self.prediction_step(self.model, batch, only_loss, ignore_keys)
            if logits is not None and self.preprocess_logits_for_metrics is not None:
                logits = self.preprocess_logits_for_metrics(logits, labels)
            inputs = batch[self._input_name] if "inputs" in args.include_for_metrics else None
            arrays = (None if values is None else to_numpy(values) for values in (logits, labels, inputs))
            measured.append(Measured(num_rows(batch), None if loss is None else float(loss), *arrays))
            self.tell("on_prediction_step")
        self.model.train(was_training)
        measured = dealt_to_all(measured)
        num_samples = sum(each.rows for each in measured)
        if not num_samples:
            raise InputError(f"{description}: the data set is empty.")

        def join(name: str) -> Any:
            values = [value for each in measured if (value := getattr(each, name)) is not None]
            return concatenate(values) if args.eval_do_concat_batches else values or None

        predictions, all_labels = join("predictions"), join("labels")
        losses = [
            np.full(self._num_losses(each.rows), each.loss, np.float32) for each in measured if each.loss is not None
        ]
        metrics: dict[str, Any] = {}
        if losses:
            per_example = np.concatenate(losses)
            finite = per_example[np.isfinite(per_example)]
            metrics["loss"] = float((finite if len(finite) else per_example).mean())
        if self.compute_metrics is not None and predictions is not None and all_labels is not None:
            given_losses = per_example if losses and "loss" in args.include_for_metrics else None
            prediction = EvalPrediction(predictions, all_labels, join("inputs"), given_losses)
            metrics |= check_metrics(self.compute_metrics(prediction))
        begin = f"{metric_key_prefix}_"
        metrics = {name if name.startswith(begin) else begin + name: value for name, value in metrics.items()}
        return EvalLoopOutput(predictions, all_labels, metrics, num_samples)

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Any,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """Loss, predictions and labels of one batch; None for those that there are not, or that nobody asked for."""
        inputs = to_device(inputs, self.args.device)
        labels: Any = tuple(inputs.get(name) for name in self.label_names)
        has_labels = bool(labels) and all(each is not None for each in labels)
        if ignore_keys is None:
            ignore_keys = getattr(getattr(self.model, "config", None), "keys_to_ignore_at_inference", None)
        ignored = {*(["past_key_values"] if ignore_keys is None else ignore_keys), *(["loss"] if has_labels else [])}
        with torch.no_grad(), autocast(self._precision, self.args.device):
            if has_labels:
                counts = count_labels(model, inputs)
                ids = inputs.get(self._input_name)
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True, **self._num_items(counts, ids))
                loss = loss.detach().mean()
            else:
                loss, outputs = None, model(**inputs)
        if prediction_loss_only:
            return loss, None, None
        if hasattr(outputs, "items"):
            logits = tuple(value for name, value in outputs.items() if name not in ignored)
        else:
            logits = outputs[1:] if has_labels else outputs
        if self._precision != "fp32":  # metrics are computed from what autocast left in half precision
            logits = tree_map_only(Tensor, _as_float, logits)
        return loss, _one_of(logits), _one_of(labels) if has_labels else None

    def _num_losses(self, rows: int) -> int:
        """As how many examples a batch with so many rows counts in the mean loss."""
        return rows

    def _timed(
        self, loader: Any, description: str, only_loss: bool | None, ignore_keys: list[str] | None, prefix: str
    ) -> EvalLoopOutput:
        """`evaluation_loop`, and how fast it was."""
        start = time.time()
        output = self.evaluation_loop(loader, description, only_loss, ignore_keys, prefix)
        steps = math.ceil(output.num_samples / (self.args.eval_batch_size * world_size()))
        speed = speed_metrics(prefix, start, output.num_samples, steps)
        # Of one process, for all: what is saved, and when a run ends, hangs on them.
        return output._replace(metrics=from_main({**output.metrics, **speed}))

    # ---- the loss ----------------------------------------------------------------------------------------------------

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch, with the model's output where `return_outputs` asks for it.

        In training it is the batch's share in the mean over all batches that are accumulated: their losses add up.
        `num_items_in_batch` is how many labels count in those. An override that does without this method may return the
        mean over its own batch, which is then weighted; if it divides by `num_items_in_batch`, it sets the class
        attribute `loss_is_scaled_for_ga` to True.
        """
        counts = self._counts or count_labels(model, inputs)
        smoothing = self.args.label_smoothing_factor
        if self.compute_loss_func is not None or (smoothing and "labels" in inputs):
            labels = inputs.pop("labels", None)
            outputs = model(**inputs)
            if self.compute_loss_func is not None:
                loss = self.compute_loss_func(outputs, labels, num_items_in_batch=num_items_in_batch)
            else:
                loss = smoothed_loss(outputs, labels, smoothing, counts["labels"], shift=shifts_labels(model))
        else:
            shares, outputs = loss_shares(model, inputs, counts)
            loss = sum(shares.values())
        self._is_share = True
        return (loss, outputs) if return_outputs else loss

    def _num_items(self, counts: Counts, like: Any) -> dict[str, Any]:
        """`num_items_in_batch`, for a `compute_loss` that takes it."""
        if "num_items_in_batch" not in inspect.signature(self.compute_loss).parameters:
            return {}
        device = like.device if isinstance(like, Tensor) else self.args.device
        items = torch.tensor(int(counts["labels"]), device=device) if "labels" in counts else None
        return {"num_items_in_batch": items}

    @property
    def _precision(self) -> str:
        return "bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "fp32"

    @property
    def _input_name(self) -> str:
        return getattr(self.model, "main_input_name", "input_ids")

    # ---- who is told of it -------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Note numbers: in `state.log_history`, for callbacks, and where `report_to` says.

        `start_time` is when training began, where they are its own: then the tokens a second are noted too, if counted.
        """
        logs["epoch"] = self.state.epoch
        if self.args.include_num_input_tokens_seen != "no":
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
            if start_time is not None:
                now = self.state.num_input_tokens_seen - self.tokens_at_start
                logs.update(speed_metrics("train", start_time, num_tokens=now))
        record = {**logs, "step": self.state.global_step}
        self.state.log_history.append(record)
        self.tell("on_log", logs=logs)
        if rank() == 0:
            for each in self.loggers:
                each(record)

    def log_metrics(self, split: str, metrics: Mapping[str, Any]) -> None:
        """Print metrics, one a line."""
        if rank() == 0:
            print(f"***** {split} metrics *****")
            shown = {
                name: f"{round(value, 4) if isinstance(value, float) else value}" for name, value in metrics.items()
            }
            name_width, value_width = max(map(len, shown)), max(map(len, shown.values()))
            for name in sorted(shown):
                print(f"  {name: <{name_width}} = {shown[name]:>{value_width}}")

    def save_metrics(self, split: str, metrics: Mapping[str, Any], combined: bool = True) -> None:
        """Write metrics to SPLIT_results.json in `output_dir`, and add them to all_results.json if `combined`."""
        if rank() != 0:
            return
        directory = Path(self.args.output_dir or "")
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / f"{split}_results.json", json.dumps(dict(metrics), indent=4, sort_keys=True))
        if combined:
            path = directory / "all_results.json"
            everything = {**(json.loads(path.read_text("utf-8")) if path.exists() else {}), **metrics}
            write_text(path, json.dumps(everything, indent=4, sort_keys=True))

    def is_world_process_zero(self) -> bool:
        """Whether this is the process that writes and prints."""
        return rank() == 0

    def is_local_process_zero(self) -> bool:
        """Whether this is the first process of its machine."""
        return local_rank() == 0

    def add_callback(self, callback: Any) -> None:
        """Add a callback, or one of that class."""
        self.callback_handler.add(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Take out a callback, or the first of that class, and give it."""
        return self.callback_handler.pop(callback)

    def remove_callback(self, callback: Any) -> None:
        """Take out a callback, or the first of that class."""
        self.callback_handler.pop(callback)

    def tell(self, event: str, **kwargs: Any) -> None:
        """Tell callbacks of an event."""
        self.control = self.callback_handler.call(
            event,
            self.args,
            self.state,
            self.control,
            model=self.model,
            processing_class=self.processing_class,
            optimizer=self.optimizer,
            lr_scheduler=self.lr_scheduler,
            train_dataloader=self.train_dataloader,
            eval_dataloader=self.eval_dataloader,
            **kwargs,
        )


def _one_of(values: Any) -> Any:
    """The value, where there is only one."""
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values


def _as_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _loggers(args: TrainingArguments) -> list[Logger]:
    directory, loggers = Path(args.output_dir or ""), args.report_to or ()
    made: list[Logger] = []
    if "jsonl" in loggers:
        made.append(JsonLines(directory / "log.jsonl"))
    if "tensorboard" in loggers:
        made.append(TensorBoard(os.environ.get("TENSORBOARD_LOGGING_DIR") or directory / "runs"))
    return made
