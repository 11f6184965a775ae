"""Trainer: `transformers`' class for training, evaluating and predicting, on the loop in loop.py.

    trainer = Trainer(model, TrainingArguments("run", eval_strategy="epoch"), train_dataset=…, eval_dataset=…,
                      processing_class=tokenizer, compute_metrics=accuracy)
    trainer.train()

Same data, same weights, no dropout: same losses, learning rates and metrics as there. Three things differ on purpose.
Batches that are accumulated, or cut among processes, have the loss and gradients of one large batch; there, the losses
of most models are added up, and too large by the number of batches or processes. A causal language model's loss is the
mean over the tokens that it predicts, the model's own; there, GPT-2's is divided by the number of labels, with the
first of each row, which it never predicts. And a run that goes on from a checkpoint ends with the same weights and log
as one that never stopped.

A subclass may override what tutorials do: `compute_loss`, `prediction_step`, `evaluate`, `log`, `get_*_dataloader`,
`create_optimizer`, `create_scheduler`, `get_decay_parameter_names`, `save_model` (which checkpoints do not use).

Under `torchrun`, each process computes its share of the batches, in training (DistributedDataParallel) and evaluation.
All of them call what a script calls, and get the same metrics and predictions; the first one writes and prints. What a
callback of one process asks for, all do. (A `get_train_dataloader` of a subclass gives each process its own batches.)
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from minitransformers.errors import CheckpointError, InputError, UnknownArgumentError, nearest
from minitransformers.files.atomic import write_text
from minitransformers.files.saving import write_checkpoint
from minitransformers.generation.seeds import set_seed
from minitransformers.tokenization import PreTrainedTokenizerBase
from minitransformers.training.loop.batches import Batch
from minitransformers.training.loop.checkpoint_directories import checkpoints_in
from minitransformers.training.loop.distributed import parallelize, rank
from minitransformers.training.loop.loop import train
from minitransformers.training.loop.objective import Counts, count_labels
from minitransformers.training.loop.optimizers import create_optimizer, decay_parameter_names, parameter_groups
from minitransformers.training.loop.schedules import get_scheduler
from minitransformers.training.loop.settings import Settings
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.callbacks import TrainerState
from minitransformers.training.trainer.data_loaders import SharedStream, UntilStopped, has_length, train_sampler
from minitransformers.training.trainer.events import STATE, Events, Plan
from minitransformers.training.trainer.neftune import noisy_embeddings
from minitransformers.training.trainer.predictions import EvalPrediction, TrainOutput
from minitransformers.training.trainer.publisher import Publisher

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


class Trainer(Publisher):
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
        super().__init__(
            args=TrainingArguments("tmp_trainer") if args is None else args,
            data_collator=data_collator,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_loss_func=compute_loss_func,
            compute_metrics=compute_metrics,
            preprocess_logits_for_metrics=preprocess_logits_for_metrics,
            callbacks=callbacks or (),
        )
        self.train_dataset, self.model_init = train_dataset, model_init
        self.optimizer, self.lr_scheduler = optimizers
        self.optimizer_cls_and_kwargs = optimizer_cls_and_kwargs
        self._check(model)
        set_seed(self.args.seed, deterministic=self.args.full_determinism)
        self._take_model(self._call_model_init() if model is None else model)
        self.is_in_train = False
        self._own_scheduler = False
        self.ignore_keys: list[str] | None = None
        self._flos, self._tokens = 0.0, 0  # of this process, since the last step
        if self.args.push_to_hub:
            self.init_hf_repo()
        self.tell("on_init_end")

    # ---- the parts ---------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches of one epoch."""
        if self.train_dataset is None:
            raise InputError("Trainer.train needs train_dataset=….")
        sampler = train_sampler(self.train_dataset, self.args, self._input_name)
        return self._loader(self.train_dataset, self.args.train_batch_size, sampler)

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
        """The schedule that was given, or that the arguments ask for."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.optimizer or self.create_optimizer()
            if any(group["lr"] is None for group in optimizer.param_groups):
                raise InputError(
                    "The optimizer has lr=None: pass AdafactorSchedule(optimizer) beside it, in optimizers."
                )
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
        dataset = dataset.dataset if isinstance(dataset, SharedStream) else dataset
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
            self.optimizer, self.lr_scheduler = None, None
            self._take_model(self._call_model_init())
        loader = self.get_train_dataloader()
        plan = Plan.of(self.args, loader, self.num_examples(loader) if has_length(loader) else 0)
        self.state = TrainerState.of_this_process(
            max_steps=plan.max_steps, num_train_epochs=plan.num_epochs, train_batch_size=self.args.train_batch_size
        )
        self.state.compute_steps(self.args, plan.max_steps)
        self._prepare_model()
        if self._own_scheduler:
            self.lr_scheduler, self._own_scheduler = None, False
        wrapped = parallelize(
            self.model, device=self.args.device, find_unused_parameters=self.args.find_unused_parameters
        )
        self.create_optimizer_and_scheduler(plan.max_steps)
        optimizer = _checked(self.optimizer, self.model)
        self.ignore_keys, self.is_in_train, self.train_dataloader = ignore_keys_for_eval, True, loader
        events = Events(self, plan)
        try:
            with noisy_embeddings(self.model, self.args.neftune_noise_alpha):
                train(
                    wrapped,
                    optimizer,
                    self.lr_scheduler,
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

    def _share_of_loss(self, model: nn.Module, batch: Batch, counts: Counts) -> Tensor:
        """The loop's `loss`: what `compute_loss` gives, as a share in the mean over the accumulated batches."""
        if not batch:
            raise InputError("The collator gave a batch with nothing in it: has the data set the model's arguments?")
        own = count_labels(model, batch)
        ids = batch.get(self._input_name)
        if isinstance(ids, Tensor):
            self._flos += 6.0 * ids.numel() * self._num_parameters
            self._tokens += self._num_tokens(ids, batch.get("attention_mask"))
        self._counts, self._is_share = counts, False
        try:
            loss = self.compute_loss(model, dict(batch), **self._num_items(counts, ids))
        finally:
            self._counts = None
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InputError(f"compute_loss must return one number, a tensor, not {loss!r:.80}.")
        is_share = self._is_share if self.loss_is_scaled_for_ga is None else self.loss_is_scaled_for_ga
        return loss if is_share else loss * (sum(own.values()) / max(1, sum(counts.values())))

    # ---- logs and files ----------------------------------------------------------------------------------------------

    def save_model(self, output_dir: str | os.PathLike[str] | None = None, _internal_call: bool = False) -> None:
        """Write model, tokenizer and arguments to a directory, by default `output_dir`; with `push_to_hub`, push."""
        if rank() == 0:
            directory = Path(self.args.output_dir or "" if output_dir is None else output_dir)
            if hasattr(self.model, "save_pretrained"):
                self.model.save_pretrained(directory)
            else:
                write_checkpoint(directory, dict(self.model.state_dict()))
            self.save_beside(directory)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save")

    def save_state(self) -> None:
        """Write `state` to trainer_state.json in `output_dir`."""
        if rank() == 0:
            Path(self.args.output_dir or "").mkdir(parents=True, exist_ok=True)
            self.state.save_to_json(Path(self.args.output_dir or "") / STATE)

    def save_beside(self, directory: Path) -> None:
        """What belongs to a saved model besides its weights and config."""
        tokenizer = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
        write_text(directory / ARGUMENTS, self.args.to_json_string() + "\n")

    def take_counts(self) -> dict[str, float]:
        """What `TrainerState` counts as floating-point operations and tokens: of this process since the last call."""
        counts = {"flos": self._flos, "tokens": self._tokens}
        self._flos, self._tokens = 0.0, 0
        return counts

    def _num_tokens(self, ids: Tensor, mask: Tensor | None) -> int:
        """What `include_num_input_tokens_seen` counts of a batch."""
        padding: Any = getattr(self.processing_class, "pad_token_id", None)
        if self.args.include_num_input_tokens_seen != "non_padding" or (mask is None and padding is None):
            return ids.numel()
        return int((ids.ne(padding) if mask is None else mask).sum())

    # ---- preparing ---------------------------------------------------------------------------------------------------

    def _settings(self, max_steps: int, resume: Path | bool) -> Settings:
        return Settings(
            steps=max_steps,
            accumulation=self.args.gradient_accumulation_steps,
            max_grad_norm=self.args.max_grad_norm or None,
            precision=self._precision,
            on_nan="skip",
            log_every=None,  # callbacks say when to log, evaluate and save
            output_dir=self.args.output_dir,
            keep=None,
            save_only_model=self.args.save_only_model,
            resume=resume,
        )

    def _check(self, model: Any) -> None:
        args = self.args
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


def _align_special_tokens(model: Any, tokenizer: Any) -> None:
    """Let the model's configs have the tokenizer's special tokens: padding a GPT-2 classifier, say, needs that."""
    changed = {}
    for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
        token = getattr(tokenizer, name, None)
        for config in (model.config, getattr(model, "generation_config", None)):
            if token is None or not hasattr(config, name):  # a T5Config has no beginning of texts
                continue
            present = getattr(config, name, None)
            if isinstance(present, list) and name == "eos_token_id":
                if token not in present:
                    setattr(config, name, [token, *present])
                    changed[name] = token
            elif present != token:
                setattr(config, name, token)
                changed[name] = token
    if changed and rank() == 0:
        logger.warning("The model's config now has the special tokens of the tokenizer: %s.", changed)


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
