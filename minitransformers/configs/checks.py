"""Checks of single arguments, for every part of the library: each returns the value, or names it and the remedy.

    self.batch_size = check_count("batch_size", batch_size, least=1)

`is_whole` and `is_number` are the tests alone; the fields of configurations (fields.py) use them too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable
from numbers import Real
from typing import Any, TypeVar

from minitransformers.errors import InputError, UnknownArgumentError, nearest

T = TypeVar("T")
Number = float | int  # where types are checked at run time, an int is no float


def is_whole(value: Any, least: float | int = -math.inf) -> bool:
    """Whether `value` is an integer of at least `least`; NumPy's integers are, True and False are not."""
    return not isinstance(value, bool) and hasattr(value, "__index__") and operator.index(value) >= least


def is_number(value: Any, least: float | int = -math.inf, most: float | int = math.inf) -> bool:
    """Whether `value` is a finite real number from `least` to `most`; True and False are not."""
    return (
        not isinstance(value, bool)
        and not (isinstance(value, int) and abs(value) >= 2**1000)  # which has no float
        and isinstance(value, Real)
        and math.isfinite(value)
        and least <= float(value) <= most
    )


def check_count(name: str, value: Any, *, least: int = 0, otherwise: str = "") -> int:
    """`value` as an int.

    Args:
        name: the argument, as the error names it.
        value: what was passed.
        least: the smallest value that is accepted.
        otherwise: completes the error's sentence: ", or -1 to count epochs".

    Raises:
        InputError: `value` is no whole number, or less than `least`.
    """
    if not is_whole(value, least):
        raise InputError(f"{name}={value!r} must be a whole number of at least {least}{otherwise}.")
    return operator.index(value)


def check_number(
    name: str, value: Any, *, least: float | int = -math.inf, most: float | int = math.inf, otherwise: str = ""
) -> float | int:
    """`value`, a finite number from `least` to `most`; arguments as of `check_count`.

    Raises:
        InputError: `value` is no number, infinite, NaN or out of range.
    """
    if not is_number(value, least, most):
        limits = {
            (False, False): "a number",
            (True, False): f"a number of at least {least:g}",
            (False, True): f"a number of at most {most:g}",
            (True, True): f"a number from {least:g} to {most:g}",
        }[math.isfinite(least), math.isfinite(most)]
        raise InputError(f"{name}={value!r} must be {limits}{otherwise}.")
    return value  # type: ignore[no-any-return]


def check_positive(name: str, value: Any, *, otherwise: str = "") -> float | int:
    """`value`, a finite number above 0; arguments as of `check_count`.

    Raises:
        InputError: anything else.
    """
    if not is_number(value) or value <= 0:
        raise InputError(f"{name}={value!r} must be a number above 0{otherwise}.")
    return value  # type: ignore[no-any-return]


def check_probability(name: str, value: Any) -> float:
    """`value` as a float from 0 to 1, both included.

    Raises:
        InputError: anything else.
    """
    if not is_number(value, 0, 1):
        raise InputError(f"{name}={value!r} must be a probability: a number from 0 to 1.")
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    """`value`, True or False.

    Raises:
        InputError: anything else, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r} must be True or False.")
    return value


def check_choice(name: str, value: T, options: Collection[T]) -> T:
    """`value`, one of `options`.

    Raises:
        InputError: another value; the message lists the options and the nearest.
    """
    if value not in options:
        listed = ", ".join(map(repr, options))
        raise InputError(f"{name}={value!r} must be one of {listed}.{nearest(str(value), map(str, options))}")
    return value


def refuse_unknown(owner: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names of arguments that `owner` ("BertModel", "Trainer") does not take.

    Raises:
        UnknownArgumentError: the first of `names` that is not in `known`, with the nearest that is.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise UnknownArgumentError(f"{owner} takes no argument {name!r}.{nearest(name, known)}")
