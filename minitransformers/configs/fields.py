"""The fields of a configuration: which values one may hold, and how they are written in JSON.

    class MyConfig(Config):
        hidden_size: int = size(768)
        hidden_act: str = choice("gelu", ("gelu", "relu"))

A field has a type, its annotation, and often a kind, which says more: `size`, `probability`, `choice` … `ConfigBase`
(base.py) calls `validated` whenever a field gets a value.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Collection
from typing import Any

import torch

from minitransformers.configs.checks import is_whole
from minitransformers.errors import ConfigError, shown

# ---- kinds of fields -------------------------------------------------------------------------------------------------


def constrained(default: Any, test: Callable[[Any], bool], expected: str) -> Any:
    """A field whose value, where it is not None, must pass `test`; `expected` completes "must be …"."""
    return dataclasses.field(default=default, metadata={"test": test, "expected": expected})


def size(default: int | None) -> Any:
    """A whole number of at least 1: a width, a number of layers or heads, a vocabulary."""
    return constrained(default, lambda value: value >= 1, "a whole number of at least 1")


def count(default: int | None) -> Any:
    """A whole number of at least 0."""
    return constrained(default, lambda value: value >= 0, "a whole number of at least 0")


def probability(default: float | None) -> Any:
    """A dropout rate: from 0 up to, and without, 1 (at 1 nothing would be left)."""
    return constrained(default, lambda value: 0 <= value < 1, "a number from 0 up to, but not, 1")


def positive(default: float) -> Any:
    """A number above 0."""
    return constrained(default, lambda value: 0 < value < math.inf, "a number above 0")


def choice(default: str | None, options: Collection[str]) -> Any:
    """One of the names in `options`."""
    return constrained(default, lambda value: value in options, "one of " + ", ".join(map(repr, options)))


# ---- values ----------------------------------------------------------------------------------------------------------


def validated(owner: str, name: str, value: Any, hint: Any, field: dataclasses.Field[Any]) -> Any:
    """`value` as the field keeps it.

    Raises:
        ConfigError: the field cannot hold it; the message names the field, the value and what is expected.
    """
    if value is None and field.default is None:
        return None
    kept = from_json_value(value, hint)
    if not _fits(kept):
        raise ConfigError(f"{owner}: {name}={shown(value)} has a number that needs more than 64 bits.")
    if not _is_a(kept, hint) or (kept is not None and "test" in field.metadata and not field.metadata["test"](kept)):
        expected = field.metadata.get("expected") or _describe(hint)
        raise ConfigError(f"{owner}: {name}={shown(value)} must be {expected}.")
    return kept


def _fits(value: Any) -> bool:
    """Whether the whole numbers in a value are such that tensors can hold them."""
    if isinstance(value, (list, tuple)):
        return all(map(_fits, value))
    if isinstance(value, dict):
        return all(map(_fits, value)) and all(map(_fits, value.values()))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def from_json_value(value: Any, hint: Any) -> Any:
    """The Python value of a JSON value: JSON has no integer keys, tuples or dtypes, and may write 1.0 as 1."""
    options = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    if is_whole(value) and not isinstance(value, torch.Tensor):
        value = operator.index(value)  # NumPy's integers, too
        return float(value) if float in options and int not in options and abs(value) < 2**1000 else value
    if torch.dtype in options and isinstance(value, str):
        named = getattr(torch, value.removeprefix("torch."), None)
        return named if isinstance(named, torch.dtype) else value
    if isinstance(value, dict) and any(typing.get_args(option)[:1] == (int,) for option in options):
        return {int(key) if str(key).isdecimal() else key: label for key, label in value.items()}
    if isinstance(value, list) and any(typing.get_origin(option) is tuple for option in options):
        return tuple(value)
    return value


def to_json_value(value: Any) -> Any:
    """A copy of `value` that JSON can hold: the inverse of `from_json_value`."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, dict):
        return {str(key): to_json_value(item) for key, item in value.items()}
    return value.to_dict() if hasattr(value, "to_dict") else copy.deepcopy(value)


_UNIONS = (typing.Union, types.UnionType)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether `value` is of the annotated type; an int counts as float, a bool as neither."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return any(_is_a(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_is_a(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _is_a(key, arguments[0]) and _is_a(item, arguments[1]) for key, item in value.items()
        )
    if origin is tuple and arguments[-1] is ...:
        return isinstance(value, tuple) and all(_is_a(item, arguments[0]) for item in value)
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, (int, float))
    kind = origin or hint
    return hint is Any or not isinstance(kind, type) or isinstance(value, kind)  # some hints cannot be checked


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) in _UNIONS:
        return " or ".join(_describe(option) for option in typing.get_args(hint))
    if hint is type(None):
        return "None"
    return hint.__name__ if typing.get_origin(hint) is None and hasattr(hint, "__name__") else str(hint)
