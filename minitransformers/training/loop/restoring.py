"""Checks of the values that a checkpoint restores, before objects and native code get them.

The files of a checkpoint may come from others, or be damaged in a way that their checksums do not show.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from minitransformers.errors import CheckpointError, MinitransformersError

# What reading and restoring malformed values raises
_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    struct.error,
)


@contextmanager
def restoring(what: str) -> Iterator[None]:
    """Raise the errors of a block that restores values of a checkpoint as CheckpointError.

    Args:
        what: the source of the values, such as the checkpoint's directory.
    """
    try:
        yield
    except MinitransformersError:
        raise
    except _ERRORS as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{what} cannot be restored ({reason:.300}): its values are not those that a run writes. Resume from an "
            f"earlier checkpoint, or pass resume=False."
        ) from error


def checked(name: str, saved: Any, present: Any) -> Any:
    """A saved value, in the form of the present one, which it replaces.

    Numbers replace numbers, sequences those of the same length, dictionaries those with the same keys. JSON has made
    lists of tuples, and strings of the keys of dictionaries, which is undone. A value that is None has no form.

    Raises:
        CheckpointError: it has another form.
    """
    if saved is None or present is None:
        if isinstance(saved, Mapping):
            raise _error(name, saved, "a number")
        return saved
    if isinstance(present, bool | str):
        if type(saved) is not type(present):
            raise _error(name, saved, f"of type {type(present).__name__}")
        return saved
    if isinstance(present, Real) or (hasattr(present, "numel") and present.numel() == 1):
        if isinstance(saved, bool) or not isinstance(saved, int | float):
            raise _error(name, saved, "a number")
        return saved
    if isinstance(present, list | tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(present):
            raise _error(name, saved, f"{len(present)} values")
        values = [checked(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(saved, present, strict=True))]
        return type(present)(values) if type(present) in (list, tuple) else values
    if isinstance(present, Mapping):
        keys = {str(key): key for key in present}
        if not isinstance(saved, Mapping) or {str(key) for key in saved} != keys.keys():
            raise _error(name, saved, f"a dictionary with the keys {sorted(keys)}")
        named = {keys[str(key)]: checked(f"{name}.{key}", each, present[keys[str(key)]]) for key, each in saved.items()}
        return type(present)(named) if isinstance(present, dict) else named
    return saved


def checked_state(name: str, saved: Any, present: Mapping[str, Any], owner: object) -> dict[str, Any]:
    """A saved state dictionary of an object that keeps its state in attributes, such as a schedule.

    Raises:
        CheckpointError: a value has another form, or would replace a method.
    """
    if not isinstance(saved, Mapping):
        raise _error(name, saved, "a dictionary")
    for key in saved.keys() - present.keys():  # attributes that the first step adds, for example
        if hasattr(owner, key) or not isinstance(saved[key], int | float | str | list | None):
            raise _error(f"{name}.{key}", saved[key], "absent")
    return {
        key: checked(f"{name}.{key}", value, present[key]) if key in present else value for key, value in saved.items()
    }


def checked_count(name: str, value: Any, least: int = 0) -> int:
    """A saved number of things.

    Raises:
        CheckpointError: it is no whole number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _error(name, value, f"a whole number of at least {least}")
    return value


def check_safetensors(directory: Path) -> int:
    """Check the headers of a directory's safetensors files; returns their size in bytes together.

    Raises:
        CheckpointError: one is no such file.
    """
    from safetensors import safe_open

    total = 0
    for path in sorted(directory.glob("*.safetensors")):
        with restoring(str(path)), safe_open(path, "pt"):  # reads and checks the header alone
            total += path.stat().st_size
    return total


def _error(name: str, value: Any, expected: str) -> CheckpointError:
    return CheckpointError(f"{name} is {value!r:.60} in the checkpoint; it must be {expected}.")
