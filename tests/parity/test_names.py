"""Names inside models are the reference's: parameters, state-dict keys, buffers, modules, dropouts.

Scripts freeze, group, hook, replace and adapt modules by name, and a name that matches nothing fails silently. Hooks on
every module are called where the reference calls them, with the same values.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from cases import Case, Pair
from comparing import TOLERANCE
from families import CASES, CLASSES
from fewer import fewer
from hypothesis import given, strategies as st
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings(
    "ignore:The batch is padded on the left",
    "ignore:With inputs_embeds padding cannot be seen",
    "ignore:position_ids start again",
)


@pytest.mark.parametrize("case", CLASSES, ids=lambda case: case.name)
@fewer(3)  # for each of a hundred classes; tests of numbers draw the same configurations in full
@given(data=st.data())
def test_names_inside_are_the_references(case: Case, data: st.DataObject) -> None:
    pair = Pair(case, data.draw(case.examples))
    ours, theirs = pair.ours, pair.reference
    transposed = pair.ours.checkpoint_names.is_transposed
    shapes = {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}
    shapes |= {name: shape[::-1] for name, shape in shapes.items() if transposed(name)}
    assert {name: tuple(parameter.shape) for name, parameter in ours.named_parameters()} == shapes
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert dict(ours.named_buffers()).keys() == dict(theirs.named_buffers()).keys()
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert dropouts(ours) == dropouts(theirs)
    assert layer_norms(ours) == layer_norms(theirs)
    assert set(ours._no_split_modules) == set(getattr(theirs, "_no_split_modules", None) or ())


def dropouts(model: nn.Module) -> list[tuple[str, float]]:
    return [(name, module.p) for name, module in model.named_modules() if isinstance(module, nn.Dropout)]


def layer_norms(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]


@pytest.mark.parametrize("case", CLASSES, ids=lambda case: case.name)
@fewer(3)  # for each of a hundred classes; tests of numbers draw the same configurations in full
@given(data=st.data())
def test_state_dicts_load_strictly_both_ways(case: Case, data: st.DataObject) -> None:
    """In the reference's layout; our own state dict holds GPT-1's and GPT-2's matrices as nn.Linear does."""
    pair = Pair(case, data.draw(case.examples))
    fresh = case.ours(pair.ours.config, **pair.example.constructor).to(torch.float64)
    assert not any(fresh.load_state_dict(pair.reference.state_dict(), strict=True))
    for (name, parameter), loaded in zip(fresh.named_parameters(), pair.ours.parameters(), strict=True):
        assert torch.equal(parameter, loaded), name
    assert not any(pair.reference.load_state_dict(fresh.hf_state_dict(), strict=True))
    assert not any(case.ours(pair.ours.config, **pair.example.constructor).load_state_dict(fresh.state_dict()))


@pytest.mark.parametrize("case", CASES, ids=repr)
@fewer(3)  # for each of a hundred classes; tests of numbers draw the same configurations in full
@given(data=st.data())
def test_hooks_see_the_same(case: Case, data: st.DataObject) -> None:
    """Every module is called as often as in the reference, and the first thing that it returns is the same.

    Where a query may attend to nothing, both differ on purpose; such rows are left out as everywhere in this suite, and
    examples that have them are not compared beyond the calls.
    """
    pair = Pair(case, data.draw(case.examples))
    pair.ours.set_attn_implementation("eager")
    ours, theirs = seen_by_hooks(pair.ours), seen_by_hooks(pair.reference)
    with torch.no_grad(), pair.exactly():
        pair.ours(**pair.our_arguments)
        pair.reference(**pair.reference_arguments)
    assert Counter(name for name, _ in ours) == Counter(name for name, _ in theirs)
    if not pair.example.real.all():
        return
    for name in dict(ours):
        for mine, expected in zip(calls(ours, name), calls(theirs, name), strict=True):
            assert isinstance(mine, Tensor) == isinstance(expected, Tensor), f"{name} returns {type(mine)}"
            mine, expected = first_tensor(mine), first_tensor(expected)
            if mine is not None and expected is not None and expected.is_floating_point() and expected.numel():
                allowed = TOLERANCE * max(1.0, expected.abs().max().item())
                if "DoubleHeads" in case.name:  # the reference's backbone takes (batch, choices, length), ours rows
                    mine = mine.reshape(expected.shape)
                assert mine.shape == expected.shape, name
                assert (mine - expected).abs().max().item() <= allowed, name


def seen_by_hooks(model: nn.Module) -> list[tuple[str, Any]]:
    """A list that fills with (name of the module, what it returned) as the model runs."""
    seen: list[tuple[str, Any]] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.append((name, output)))
    return seen


def calls(seen: list[tuple[str, Any]], name: str) -> list[Any]:
    return [output for of, output in seen if of == name]


def first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    first = next(iter(output.values())) if hasattr(output, "values") else output[0]
    return first if isinstance(first, Tensor) else None
