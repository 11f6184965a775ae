"""Adafactor compared with transformers' and with the paper, step by step, and resumed from a checkpoint."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from tiny_runs import bert, gpt2, loader, same, weights
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from trainers import BOTH, assert_same_history, model, trainer

import minitransformers
from minitransformers import Adafactor, AdafactorSchedule, InputError, get_adafactor_schedule
from minitransformers.training import Settings, train

NAME = "GPT2LMHeadModel"
COMBINATIONS = [
    {
        "lr": None if relative_step else 0.01,
        "relative_step": relative_step,
        "warmup_init": warmup_init,
        "scale_parameter": scale_parameter,
        "beta1": beta1,
        "weight_decay": weight_decay,
    }
    for relative_step, warmup_init in ((False, False), (True, False), (True, True))
    for scale_parameter, beta1, weight_decay in itertools.product((True, False), (None, 0.0, 0.9), (0.0, 0.1))
]
SHAPES = st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=2)


@given(
    shapes=SHAPES,
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    scale=st.sampled_from([0.0, 1e-4, 1.0, 30.0]),
    threshold=st.sampled_from([0.3, 1.0, 5.0]),
    decay_rate=st.sampled_from([-0.8, -0.5]),
    eps=st.sampled_from([(1e-30, 1e-3), (1e-8, 0.5)]),
)
def test_same_weights(
    shapes: list[list[int]],
    dtype: torch.dtype,
    scale: float,
    threshold: float,
    decay_rate: float,
    eps: tuple[float, float],
) -> None:
    """To the last bit, in all types; and the same step sizes as a schedule."""
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    gradients = [
        [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype) for shape in shapes]
        for _ in range(3)
    ]
    for options in COMBINATIONS:
        found = []
        for optimizer_class, schedule_class in (
            (transformers.Adafactor, transformers.optimization.AdafactorSchedule),
            (Adafactor, get_adafactor_schedule),
        ):
            parameters = [nn.Parameter(start.clone()) for start in starts]
            optimizer = optimizer_class(parameters, eps=eps, clip_threshold=threshold, decay_rate=decay_rate, **options)
            schedule = schedule_class(optimizer, initial_lr=0.5)
            rates = [schedule.get_last_lr()]
            for step in gradients:
                for parameter, gradient in zip(parameters, step, strict=True):
                    parameter.grad = gradient.clone()
                optimizer.step()
                schedule.step()
                rates.append([float(rate) for rate in schedule.get_last_lr()])
            found.append((parameters, rates))
        (theirs, their_rates), (ours, own_rates) = found
        for own, their, start in zip(ours, theirs, starts, strict=True):
            assert own.equal(their), options
            assert scale == 0 or dtype != torch.float64 or own.numel() < 4 or not own.equal(start)
        assert own_rates == their_rates


def paper(gradients: list[Tensor], x: Tensor) -> Tensor:
    """Algorithm 4 with the values of algorithm 6, with sums as in the paper."""
    rows, columns = torch.zeros(x.shape[0], 1), torch.zeros(1, x.shape[1])
    for t, g in enumerate(gradients, 1):
        rms = x.square().mean().sqrt()
        alpha = max(1e-3, float(rms)) * min(1e-2, t**-0.5)
        beta = 1 - t**-0.8
        rows = beta * rows + (1 - beta) * (g.square() + 1e-30) @ torch.ones(x.shape[1], 1)
        columns = beta * columns + (1 - beta) * torch.ones(1, x.shape[0]) @ (g.square() + 1e-30)
        u = g / (rows @ columns / rows.sum()).sqrt()
        x = x - alpha * u / max(1.0, float(u.square().mean().sqrt()))
    return x


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), seed=st.integers(0, 99))
def test_equals_the_paper(rows: int, columns: int, seed: int) -> None:
    torch.manual_seed(seed)
    start, *gradients = torch.randn(6, rows, columns).unbind()
    weight = nn.Parameter(start.clone())
    optimizer = Adafactor([weight])
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(weight.detach(), paper(gradients, start), rtol=1e-5, atol=1e-5)


def test_memory() -> None:
    """The state of a matrix has n + m numbers, and n·m more with a mean over updates."""
    for beta1, expected in ((None, 30 + 50 + 1), (0.9, 30 * 50 + 30 + 50 + 1)):
        weight = nn.Parameter(torch.ones(30, 50))
        weight.grad = torch.ones(30, 50)
        optimizer = Adafactor([weight], beta1=beta1)
        optimizer.step()
        assert sum(each.numel() for each in optimizer.state[weight].values() if isinstance(each, Tensor)) == expected


def test_closures_and_saved_states_of_transformers() -> None:
    """A closure can compute gradients; a state that transformers saved can be loaded."""
    found = []
    for optimizer_class in (transformers.Adafactor, Adafactor):
        weight = nn.Parameter(torch.arange(6.0).view(2, 3))
        optimizer = optimizer_class([weight], beta1=0.9)
        if found:
            optimizer.load_state_dict(found[0])
        weight.grad = torch.ones(2, 3)
        optimizer.step()
        found += [optimizer.state_dict(), weight.detach().clone()]
    state, theirs, _, ours = found
    assert state["state"][0]["step"] == 1
    assert not ours.equal(theirs), "it is at the second step"

    def closure() -> Tensor:
        weight.grad = None
        loss = weight.square().sum()
        loss.backward()
        return loss

    before = weight.square().sum().item()
    assert optimizer.step(closure).item() == before > weight.square().sum().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("build", [bert, gpt2])
@pytest.mark.parametrize("relative", [True, False])
def test_resuming_is_exact(build: Any, dtype: torch.dtype, relative: bool, tmp_path: Path) -> None:
    """Also with weights in half precision, whose state is in float32."""

    def run(directory: Path, steps: int) -> Any:
        torch.manual_seed(1)
        made = build().to(dtype)
        if relative:
            optimizer = Adafactor(made.parameters(), warmup_init=True, beta1=0.9)
            schedule: Any = AdafactorSchedule(optimizer)
        else:
            optimizer = Adafactor(made.parameters(), lr=1e-2, relative_step=False, scale_parameter=False)
            schedule = LambdaLR(optimizer, lambda step: 1 / (1 + step))
        batches = loader(collate_fn=lambda rows: {"input_ids": torch.stack(rows), "labels": torch.stack(rows)})
        return train(made, optimizer, schedule, batches, Settings(steps=steps, output_dir=directory, save_every=3))

    whole = run(tmp_path / "whole", 6)
    run(tmp_path / "parts", 3)
    resumed = run(tmp_path / "parts", 6)
    assert same(weights(resumed), weights(whole))
    assert resumed.progress.loss == whole.progress.loss
    states = [each.optimizer.state_dict()["state"] for each in (resumed, whole)]
    assert states[0].keys() == states[1].keys()
    for number, state in states[1].items():
        for name, value in state.items():
            own = states[0][number][name]
            assert own.equal(value) and own.dtype == value.dtype if isinstance(value, Tensor) else own == value
            assert not isinstance(value, Tensor) or value.dtype == torch.float32


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_the_trainers(name: str, schedule: str, tmp_path: Path) -> None:
    """Of a model whose keys have biases of their own. Those change no softmax, so that their gradients are rounding
    errors, which Adafactor makes as large as any gradient: in GPT-2's one bias of queries, keys and values the clipping
    then has the others differ too."""
    made = []
    for library in BOTH:
        options = {"optim": "adafactor", "weight_decay": 0.1, "lr_scheduler_type": schedule, "eval_strategy": "epoch"}
        each = trainer(library, name, tmp_path, num_train_epochs=3, warmup_steps=2, **options)
        each.train()
        made.append(each)
    theirs, ours = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    for key, value in ours.optimizer.defaults.items():
        assert theirs.optimizer.defaults[key] == value, key


def test_without_a_learning_rate(tmp_path: Path) -> None:
    """The Trainer needs a schedule for its logged learning rate; the loop does not."""

    def of(trained: Any, library: Any, **options: Any) -> Any:
        return trainer(
            library, NAME, tmp_path, kind=lambda _, *args, **all: library.Trainer(trained, *args, **all), **options
        )

    made = []
    for library, schedule in zip(BOTH, (transformers.optimization.AdafactorSchedule, AdafactorSchedule), strict=True):
        same_model = model(library, NAME)
        optimizer = library.Adafactor(same_model.parameters(), warmup_init=True)
        each = of(same_model, library, optimizers=(optimizer, schedule(optimizer)), num_train_epochs=2)
        each.train()
        made.append(each)
    theirs, ours = made
    rates = [
        [record["learning_rate"] for record in each.state.log_history if "loss" in record] for each in (ours, theirs)
    ]
    assert rates[0] == pytest.approx(rates[1], rel=1e-5)
    assert all(rates[0][1:])
    for own, their in zip(ours.state.log_history, theirs.state.log_history, strict=True):
        assert list(own) == list(their)
        assert own.get("loss", 0.0) == pytest.approx(their.get("loss", 0.0), rel=1e-4)

    alone = model(minitransformers, NAME)
    each = of(alone, minitransformers, optimizers=(Adafactor(alone.parameters()), None))
    with pytest.raises(InputError, match=r"lr=None: pass AdafactorSchedule\(optimizer\) with it"):
        each.train()
    batches = DataLoader([{"input_ids": torch.ones(4, dtype=torch.long), "labels": torch.ones(4, dtype=torch.long)}])
    assert train(alone, Adafactor(alone.parameters()), None, batches, Settings(steps=1)).progress.step == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 1e-3}, r"lr=0.001 has no effect with relative_step=True: leave lr out, or set relative_step=False"),
        ({"relative_step": False}, r"lr=None needs relative_step=True: pass lr, such as lr=1e-3"),
        ({"lr": 1e-3, "relative_step": False, "warmup_init": True}, r"warmup_init=True needs relative_step=True"),
        ({"lr": -1e-3, "relative_step": False}, r"lr=-0.001 must be a number of at least 0"),
        ({"eps": (-1e-30, 1e-3)}, r"eps=\(-1e-30, 0.001\) must be two numbers of at least 0"),
        ({"clip_threshold": 0.0}, r"clip_threshold=0.0 must be a number above 0"),
        ({"decay_rate": 0.8}, r"decay_rate=0.8 must be a number of at most 0, such as -0.8"),
        ({"beta1": 1.0}, r"beta1=1.0 must be a number from 0 to below 1, or None"),
        ({"weight_decay": -0.1}, r"weight_decay=-0.1 must be a number of at least 0"),
    ],
)
def test_invalid_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Adafactor([nn.Parameter(torch.ones(2))], **options)
    group = {"params": [nn.Parameter(torch.ones(2))], **options}  # of a group too
    with pytest.raises(InputError, match=message):
        Adafactor([group])


def test_unsupported_parameters() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match=r"needs dense gradients: leave sparse=True of nn.Embedding out"):
        Adafactor(table.parameters()).step()
    with pytest.raises(InputError, match="reads the steps of an Adafactor, not of SGD"):
        AdafactorSchedule(torch.optim.SGD(table.parameters(), lr=0.1))
