"""Trainer: the class of `transformers` for training, evaluation and prediction, on top of the loop in training/loop.

    trainer = Trainer(model, TrainingArguments("run", eval_strategy="epoch"), train_dataset=…, eval_dataset=…,
                      processing_class=tokenizer, compute_metrics=accuracy)
    trainer.train()
    trainer.evaluate()                       # {"eval_loss": …, "eval_accuracy": …}
    trainer.predict(dataset).predictions     # logits, in the order of the data set

With the same data, the same weights and no dropout, losses, learning rates and metrics are those of `transformers`,
with three intended differences. Accumulated batches, and batches of several processes, have the loss and gradients of
one large batch; the Trainer of `transformers` adds up the losses of most models, which multiplies them by the number of
batches or processes. The loss of a causal language model is the mean over the tokens that it predicts; `transformers`
divides GPT-2's loss by the number of all labels, including the first of each row. And a run that is resumed from a
checkpoint ends with the same weights and log as an uninterrupted run.

A subclass may override the methods that tutorials override: `compute_loss`, `prediction_step`, `evaluate`, `log`,
`get_*_dataloader`, `create_optimizer`, `create_scheduler`, `get_decay_parameter_names`, `save_model` (which checkpoints
do not use).

Under `torchrun`, each process computes its share of the batches, in training (DistributedDataParallel) and evaluation.
All of them run the same script, and get the same metrics and predictions; the first one writes and prints. They all
follow the requests of a callback of any process. (A `get_train_dataloader` of a subclass returns the batches of its own
process.)
"""

from __future__ import annotations

import inspect
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from minitransformers.compat.trainer import NOT_CALLED
from minitransformers.configs.checks import refuse_unknown
from minitransformers.data.collators import DataCollatorWithPadding, default_data_collator
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.files.atomic import write_text
from minitransformers.files.saving import write_checkpoint
from minitransformers.generation.seeds import set_seed
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.tokenization import PreTrainedTokenizerBase
from minitransformers.training.loop.batches import num_rows, to_device
from minitransformers.training.loop.distributed import (
    from_main,
    gather_interleaved,
    local_rank,
    parallelize,
    rank,
    world_size,
)
from minitransformers.training.loop.loop import train
from minitransformers.training.loop.objective import count_labels, normalized_losses, shifts_labels, smoothed_loss
from minitransformers.training.loop.optimizers import create_optimizer, decay_parameter_names, parameter_groups
from minitransformers.training.loop.schedules import get_scheduler
from minitransformers.training.loop.settings import Settings
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.callbacks import CallbackHandler, TrainerCallback
from minitransformers.training.trainer.data_loaders import (
    ShardedStream,
    StoppableLoader,
    batches_of_this_rank,
    has_length,
    label_names,
    make_loader,
    train_sampler,
)
from minitransformers.training.trainer.evaluator import Evaluator
from minitransformers.training.trainer.events import STATE, Events
from minitransformers.training.trainer.model_card import write_model_card
from minitransformers.training.trainer.neftune import noisy_embeddings
from minitransformers.training.trainer.plan import Plan
from minitransformers.training.trainer.predictions import (
    BatchResult,
    EvalLoopOutput,
    EvalPrediction,
    PredictionOutput,
    TrainOutput,
    speed_metrics,
    to_numpy,
)
from minitransformers.training.trainer.preparation import check_optimizer, check_parts, find_checkpoint, prepare_model
from minitransformers.training.trainer.publisher import Publisher
from minitransformers.training.trainer.reports import create_loggers, print_metrics, write_metrics
from minitransformers.training.trainer.standard_callbacks import (
    DefaultFlowCallback,
    LossCurveCallback,
    PrinterCallback,
    ProgressCallback,
)
from minitransformers.training.trainer.state import TrainerControl, TrainerState
from minitransformers.training.trainer.training_loss import TrainingLoss, num_items
from minitransformers.utils.logging import get_verbosity, set_verbosity

ARGUMENTS = "training_args.json"


class Trainer:
    """Trains a model on a data set, and evaluates it on others.

    Args:
        model: returns a loss for a batch with labels. It is moved to the device, and trained in place.
        args: the settings; by default `TrainingArguments("tmp_trainer")`.
        data_collator: makes a batch of a list of examples; by default one that pads if `processing_class` is a
            tokenizer, and one that stacks otherwise.
        train_dataset, eval_dataset: a data set of dictionaries with a length and indices, or a torch IterableDataset,
            which needs `max_steps`. `eval_dataset` may be a dictionary of data sets by name.
        processing_class: the tokenizer, saved with the model.
        model_init: in place of `model`, a function that creates one; each call of `train` starts with a new model.
        compute_loss_func: (outputs, labels, num_items_in_batch) → the loss: the sum over the labels that are not −100,
            divided by `num_items_in_batch`, their number in the whole accumulated batch.
        compute_metrics: (EvalPrediction) → a dictionary of numbers.
        callbacks: see `TrainerCallback`.
        optimizers: an optimizer and a schedule; None for those of the arguments.
        optimizer_cls_and_kwargs: the optimizer's class and arguments; the Trainer adds the parameter groups.
        preprocess_logits_for_metrics: (logits, labels) → the part of the logits to keep, for each batch.

    Raises:
        InputError, UnknownArgumentError: invalid arguments, before any work.
    """

    model: Any

    # Whether an overridden `compute_loss` divides by the number of labels of all accumulated batches. None: its loss is
    # the mean over its own batch, unless it calls the original method.
    loss_is_scaled_for_ga: ClassVar[bool | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in vars(cls).keys() & NOT_CALLED.keys():
            raise InputError(f"{cls.__name__}.{name} would never be called: override {NOT_CALLED[name]}.")

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
        if "tokenizer" in unknown:
            raise UnknownArgumentError("Trainer takes no 'tokenizer', as in transformers 5: use processing_class.")
        refuse_unknown("Trainer", unknown, [*inspect.signature(Trainer.__init__).parameters][1:-1])
        args = TrainingArguments("tmp_trainer") if args is None else args
        if not isinstance(args, TrainingArguments):
            raise InputError(f"args must be TrainingArguments, not {type(args).__name__}.")
        if args.get_process_log_level() != get_verbosity():
            set_verbosity(args.get_process_log_level())
        if data_collator is None:
            is_tokenizer = isinstance(processing_class, PreTrainedTokenizerBase)
            data_collator = DataCollatorWithPadding(processing_class) if is_tokenizer else default_data_collator

        self.args, self.data_collator, self.processing_class = args, data_collator, processing_class
        self.train_dataset, self.eval_dataset, self.model_init = train_dataset, eval_dataset, model_init
        self.compute_loss_func, self.compute_metrics = compute_loss_func, compute_metrics
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.optimizer, self.lr_scheduler = optimizers
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs
        self.train_dataloader: Any = None
        self.eval_dataloader: Any = None
        self.is_in_train = False
        self.ignore_keys: list[str] | None = None  # of the evaluations during training
        self.tokens_at_start = 0  # of `state.num_input_tokens_seen`, when a run is resumed
        self._own_scheduler = False
        self._training_loss: TrainingLoss | None = None

        self.state, self.control = TrainerState.of_this_process(), TrainerControl()
        self.evaluator, self.publisher = Evaluator(args), Publisher(args)
        self.loggers = create_loggers(args)
        first: list[type[TrainerCallback]] = [DefaultFlowCallback]
        if "loss_curve" in (args.report_to or ()):
            first.append(LossCurveCallback)
        last = PrinterCallback if args.disable_tqdm else ProgressCallback
        self.callback_handler = CallbackHandler([*first, *(callbacks or ()), last])

        check_parts(
            args,
            model=model,
            model_init=model_init,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            optimizers=optimizers,
            optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
        )
        set_seed(args.seed, deterministic=args.full_determinism)
        self._set_model(self._call_model_init() if model is None else model)
        if args.push_to_hub:
            self.init_hf_repo()
        self.call_callbacks("on_init_end")

    def _set_model(self, model: nn.Module) -> None:
        """Check the model, and move it to the device."""
        self.label_names = label_names(model) if self.args.label_names is None else list(self.args.label_names)
        own_loss = self.compute_loss_func is not None or type(self).compute_loss is not Trainer.compute_loss
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

    def _call_model_init(self) -> Any:
        model = self.model_init() if self.model_init is not None else None
        if not isinstance(model, nn.Module):
            raise InputError(f"model_init must return a model, not {model!r:.60}.")
        return model

    # ---- data --------------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches of one epoch."""
        if self.train_dataset is None:
            raise InputError("Trainer.train needs train_dataset=….")
        sampler = train_sampler(self.train_dataset, self.args, self._input_name)
        return self._loader(self.train_dataset, self.args.train_batch_size, sampler)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The batches of an evaluation; a string names one of several evaluation sets."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        if dataset is None:
            raise InputError("Trainer.evaluate needs eval_dataset=…, or the Trainer's eval_dataset.")
        return self._loader(dataset, self.args.eval_batch_size)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """The batches of `predict`."""
        return self._loader(test_dataset, self.args.eval_batch_size)

    def num_examples(self, dataloader: Any) -> int:
        """The number of examples in all batches."""
        dataset: Any = getattr(dataloader, "dataset", None)
        dataset = dataset.dataset if isinstance(dataset, ShardedStream) else dataset
        return len(dataset) if has_length(dataset) else len(dataloader) * self.args.train_batch_size

    def _loader(self, dataset: Any, batch_size: int, sampler: Any = None) -> DataLoader[Any]:
        if has_length(dataset) and not len(dataset):
            raise InputError("The data set is empty.")
        columns = None
        if self.args.remove_unused_columns:
            arguments = inspect.signature(self.model.forward).parameters
            columns = [*arguments, "label", "label_ids", *self.label_names]
        return make_loader(dataset, self.data_collator, batch_size, self.args, columns=columns, sampler=sampler)

    @property
    def _input_name(self) -> str:
        return getattr(self.model, "main_input_name", "input_ids")

    # ---- optimizer and schedule --------------------------------------------------------------------------------------

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        """Create the optimizer and the schedule, unless they were passed."""
        self.create_optimizer()
        self.create_scheduler(num_training_steps)

    def create_optimizer(self) -> Optimizer:
        """The optimizer that was passed, or that of the arguments."""
        if self.optimizer is None:
            args = self.args
            groups = parameter_groups(self.model, args.weight_decay, set(self.get_decay_parameter_names(self.model)))
            if self.optimizer_cls_and_kwargs is not None:
                kind, options = self.optimizer_cls_and_kwargs
                self.optimizer = kind(groups, **options)
            else:
                self.optimizer = create_optimizer(
                    groups,
                    args.optim,
                    learning_rate=args.learning_rate,
                    betas=(args.adam_beta1, args.adam_beta2),
                    eps=args.adam_epsilon,
                    optim_args=args.optim_args,
                )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        """The schedule that was passed, or that of the arguments."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer or self.create_optimizer()
            if any(group["lr"] is None for group in optimizer.param_groups):
                raise InputError("The optimizer has lr=None: pass AdafactorSchedule(optimizer) with it, in optimizers.")
            warmup = self.args.get_warmup_steps(num_training_steps)
            self.lr_scheduler = get_scheduler(
                self.args.lr_scheduler_type, optimizer, warmup, num_training_steps, self.args.lr_scheduler_kwargs
            )
            self._own_scheduler = True
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The names of the parameters with weight decay."""
        return sorted(decay_parameter_names(model))

    # ---- training ----------------------------------------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | os.PathLike[str] | bool | None = None,
        trial: None = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train the model.

        Args:
            resume_from_checkpoint: the directory of a checkpoint, or True for the last one in `output_dir`: the run
                continues as if it had not been interrupted.
            trial: hyper-parameter search is not covered: None.
            ignore_keys_for_eval: fields of the model's output that are no predictions.

        Raises:
            InputError: no data, no steps, or an optimizer of another model.
            CheckpointError: the checkpoint belongs to another run, or cannot be read.
        """
        if trial is not None:
            raise UnknownArgumentError("Trainer.train does not cover trial=…, hyper-parameter search: leave it out.")
        args = self.args
        resume = find_checkpoint(resume_from_checkpoint, args.output_path)
        if self.model_init is not None:
            set_seed(args.seed, deterministic=args.full_determinism)
            self.optimizer, self.lr_scheduler = None, None
            self._set_model(self._call_model_init())
        loader = self.get_train_dataloader()
        plan = Plan.of(args, loader, self.num_examples(loader) if has_length(loader) else 0)
        self.state = TrainerState.of_this_process(
            max_steps=plan.max_steps, num_train_epochs=plan.num_epochs, train_batch_size=args.train_batch_size
        )
        self.state.compute_steps(args, plan.max_steps)
        prepare_model(self.model, args, self.processing_class)
        count: Any = getattr(self.model, "num_parameters", None)
        loss = self._training_loss = TrainingLoss(
            self.compute_loss,
            self.loss_is_scaled_for_ga,
            input_name=self._input_name,
            padding=getattr(self.processing_class, "pad_token_id", None),
            skip_padding=args.include_num_input_tokens_seen == "non_padding",
            num_parameters=0 if count is None else count(exclude_embeddings=True),
        )
        if self._own_scheduler:
            self.lr_scheduler, self._own_scheduler = None, False
        wrapped = parallelize(self.model, device=args.device, find_unused_parameters=args.find_unused_parameters)
        self.create_optimizer_and_scheduler(plan.max_steps)
        optimizer = check_optimizer(self.optimizer, self.model)
        self.ignore_keys, self.is_in_train, self.train_dataloader = ignore_keys_for_eval, True, loader
        settings = Settings(
            steps=plan.max_steps,
            accumulation=args.gradient_accumulation_steps,
            max_grad_norm=args.max_grad_norm or None,
            precision=args.precision,
            on_nan="skip",
            log_every=None,  # callbacks request logging, evaluation and saving
            output_dir=args.output_dir,
            keep=None,
            save_only_model=args.save_only_model,
            resume=resume,
        )
        events = Events(self, plan, loss)
        try:
            with noisy_embeddings(self.model, args.neftune_noise_alpha):
                train(
                    wrapped,
                    optimizer,
                    self.lr_scheduler,
                    StoppableLoader(loader, lambda: self.control.should_epoch_stop),
                    settings,
                    validation=(),  # `evaluate` reads its own data
                    loss=loss,
                    evaluate=lambda *_: events.evaluate(),
                    hooks=[events],
                )
        finally:
            self.is_in_train = False
        return TrainOutput(self.state.global_step, events.metrics["train_loss"], events.metrics)

    # ---- the loss ----------------------------------------------------------------------------------------------------

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch, with the model's output if `return_outputs`.

        In training it is normalized by the number of labels of all accumulated batches, `num_items_in_batch`: their
        losses add up to the mean. An override that does not call this method may return the mean over its own batch,
        which is then weighted; if it divides by `num_items_in_batch`, it sets the class attribute
        `loss_is_scaled_for_ga` to True.
        """
        counts = (self._training_loss and self._training_loss.counts) or count_labels(model, inputs)
        smoothing = self.args.label_smoothing_factor
        if self.compute_loss_func is not None or (smoothing and "labels" in inputs):
            labels = inputs.pop("labels", None)
            outputs = model(**inputs)
            if self.compute_loss_func is not None:
                loss = self.compute_loss_func(outputs, labels, num_items_in_batch=num_items_in_batch)
            else:
                loss = smoothed_loss(outputs, labels, smoothing, counts["labels"], shift=shifts_labels(model))
        else:
            losses, outputs = normalized_losses(model, inputs, counts)
            loss = sum(losses.values())
        if self._training_loss is not None:
            self._training_loss.is_normalized = True
        return (loss, outputs) if return_outputs else loss

    def _loss_and_outputs(self, model: nn.Module, inputs: dict[str, Any]) -> Any:
        """The loss of an evaluation's batch, and the model's output."""
        items = num_items(self.compute_loss, count_labels(model, inputs), inputs)
        return self.compute_loss(model, inputs, return_outputs=True, **items)

    # ---- evaluation --------------------------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate the model, and log and return its metrics.

        Args:
            eval_dataset: by default the Trainer's; each data set of a dictionary is evaluated.
            ignore_keys: fields of the model's output that are no predictions.
            metric_key_prefix: prefix of each metric's name.
        """
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, dict):
            metrics: dict[str, float] = {}
            for name, each in dataset.items():
                part = each if eval_dataset is not None else name
                metrics |= self.evaluate(part, ignore_keys, f"{metric_key_prefix}_{name}")
            return metrics
        loader = self.get_eval_dataloader(eval_dataset)
        only_loss = True if self.compute_metrics is None else None
        output = self._timed_loop(loader, "Evaluation", only_loss, ignore_keys, metric_key_prefix)
        self.log(output.metrics)
        self.call_callbacks("on_evaluate", metrics=output.metrics)
        return output.metrics

    def predict(
        self, test_dataset: Any, ignore_keys: list[str] | None = None, metric_key_prefix: str = "test"
    ) -> PredictionOutput:
        """Predictions for a data set, in its order, and metrics if it has labels."""
        loader = self.get_test_dataloader(test_dataset)
        output = self._timed_loop(loader, "Prediction", None, ignore_keys, metric_key_prefix)
        self.call_callbacks("on_predict", metrics=output.metrics)
        return PredictionOutput(output.predictions, output.label_ids, output.metrics)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Compute the predictions of all batches, each process its own, and join them.

        The loss is the mean over examples, each with the mean loss of its batch, as in `transformers`. It differs from
        the mean over labels if the batches have different numbers of labels.
        """
        only_loss = self.args.prediction_loss_only if prediction_loss_only is None else prediction_loss_only
        was_training = self.model.training
        self.model.eval()
        self.eval_dataloader = dataloader
        results: list[BatchResult] = []
        for batch in batches_of_this_rank(dataloader):
            loss, logits, labels = self.prediction_step(self.model, batch, only_loss, ignore_keys)
            if logits is not None and self.preprocess_logits_for_metrics is not None:
                logits = self.preprocess_logits_for_metrics(logits, labels)
            inputs = batch[self._input_name] if "inputs" in self.args.include_for_metrics else None
            arrays = (None if values is None else to_numpy(values) for values in (logits, labels, inputs))
            rows, number = num_rows(batch), None if loss is None else float(loss)
            results.append(BatchResult(rows, number, self._loss_weight(rows), *arrays))
            self.call_callbacks("on_prediction_step")
        self.model.train(was_training)
        return self.evaluator.join(gather_interleaved(results), description, metric_key_prefix, self.compute_metrics)

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Tensor | None, Any, Any]:
        """Loss, predictions and labels of one batch; None for each that does not exist or is not needed."""
        if ignore_keys is None:
            ignore_keys = getattr(getattr(self.model, "config", None), "keys_to_ignore_at_inference", None)
        return self.evaluator.predict_batch(
            model,
            to_device(inputs, self.args.device),
            self._loss_and_outputs,
            label_names=self.label_names,
            ignore_keys=ignore_keys,
            only_loss=prediction_loss_only,
        )

    def _loss_weight(self, rows: int) -> int:
        """The weight of a batch with so many rows in the mean loss."""
        return rows

    def _timed_loop(
        self, loader: Any, description: str, only_loss: bool | None, ignore_keys: list[str] | None, prefix: str
    ) -> EvalLoopOutput:
        """`evaluation_loop`, with its speed among the metrics."""
        start = time.time()
        output = self.evaluation_loop(loader, description, only_loss, ignore_keys, prefix)
        steps = math.ceil(output.num_samples / (self.args.eval_batch_size * world_size()))
        speed = speed_metrics(prefix, start, output.num_samples, steps)
        # All processes use the metrics of the first, which decide about checkpoints and the end of the run.
        return output._replace(metrics=from_main({**output.metrics, **speed}))

    # ---- logs and files ----------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Add a record to `state.log_history`, and pass it to callbacks and to the loggers of `report_to`.

        `start_time` is the start of the training, for records of training: they get the tokens per second, if tokens
        are counted.
        """
        logs["epoch"] = self.state.epoch
        if self.args.include_num_input_tokens_seen != "no":
            logs["num_input_tokens_seen"] = self.state.num_input_tokens_seen
            if start_time is not None:
                tokens = self.state.num_input_tokens_seen - self.tokens_at_start
                logs.update(speed_metrics("train", start_time, num_tokens=tokens))
        record = {**logs, "step": self.state.global_step}
        self.state.log_history.append(record)
        self.call_callbacks("on_log", logs=logs)
        if rank() == 0:
            for each in self.loggers:
                each(record)

    def log_metrics(self, split: str, metrics: Mapping[str, Any]) -> None:
        """Print one metric per line."""
        if rank() == 0:
            print_metrics(split, metrics)

    def save_metrics(self, split: str, metrics: Mapping[str, Any], combined: bool = True) -> None:
        """Write metrics to SPLIT_results.json in `output_dir`, and add them to all_results.json if `combined`."""
        if rank() == 0:
            write_metrics(self.args.output_path, split, metrics, combined)

    def save_state(self) -> None:
        """Write `state` to trainer_state.json in `output_dir`."""
        if rank() == 0:
            self.args.output_path.mkdir(parents=True, exist_ok=True)
            self.state.save_to_json(self.args.output_path / STATE)

    def save_model(self, output_dir: str | os.PathLike[str] | None = None, _internal_call: bool = False) -> None:
        """Write model, tokenizer and arguments to a directory, by default `output_dir`; with `push_to_hub`, push."""
        if rank() == 0:
            directory = self.args.output_path if output_dir is None else Path(output_dir)
            if hasattr(self.model, "save_pretrained"):
                self.model.save_pretrained(directory)
            else:
                write_checkpoint(directory, dict(self.model.state_dict()))
            self.save_companions(directory)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save")

    def save_companions(self, directory: Path) -> None:
        """Write the tokenizer and the arguments to the directory of a saved model."""
        tokenizer = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
        write_text(directory / ARGUMENTS, self.args.to_json_string() + "\n")

    def is_world_process_zero(self) -> bool:
        """Whether this is the process that writes and prints."""
        return rank() == 0

    def is_local_process_zero(self) -> bool:
        """Whether this is the first process of its machine."""
        return local_rank() == 0

    # ---- callbacks ---------------------------------------------------------------------------------------------------

    def add_callback(self, callback: Any) -> None:
        """Add a callback, or a new one of a class."""
        self.callback_handler.add(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Remove and return a callback, or the first of a class."""
        return self.callback_handler.pop(callback)

    def remove_callback(self, callback: Any) -> None:
        """Remove a callback, or the first of a class."""
        self.callback_handler.pop(callback)

    def call_callbacks(self, event: str, **kwargs: Any) -> None:
        """Call the method named `event` of all callbacks."""
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

    # ---- the hub -----------------------------------------------------------------------------------------------------

    @property
    def hub_model_id(self) -> str | None:
        """The full name of the repository; None before it is created."""
        return self.publisher.repo_id

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository of `hub_model_id`, if it does not exist."""
        self.publisher.create_repository(token, private)

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write README.md in `output_dir`: data, settings and metrics of the run so far.

        Args:
            language, license: of the model, as the hub writes them: "en", "mit".
            tags: for searching on the hub; the tags in an existing README.md are kept.
            model_name: the title; by default the name of the repository or the directory.
            finetuned_from: the model with the initial weights; by default the one on the hub that was loaded.
            tasks: the task, as the hub names it: "text-classification".
            dataset_tags: the data, as the hub names them.
            dataset, dataset_args: the data as people name them, and the part that was used.
        """
        if rank() == 0:
            write_model_card(
                self.model,
                self.args,
                self.state.log_history,
                name=model_name or self.publisher.name.rpartition("/")[2],
                language=language,
                license=license,
                tags=tags,
                finetuned_from=finetuned_from,
                tasks=tasks,
                dataset_tags=dataset_tags,
                dataset=dataset,
                dataset_args=dataset_args,
            )

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model, write its card, and upload `output_dir` without its checkpoints to the hub.

        Args:
            commit_message: the message in the repository's history.
            blocking: wait until it is done; otherwise return a `Future` of the commit.
            token, revision, private: take precedence over the arguments.
            kwargs: of `create_model_card`.

        Returns:
            The commit; None on other processes than the first.

        Raises:
            HubError: the hub does not answer, or refuses.
        """
        self.call_callbacks("on_push_begin")
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        self.save_model(_internal_call=True)
        if rank() != 0:
            return None
        self.create_model_card(**kwargs)
        push = self.publisher.push_output_dir(commit_message or "End of training", token, revision)
        return push.result() if blocking else push
