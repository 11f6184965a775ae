"""Checks of `TrainingArguments`: each number alone, and arguments that must fit together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from minitransformers.configs.checks import check_count, check_number, check_positive
from minitransformers.errors import InputError
from minitransformers.training.loop.schedules import SchedulerType
from minitransformers.training.trainer.strategies import IntervalStrategy, SaveStrategy

if TYPE_CHECKING:
    from minitransformers.training.trainer.arguments import TrainingArguments


def check_numbers(args: TrainingArguments) -> None:
    """Check each number.

    Raises:
        InputError: one that has the wrong type, or is too small or too large.
    """
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        check_count(name, getattr(args, name), least=1)
    for name in (
        "save_total_limit",
        "eval_accumulation_steps",
        "dataloader_prefetch_factor",
        "torch_empty_cache_steps",
    ):
        if getattr(args, name) is not None:
            check_count(name, getattr(args, name), least=1)
    for name in ("dataloader_num_workers", "seed", "ddp_timeout"):
        check_count(name, getattr(args, name))
    if args.data_seed is not None:
        check_count("data_seed", args.data_seed)
    if args.max_steps != -1:
        check_count("max_steps", args.max_steps, least=1, otherwise=", or −1 to use num_train_epochs")
    for name in (
        "num_train_epochs",
        "learning_rate",
        "warmup_steps",
        "weight_decay",
        "max_grad_norm",
        "eval_delay",
    ):
        check_number(name, getattr(args, name), least=0)
    for name in ("adam_beta1", "adam_beta2", "label_smoothing_factor"):
        check_number(name, getattr(args, name), least=0, most=1)
    if args.neftune_noise_alpha is not None:
        check_number("neftune_noise_alpha", args.neftune_noise_alpha, least=0)
    check_positive("adam_epsilon", args.adam_epsilon, otherwise=": it prevents a division by 0")
    for name, strategy in (("logging", args.logging_strategy), ("eval", args.eval_strategy), ("save", None)):
        steps = getattr(args, f"{name}_steps")
        is_used = (args.save_strategy if strategy is None else strategy) == "steps"
        if is_used and (isinstance(steps, bool) or not steps > 0 or (steps > 1 and steps != int(steps))):
            raise InputError(
                f"{name}_steps={steps!r} must be a whole number of steps, or, below 1, a fraction of all steps."
            )
        if is_used and steps > 1:
            setattr(args, f"{name}_steps", int(steps))


def check_combinations(args: TrainingArguments) -> None:
    """Check arguments that depend on each other.

    Raises:
        InputError: two that exclude each other, or one that another needs.
    """
    for first, second in (("fp16", "bf16"), ("fp16_full_eval", "bf16_full_eval")):
        if getattr(args, first) and getattr(args, second):
            raise InputError(f"{first}=True and {second}=True exclude each other: choose one.")
    if args.fsdp and args.world_size == 1:
        raise InputError("fsdp=True shards the weights over several processes: start the script with torchrun.")
    if args.tf32 and not _has_tf32():
        raise InputError("tf32=True needs an Nvidia GPU of the Ampere generation or later: leave it out.")
    if args.dataloader_num_workers == 0 and args.dataloader_prefetch_factor is not None:
        raise InputError("dataloader_prefetch_factor needs dataloader_num_workers above 0: workers prefetch.")
    if args.dataloader_num_workers == 0 and args.dataloader_persistent_workers:
        raise InputError("dataloader_persistent_workers=True needs dataloader_num_workers above 0.")
    if args.lr_scheduler_type is SchedulerType.REDUCE_ON_PLATEAU and args.eval_strategy == IntervalStrategy.NO:
        raise InputError("lr_scheduler_type='reduce_lr_on_plateau' needs evaluations: set eval_strategy.")
    if args.save_strategy == SaveStrategy.BEST:
        if args.eval_strategy == IntervalStrategy.NO:
            raise InputError("save_strategy='best' needs evaluations: set eval_strategy.")
        if args.metric_for_best_model is None:
            raise InputError("save_strategy='best' needs metric_for_best_model, the metric that decides.")
    elif args.load_best_model_at_end:
        _check_best(args)


def _check_best(args: TrainingArguments) -> None:
    """The best model is found by an evaluation, and can be loaded only if it was saved at the same step."""
    if args.eval_strategy == IntervalStrategy.NO or args.eval_strategy != args.save_strategy:
        raise InputError(
            f"load_best_model_at_end=True needs models that are evaluated and saved at the same steps, but "
            f"eval_strategy={str(args.eval_strategy)!r} and save_strategy={str(args.save_strategy)!r}: set both to "
            f"'steps' or 'epoch', or save_strategy='best'."
        )
    if args.eval_strategy == IntervalStrategy.STEPS and args.eval_steps is not None:
        ratio = args.save_steps / args.eval_steps
        if (args.save_steps < 1) != (args.eval_steps < 1) or not math.isclose(ratio, round(ratio), rel_tol=1e-6):
            raise InputError(
                f"load_best_model_at_end=True needs an evaluation at each step that is saved, but "
                f"save_steps={args.save_steps} is not a multiple of eval_steps={args.eval_steps}."
            )


def _has_tf32() -> bool:
    """Whether matrix products can be computed in TF32 (19 bits)."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8
