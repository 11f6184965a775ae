"""TrainingArguments: everything that can be said about a run of the `Trainer`, under the names of `transformers`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import torch

from minitransformers.errors import InputError, UnknownArgumentError, nearest
from minitransformers.training.loop.distributed import default_device, local_rank, meet, rank, wait_for_all, world_size
from minitransformers.training.loop.optimizers import OptimizerNames, optimizer_name, read_options
from minitransformers.training.loop.schedules import SchedulerType, scheduler_type
from minitransformers.utils.logging import WARNING, get_verbosity, log_levels

LOG_LEVELS = (*log_levels, "passive")
SAMPLING = ("random", "sequential", "group_by_length")


class IntervalStrategy(StrEnum):
    """When to log and to evaluate."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


class SaveStrategy(StrEnum):
    """When to save; BEST whenever the model is better than ever."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"
    BEST = "best"


class HubStrategy(StrEnum):
    """What is pushed to a hub, and when: at the end, or with each save; with or without what a run goes on from."""

    END = "end"
    EVERY_SAVE = "every_save"
    CHECKPOINT = "checkpoint"
    ALL_CHECKPOINTS = "all_checkpoints"


@dataclass(kw_only=True)
class NotCovered:
    """What transformers 5.23 takes and this library does not do: only the value that changes nothing may be passed."""

    accelerator_config: Any = None
    auto_find_batch_size: Any = False
    average_tokens_across_devices: Any = True
    batch_eval_metrics: Any = False
    bf16_full_eval: Any = False
    dataloader_in_order: Any = True
    dataloader_multiprocessing_context: Any = None
    ddp_backend: Any = None
    ddp_broadcast_buffers: Any = None
    ddp_bucket_cap_mb: Any = None
    ddp_static_graph: Any = None
    ddp_timeout: Any = 1800
    debug: Any = ""
    deepspeed: Any = None
    enable_jit_checkpoint: Any = False
    eval_use_gather_object: Any = False
    fp16_full_eval: Any = False
    fsdp: Any = None
    fsdp_config: Any = None
    ignore_data_skip: Any = False
    liger_kernel_config: Any = None
    local_rank: Any = -1
    logging_nan_inf_filter: Any = True
    optim_target_modules: Any = None
    parallelism_config: Any = None
    project: Any = "huggingface"
    save_on_each_node: Any = False
    skip_memory_metrics: Any = True
    tf32: Any = None
    torch_empty_cache_steps: Any = None
    trackio_bucket_id: Any = None
    trackio_space_id: Any = None
    trackio_static_space_id: Any = None
    use_liger_kernel: Any = False

    def _check_not_covered(self) -> None:
        for each in fields(NotCovered):
            value = getattr(self, each.name)
            if value != each.default:
                hint = " (`training.train` does that, with `parallelize(model, 'fsdp')`)" if each.name == "fsdp" else ""
                raise UnknownArgumentError(
                    f"{type(self).__name__} does not cover {each.name}={value!r}{hint}: leave it out, or "
                    f"{each.default!r}."
                )


# What older scripts and text books pass and transformers 5 no longer takes: what to write now.
REMOVED: dict[str, str] = {
    "adafactor": "optim='adafactor'",
    "dispatch_batches": "nothing: leave it out",
    "do_lower_case": "the tokenizer's own argument",
    "evaluate_during_training": "eval_strategy='steps'",
    "evaluation_strategy": "eval_strategy",
    "fp16_backend": "fp16=True alone",
    "fp16_opt_level": "fp16=True alone",
    "group_by_length": "train_sampling_strategy='group_by_length'",
    "half_precision_backend": "fp16=True or bf16=True alone",
    "include_inputs_for_metrics": "include_for_metrics=['inputs']",
    "jit_mode_eval": "torch_compile=True",
    "logging_dir": "the environment variable TENSORBOARD_LOGGING_DIR",
    "no_cuda": "use_cpu",
    "overwrite_output_dir": "nothing: leave it out (only train(resume_from_checkpoint=True) looks at old checkpoints)",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "past_index": "nothing: leave it out",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_organization": "hub_model_id='organization/name'",
    "push_to_hub_token": "hub_token",
    "save_safetensors": "nothing: leave it out (safetensors are always written)",
    "split_batches": "nothing: leave it out",
    "tpu_num_cores": "nothing: leave it out",
    "use_ipex": "nothing: leave it out",
    "use_mps_device": "nothing: leave it out (a device that is there is used, unless use_cpu=True)",
    "warmup_ratio": "warmup_steps with a number below 1, which is a part of all steps",
}


@dataclass
class TrainingArguments(NotCovered):
    """How the `Trainer` trains, evaluates, logs and saves.

    Names, order, defaults and meaning are those of `transformers`. An argument that it has and this library does not
    cover raises, and so does one that it had once; the error says what to do. Where nothing is said, numbers of steps
    count updates of the weights. Where `torchrun` started the process, it meets the others here.

    Attributes:
        output_dir: where checkpoints and logs go; "trainer_output" where none is given.
        num_train_epochs: how often to go through the data; 1.5 is one time and half of another.
        max_steps: in place of `num_train_epochs`, where it is above 0.
        warmup_steps: a number of steps, or, below 1, a part of all steps.
        optim_args: more to say of "sgd", "adagrad" and "rmsprop", in a text: "momentum=0.9, nesterov=True".
        gradient_accumulation_steps: so many batches make up one update, as if they were one.
        max_grad_norm: gradients are scaled down to this norm where they exceed it; 0 never scales.
        label_smoothing_factor: this part of the probability that a label stands for is spread over all labels.
        neftune_noise_alpha: in training, noise of this strength is added to embeddings; see `noisy_embeddings`.
        bf16, fp16: compute matrix products in half precision.
        activation_checkpointing: recompute the blocks in the backward pass, to save memory; `gradient_checkpointing`
            is its former name.
        torch_compile: run the model through `torch.compile`, with `torch_compile_backend` ("inductor" where it is not
            given) and `torch_compile_mode`; either of them turns it on.
        log_level, log_level_replica: from which level on messages are shown (see `minitransformers.logging`), by the
            main process and by the others: "debug", "info", "warning", "error", "critical", or "passive", which
            leaves it as it is.
        log_on_each_node: each machine has a main process; False is the first of all alone.
        disable_tqdm: show no progress bars; by default where only errors are shown.
        logging_steps, eval_steps, save_steps: a number of steps, or, below 1, a part of all steps. `eval_steps` is
            `logging_steps` where it is not given.
        report_to: "tensorboard", "jsonl" (a file log.jsonl in `output_dir`), "loss_curve" (loss.png there; with each
            evaluation and at the end), a list of these, "all" or "none".
        run_name: the title of the loss curve.
        eval_delay: evaluate from this step, or with eval_strategy="epoch" epoch, on.
        eval_do_concat_batches: False leaves predictions as a list of batches.
        eval_accumulation_steps: has no effect: predictions move to the CPU after each batch.
        include_for_metrics: "inputs", "loss": what `compute_metrics` gets besides predictions and labels.
        save_total_limit: how many checkpoints to keep; the best and the last are kept in any case.
        push_to_hub: give the model to a model hub, when it is saved; the `Trainer` makes the repository at once.
        hub_model_id: the repository, "name" or "owner/name"; the last part of `output_dir` where it is not given.
        hub_strategy: "end": when `save_model` or `push_to_hub` is called; "every_save": after each checkpoint too, in
            the background; "checkpoint": with the checkpoint itself, as last-checkpoint, from which a run can go on;
            "all_checkpoints": with each checkpoint under its own name.
        hub_always_push: push a checkpoint though the one before is still on its way.
        hub_token, hub_private_repo, hub_revision: as `token`, `private` and `revision` of a model's `push_to_hub`.
        restore_callback_states_from_checkpoint: a resumed run's callbacks go on counting where they were. On by
            default, as a run that was stopped should end as one that was not.
        data_seed: of the order of the training data; `seed` where it is not given.
        train_sampling_strategy: "random", "sequential", or "group_by_length": batches of like lengths.
        length_column_name: where "group_by_length" finds lengths; it measures them where there is no such column.
        ddp_find_unused_parameters: of several processes, each looks which weights a loss does not depend on, and does
            not wait for their gradients. By default so, unless blocks are recomputed, which does not go with it.
        save_only_model: leave the optimizer's state out of checkpoints: no run can go on from them.
        include_num_input_tokens_seen: log how many tokens were trained on: "all" (True) or "non_padding" ones.
        remove_unused_columns: drop what the model's forward does not take.
        label_names: the columns that are labels; found by the names of forward's arguments where not given.
        do_train, do_eval, do_predict, resume_from_checkpoint: for scripts to read; the `Trainer` does not.
    """

    output_dir: str | None = None
    per_device_train_batch_size: int = 8
    num_train_epochs: int | float = 3.0
    max_steps: int = -1
    learning_rate: int | float = 5e-5
    lr_scheduler_type: SchedulerType | str = "linear"
    lr_scheduler_kwargs: dict[str, Any] | None = None
    warmup_steps: int | float = 0
    optim: OptimizerNames | str = "adamw_torch_fused"
    optim_args: str | None = None
    weight_decay: int | float = 0.0
    adam_beta1: int | float = 0.9
    adam_beta2: int | float = 0.999
    adam_epsilon: int | float = 1e-8
    gradient_accumulation_steps: int = 1
    max_grad_norm: int | float = 1.0
    label_smoothing_factor: int | float = 0.0
    neftune_noise_alpha: int | float | None = None
    bf16: bool = False
    fp16: bool = False
    activation_checkpointing: bool | None = None
    activation_checkpointing_kwargs: dict[str, Any] | None = None
    gradient_checkpointing: bool | None = None
    gradient_checkpointing_kwargs: dict[str, Any] | None = None
    torch_compile: bool = False
    torch_compile_backend: str | None = None
    torch_compile_mode: str | None = None
    use_cache: bool = False
    logging_strategy: IntervalStrategy | str = "steps"
    logging_steps: int | float = 500
    logging_first_step: bool = False
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
    eval_accumulation_steps: int | None = None
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
    restore_callback_states_from_checkpoint: bool = True
    full_determinism: bool = False
    seed: int = 42
    data_seed: int | None = None
    use_cpu: bool = False
    ddp_find_unused_parameters: bool | None = None
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    dataloader_pin_memory: bool = True
    dataloader_persistent_workers: bool = False
    dataloader_prefetch_factor: int | None = None
    remove_unused_columns: bool = True
    label_names: list[str] | None = None
    train_sampling_strategy: str = field(default="random", metadata={"choices": SAMPLING})
    length_column_name: str = "length"
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    resume_from_checkpoint: str | None = None

    def __new__(cls, *args: Any, **arguments: Any) -> Any:
        """Refuse arguments that there are not, before `__init__`, whose own error could not say what to do."""
        known = {each.name for each in fields(cls)}
        for name in arguments.keys() - known:
            if name in REMOVED:
                raise UnknownArgumentError(
                    f"{cls.__name__} takes no {name!r}, as in transformers 5: use {REMOVED[name]}."
                )
            raise UnknownArgumentError(f"{cls.__name__} takes no argument {name!r}.{nearest(name, known)}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self._check_not_covered()
        self.output_dir = str(Path(self.output_dir or "trainer_output").expanduser())
        self._read_names()
        self._fill_in()
        self._check_numbers()
        self._check_combinations()
        meet(self.device)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _read_names(self) -> None:
        """Texts into what they name."""
        self.lr_scheduler_type = scheduler_type(self.lr_scheduler_type)
        self.optim = optimizer_name(self.optim)
        read_options(self.optim, self.optim_args)
        self.logging_strategy = _strategy("logging_strategy", self.logging_strategy, IntervalStrategy)
        self.eval_strategy = _strategy("eval_strategy", self.eval_strategy, IntervalStrategy)
        self.save_strategy = _strategy("save_strategy", self.save_strategy, SaveStrategy)
        self.hub_strategy = _strategy("hub_strategy", self.hub_strategy, HubStrategy)
        for name in ("log_level", "log_level_replica"):
            _one_of(name, getattr(self, name), LOG_LEVELS)
        _one_of("train_sampling_strategy", self.train_sampling_strategy, SAMPLING)
        if isinstance(self.include_num_input_tokens_seen, bool):
            self.include_num_input_tokens_seen = "all" if self.include_num_input_tokens_seen else "no"
        _one_of("include_num_input_tokens_seen", self.include_num_input_tokens_seen, ("no", "all", "non_padding"))
        for what in self.include_for_metrics:
            _one_of("include_for_metrics", what, ("inputs", "loss"))
        known = ("tensorboard", "jsonl", "loss_curve")
        report_to = [self.report_to] if isinstance(self.report_to, str) else list(self.report_to or [])
        for name in report_to:
            _one_of("report_to", name, (*known, "all", "none"))
        self.report_to = list(known) if "all" in report_to else [name for name in report_to if name != "none"]

    def _fill_in(self) -> None:
        """What follows from other arguments."""
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

    # ---- checks ------------------------------------------------------------------------------------------------------

    def _check_numbers(self) -> None:
        for name in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "save_total_limit",
            "eval_accumulation_steps",
            "dataloader_prefetch_factor",
        ):
            check_whole(name, getattr(self, name), least=1)
        for name in ("dataloader_num_workers", "seed", "data_seed"):
            check_whole(name, getattr(self, name), least=0)
        if self.max_steps != -1:
            check_whole("max_steps", self.max_steps, least=1, otherwise=", or −1 to count epochs")
        for name in (
            "num_train_epochs",
            "learning_rate",
            "warmup_steps",
            "weight_decay",
            "max_grad_norm",
            "eval_delay",
        ):
            _check_range(name, getattr(self, name), 0, math.inf)
        for name in ("adam_beta1", "adam_beta2", "label_smoothing_factor"):
            _check_range(name, getattr(self, name), 0, 1)
        if self.neftune_noise_alpha is not None:
            _check_range("neftune_noise_alpha", self.neftune_noise_alpha, 0, math.inf)
        if not self.adam_epsilon > 0:
            raise InputError(f"adam_epsilon={self.adam_epsilon!r} must be above 0: it keeps from dividing by 0.")
        for name, strategy in (("logging", self.logging_strategy), ("eval", self.eval_strategy), ("save", None)):
            steps = getattr(self, f"{name}_steps")
            is_used = (self.save_strategy if strategy is None else strategy) == "steps"
            if is_used and (isinstance(steps, bool) or not steps > 0 or (steps > 1 and steps != int(steps))):
                raise InputError(
                    f"{name}_steps={steps!r} must be a whole number of steps, or a part of all steps below 1."
                )
            if is_used and steps > 1:
                setattr(self, f"{name}_steps", int(steps))

    def _check_combinations(self) -> None:
        if self.fp16 and self.bf16:
            raise InputError("fp16=True and bf16=True exclude each other: choose one.")
        if self.dataloader_num_workers == 0 and self.dataloader_prefetch_factor is not None:
            raise InputError("dataloader_prefetch_factor needs dataloader_num_workers above 0: workers fetch ahead.")
        if self.dataloader_num_workers == 0 and self.dataloader_persistent_workers:
            raise InputError("dataloader_persistent_workers=True needs dataloader_num_workers above 0.")
        if self.lr_scheduler_type is SchedulerType.REDUCE_ON_PLATEAU and self.eval_strategy == IntervalStrategy.NO:
            raise InputError("lr_scheduler_type='reduce_lr_on_plateau' follows evaluations: set eval_strategy.")
        if self.save_strategy == SaveStrategy.BEST:
            if self.eval_strategy == IntervalStrategy.NO:
                raise InputError("save_strategy='best' follows evaluations: set eval_strategy.")
            if self.metric_for_best_model is None:
                raise InputError("save_strategy='best' needs metric_for_best_model: best by which metric?")
        elif self.load_best_model_at_end:
            self._check_best()

    def _check_best(self) -> None:
        """A model is the best by an evaluation, and can be loaded only if it was saved then."""
        if self.eval_strategy == IntervalStrategy.NO or self.eval_strategy != self.save_strategy:
            raise InputError(
                f"load_best_model_at_end=True needs models that are evaluated and saved at the same steps, but "
                f"eval_strategy={str(self.eval_strategy)!r} and save_strategy={str(self.save_strategy)!r}: set both to "
                f"'steps' or 'epoch', or save_strategy='best'."
            )
        if self.eval_strategy == IntervalStrategy.STEPS and self.eval_steps is not None:
            ratio = self.save_steps / self.eval_steps
            if (self.save_steps < 1) != (self.eval_steps < 1) or not math.isclose(ratio, round(ratio), rel_tol=1e-6):
                raise InputError(
                    f"load_best_model_at_end=True needs an evaluation at each step that is saved, but "
                    f"save_steps={self.save_steps} is not a multiple of eval_steps={self.eval_steps}."
                )

    # ---- what follows ------------------------------------------------------------------------------------------------

    @property
    def train_batch_size(self) -> int:
        """Examples in a training batch of one process."""
        return self.per_device_train_batch_size

    @property
    def eval_batch_size(self) -> int:
        """Examples in an evaluation batch."""
        return self.per_device_eval_batch_size

    @property
    def device(self) -> torch.device:
        """Where to train: a GPU if there is one, unless `use_cpu`."""
        return torch.device("cpu") if self.use_cpu else default_device()

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return world_size()

    @property
    def process_index(self) -> int:
        """The number of this process, from 0."""
        return rank()

    @property
    def local_process_index(self) -> int:
        """The number of this process on its machine, from 0."""
        return local_rank()

    @contextmanager
    def main_process_first(self, local: bool = True, desc: str = "work") -> Iterator[None]:
        """Within it, the other processes wait until the first one is through: it fills a cache, they read it.

        Args:
            local: the first one of each machine; False is the first of all, where machines share their files.
            desc: what is done; has no effect.
        """
        goes_first = (local_rank() if local else rank()) == 0
        if not goes_first:
            wait_for_all()
        try:
            yield
        finally:
            if goes_first:
                wait_for_all()

    @property
    def find_unused_parameters(self) -> bool:
        """What `ddp_find_unused_parameters` comes to."""
        if self.ddp_find_unused_parameters is not None:
            return self.ddp_find_unused_parameters
        return not self.activation_checkpointing

    @property
    def should_save(self) -> bool:
        """Whether this process writes files."""
        return rank() == 0

    @property
    def should_log(self) -> bool:
        """Whether this process prints."""
        return (local_rank() if self.log_on_each_node else rank()) == 0

    def get_process_log_level(self) -> int:
        """The level from which on this process shows messages."""
        level = self.log_level if self.should_log else self.log_level_replica
        return get_verbosity() if level == "passive" else log_levels[level]

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Steps of the warm-up, where there are so many in all."""
        return int(self.warmup_steps) if self.warmup_steps >= 1 else math.ceil(num_training_steps * self.warmup_steps)

    def to_dict(self) -> dict[str, Any]:
        """All fields, names as texts, and a token as a name: it is nobody else's business."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.hub_token is not None:
            values["hub_token"] = "<HUB_TOKEN>"
        return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}

    def to_json_string(self) -> str:
        """`to_dict()` as JSON."""
        return json.dumps(self.to_dict(), indent=2, default=str)


def _strategy(name: str, value: Any, kind: type[StrEnum]) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = [each.value for each in kind]
        raise InputError(f"{name}={value!r} must be one of {known}.{nearest(str(value), known)}") from None


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{name}={value!r} must be one of {list(known)}.{nearest(str(value), known)}")


def check_whole(name: str, value: Any, *, least: int, otherwise: str = "") -> None:
    """Whether an argument is a whole number of at least that, or None."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise InputError(f"{name}={value!r} must be a whole number of at least {least}{otherwise}.")


def _check_range(name: str, value: Any, least: float | int, most: float | int) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most or value == math.inf:
        limits = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
        raise InputError(f"{name}={value!r} must be a number {limits}.")
