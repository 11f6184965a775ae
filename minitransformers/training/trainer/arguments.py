"""TrainingArguments: all settings of a run of the `Trainer`, under the names of `transformers`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from minitransformers.compat.training_arguments import ALTERNATIVES, NO_EFFECT, REMOVED, NotCovered
from minitransformers.configs.checks import check_choice, refuse_unknown
from minitransformers.errors import UnknownArgumentError
from minitransformers.training.loop.distributed import (
    join_process_group,
)
from minitransformers.training.loop.optimizers import OptimizerNames, optimizer_name, read_options
from minitransformers.training.loop.schedules import SchedulerType, scheduler_type
from minitransformers.training.trainer.argument_checks import check_combinations, check_numbers
from minitransformers.training.trainer.argument_processes import ProcessArguments
from minitransformers.training.trainer.argument_setters import Setters
from minitransformers.training.trainer.parallel_arguments import AcceleratorConfig, read_dict, read_fsdp
from minitransformers.training.trainer.strategies import (
    EvaluationStrategy as EvaluationStrategy,
    HPSearchBackend as HPSearchBackend,
    HubStrategy as HubStrategy,
    IntervalStrategy as IntervalStrategy,
    ParallelMode as ParallelMode,
    SaveStrategy as SaveStrategy,
)
from minitransformers.utils.logging import WARNING, get_verbosity, log_levels

Strategy = TypeVar("Strategy", bound=StrEnum)
Arguments = TypeVar("Arguments", bound="TrainingArguments")

LOG_LEVELS = (*log_levels, "passive")
SAMPLING = ("random", "sequential", "group_by_length")
REPORTS = ("tensorboard", "jsonl", "loss_curve", "wandb")
JSON_FIELDS = ("lr_scheduler_kwargs", "activation_checkpointing_kwargs", "gradient_checkpointing_kwargs")


@dataclass
class TrainingArguments(ProcessArguments, Setters, NotCovered):
    """Settings of training, evaluation, logging and saving with the `Trainer`.

    Names, order, defaults and meaning are those of `transformers`. Its arguments that this library does not cover, and
    those that it has removed, raise an error with an alternative. Numbers of steps are numbers of updates, unless
    stated otherwise. If `torchrun` started this process, it joins the process group here.

    Attributes:
        output_dir: directory of checkpoints and logs; "trainer_output" by default.
        num_train_epochs: passes over the data; may be a fraction, such as 1.5.
        max_steps: if above 0, the number of steps, in place of `num_train_epochs`.
        warmup_steps: a number of steps, or, below 1, a fraction of all steps.
        optim_args: options of "sgd", "adagrad" and "rmsprop", as in "momentum=0.9, nesterov=True".
        gradient_accumulation_steps: number of batches in one update; the result is that of one large batch.
        max_grad_norm: gradients with a larger norm are scaled down to this norm; 0 never scales.
        label_smoothing_factor: the fraction of a label's probability that is spread over all labels.
        neftune_noise_alpha: strength of the noise that training adds to embeddings; see `noisy_embeddings`.
        average_tokens_across_devices: with several processes, each label has the same weight; False gives each
            process the same weight.
        bf16, fp16: compute matrix products in half precision.
        bf16_full_eval, fp16_full_eval: `evaluate` and `predict`, outside of training, convert the whole model to that
            type, in which it stays.
        tf32: compute products of float32 matrices in TF32 (19 bits), on Nvidia GPUs.
        torch_empty_cache_steps: release unused memory of the device every so many steps.
        auto_find_batch_size: if the memory does not suffice, start again with nine tenths of the batch size.
        activation_checkpointing: recompute the blocks in the backward pass, to save memory; formerly
            `gradient_checkpointing`.
        torch_compile: run the model through `torch.compile`, with `torch_compile_backend` ("inductor" by default) and
            `torch_compile_mode`; each of the two enables it.
        log_level, log_level_replica: the lowest level of messages (see `minitransformers.logging`) that the main
            process and the others show: "debug", "info", "warning", "error", "critical", or "passive" for no change.
        log_on_each_node: each machine has a main process; False for one main process in all.
        disable_tqdm: show no progress bars; the default is True if only errors are shown.
        logging_steps, eval_steps, save_steps: a number of steps, or, below 1, a fraction of all steps. `eval_steps`
            defaults to `logging_steps`.
        logging_nan_inf_filter: leave losses that are not finite out of the logged means. (Their steps are skipped.)
        report_to: "wandb", "tensorboard", "jsonl" (a file log.jsonl in `output_dir`), "loss_curve" (a file loss.png in
            `output_dir`, drawn at each evaluation and at the end), a list of these, "all" or "none".
        run_name: the title of the loss curve, and the name of the run for "wandb".
        eval_delay: the first step, or with eval_strategy="epoch" the first epoch, with an evaluation.
        eval_do_concat_batches: False leaves predictions as a list of batches.
        eval_accumulation_steps: has no effect: predictions move to the CPU after each batch.
        eval_use_gather_object: has no effect: predictions of any kind are gathered as objects.
        batch_eval_metrics: call `compute_metrics` for each batch, with `compute_result=True` for the last, whose
            result counts. Predictions are not kept.
        include_for_metrics: "inputs", "loss": further fields of the argument of `compute_metrics`.
        save_total_limit: number of checkpoints to keep; the best and the last are always kept.
        push_to_hub: push the model to a hub when it is saved; the `Trainer` creates the repository in its constructor.
        hub_model_id: the repository, "name" or "owner/name"; by default the last part of `output_dir`.
        hub_strategy: "end" pushes in `save_model` and `push_to_hub`; "every_save" also after each checkpoint, in the
            background; "checkpoint" also pushes the checkpoint itself, as last-checkpoint, for resuming;
            "all_checkpoints" pushes each checkpoint under its own name.
        hub_always_push: push a checkpoint even if an earlier push is still in progress.
        hub_token, hub_private_repo, hub_revision: as `token`, `private` and `revision` of a model's `push_to_hub`.
        ignore_data_skip: a resumed run starts its epoch's data from the beginning, in place of where it stopped.
        restore_callback_states_from_checkpoint: when a run is resumed, replace each `ExportableState` callback by one
            with the arguments and counters of the checkpoint (True), or leave it as it is (False). By default only the
            counters are restored: a resumed run ends like an uninterrupted one.
        data_seed: seed of the order of the training data; `seed` by default.
        train_sampling_strategy: "random", "sequential", or "group_by_length" for batches of similar lengths.
        length_column_name: the column with the lengths for "group_by_length"; without it they are measured.
        accelerator_config: see `AcceleratorConfig`; only values that change nothing here.
        fsdp: True shards the weights over all processes (see `parallelize`); needs `torchrun`.
        fsdp_config: "reshard_after_forward" and "activation_checkpointing"; others only with values of no effect.
        ddp_bucket_cap_mb, ddp_broadcast_buffers, ddp_static_graph: of `DistributedDataParallel`, if they are not None.
        ddp_backend, ddp_timeout: of `init_process_group`; the time is in seconds.
        dataloader_multiprocessing_context: how workers start, "fork" or "spawn".
        dataloader_in_order: False lets batches of several workers come in the order in which they are ready.
        ddp_find_unused_parameters: let each process find the weights that the loss does not depend on, and not wait for
            their gradients. By default it is on, unless blocks are recomputed, which is incompatible.
        save_only_model: leave the optimizer's state out of checkpoints: no run can resume from them.
        include_num_input_tokens_seen: log the number of training tokens: "all" (True) or "non_padding".
        remove_unused_columns: drop the columns that are no arguments of the model's forward.
        label_names: the columns that are labels; by default found by the names of forward's arguments.
        do_train, do_eval, do_predict, resume_from_checkpoint, local_rank: for scripts; a `Trainer` does not read them.
    """

    output_dir: str | None = None
    per_device_train_batch_size: int = 8
    num_train_epochs: int | float = 3.0
    max_steps: int = -1
    learning_rate: int | float = 5e-5
    lr_scheduler_type: SchedulerType | str = "linear"
    lr_scheduler_kwargs: dict[str, Any] | str | None = None
    warmup_steps: int | float = 0
    optim: OptimizerNames | str = "adamw_torch_fused"
    optim_args: str | None = None
    weight_decay: int | float = 0.0
    adam_beta1: int | float = 0.9
    adam_beta2: int | float = 0.999
    adam_epsilon: int | float = 1e-8
    gradient_accumulation_steps: int = 1
    average_tokens_across_devices: bool = True
    max_grad_norm: int | float = 1.0
    label_smoothing_factor: int | float = 0.0
    neftune_noise_alpha: int | float | None = None
    bf16: bool = False
    fp16: bool = False
    bf16_full_eval: bool = False
    fp16_full_eval: bool = False
    tf32: bool | None = None
    activation_checkpointing: bool | None = None
    activation_checkpointing_kwargs: dict[str, Any] | str | None = None
    gradient_checkpointing: bool | None = None
    gradient_checkpointing_kwargs: dict[str, Any] | str | None = None
    torch_compile: bool = False
    torch_compile_backend: str | None = None
    torch_compile_mode: str | None = None
    torch_empty_cache_steps: int | None = None
    auto_find_batch_size: bool = False
    use_cache: bool = False
    logging_strategy: IntervalStrategy | str = "steps"
    logging_steps: int | float = 500
    logging_first_step: bool = False
    logging_nan_inf_filter: bool = True
    log_on_each_node: bool = True
    log_level: str = field(default="passive", metadata={"choices": LOG_LEVELS})
    log_level_replica: str = field(default="warning", metadata={"choices": LOG_LEVELS})
    disable_tqdm: bool | None = None
    report_to: str | list[str] | None = "none"
    run_name: str | None = None
    eval_strategy: IntervalStrategy | str = "no"
    eval_steps: int | float | None = None
    eval_delay: int | float = 0
    per_device_eval_batch_size: int = 8
    prediction_loss_only: bool = False
    eval_on_start: bool = False
    eval_do_concat_batches: bool = True
    eval_use_gather_object: bool = False
    eval_accumulation_steps: int | None = None
    batch_eval_metrics: bool = False
    include_for_metrics: list[str] = field(default_factory=list)
    include_num_input_tokens_seen: str | bool = "no"
    save_strategy: SaveStrategy | str = "steps"
    save_steps: int | float = 500
    save_total_limit: int | None = None
    save_only_model: bool = False
    push_to_hub: bool = False
    hub_token: str | None = field(default=None, repr=False)
    hub_private_repo: bool | None = None
    hub_model_id: str | None = None
    hub_strategy: HubStrategy | str = "every_save"
    hub_always_push: bool = False
    hub_revision: str | None = None
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None
    greater_is_better: bool | None = None
    ignore_data_skip: bool = False
    restore_callback_states_from_checkpoint: bool | None = None
    full_determinism: bool = False
    seed: int = 42
    data_seed: int | None = None
    use_cpu: bool = False
    accelerator_config: dict[str, Any] | str | Any = None
    ddp_find_unused_parameters: bool | None = None
    ddp_bucket_cap_mb: int | None = None
    ddp_broadcast_buffers: bool | None = None
    ddp_static_graph: bool | None = None
    ddp_backend: str | None = None
    ddp_timeout: int = 1800
    fsdp: bool | str | None = None
    fsdp_config: dict[str, Any] | str | None = None
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    dataloader_pin_memory: bool = True
    dataloader_persistent_workers: bool = False
    dataloader_prefetch_factor: int | None = None
    dataloader_multiprocessing_context: str | None = None
    dataloader_in_order: bool = True
    remove_unused_columns: bool = True
    label_names: list[str] | None = None
    train_sampling_strategy: str = field(default="random", metadata={"choices": SAMPLING})
    length_column_name: str = "length"
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    resume_from_checkpoint: str | None = None
    local_rank: int = -1

    def __new__(cls, *args: Any, **arguments: Any) -> Any:
        """Refuse unknown arguments before `__init__` does, whose error has no alternatives."""
        known = {each.name for each in fields(cls)}
        for name in arguments.keys() - known:
            if name in REMOVED:
                raise UnknownArgumentError(
                    f"{cls.__name__} takes no {name!r}, as in transformers 5: use {REMOVED[name]}."
                )
        refuse_unknown(cls.__name__, arguments, known)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self._refuse_not_covered()
        self.output_dir = str(Path(self.output_dir or "trainer_output").expanduser())
        self._read_dicts()
        self._read_names()
        self._fill_in()
        check_numbers(self)
        join_process_group(self.device, self.ddp_backend, self.ddp_timeout_delta)
        check_combinations(self)
        if self.tf32 is not None and self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32

    def _set(self: Arguments, **values: Any) -> Arguments:
        """Assign several fields and check them; returns these arguments."""
        for name, value in values.items():
            setattr(self, name, value)
        self._refuse_not_covered()
        self._read_names()
        check_numbers(self)
        return self

    def _refuse_not_covered(self) -> None:
        for each in fields(NotCovered):
            value = getattr(self, each.name)
            asks_for_nothing = value == each.default or (not value and not each.default)
            if not asks_for_nothing and ALTERNATIVES[each.name] is not NO_EFFECT:
                raise UnknownArgumentError(
                    f"{type(self).__name__} does not cover {each.name}={value!r} ({ALTERNATIVES[each.name]}): leave it "
                    f"out, or pass {each.default!r}."
                )

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _read_dicts(self) -> None:
        """Read the arguments that are dictionaries, also from JSON text."""
        for name in JSON_FIELDS:
            if isinstance(getattr(self, name), str):
                setattr(self, name, read_dict(name, getattr(self, name)))
        self.accelerator_config = AcceleratorConfig.read(self.accelerator_config)
        if self.fsdp:
            self.fsdp_config = read_fsdp(self.fsdp, self.fsdp_config)
            if self.activation_checkpointing is None and "activation_checkpointing" in self.fsdp_config:
                self.activation_checkpointing = self.fsdp_config["activation_checkpointing"]

    def _read_names(self) -> None:
        """Convert strings to enum members, and check the others."""
        self.lr_scheduler_type = scheduler_type(self.lr_scheduler_type)
        self.optim = optimizer_name(self.optim)
        read_options(self.optim, self.optim_args)
        self.logging_strategy = _member("logging_strategy", self.logging_strategy, IntervalStrategy)
        self.eval_strategy = _member("eval_strategy", self.eval_strategy, IntervalStrategy)
        self.save_strategy = _member("save_strategy", self.save_strategy, SaveStrategy)
        self.hub_strategy = _member("hub_strategy", self.hub_strategy, HubStrategy)
        for name in ("log_level", "log_level_replica"):
            check_choice(name, getattr(self, name), LOG_LEVELS)
        check_choice("train_sampling_strategy", self.train_sampling_strategy, SAMPLING)
        if isinstance(self.include_num_input_tokens_seen, bool):
            self.include_num_input_tokens_seen = "all" if self.include_num_input_tokens_seen else "no"
        check_choice("include_num_input_tokens_seen", self.include_num_input_tokens_seen, ("no", "all", "non_padding"))
        for name in self.include_for_metrics:
            check_choice("include_for_metrics", name, ("inputs", "loss"))
        report_to = [self.report_to] if isinstance(self.report_to, str) else list(self.report_to or [])
        for name in report_to:
            check_choice("report_to", name, (*REPORTS, "all", "none"))
        if "all" in report_to:
            report_to = [name for name in REPORTS if name != "wandb" or find_spec("wandb") is not None]
        self.report_to = [name for name in report_to if name != "none"]

    def _fill_in(self) -> None:
        """Set the defaults that depend on other arguments."""
        for old, new in (
            ("gradient_checkpointing", "activation_checkpointing"),
            ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
        ):
            value = getattr(self, new) if getattr(self, new) is not None else getattr(self, old)
            setattr(self, new, value)
            setattr(self, old, value)
        self.activation_checkpointing = self.gradient_checkpointing = bool(self.activation_checkpointing)
        if self.eval_strategy == IntervalStrategy.STEPS and not self.eval_steps:
            self.eval_steps = self.logging_steps
        self.do_eval = self.do_eval or self.eval_strategy != IntervalStrategy.NO
        needs_metric = self.load_best_model_at_end or self.lr_scheduler_type is SchedulerType.REDUCE_ON_PLATEAU
        if needs_metric and self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")
        if self.disable_tqdm is None:
            self.disable_tqdm = get_verbosity() > WARNING
        if self.use_cpu:
            self.dataloader_pin_memory = False
        if self.torch_compile_backend is not None or self.torch_compile_mode is not None:
            self.torch_compile = True
        if self.torch_compile and self.torch_compile_backend is None:
            self.torch_compile_backend = "inductor"

    # ---- derived values ----------------------------------------------------------------------------------------------

    @property
    def train_batch_size(self) -> int:
        """Examples in a training batch of one process."""
        return self.per_device_train_batch_size * max(1, self.n_gpu)

    @property
    def eval_batch_size(self) -> int:
        """Examples in an evaluation batch."""
        return self.per_device_eval_batch_size * max(1, self.n_gpu)

    @property
    def output_path(self) -> Path:
        """`output_dir` as a Path."""
        return Path(self.output_dir or "")

    def get_process_log_level(self) -> int:
        """The lowest level of messages that this process shows."""
        level = self.log_level if self.should_log else self.log_level_replica
        return get_verbosity() if level == "passive" else log_levels[level]

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """The number of warm-up steps in a run of `num_training_steps`."""
        return int(self.warmup_steps) if self.warmup_steps >= 1 else math.ceil(num_training_steps * self.warmup_steps)

    def to_dict(self) -> dict[str, Any]:
        """All fields, with enum members as strings, and with a placeholder for the token, which is secret."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.hub_token is not None:
            values["hub_token"] = "<HUB_TOKEN>"
        if isinstance(self.accelerator_config, AcceleratorConfig):
            values["accelerator_config"] = self.accelerator_config.to_dict()
        return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}

    def to_sanitized_dict(self) -> dict[str, Any]:
        """`to_dict()` with the batch sizes, in which values are numbers, booleans or text, for hyperparameter logs."""
        values = {**self.to_dict(), "train_batch_size": self.train_batch_size, "eval_batch_size": self.eval_batch_size}
        plain = (bool, int, float, str, torch.Tensor)
        return {name: value if type(value) in plain else str(value) for name, value in values.items()}

    def to_json_string(self) -> str:
        """`to_dict()` as JSON."""
        return json.dumps(self.to_dict(), indent=2, default=str)


def _member(name: str, value: Any, kind: type[Strategy]) -> Strategy:
    """The member of the enum with that value."""
    return kind(check_choice(name, value, [each.value for each in kind]))
