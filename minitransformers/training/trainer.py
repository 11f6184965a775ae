"""Trainer: `transformers`' class for training, evaluating and predicting, on the loop in loop.py.

    trainer = Trainer(model, TrainingArguments("run", eval_strategy="epoch"), train_dataset=…, eval_dataset=…,
                      processing_class=tokenizer, compute_metrics=accuracy)
    trainer.train()

Same data, same weights, no dropout: same losses, learning rates and metrics as there. Three things differ on purpose.
Batches that are accumulated have the loss and gradients of one large batch; there, the losses of most models are added
up, and too large by the number of batches. A causal language model's loss is the mean over the tokens that it
predicts, the model's own; there, GPT-2's is divided by the number of labels, with the first of each row, which it never
predicts. And a run that goes on from a checkpoint ends with the same weights and log as one that never stopped.

A subclass may override what tutorials do: `compute_loss`, `prediction_step`, `evaluate`, `log`, `get_*_dataloader`,
`create_optimizer`, `create_scheduler`, `get_decay_parameter_names`, `save_model` (which checkpoints do not use).
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from minitransformers.atomic import write_text
from minitransformers.checkpoints.saving import write_checkpoint
from minitransformers.data.collators import DataCollatorWithPadding, default_data_collator
from minitransformers.errors import CheckpointError, InputError, UnknownArgumentError, nearest
from minitransformers.generation.randomness import set_seed
from minitransformers.models.pretrained import PreTrainedModel
from minitransformers.nn.losses import IGNORED
from minitransformers.tokenization import PreTrainedTokenizerBase
from minitransformers.training.arguments import TrainingArguments
from minitransformers.training.batches import Batch, num_rows, to_device
from minitransformers.training.callbacks import (
    CallbackHandler,
    DefaultFlowCallback,
    LossCurveCallback,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from minitransformers.training.distributed import parallelize, rank
from minitransformers.training.events import STATE, Events, Plan
from minitransformers.training.files import checkpoints_in
from minitransformers.training.loading import (
    UntilStopped,
    has_length,
    label_names,
    make_loader,
    train_sampler,
)
from minitransformers.training.logs import JsonLines, Logger, TensorBoard
from minitransformers.training.loop import train
from minitransformers.training.objective import Counts, count_labels, loss_shares, shifts_labels
from minitransformers.training.optimizers import create_optimizer, decay_parameter_names, parameter_groups
from minitransformers.training.precision import autocast
from minitransformers.training.predictions import (
    EvalLoopOutput,
    EvalPrediction,
    PredictionOutput,
    TrainOutput,
    check_metrics,
    concatenate,
    speed_metrics,
    to_numpy,
)
from minitransformers.training.schedules import get_scheduler
from minitransformers.training.settings import Settings

logger = logging.getLogger(__name__)

ARGUMENTS = "training_args.json"

# What a subclass for transformers may override, and is never called here: what to override in its place.
NOT_CALLED = {
    "training_step": "compute_loss",
    "_inner_training_loop": "a callback, or the loop in training/loop.py",
    "_maybe_log_save_evaluate": "a callback",
    "_save_checkpoint": "a callback's on_save",
    "_prepare_inputs": "compute_loss",
    "_get_train_sampler": "get_train_dataloader",
    "_get_eval_sampler": "get_eval_dataloader",
    "_save": "save_model",
    "get_batch_samples": "get_train_dataloader",
    "get_optimizer_cls_and_kwargs": "create_optimizer",
}


class Trainer:
    """Trains a model on a data set, and measures it on others.

    Args:
        model: gives a loss for a batch with labels. It is moved to the device, and trained in place.
        args: how; by default `TrainingArguments("tmp_trainer")`.
        data_collator: makes a batch of a list of examples; by default one that pads, where `processing_class` is a
            tokenizer, else one that stacks.
        train_dataset, eval_dataset: anything with a length and numbered examples, which are dictionaries; or a torch
            IterableDataset, which needs `max_steps`. `eval_dataset` may be a dictionary of them by name.
        processing_class: the tokenizer, saved with the model.
        model_init: in place of `model`, a function that makes one; each call of `train` begins with a new one.
        compute_loss_func: (outputs, labels, num_items_in_batch) → the loss: a sum over the labels that count, divided
            by `num_items_in_batch`, how many those are in the whole accumulated batch.
        compute_metrics: (EvalPrediction) → a dictionary of numbers.
        callbacks: see `TrainerCallback`.
        optimizers: an optimizer and a schedule, or None for what the arguments say.
        optimizer_cls_and_kwargs: the optimizer's class and arguments; its parameter groups are made here.
        preprocess_logits_for_metrics: (logits, labels) → what to keep of the logits, batch by batch.

    Raises:
        InputError, UnknownArgumentError: before anything is done, for what cannot be.
    """

    # Whether what `compute_loss` returns is divided by the number of labels of all batches that are accumulated. None
    # takes the loss of an overridden `compute_loss` for the mean over its own batch, unless it calls the original.
    loss_is_scaled_for_ga: ClassVar[bool | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in vars(cls).keys() & NOT_CALLED.keys():
            raise InputError(f"{cls.__name__}.{name} would never be called here: override {NOT_CALLED[name]}.")

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[[], Any] | None = None,
        compute_loss_func: Callable[..., Any] | None = None,
        compute_metrics: Callable[[EvalPrediction], Any] | None = None,
        callbacks: Sequence[Any] | None = None,
        optimizers: tuple[Optimizer | None, Any] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        **unknown: Any,
    ) -> None:
        _refuse_unknown(unknown)
        self.args = args if args is not None else TrainingArguments("tmp_trainer")
        self.data_collator = data_collator or (
            DataCollatorWithPadding(processing_class)
            if isinstance(processing_class, PreTrainedTokenizerBase)
            else default_data_collator
        )
        self.train_dataset, self.eval_dataset, self.processing_class = train_dataset, eval_dataset, processing_class
        self.model_init, self.compute_loss_func, self.compute_metrics = model_init, compute_loss_func, compute_metrics
        self.optimizer, self.lr_scheduler = optimizers
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self._check(model)
        set_seed(self.args.seed, deterministic=self.args.full_determinism)
        self.model: Any = self._call_model_init() if model is None else model
        self._take_model()
        self.is_in_train = False
        self._own_scheduler = False
        self.ignore_keys: list[str] | None = None
        # The labels of all batches that are accumulated, while one of them is computed; whether its loss was a share.
        self._counts: Counts | None = None
        self._is_share = False
        self.loggers = _loggers(self.args)
        self.control = TrainerControl()
        self.state = TrainerState(is_local_process_zero=rank() == 0, is_world_process_zero=rank() == 0)
        own: list[type[TrainerCallback]] = [DefaultFlowCallback]
        if "loss_curve" in (self.args.report_to or ()):
            own.append(LossCurveCallback)
        shows = PrinterCallback if self.args.disable_tqdm else ProgressCallback
        self.callback_handler = CallbackHandler([*own, *(callbacks or ()), shows])
        self._loaders: dict[str, Any] = {}
        self.tell("on_init_end")

    # ---- the parts ---------------------------------------------------------------------------------------------------

    def add_callback(self, callback: Any) -> None:
        """Add a callback, or one of that class."""
        self.callback_handler.add(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Take out a callback, or the first of that class, and give it."""
        return self.callback_handler.pop(callback)

    def remove_callback(self, callback: Any) -> None:
        """Take out a callback, or the first of that class."""
        self.callback_handler.pop(callback)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches of one epoch."""
        if self.train_dataset is None:
            raise InputError("Trainer.train needs train_dataset=….")
        sampler = train_sampler(self.train_dataset, self.args, self._input_name)
        return self._loader(self.train_dataset, self.args.train_batch_size, sampler, is_training=True)

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

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Make what was not given."""
        self.create_optimizer()
        self.create_scheduler(num_training_steps)

    def create_optimizer(self) -> Optimizer:
        """The optimizer that was given, or that the arguments ask for."""
        if self.optimizer is None:
            args = self.args
            groups = parameter_groups(self.model, args.weight_decay, set(self.get_decay_parameter_names(self.model)))
            if self.optimizer_cls_and_kwargs is not None:
                kind, options = self.optimizer_cls_and_kwargs
                self.optimizer = kind(groups, **options)
            else:
                betas = (args.adam_beta1, args.adam_beta2)
                self.optimizer = create_optimizer(
                    groups, args.optim, learning_rate=args.learning_rate, betas=betas, eps=args.adam_epsilon
                )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        """The schedule that was given, or that the arguments ask for."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer or self.create_optimizer()
            warmup = self.args.get_warmup_steps(num_training_steps)
            self.lr_scheduler = get_scheduler(
                self.args.lr_scheduler_type, optimizer, warmup, num_training_steps, self.args.lr_scheduler_kwargs
            )
            self._own_scheduler = True
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The names of the parameters that have weight decay."""
        return sorted(decay_parameter_names(model))

    def num_examples(self, dataloader: Any) -> int:
        """How many examples the batches have in all."""
        dataset: Any = getattr(dataloader, "dataset", None)
        return len(dataset) if has_length(dataset) else len(dataloader) * self.args.train_batch_size

    # ---- training ----------------------------------------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | os.PathLike[str] | bool | None = None,
        trial: None = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train the model.

        Args:
            resume_from_checkpoint: a checkpoint's directory, or True for the last one in `output_dir`: then the run
                goes on as if it had never stopped.
            trial: hyper-parameter search is not covered: None.
            ignore_keys_for_eval: fields of the model's output that are no predictions.

        Raises:
            InputError: no data, no steps, or an optimizer of another model.
            CheckpointError: the checkpoint is that of another run, or cannot be read.
        """
        if trial is not None:
            raise UnknownArgumentError("Trainer.train does not cover trial=…: hyper-parameter search is not here.")
        resume = self._find_checkpoint(resume_from_checkpoint)
        if self.model_init is not None:
            set_seed(self.args.seed, deterministic=self.args.full_determinism)
            self.model, self.optimizer, self.lr_scheduler = self._call_model_init(), None, None
            self._take_model()
        loader = self.get_train_dataloader()
        plan = Plan.of(self.args, loader, self.num_examples(loader) if has_length(loader) else 0)
        self.state = TrainerState(
            max_steps=plan.max_steps,
            num_train_epochs=plan.num_epochs,
            train_batch_size=self.args.train_batch_size,
            is_local_process_zero=rank() == 0,
            is_world_process_zero=rank() == 0,
        )
        self.state.compute_steps(self.args, plan.max_steps)
        self._prepare_model()
        if self._own_scheduler:
            self.lr_scheduler, self._own_scheduler = None, False
        wrapped = parallelize(self.model, device=self.args.device)
        self.create_optimizer_and_scheduler(plan.max_steps)
        optimizer = _checked(self.optimizer, self.model)
        self.ignore_keys, self.is_in_train, self.train_dataloader = ignore_keys_for_eval, True, loader
        events = Events(self, plan)
        by_metric = isinstance(self.lr_scheduler, ReduceLROnPlateau)  # its step is an evaluation's
        try:
            train(
                wrapped,
                optimizer,
                None if by_metric else self.lr_scheduler,
                UntilStopped(loader, lambda: self.control.should_epoch_stop),
                self._settings(plan.max_steps, resume),
                validation=(),  # `evaluate` has its own
                loss=self._share_of_loss,
                evaluate=lambda *_: events.evaluate(),
                hooks=[events],
            )
        finally:
            self.is_in_train = False
        return TrainOutput(self.state.global_step, events.metrics["train_loss"], events.metrics)

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
                loss = _smoothed_loss(outputs, labels, smoothing, counts["labels"], shift=shifts_labels(model))
        else:
            shares, outputs = loss_shares(model, inputs, counts)
            loss = sum(shares.values())
        self._is_share = True
        return (loss, outputs) if return_outputs else loss

    def _share_of_loss(self, model: nn.Module, batch: Batch, counts: Counts) -> Tensor:
        """The loop's `loss`: what `compute_loss` gives, as a share in the mean over the accumulated batches."""
        if not batch:
            raise InputError("The collator gave a batch with nothing in it: has the data set the model's arguments?")
        own = count_labels(model, batch)
        ids = batch.get(self._input_name)
        if isinstance(ids, Tensor):
            self.state.total_flos += 6.0 * ids.numel() * self._num_parameters
        self._counts, self._is_share = counts, False
        try:
            loss = self.compute_loss(model, dict(batch), **self._num_items(counts, ids))
        finally:
            self._counts = None
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InputError(f"compute_loss must return one number, a tensor, not {loss!r:.80}.")
        is_share = self._is_share if self.loss_is_scaled_for_ga is None else self.loss_is_scaled_for_ga
        return loss if is_share else loss * (sum(own.values()) / max(1, sum(counts.values())))

    def _num_items(self, counts: Counts, like: Any) -> dict[str, Any]:
        """`num_items_in_batch`, for a `compute_loss` that takes it."""
        if "num_items_in_batch" not in inspect.signature(self.compute_loss).parameters:
            return {}
        device = like.device if isinstance(like, Tensor) else self.args.device
        items = torch.tensor(int(counts["labels"]), device=device) if "labels" in counts else None
        return {"num_items_in_batch": items}

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
        """Go through the batches of an evaluation.

        The loss is the mean over examples, each with the mean loss of its batch: what `transformers` reports. Where
        batches differ in their numbers of labels, that is not quite the mean over labels.
        """
        args, losses, weights, num_samples = self.args, [], [], 0
        predictions: list[Any] = []
        labels: list[Any] = []
        inputs: list[Any] = []
        only_loss = args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        was_training = self.model.training
        self.model.eval()
        self.eval_dataloader = dataloader
        for batch in dataloader:
            rows = num_rows(batch)
            num_samples += rows
            loss, logits, batch_labels = self.prediction_step(self.model, batch, only_loss, ignore_keys)
            if loss is not None:
                losses.append(float(loss))
                weights.append(rows)
            if "inputs" in args.include_for_metrics:
                inputs.append(to_numpy(batch[self._input_name]))
            if logits is not None:
                if self.preprocess_logits_for_metrics is not None:
                    logits = self.preprocess_logits_for_metrics(logits, batch_labels)
                predictions.append(to_numpy(logits))
            if batch_labels is not None:
                labels.append(to_numpy(batch_labels))
            self.tell("on_prediction_step")
        self.model.train(was_training)
        if not num_samples:
            raise InputError(f"{description}: the data set is empty.")
        join = concatenate if args.eval_do_concat_batches else (lambda batches: batches or None)
        all_predictions, all_labels = join(predictions), join(labels)
        per_example = np.repeat(np.array(losses, dtype=np.float32), weights)
        metrics: dict[str, Any] = {}
        if losses:
            finite = per_example[np.isfinite(per_example)]
            metrics["loss"] = float((finite if len(finite) else per_example).mean())
        if self.compute_metrics is not None and all_predictions is not None and all_labels is not None:
            prediction = EvalPrediction(
                all_predictions,
                all_labels,
                join(inputs) if "inputs" in args.include_for_metrics else None,
                per_example if "loss" in args.include_for_metrics else None,
            )
            metrics |= check_metrics(self.compute_metrics(prediction))
        begin = f"{metric_key_prefix}_"
        metrics = {name if name.startswith(begin) else begin + name: value for name, value in metrics.items()}
        return EvalLoopOutput(all_predictions, all_labels, metrics, num_samples)

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
        return loss, _one_of(logits), _one_of(labels) if has_labels else None

    def _timed(
        self, loader: Any, description: str, only_loss: bool | None, ignore_keys: list[str] | None, prefix: str
    ) -> EvalLoopOutput:
        """`evaluation_loop`, and how fast it was."""
        start = time.time()
        output = self.evaluation_loop(loader, description, only_loss, ignore_keys, prefix)
        steps = math.ceil(output.num_samples / self.args.eval_batch_size)
        output.metrics.update(speed_metrics(prefix, start, output.num_samples, steps))
        return output

    # ---- logs and files ----------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Note numbers: in `state.log_history`, for callbacks, and where `report_to` says."""
        logs["epoch"] = self.state.epoch
        record = {**logs, "step": self.state.global_step}
        self.state.log_history.append(record)
        self.tell("on_log", logs=logs)
        if rank() == 0:
            for each in self.loggers:
                each(record)

    def save_model(self, output_dir: str | os.PathLike[str] | None = None) -> None:
        """Write model, tokenizer and arguments to a directory, by default `output_dir`."""
        if rank() != 0:
            return
        directory = Path(self.args.output_dir or "" if output_dir is None else output_dir)
        if hasattr(self.model, "save_pretrained"):
            self.model.save_pretrained(directory)
        else:
            write_checkpoint(directory, dict(self.model.state_dict()))
        self.save_beside(directory)

    def save_state(self) -> None:
        """Write `state` to trainer_state.json in `output_dir`."""
        if rank() == 0:
            Path(self.args.output_dir or "").mkdir(parents=True, exist_ok=True)
            self.state.save_to_json(Path(self.args.output_dir or "") / STATE)

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

    is_local_process_zero = is_world_process_zero

    def save_beside(self, directory: Path) -> None:
        """What belongs to a saved model besides its weights and config."""
        tokenizer = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
        write_text(directory / ARGUMENTS, self.args.to_json_string() + "\n")

    # ---- preparing ---------------------------------------------------------------------------------------------------

    @property
    def _precision(self) -> str:
        return "bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "fp32"

    @property
    def _input_name(self) -> str:
        return getattr(self.model, "main_input_name", "input_ids")

    def _settings(self, max_steps: int, resume: Path | bool) -> Settings:
        return Settings(
            steps=max_steps,
            accumulation=self.args.gradient_accumulation_steps,
            max_grad_norm=self.args.max_grad_norm or None,
            precision=self._precision,
            compile=self.args.torch_compile,
            on_nan="skip",
            log_every=None,  # callbacks say when to log, evaluate and save
            output_dir=self.args.output_dir,
            keep=None,
            resume=resume,
        )

    def _check(self, model: Any) -> None:
        args = self.args
        if not isinstance(args, TrainingArguments):
            raise InputError(f"args must be TrainingArguments, not {type(args).__name__}.")
        if (model is None) == (self.model_init is None):
            raise InputError("Trainer needs one of model=… and model_init=…, and not both.")
        if model is not None and not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch module, not {type(model).__name__}: {model!r:.60}.")
        if not callable(self.data_collator):
            raise InputError(f"data_collator must be callable, not {type(self.data_collator).__name__}.")
        if args.eval_strategy != "no" and self.eval_dataset is None:
            raise InputError(f"eval_strategy={str(args.eval_strategy)!r} needs eval_dataset=….")
        if self.model_init is not None and (self.optimizer is not None or self.lr_scheduler is not None):
            raise InputError(
                "optimizers=… belong to one model, but model_init=… makes new ones: override create_optimizer."
            )
        if self.optimizer_cls_and_kwargs is not None and self.optimizer is not None:
            raise InputError("Pass one of optimizers=… and optimizer_cls_and_kwargs=…, and not both.")
        if self.train_dataset is not None and not has_length(self.train_dataset) and args.max_steps <= 0:
            raise InputError("train_dataset has no length: set max_steps, for nothing else says how long the run is.")

    def _take_model(self) -> None:
        """Look at the model that will be trained, and move it to the device."""
        model = self.model
        self.label_names = label_names(model) if self.args.label_names is None else list(self.args.label_names)
        own_loss = self.compute_loss_func is not None or type(self).compute_loss is not Trainer.compute_loss
        if isinstance(model, PreTrainedModel) and not label_names(model) and not own_loss:
            raise InputError(
                f"{type(model).__name__} takes no labels and gives no loss: take a class with a head, such as "
                f"AutoModelForSequenceClassification, or pass compute_loss_func."
            )
        model.to(self.args.device)
        if hasattr(getattr(model, "config", None), "use_cache"):
            model.config.use_cache = self.args.use_cache

    def _call_model_init(self) -> Any:
        model = self.model_init() if self.model_init is not None else None
        if not isinstance(model, nn.Module):
            raise InputError(f"model_init must return a model, not {model!r:.60}.")
        return model

    def _prepare_model(self) -> None:
        """What belongs to training: recomputed blocks, and the tokenizer's special tokens in the config."""
        if self.args.activation_checkpointing:
            if not hasattr(self.model, "gradient_checkpointing_enable"):
                raise InputError(f"activation_checkpointing=True: {type(self.model).__name__} cannot do that.")
            self.model.gradient_checkpointing_enable(self.args.activation_checkpointing_kwargs)
        if isinstance(self.processing_class, PreTrainedTokenizerBase) and hasattr(self.model, "config"):
            _align_special_tokens(self.model, self.processing_class)
        count = getattr(self.model, "num_parameters", None)
        self._num_parameters = count(exclude_embeddings=True) if count is not None else 0

    def _loader(self, dataset: Any, batch_size: int, sampler: Any = None, is_training: bool = False) -> DataLoader[Any]:
        if hasattr(dataset, "__len__") and has_length(dataset) and not len(dataset):
            raise InputError("The data set is empty.")
        columns = None
        if self.args.remove_unused_columns:
            taken = inspect.signature(self.model.forward).parameters
            columns = [*taken, "label", "label_ids", *self.label_names]
        return make_loader(
            dataset,
            self.data_collator,
            batch_size,
            self.args,
            columns=columns,
            sampler=sampler,
            is_training=is_training,
        )

    def _find_checkpoint(self, wanted: str | os.PathLike[str] | bool | None) -> Path | bool:
        """Where to go on: the loop's `resume`."""
        if wanted is None or wanted is False:
            return False
        if wanted is True:
            if not checkpoints_in(Path(self.args.output_dir or "")):
                raise CheckpointError(
                    f"resume_from_checkpoint=True, but there is no checkpoint in output_dir={self.args.output_dir!r}."
                )
            return True
        if not Path(wanted).is_dir():
            raise CheckpointError(f"resume_from_checkpoint={str(wanted)!r} is no directory.")
        return Path(wanted)

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
            train_dataloader=getattr(self, "train_dataloader", None),
            eval_dataloader=getattr(self, "eval_dataloader", None),
            **kwargs,
        )


def _one_of(values: Any) -> Any:
    """The value, where there is only one."""
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values


def _smoothed_loss(outputs: Any, labels: Tensor, smoothing: float, num_items: float | int, *, shift: bool) -> Tensor:
    """Cross-entropy against labels of which `smoothing` is spread over all classes (Szegedy et al., 2015, §7)."""
    logits = outputs["logits"] if hasattr(outputs, "items") else outputs[0]
    if shift:
        logits, labels = logits[..., :-1, :], labels[..., 1:]
    logits, labels = logits.flatten(0, -2), labels.flatten()
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum")
    return total / max(1, num_items)


def _align_special_tokens(model: Any, tokenizer: Any) -> None:
    """Let the model's configs have the tokenizer's special tokens: padding a GPT-2 classifier, say, needs that."""
    changed = {}
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        token = getattr(tokenizer, name, None)
        for config in (model.config, getattr(model, "generation_config", None)):
            if token is None or config is None:
                continue
            present = getattr(config, name, None)
            if isinstance(present, list) and name == "eos_token_id":
                if token not in present:
                    setattr(config, name, [token, *present])
                    changed[name] = token
            elif present != token:
                setattr(config, name, token)
                changed[name] = token
    if changed:
        logger.warning("The model's config now has the special tokens of the tokenizer: %s.", changed)


def _loggers(args: TrainingArguments) -> list[Logger]:
    directory, loggers = Path(args.output_dir or ""), args.report_to or ()
    made: list[Logger] = []
    if "jsonl" in loggers:
        made.append(JsonLines(directory / "log.jsonl"))
    if "tensorboard" in loggers:
        made.append(TensorBoard(os.environ.get("TENSORBOARD_LOGGING_DIR") or directory / "runs"))
    return made


def _checked(optimizer: Optimizer | None, model: nn.Module) -> Optimizer:
    """The optimizer, after a look at whether it is the model's."""
    if optimizer is None:
        raise InputError("create_optimizer must set self.optimizer.")
    known = {id(parameter) for parameter in model.parameters()}
    strangers = sum(id(each) not in known for group in optimizer.param_groups for each in group["params"])
    if strangers:
        raise InputError(
            f"The optimizer has {strangers} parameters that are not the model's: make it of the parameters of the "
            f"model that is trained, after that was moved to its device."
        )
    return optimizer


def _refuse_unknown(arguments: Iterable[str]) -> None:
    known = [name for name in inspect.signature(Trainer.__init__).parameters if name not in ("self", "unknown")]
    for name in arguments:
        if name == "tokenizer":
            raise UnknownArgumentError("Trainer takes no 'tokenizer', as in transformers 5: use processing_class.")
        raise UnknownArgumentError(f"Trainer takes no argument {name!r}.{nearest(name, known)}")
