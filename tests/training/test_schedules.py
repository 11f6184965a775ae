"""Learning rates equal those of transformers, to the last bit, for drawn arguments."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from torch.optim.lr_scheduler import LRScheduler

import minitransformers
from minitransformers import InputError, SchedulerType, UnknownArgumentError, get_scheduler
from minitransformers.training.loop.schedules import SCHEDULES

WARMUPS = st.one_of(st.integers(0, 12), st.floats(0, 12))
TOTALS = st.integers(0, 30)
FACTORS = st.floats(0, 1)
SHAPES = st.sampled_from(["linear", "cosine", "1-sqrt"])
STEPS = {"num_warmup_steps": WARMUPS, "num_training_steps": TOTALS}


@st.composite
def lowest_rates(draw: st.DrawFn) -> dict[str, float]:
    return {draw(st.sampled_from(["min_lr", "min_lr_rate"])): draw(FACTORS)}


def arguments(**strategies: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(strategies)


CASES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "get_constant_schedule": arguments(),
    "get_constant_schedule_with_warmup": arguments(num_warmup_steps=WARMUPS),
    "get_linear_schedule_with_warmup": arguments(**STEPS),
    "get_cosine_schedule_with_warmup": arguments(**STEPS, num_cycles=st.floats(0, 5)),
    "get_cosine_with_hard_restarts_schedule_with_warmup": arguments(**STEPS, num_cycles=st.integers(1, 5)),
    # If warm-up and training end at the same step, transformers divides by 0.
    "get_polynomial_decay_schedule_with_warmup": arguments(
        **STEPS, lr_end=st.floats(0, 0.01), power=st.floats(0.2, 4)
    ).filter(lambda drawn: drawn["num_warmup_steps"] < drawn["num_training_steps"]),
    "get_inverse_sqrt_schedule": arguments(
        num_warmup_steps=WARMUPS, timescale=st.one_of(st.none(), st.integers(1, 50))
    ).filter(lambda drawn: drawn["timescale"] is None or drawn["timescale"] >= drawn["num_warmup_steps"]),
    "get_cosine_with_min_lr_schedule_with_warmup": st.builds(
        dict.__or__, arguments(**STEPS, num_cycles=st.floats(0, 5)), lowest_rates()
    ),
    "get_cosine_with_min_lr_schedule_with_warmup_lr_rate": st.builds(
        dict.__or__,
        arguments(**STEPS, num_cycles=st.floats(0, 5), warmup_lr_rate=st.one_of(st.none(), FACTORS)),
        lowest_rates(),
    ),
    "get_wsd_schedule": st.builds(
        dict.__or__,
        arguments(
            num_warmup_steps=WARMUPS,
            num_decay_steps=st.integers(0, 12),
            warmup_type=SHAPES,
            decay_type=SHAPES,
            min_lr_ratio=FACTORS,
            num_cycles=st.floats(0, 3),
        ),
        st.one_of(arguments(num_training_steps=TOTALS), arguments(num_stable_steps=st.integers(0, 12))),
    ),
}


def an_optimizer(learning_rate: float = 0.03) -> torch.optim.Optimizer:
    """With two groups at different rates: a schedule scales each."""
    slow, fast = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    return torch.optim.SGD([{"params": [slow]}, {"params": [fast], "lr": 7 * learning_rate}], lr=learning_rate)


def rates(scheduler: LRScheduler, steps: int = 40) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_same_rates_to_the_last_bit(name: str, data: st.DataObject) -> None:
    drawn = data.draw(CASES[name])
    ours = rates(getattr(minitransformers, name)(an_optimizer(), **drawn))
    try:
        theirs = rates(getattr(transformers.optimization, name)(an_optimizer(), **drawn))
    except ValueError:  # the square root of a number that rounding made negative
        assert drawn["decay_type"] == "1-sqrt"
        assert all(0 <= rate <= 0.21 for pair in ours for rate in pair)
        return
    assert ours == theirs


def test_a_fractional_warm_up_and_a_root() -> None:
    """A case in which transformers fails: rounding begins the decay at −2·10⁻¹⁵."""
    schedule = minitransformers.get_wsd_schedule(
        an_optimizer(),
        num_warmup_steps=1.5192260279166252,
        num_decay_steps=1,
        num_training_steps=18,
        decay_type="1-sqrt",
    )
    assert [pair[0] for pair in rates(schedule, 20)][-3:] == [0.03, 0.0, 0.0]


@pytest.mark.parametrize("name", [kind.value for kind in SchedulerType if kind is not SchedulerType.REDUCE_ON_PLATEAU])
@given(data=st.data())
def test_same_rates_by_name(name: str, data: st.DataObject) -> None:
    factory = SCHEDULES[SchedulerType(name)].__name__
    drawn = data.draw(CASES[factory])
    steps = {key: drawn.pop(key, 3) for key in STEPS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers warns that num_stable_steps has precedence
        theirs = transformers.get_scheduler(name, an_optimizer(), *steps.values(), scheduler_specific_kwargs=drawn)
    ours = get_scheduler(name, an_optimizer(), *steps.values(), scheduler_specific_kwargs=drawn)
    assert rates(ours) == rates(theirs)


@given(
    metrics=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    options=arguments(factor=st.floats(0.1, 0.9), patience=st.integers(0, 3), mode=st.sampled_from(["min", "max"])),
)
def test_plateau(metrics: list[float], options: dict[str, Any]) -> None:
    pair = [
        library.get_scheduler("reduce_lr_on_plateau", an_optimizer(), scheduler_specific_kwargs=options)
        for library in (minitransformers, transformers)
    ]
    for metric in metrics:
        for scheduler in pair:
            scheduler.step(metric)
        ours, theirs = ([group["lr"] for group in scheduler.optimizer.param_groups] for scheduler in pair)
        assert ours == theirs


@given(data=st.data(), before=st.integers(0, 20))
def test_a_resumed_schedule_equals_an_uninterrupted_one(data: st.DataObject, before: int) -> None:
    kind = data.draw(st.sampled_from([kind for kind in SchedulerType if kind is not SchedulerType.REDUCE_ON_PLATEAU]))
    create = SCHEDULES[kind]
    drawn = data.draw(CASES[create.__name__])
    whole = rates(create(an_optimizer(), **drawn))
    stopped = create(an_optimizer(), **drawn)
    rates(stopped, before)
    resumed = create(an_optimizer(), **drawn)
    resumed.optimizer.load_state_dict(stopped.optimizer.state_dict())
    resumed.load_state_dict(stopped.state_dict())
    assert rates(resumed, 40 - before) == whole[before:]


def test_polynomial_decay_without_steps_is_at_its_end() -> None:
    scheduler = minitransformers.get_polynomial_decay_schedule_with_warmup(an_optimizer(0.5), 2, 2, lr_end=0.25)
    assert [rate for rate, _ in rates(scheduler, 4)] == [0.0, 0.25, 0.25, 0.25]


def test_names_are_those_of_transformers() -> None:
    """All except one, which adapts to the loss."""
    theirs = {kind.name: kind.value for kind in transformers.SchedulerType}
    ours = {kind.name: kind.value for kind in SchedulerType}
    assert theirs.items() - ours.items() == {("GREEDY", "greedy")}
    assert ours.items() <= theirs.items()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (("liner", 1, 2), InputError, r"no schedule 'liner'.*Did you mean 'linear'\?"),
        (("greedy", 1, 2), InputError, r"no schedule 'greedy': choose one of linear, cosine"),
        (("linear", None, 2), InputError, r"'linear' needs num_warmup_steps"),
        (("linear", 1, None), InputError, r"'linear' needs num_training_steps"),
        (("linear", -1, 2), InputError, r"num_warmup_steps=-1 must be a number of at least 0"),
        (("linear", 1, -2), InputError, r"num_training_steps=-2 must be"),
        (("linear", 1, float("nan")), InputError, r"num_training_steps=nan must be"),
        (("linear", 1, 2, {"num_cycles": 1}), UnknownArgumentError, r"'linear' takes no argument 'num_cycles'"),
        (("constant", 1, 2, {"lr": 1}), UnknownArgumentError, r"'constant' takes no argument 'lr'"),
        (("cosine", 1, 2, {"num_cycle": 1}), UnknownArgumentError, r"Did you mean 'num_cycles'\?"),
        (("reduce_lr_on_plateau", 1, 2, {"patients": 1}), UnknownArgumentError, r"Did you mean 'patience'\?"),
        (("polynomial", 1, 2, {"lr_end": 1.0}), InputError, r"lr_end=1.0 must be below the optimizer's rate"),
        (("inverse_sqrt", 1, 2, {"timescale": 0}), InputError, r"timescale=0 must be a number above 0"),
        (("cosine_with_min_lr", 1, 2), InputError, r"not min_lr=None and min_lr_rate=None"),
        (
            ("cosine_with_min_lr", 1, 2, {"min_lr": 0.0, "min_lr_rate": 0.0}),
            InputError,
            "not min_lr=0.0",
        ),
        (("warmup_stable_decay", 1, None, {"num_decay_steps": 2}), InputError, r"needs num_training_steps"),
        (("warmup_stable_decay", 1, 9, {"num_decay_steps": 2, "decay_type": "sqrt"}), InputError, r"decay_type='sqrt'"),
    ],
)
def test_bad_input(call: tuple[Any, ...], error: type[Exception], message: str) -> None:
    name, *rest = call
    if len(rest) == 3:
        rest[2] = dict(rest[2])
    with pytest.raises(error, match=message):
        get_scheduler(name, an_optimizer(), *rest)
