"""A ReduceLROnPlateau in `train` is stepped by evaluations only, also in a resumed run."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fewer import fewer
from hypothesis import given, strategies as st
from tiny_runs import bert, gpt2, loader, same, texts, weights
from torch.optim.lr_scheduler import ReduceLROnPlateau

from minitransformers.errors import InputError
from minitransformers.training import Hooks, Settings, train

ROWS = torch.stack(list(texts(6)))
VALIDATION = [{"input_ids": ROWS, "labels": ROWS.masked_fill(ROWS % 2 == 0, -100)}]


class Rates(Hooks):
    """The learning rate of each step, and the metrics of each evaluation."""

    def __init__(self):
        self.rates, self.metrics = {}, {}

    def on_step_begin(self, run):
        self.rates[run.progress.step + 1] = run.optimizer.param_groups[0]["lr"]

    def on_evaluate(self, run, metrics):
        self.metrics[run.progress.step] = metrics


def optimizer_of(model):
    return torch.optim.AdamW(model.parameters(), lr=0.3)


def go(directory, steps, hook, plateau, make=bert, **changes):
    model = make()
    optimizer = optimizer_of(model)
    schedule = ReduceLROnPlateau(optimizer, **plateau)
    torch.manual_seed(1)
    np.random.seed(1)
    options = {"evaluate_every": 1, "save_every": 3, "keep": None, "output_dir": directory, **changes}
    return train(
        model, optimizer, schedule, loader(), Settings(steps=steps, **options), validation=VALIDATION, hooks=[hook]
    )


@fewer(2)
@given(
    patience=st.integers(0, 2),
    factor=st.sampled_from([0.1, 0.5]),
    metric=st.sampled_from(["loss", "mask_accuracy"]),
    every=st.integers(1, 2),
    stop=st.integers(1, 4),
    keep_best=st.booleans(),
)
def test_the_rate_follows_the_metric(patience, factor, metric, every, stop, keep_best):
    """The rates are those of torch's schedule, stepped with the metric of each evaluation."""
    mode = "min" if metric == "loss" else "max"
    plateau = {"patience": patience, "factor": factor, "mode": mode}
    options = {"metric": metric, "evaluate_every": every, "keep_best": keep_best, "greater_is_better": mode == "max"}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        hook = Rates()
        whole = go(Path(one), 5, hook, plateau, **options)
        optimizer = optimizer_of(torch.nn.Linear(1, 1))
        expected = ReduceLROnPlateau(optimizer, **plateau)
        for step in range(1, 6):
            assert hook.rates[step] == optimizer.param_groups[0]["lr"]
            assert (step in hook.metrics) == (step % every == 0)
            if step in hook.metrics:
                expected.step(hook.metrics[step][metric])
        again = Rates()
        go(Path(two), stop, again, plateau, **options)
        resumed = go(Path(two), 5, again, plateau, **options)
        assert again.rates == hook.rates
        assert again.metrics == hook.metrics
        assert same(weights(resumed), weights(whole))
        assert resumed.schedule.state_dict() == whole.schedule.state_dict()


def test_rates_change(tmp_path):
    """Otherwise the test above would prove nothing."""
    hook = Rates()
    go(tmp_path, 7, hook, {"patience": 0}, make=gpt2)
    assert len(set(hook.rates.values())) > 1


@pytest.mark.parametrize(
    ("changes", "validation", "message"),
    [
        ({}, None, r"schedule=ReduceLROnPlateau\(…\) needs validation=…"),
        (
            {"evaluate_every": None},
            VALIDATION,
            r"schedule=ReduceLROnPlateau\(…\) depends on evaluations: set evaluate_every",
        ),
        ({"evaluate_every": 2}, None, r"evaluate_every=2 needs validation=…"),
        ({"keep_best": True}, None, r"keep_best=True needs validation=…"),
        ({"patience": 3}, VALIDATION, r"patience=3 depends on evaluations: set evaluate_every"),
    ],
)
def test_missing_evaluations(changes, validation, message, tmp_path):
    model = bert()
    optimizer = optimizer_of(model)
    schedule = ReduceLROnPlateau(optimizer) if "schedule" in message else None
    options = Settings(steps=2, output_dir=tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        train(model, optimizer, schedule, loader(), options, validation=validation)
    assert not list(tmp_path.iterdir())


def test_unknown_metric(tmp_path):
    with pytest.raises(InputError, match=r"metric='acuracy' is not among the metrics of the evaluation: \['loss'"):
        go(tmp_path, 2, Rates(), {}, metric="acuracy")
