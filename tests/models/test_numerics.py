"""Numbers of every class in every type: finite at the edges of what is allowed, and the same in each run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from minitransformers.models.base.pretrained import PreTrainedModel
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import CLASSES

# The numbers are those of the blocks: a class of each family, and in the long run all of them.
FIRST = {model.config_class: model for model in reversed(CLASSES)}.values()
each_class = pytest.mark.parametrize(
    "model_class",
    [pytest.param(model, marks=() if model in FIRST else pytest.mark.thorough, id=model.__name__) for model in CLASSES],
)
TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_in(each)


def at_the_edges(model: PreTrainedModel) -> dict[str, dict[str, Tensor]]:
    """One token; only padding; brightest pixels."""
    one = example_batch(model, length=1, padding=0, labels=False)
    if "pixel_values" in one:
        return {"bright": {**one, "pixel_values": torch.full_like(one["pixel_values"], 3.0)}}
    nothing = example_batch(model, labels=False)
    masks = {name: torch.zeros_like(mask) for name, mask in nothing.items() if name.endswith("attention_mask")}
    return {"one token": one, "only padding": {**nothing, **masks}}


@each_class
def test_outputs_are_finite(model_class: type[PreTrainedModel]) -> None:
    for dtype in TYPES:
        model = tiny_model(model_class, dtype=dtype)
        for name, batch in at_the_edges(model).items():
            for implementation in ("sdpa", "eager"):
                model.set_attn_implementation(implementation)
                with torch.no_grad():
                    output = model(**batch)
                for tensor in tensors_in(output.to_tuple()):
                    assert tensor.isfinite().all(), (dtype, name, implementation)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """PyTorch refuses operations whose results may differ from run to run, and may use two threads afterwards."""
    threads = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@each_class
def test_runs_are_the_same(model_class: type[PreTrainedModel], deterministic: None) -> None:
    """Bit for bit, outputs and gradients; with two threads up to rounding."""
    found = []
    for threads in (1, 1, 2):
        torch.set_num_threads(threads)
        model = tiny_model(model_class)
        output = model(**example_batch(model))
        sum(value.square().sum() for value in tensors_in(output.to_tuple()) if value.requires_grad).backward()  # type: ignore[union-attr]
        gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        found.append(({name: value for name, value in output.items() if isinstance(value, Tensor)}, gradients))
    for values, again, with_two in zip(*found, strict=True):
        assert values.keys() == again.keys() == with_two.keys()
        for name in values:
            assert values[name].equal(again[name]), name
        assert_close(with_two, values, tolerance=1e-12)
