"""Every activation that a config can name, against the reference's of that name: values and derivatives in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from transformers.activations import ACT2CLS, ACT2FN

from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function, gelu_formula, gelu_tanh_formula

# With parameters of their own, or of families that are not covered.
NOT_COVERED = {"laplace", "prelu", "sqrtsoftplus", "xielu"}


def value_and_derivative(function, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    value = function(x)
    (derivative,) = torch.autograd.grad(value.sum(), x)
    return value, derivative


def test_all_names_are_covered() -> None:
    assert set(ACTIVATIONS) == set(ACT2CLS) - NOT_COVERED


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(numbers=arrays("float64", 16, elements=st.floats(-30, 30)))
def test_same_values_and_derivatives(name: str, numbers) -> None:
    x = torch.from_numpy(numbers)
    ours, theirs = value_and_derivative(activation_function(name), x), value_and_derivative(ACT2FN[name], x)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@given(numbers=arrays("float64", 16, elements=st.floats(-30, 30)))
def test_the_formulas_are_what_is_computed(numbers) -> None:
    x = torch.from_numpy(numbers)
    torch.testing.assert_close(gelu_formula(x), activation_function("gelu")(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gelu_tanh_formula(x), activation_function("gelu_new")(x), rtol=1e-9, atol=1e-9)


def test_the_two_gelus_are_not_the_same() -> None:
    """4.7e-4 apart at most: enough to spoil a model, too little to be seen."""
    x = torch.linspace(-5, 5, 10_001, dtype=torch.float64)
    largest = (activation_function("gelu")(x) - activation_function("gelu_new")(x)).abs().max().item()
    assert largest == pytest.approx(4.7e-4, rel=0.02)
