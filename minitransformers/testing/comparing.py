"""Equality of tensors, and of what holds tensors, that fails loudly: the last line of every law."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.cache import DynamicCache, EncoderDecoderCache

# Times the largest magnitude that is compared: what is left of rounding after a few layers.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
SMALLEST_SCALE = 0.01
"""What is smaller may be the rounding noise of numbers that cancel."""


def named_tensors(value: Any, name: str = "output") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a model's output, a dictionary, a sequence or a cache, with the path that leads to it.

    None, numbers and text hold no tensors.

    Raises:
        InputError: something that nobody could say what tensors it holds.
    """
    if isinstance(value, Tensor):
        yield name, value
    elif hasattr(value, "items"):
        for key, item in value.items():
            yield from named_tensors(item, f"{name}.{key}")
    elif isinstance(value, (tuple, list, DynamicCache, EncoderDecoderCache)):
        for index, item in enumerate(value):
            yield from named_tensors(item, f"{name}[{index}]")
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise InputError(f"{name} is a {type(value).__name__}; expected tensors, or mappings and sequences of them.")


def assert_close(
    actual: Any,
    expected: Any,
    *,
    tolerance: float | None = None,
    scale: float | None = None,
    equal_nan: bool = False,
    name: str = "output",
) -> None:
    """Fail unless `actual` holds the same tensors as `expected`: names, shapes, dtypes, and numbers within rounding.

    Args:
        actual, expected: tensors, or outputs, mappings, sequences and caches of them.
        tolerance: largest difference, in units of `scale`; by default as `TOLERANCES` says for the dtype. 0 asks for
            the same bits. Whole numbers and bools must always be equal.
        scale: the magnitude of what is compared; by default the largest of each expected tensor, at least 0.01.
        equal_nan: NaN equals NaN. Otherwise it equals nothing.
        name: what is compared, for the message.

    Raises:
        AssertionError: they differ; the message names the tensor, the place, both numbers and the bound.
        InputError: there is no tensor to compare.
    """
    ours, theirs = dict(named_tensors(actual, name)), dict(named_tensors(expected, name))
    if not theirs:
        raise InputError(f"{name} holds no tensor that could be compared.")
    if ours.keys() != theirs.keys():
        raise AssertionError(
            f"only the actual one has {sorted(ours.keys() - theirs.keys())}, "
            f"only the expected one has {sorted(theirs.keys() - ours.keys())}"
        )
    for key, wanted in theirs.items():
        _assert_tensors_close(ours[key], wanted, tolerance, scale, equal_nan, key)


def assert_gradients_close(
    actual: Mapping[str, Tensor | None], expected: Mapping[str, Tensor | None], *, tolerance: float | None = None
) -> None:
    """Fail unless both have the same gradients, in units of the largest of all of them, and at least of 0.01.

    The gradient of some parameters is nothing but rounding (a key's bias moves all scores of a query alike), so each
    one's own magnitude would not do; nor would the largest where all of them cancel to rounding noise. None is a
    gradient of zeros.
    """
    if actual.keys() != expected.keys():
        raise AssertionError(f"gradients of {sorted(actual)} are not gradients of {sorted(expected)}")
    known = [gradient for gradient in expected.values() if gradient is not None and gradient.numel()]
    if not known:
        raise InputError("There is no gradient that could be compared.")
    scale = max(SMALLEST_SCALE, *(float(gradient.abs().max()) for gradient in known))
    for name in expected:
        ours, theirs = actual[name], expected[name]
        if ours is None and theirs is None:
            continue
        other = ours if theirs is None else theirs
        assert other is not None
        ours, theirs = (torch.zeros_like(other) if one is None else one for one in (ours, theirs))
        assert_close(ours, theirs, tolerance=tolerance, scale=scale, name=f"gradient of {name}")


def _assert_tensors_close(
    actual: Tensor, expected: Tensor, tolerance: float | None, scale: float | None, equal_nan: bool, name: str
) -> None:
    actual, expected = actual.detach(), expected.detach()
    if actual.shape != expected.shape:
        raise AssertionError(f"{name} has shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    if actual.dtype != expected.dtype:
        raise AssertionError(f"{name} is {actual.dtype}, expected {expected.dtype}")
    bound = 0.0
    if expected.is_floating_point():
        tolerance = TOLERANCES[expected.dtype] if tolerance is None else tolerance
        finite = expected[expected.isfinite()]
        largest = float(finite.abs().max()) if finite.numel() else 0.0
        bound = tolerance * (max(largest, SMALLEST_SCALE) if scale is None else scale)
        actual, expected = actual.double(), expected.double()
    same = actual == expected  # also where both are the same infinity
    if expected.is_floating_point():
        same |= (actual - expected).abs() <= bound
        if equal_nan:
            same |= actual.isnan() & expected.isnan()
    if same.all():
        return
    wrong = (~same).nonzero()
    distance = (actual.double() - expected.double()).abs().nan_to_num(nan=torch.inf).masked_fill(same, -1.0)
    place = tuple(int(index) for index in torch.unravel_index(distance.argmax(), distance.shape))
    raise AssertionError(
        f"{name}{list(place)} is {actual[place].item()!r}, expected {expected[place].item()!r} within {bound:.3g}; "
        f"{len(wrong)} of {expected.numel()} numbers differ"
    )
