"""Learning-rate schedules: the rate of each step as a multiple of the rate that the optimizer was created with.

    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=100, num_training_steps=1000)
    for batch in batches:
        …
        optimizer.step()
        scheduler.step()

Names, arguments and rates are those of `transformers`. A factory's inner `factor(step)` is its whole formula; `step`
counts updates from 0. Most begin with a warm-up, in which the rate rises linearly from 0 (Goyal et al., 2017, §2.2).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from minitransformers.configs.checks import check_choice, check_number, check_positive, refuse_unknown
from minitransformers.errors import InputError, nearest

Number = float | int
Factor = Callable[[int], Number]

SHAPES = ("linear", "cosine", "1-sqrt")


class SchedulerType(StrEnum):
    """The names of the schedules."""

    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    INVERSE_SQRT = "inverse_sqrt"
    REDUCE_ON_PLATEAU = "reduce_lr_on_plateau"
    COSINE_WITH_MIN_LR = "cosine_with_min_lr"
    COSINE_WARMUP_WITH_MIN_LR = "cosine_warmup_with_min_lr"
    WARMUP_STABLE_DECAY = "warmup_stable_decay"


def get_constant_schedule(optimizer: Optimizer, last_epoch: int = -1) -> LambdaLR:
    """The optimizer's rate at every step."""
    return LambdaLR(optimizer, lambda step: 1, last_epoch)


def get_constant_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: Number, last_epoch: int = -1) -> LambdaLR:
    """A warm-up, then the optimizer's rate."""
    return _after_warmup(optimizer, num_warmup_steps, lambda step: 1.0, last_epoch)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: Number, num_training_steps: Number, last_epoch: int = -1
) -> LambdaLR:
    """A warm-up, then a linear decay to 0 at `num_training_steps` (Devlin et al., 2018, appendix A.2)."""
    _check_steps(num_training_steps=num_training_steps)

    def factor(step: int) -> Number:
        return max(0.0, (num_training_steps - step) / max(1, num_training_steps - num_warmup_steps))

    return _after_warmup(optimizer, num_warmup_steps, factor, last_epoch)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: Number,
    num_training_steps: Number,
    num_cycles: Number = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """A warm-up, then `num_cycles` periods of a cosine; half a period goes to 0 (Loshchilov & Hutter, 2016, eq. 5)."""
    return get_cosine_with_min_lr_schedule_with_warmup(
        optimizer, num_warmup_steps, num_training_steps, num_cycles, last_epoch, min_lr_rate=0.0
    )


def get_cosine_with_min_lr_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: Number,
    num_training_steps: Number,
    num_cycles: Number = 0.5,
    last_epoch: int = -1,
    min_lr: Number | None = None,
    min_lr_rate: Number | None = None,
) -> LambdaLR:
    """A warm-up, then a cosine decay to `min_lr`, or to `min_lr_rate` times the optimizer's rate."""
    _check_steps(num_training_steps=num_training_steps)
    lowest = _lowest_factor(optimizer, min_lr, min_lr_rate)

    def factor(step: int) -> Number:
        progress = (step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
        return max(0, _wave(progress, num_cycles) * (1 - lowest) + lowest)

    return _after_warmup(optimizer, num_warmup_steps, factor, last_epoch)


def get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
    optimizer: Optimizer,
    num_warmup_steps: Number,
    num_training_steps: Number,
    num_cycles: Number = 0.5,
    last_epoch: int = -1,
    min_lr: Number | None = None,
    min_lr_rate: Number | None = None,
    warmup_lr_rate: Number | None = None,
) -> LambdaLR:
    """As `get_cosine_with_min_lr_schedule_with_warmup`, but one step ahead, because a step at a rate of 0 is wasted.

    The warm-up begins at `warmup_lr_rate` times the optimizer's rate if that is given.
    """
    _check_steps(num_warmup_steps=num_warmup_steps, num_training_steps=num_training_steps)
    lowest = _lowest_factor(optimizer, min_lr, min_lr_rate)

    def factor(step: int) -> Number:
        if step < num_warmup_steps:
            if warmup_lr_rate is None:
                return (step + 1.0) / max(1.0, num_warmup_steps)
            return warmup_lr_rate + (1.0 - warmup_lr_rate) * step / max(1, num_warmup_steps - 1)
        progress = (step - num_warmup_steps + 1.0) / max(1.0, num_training_steps - num_warmup_steps)
        return max(0, _wave(progress, num_cycles) * (1 - lowest) + lowest)

    return LambdaLR(optimizer, factor, last_epoch)


def get_cosine_with_hard_restarts_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: Number,
    num_training_steps: Number,
    num_cycles: Number = 1,
    last_epoch: int = -1,
) -> LambdaLR:
    """A warm-up, then `num_cycles` cosine decays from the full rate to 0 (Loshchilov & Hutter, 2016, §3)."""
    _check_steps(num_training_steps=num_training_steps)

    def factor(step: int) -> Number:
        progress = (step - num_warmup_steps) / max(1, num_training_steps - num_warmup_steps)
        return 0.0 if progress >= 1.0 else max(0.0, 0.5 * (1.0 + math.cos(math.pi * (num_cycles * progress % 1.0))))

    return _after_warmup(optimizer, num_warmup_steps, factor, last_epoch)


def get_polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: Number,
    num_training_steps: Number,
    lr_end: Number = 1e-7,
    power: Number = 1.0,
    last_epoch: int = -1,
) -> LambdaLR:
    """A warm-up, then a decay as (1 − progress)^power to the rate `lr_end` at `num_training_steps`."""
    _check_steps(num_training_steps=num_training_steps)
    start: float = optimizer.defaults["lr"]
    if not start > lr_end:
        raise InputError(f"lr_end={lr_end} must be below the optimizer's rate, which is {start}.")

    def factor(step: int) -> Number:
        if step > num_training_steps or num_training_steps == num_warmup_steps:
            return lr_end / start
        remaining: float = 1 - (step - num_warmup_steps) / (num_training_steps - num_warmup_steps)
        return ((start - lr_end) * remaining**power + lr_end) / start

    return _after_warmup(optimizer, num_warmup_steps, factor, last_epoch)


def get_inverse_sqrt_schedule(
    optimizer: Optimizer, num_warmup_steps: Number, timescale: Number | None = None, last_epoch: int = -1
) -> LambdaLR:
    """A warm-up, then a decay as 1/√step (Vaswani et al., 2017, eq. 3).

    The rate is halved after 3 × `timescale` steps. The default is the length of the warm-up, or 10,000 without one.
    """
    scale = num_warmup_steps or 10_000 if timescale is None else timescale
    _check_steps(num_warmup_steps=num_warmup_steps)
    check_positive("timescale", scale)
    return _after_warmup(
        optimizer,
        num_warmup_steps,
        lambda step: 1.0 / math.sqrt((step + (scale - num_warmup_steps)) / scale),
        last_epoch,
    )


def get_wsd_schedule(
    optimizer: Optimizer,
    num_warmup_steps: Number,
    num_decay_steps: Number,
    num_training_steps: Number | None = None,
    num_stable_steps: Number | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: Number = 0,
    num_cycles: Number = 0.5,
    last_epoch: int = -1,
) -> LambdaLR:
    """Warm-up, stable, decay (Hu et al., 2024, "MiniCPM", §4): the full rate between a warm-up and a final decay.

    Args:
        num_stable_steps: steps at the full rate; by default the steps of `num_training_steps` that are left.
        warmup_type, decay_type: the shapes of the curves, "linear", "cosine" or "1-sqrt".
        min_lr_ratio: the rate before the warm-up and after the decay, as a fraction of the optimizer's rate.
        num_cycles: periods of a cosine decay.
    """
    if num_training_steps is None and num_stable_steps is None:
        raise InputError("Pass num_training_steps or num_stable_steps, for the number of steps at the full rate.")
    check_choice("warmup_type", warmup_type, SHAPES)
    check_choice("decay_type", decay_type, SHAPES)
    _check_steps(num_warmup_steps=num_warmup_steps, num_decay_steps=num_decay_steps)
    if num_stable_steps is None:
        num_stable_steps = (num_training_steps or 0) - num_warmup_steps - num_decay_steps
    end_of_stable = num_warmup_steps + num_stable_steps

    def rising(progress: Number) -> Number:
        if warmup_type == "linear":
            return progress
        return (
            0.5 * (1.0 - math.cos(math.pi * progress)) if warmup_type == "cosine" else 1.0 - math.sqrt(1.0 - progress)
        )

    def falling(progress: Number) -> Number:
        if decay_type == "linear":
            return 1.0 - progress
        if decay_type == "cosine":
            return _wave(progress, num_cycles)
        return 1.0 - math.sqrt(max(0.0, progress))  # rounding after a fractional warm-up may give less than 0

    def factor(step: int) -> Number:
        if num_warmup_steps <= step < end_of_stable:
            return 1.0
        if step >= max(num_warmup_steps, end_of_stable + num_decay_steps):
            return min_lr_ratio
        if step < num_warmup_steps:
            height = rising(step / max(1, num_warmup_steps))
        else:
            height = falling((step - num_warmup_steps - num_stable_steps) / max(1, num_decay_steps))
        return max(0.0, height * (1.0 - min_lr_ratio) + min_lr_ratio)

    return LambdaLR(optimizer, factor, last_epoch)


def get_reduce_on_plateau_schedule(optimizer: Optimizer, **kwargs: Any) -> ReduceLROnPlateau:
    """The optimizer's rate, reduced when a metric stops improving: call `scheduler.step(metric)` after each evaluation.

    `kwargs` are those of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    return ReduceLROnPlateau(optimizer, **kwargs)


SCHEDULES: dict[SchedulerType, Callable[..., LRScheduler]] = {
    SchedulerType.LINEAR: get_linear_schedule_with_warmup,
    SchedulerType.COSINE: get_cosine_schedule_with_warmup,
    SchedulerType.COSINE_WITH_RESTARTS: get_cosine_with_hard_restarts_schedule_with_warmup,
    SchedulerType.POLYNOMIAL: get_polynomial_decay_schedule_with_warmup,
    SchedulerType.CONSTANT: get_constant_schedule,
    SchedulerType.CONSTANT_WITH_WARMUP: get_constant_schedule_with_warmup,
    SchedulerType.INVERSE_SQRT: get_inverse_sqrt_schedule,
    SchedulerType.REDUCE_ON_PLATEAU: get_reduce_on_plateau_schedule,
    SchedulerType.COSINE_WITH_MIN_LR: get_cosine_with_min_lr_schedule_with_warmup,
    SchedulerType.COSINE_WARMUP_WITH_MIN_LR: get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    SchedulerType.WARMUP_STABLE_DECAY: get_wsd_schedule,
}


def get_scheduler(
    name: str | SchedulerType,
    optimizer: Optimizer,
    num_warmup_steps: Number | None = None,
    num_training_steps: Number | None = None,
    scheduler_specific_kwargs: dict[str, Any] | None = None,
) -> LRScheduler:
    """Create the schedule of that name.

    Args:
        name: one of `SchedulerType`.
        optimizer: its present learning rate is the full rate.
        num_warmup_steps, num_training_steps: required by the schedules that take them.
        scheduler_specific_kwargs: further arguments of the schedule, such as `{"num_cycles": 2}`.

    Raises:
        InputError: an unknown name, or steps that are missing or negative.
        UnknownArgumentError: an entry of `scheduler_specific_kwargs` that the schedule does not take.
    """
    kind = scheduler_type(name)
    create = SCHEDULES[kind]
    takes = set(inspect.signature(create).parameters)
    steps = {"num_warmup_steps": num_warmup_steps, "num_training_steps": num_training_steps}
    specific = scheduler_specific_kwargs or {}
    known = PLATEAU_ARGUMENTS if kind is SchedulerType.REDUCE_ON_PLATEAU else takes - {"optimizer", *steps}
    refuse_unknown(f"The schedule {kind.value!r}", specific, known)
    needed = {argument: value for argument, value in steps.items() if argument in takes}
    for argument, value in needed.items():
        if value is None and not (argument == "num_training_steps" and "num_stable_steps" in specific):
            raise InputError(f"The schedule {kind.value!r} needs {argument}.")
    return create(optimizer, **needed, **specific)


def scheduler_type(name: str | SchedulerType) -> SchedulerType:
    """The schedule's name as a `SchedulerType`."""
    try:
        return SchedulerType(name)
    except ValueError:
        names = [kind.value for kind in SchedulerType]
        raise InputError(
            f"There is no schedule {str(name)!r}: choose one of {', '.join(names)}.{nearest(str(name), names)}"
        ) from None


PLATEAU_ARGUMENTS = frozenset(inspect.signature(ReduceLROnPlateau).parameters) - {"optimizer"}


def _after_warmup(optimizer: Optimizer, num_warmup_steps: Number, factor: Factor, last_epoch: int) -> LambdaLR:
    """A linear rise from 0 to 1 in `num_warmup_steps` steps, then `factor`."""
    _check_steps(num_warmup_steps=num_warmup_steps)

    def with_warmup(step: int) -> Number:
        return step / max(1, num_warmup_steps) if step < num_warmup_steps else factor(step)

    return LambdaLR(optimizer, with_warmup, last_epoch)


def _wave(progress: Number, num_cycles: Number) -> float:
    """A cosine that starts at 1 and reaches 0 after half a period."""
    return 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * progress))


def _lowest_factor(optimizer: Optimizer, min_lr: Number | None, min_lr_rate: Number | None) -> Number:
    if min_lr is not None and min_lr_rate is None:
        return float(min_lr / optimizer.defaults["lr"])
    if min_lr_rate is None or min_lr is not None:
        raise InputError(f"Pass either min_lr or min_lr_rate, not min_lr={min_lr!r} and min_lr_rate={min_lr_rate!r}.")
    return min_lr_rate


def _check_steps(**steps: Number) -> None:
    for argument, value in steps.items():
        check_number(argument, value, least=0)
