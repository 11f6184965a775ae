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

A subclass may override the methods of the files beside this one, which say what each is for: `training_step`,
`compute_loss` (steps.py), `get_*_dataloader`, `get_batch_samples`, `_prepare_inputs` (batches.py), `create_optimizer`,
`create_scheduler` (optimization.py), `prediction_step`, `evaluation_loop` (evaluation.py), `log`,
`_maybe_log_save_evaluate` (reporting.py), `save_model`, `_save_checkpoint`, `_load_from_checkpoint` (saving.py).

Under `torchrun`, each process computes its share of the batches, in training (DistributedDataParallel) and evaluation.
All of them run the same script, and get the same metrics and predictions; the first one writes and prints. They all
follow the requests of a callback of any process. (A `get_train_dataloader` of a subclass returns the batches of its own
process.)
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from minitransformers.compat.trainer import NOT_CALLED
from minitransformers.configs.checks import refuse_unknown
from minitransformers.data.collators import DataCollatorWithPadding, default_data_collator
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.generation.seeds import set_seed
from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.tokenization import PreTrainedTokenizerBase
from minitransformers.training.loop.batches import Batches
from minitransformers.training.loop.distributed import parallelize
from minitransformers.training.loop.loop import train
from minitransformers.training.loop.objective import takes_num_items
from minitransformers.training.loop.settings import Settings
from minitransformers.training.trainer.accelerator import Accelerator
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.batch_size_finder import find_executable_batch_size
from minitransformers.training.trainer.batches import TrainerBatches
from minitransformers.training.trainer.callbacks import CallbackHandler
from minitransformers.training.trainer.data_loaders import StoppableLoader, has_length, label_names
from minitransformers.training.trainer.evaluation import TrainerEvaluation
from minitransformers.training.trainer.evaluator import Evaluator
from minitransformers.training.trainer.events import Events
from minitransformers.training.trainer.hub import TrainerHub
from minitransformers.training.trainer.label_smoothing import LabelSmoother
from minitransformers.training.trainer.neftune import noisy_embeddings
from minitransformers.training.trainer.optimization import TrainerOptimization
from minitransformers.training.trainer.plan import Plan
from minitransformers.training.trainer.predictions import EvalPrediction, TrainOutput
from minitransformers.training.trainer.preparation import check_optimizer, check_parts, find_checkpoint, prepare_model
from minitransformers.training.trainer.publisher import Publisher
from minitransformers.training.trainer.reporting import TrainerReporting
from minitransformers.training.trainer.reports import create_callbacks, create_loggers
from minitransformers.training.trainer.saving import TrainerSaving
from minitransformers.training.trainer.search import TrainerSearch, default_compute_objective
from minitransformers.training.trainer.standard_callbacks import PrinterCallback, ProgressCallback
from minitransformers.training.trainer.state import TrainerControl, TrainerState
from minitransformers.training.trainer.steps import TrainerSteps
from minitransformers.training.trainer.training_loss import TrainingLoss
from minitransformers.utils.logging import get_verbosity, set_verbosity

logger = logging.getLogger(__name__)


class Trainer(
    TrainerBatches,
    TrainerOptimization,
    TrainerSteps,
    TrainerEvaluation,
    TrainerReporting,
    TrainerSaving,
    TrainerHub,
    TrainerSearch,
):
    """Trains a model on a data set, and evaluates it on others.

    Args:
        model: returns a loss for a batch with labels. It is moved to the device, and trained in place.
        args: the settings; by default `TrainingArguments("tmp_trainer")`.
        data_collator: makes a batch of a list of examples; by default one that pads if `processing_class` is a
            tokenizer, and one that stacks otherwise.
        train_dataset, eval_dataset: a data set of dictionaries with a length and indices, or a torch IterableDataset,
            which needs `max_steps`. `eval_dataset` may be a dictionary of data sets by name.
        processing_class: the tokenizer, saved with the model.
        model_init: in place of `model`, a function that creates one; each call of `train` starts with a new model. Its
            argument, if it has one, is the trial of `hyperparameter_search`.
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
        model_init: Callable[..., Any] | None = None,
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
        self.is_in_train, self.place_model_on_device = False, not (args.bf16_full_eval or args.fp16_full_eval)
        if args.place_model_on_device is not None:
            self.place_model_on_device = args.place_model_on_device
        self.hp_search_backend = self.hp_space = self.hp_name = self.objective = self._trial = None
        self.compute_objective = default_compute_objective
        self.current_flos, self.current_gradient_accumulation_steps = 0.0, args.gradient_accumulation_steps
        self._train_batch_size, self._own_scheduler = args.train_batch_size, False
        self._initial_num_input_tokens_seen = self._globalstep_last_logged = 0
        self._run = self._training_loss = self._signature_columns = None

        self.state, self.control = TrainerState.of_this_process(), TrainerControl()
        self.evaluator, self.publisher = Evaluator(args), Publisher(args)
        self.create_accelerator_and_postprocess()
        self.loggers = create_loggers(args)
        last = PrinterCallback if args.disable_tqdm else ProgressCallback
        self.callback_handler = CallbackHandler(
            [*create_callbacks(args), *(callbacks or ()), last], None, processing_class, *optimizers
        )

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
        self._set_model(self.call_model_init() if model is None else model)
        if args.push_to_hub:
            self.init_hf_repo()
        if args.should_save:  # scripts write files of their own into it
            args.output_path.mkdir(parents=True, exist_ok=True)
        self.control = self.callback_handler.on_init_end(self.args, self.state, self.control)

    def _set_model(self, model: nn.Module) -> None:
        """Check the model, and move it to the device."""
        self.label_names = label_names(model) if self.args.label_names is None else list(self.args.label_names)
        own_loss = self.compute_loss_func is not None or type(self).compute_loss is not Trainer.compute_loss
        if isinstance(model, PreTrainedModel) and not label_names(model) and not own_loss:
            raise InputError(
                f"{type(model).__name__} takes no labels and gives no loss: take a class with a head, such as "
                f"AutoModelForSequenceClassification, or pass compute_loss_func."
            )
        if self.place_model_on_device:
            self._move_model_to_device(model, self.args.device)
        self.model = self.model_wrapped = self.callback_handler.model = model
        self.model_accepts_loss_kwargs = takes_num_items(model)
        self.label_smoother, self._signature_columns = None, None
        if self.args.label_smoothing_factor and not is_multi_label(model):
            self.label_smoother = LabelSmoother(self.args.label_smoothing_factor)
        if hasattr(getattr(model, "config", None), "use_cache"):
            self.model.config.use_cache = self.args.use_cache
        if self.args.torch_compile:
            self.model.compile(backend=self.args.torch_compile_backend, mode=self.args.torch_compile_mode)

    def _move_model_to_device(self, model: nn.Module, device: Any) -> None:
        """Move the model to the device, in place."""
        model.to(device)

    def create_accelerator_and_postprocess(self) -> None:
        """Set `accelerator`."""
        self.accelerator = Accelerator(self.args)

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        """The model as it is trained: for several processes in DistributedDataParallel, or sharded."""
        return parallelize(model, device=self.args.device, **self.args.parallel_options) if training else model

    def get_total_train_batch_size(self, args: TrainingArguments) -> int:
        """The number of examples in a step of all processes."""
        return self._train_batch_size * args.gradient_accumulation_steps * args.world_size

    def train(
        self,
        resume_from_checkpoint: str | os.PathLike[str] | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train the model.

        Args:
            resume_from_checkpoint: the directory of a checkpoint, or True for the last one in `output_dir`: the run
                continues as if it had not been interrupted.
            trial: of `hyperparameter_search`, which calls this method.
            ignore_keys_for_eval: fields of the model's output that are no predictions.

        Raises:
            InputError: no data, no steps, or an optimizer of another model.
            CheckpointError: the checkpoint belongs to another run, or cannot be read.
        """
        args = self.args
        resume = find_checkpoint(resume_from_checkpoint, Path(self._get_output_dir(trial)))
        self.is_in_train = True
        try:
            if self.model_init is not None:
                set_seed(args.seed, deterministic=args.full_determinism)
                self.optimizer, self.lr_scheduler = None, None
                self._set_model(self.call_model_init(trial))
            if not self.place_model_on_device:
                self._move_model_to_device(self.model, args.device)
            self._hp_search_setup(trial)
            prepare_model(self.model, args, self.processing_class)
            inner = find_executable_batch_size(
                self._inner_training_loop, self._train_batch_size, args.auto_find_batch_size
            )
            output: TrainOutput = inner(
                args=args, resume_from_checkpoint=resume, trial=trial, ignore_keys_for_eval=ignore_keys_for_eval
            )
            return output
        finally:
            self.is_in_train, self.accelerator.scaler = False, None
            self._run = self._training_loss = self._events = None

    def _inner_training_loop(
        self,
        batch_size: int | None = None,
        args: TrainingArguments | None = None,
        resume_from_checkpoint: Any = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Train with batches of that size: prepare the parts, and call the loop."""
        args = self.args if args is None else args
        self._train_batch_size = args.train_batch_size if batch_size is None else batch_size
        loader = self.get_train_dataloader()
        has_steps = has_length(loader)
        plan = Plan.of(
            args, loader, self.num_examples(loader) if has_steps else 0, self.get_total_train_batch_size(args)
        )
        self.state = TrainerState.of_this_process(
            max_steps=plan.max_steps, num_train_epochs=plan.num_epochs, train_batch_size=self._train_batch_size
        )
        self.state.compute_steps(args, plan.max_steps)
        self._note_trial(trial)
        if self._own_scheduler:
            self.lr_scheduler, self._own_scheduler = None, False
        self.model_wrapped = self._wrap_model(self.model)
        self.create_optimizer_and_scheduler(plan.max_steps)
        optimizer = check_optimizer(self.optimizer, self.model)
        handler = self.callback_handler
        handler.optimizer, handler.lr_scheduler, handler.train_dataloader = optimizer, self.lr_scheduler, loader
        settings = Settings(
            steps=plan.max_steps,
            accumulation=args.gradient_accumulation_steps,
            max_grad_norm=args.max_grad_norm or None,
            precision=args.precision,
            on_nan="skip",
            log_every=None,  # callbacks request logging, evaluation and saving
            output_dir=self._get_output_dir(trial),
            keep=None,
            save_only_model=args.save_only_model,
            owns_output_dir=args.save_strategy != "no",
            resume=resume_from_checkpoint,
        )
        self._training_loss = TrainingLoss(self, self.model_wrapped, plan.batches_per_epoch if has_steps else None)
        self._events = events = Events(self, plan, self._training_loss, trial, ignore_keys_for_eval)
        stoppable = StoppableLoader(loader, lambda: self.control.should_epoch_stop)
        with noisy_embeddings(self.model, args.neftune_noise_alpha):
            train(
                self.model_wrapped,
                optimizer,
                self.lr_scheduler,
                Batches(stoppable, self._training_loss.take),
                settings,
                hooks=[events],
                micro_step=self._training_loss,
                report=events.report,
            )
        return TrainOutput(self.state.global_step, events.metrics["train_loss"], events.metrics)

    def end(self) -> None:
        """Leave the process group, at the very end of a script."""
        self.accelerator.end_training()


def is_multi_label(model: nn.Module) -> bool:
    """Whether labels are several classes at once, which cannot be smoothed."""
    is_one = getattr(getattr(model, "config", None), "problem_type", None) != "multi_label_classification"
    if not is_one:
        logger.warning("label_smoothing_factor has no effect: labels of several classes cannot be smoothed.")
    return not is_one
