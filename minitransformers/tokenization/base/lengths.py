"""Padding and truncation: from the arguments of a call to what the Rust library is told."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from minitransformers.errors import InputError, nearest, warn

NO_LIMIT = int(1e30)  # the model_max_length of a tokenizer whose files name none
_LARGE = int(1e20)  # at or below this a model_max_length is meant


class PaddingStrategy(StrEnum):
    """What `padding` may be, besides True (longest) and False (do_not_pad)."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TruncationStrategy(StrEnum):
    """What `truncation` may be, besides True (longest_first) and False (do_not_truncate)."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


_S = TypeVar("_S", bound=StrEnum)


@dataclass(frozen=True)
class Lengths:
    """How long the sequences of one call are to be."""

    padding: PaddingStrategy
    truncation: TruncationStrategy
    max_length: int | None
    stride: int
    pad_to_multiple_of: int | None
    padding_side: str

    @property
    def pads(self) -> bool:
        """Whether anything is padded."""
        return self.padding != PaddingStrategy.DO_NOT_PAD

    @property
    def truncates(self) -> bool:
        """Whether anything is truncated."""
        return self.truncation != TruncationStrategy.DO_NOT_TRUNCATE


def choose_lengths(
    *,
    padding: Any,
    truncation: Any,
    max_length: Any,
    stride: Any,
    pad_to_multiple_of: Any,
    padding_side: Any,
    model_max_length: int | float,
    verbose: bool,
) -> Lengths:
    """Read the arguments as transformers does.

    `max_length` alone truncates; without `max_length` the model's own limit counts; where the model has none either,
    padding or truncation to it is left out.

    Raises:
        InputError: an unknown strategy or side, a length that is no number or negative, or `max_length` no multiple of
            `pad_to_multiple_of` where both are asked for.
    """
    max_length = whole("max_length", max_length, least=0)
    pad_to_multiple_of = whole("pad_to_multiple_of", pad_to_multiple_of, least=1)
    stride = whole("stride", stride, least=0) or 0
    if max_length is not None and padding is False and truncation is None:
        truncation = True
    pad = _strategy("padding", padding, PaddingStrategy, PaddingStrategy.LONGEST, PaddingStrategy.DO_NOT_PAD)
    cut = _strategy(
        "truncation",
        truncation,
        TruncationStrategy,
        TruncationStrategy.LONGEST_FIRST,
        TruncationStrategy.DO_NOT_TRUNCATE,
    )
    pads, truncates = pad != PaddingStrategy.DO_NOT_PAD, cut != TruncationStrategy.DO_NOT_TRUNCATE
    if verbose and padding is True and max_length is not None and not truncates:
        warn(
            "max_length has no effect with padding=True and no truncation. To pad to max_length pass "
            "padding='max_length'."
        )
    if max_length is None and (truncates or pad == PaddingStrategy.MAX_LENGTH):
        if model_max_length <= _LARGE:
            max_length = int(model_max_length)
        else:
            cut = TruncationStrategy.DO_NOT_TRUNCATE
            pad = PaddingStrategy.DO_NOT_PAD if pad == PaddingStrategy.MAX_LENGTH else pad
            if verbose:
                warn(
                    "Neither max_length nor the tokenizer's model_max_length is set: nothing is padded or truncated to "
                    "a maximum. Pass max_length."
                )
    if pads and truncates and max_length is not None and pad_to_multiple_of and max_length % pad_to_multiple_of:
        raise InputError(
            f"max_length={max_length} is no multiple of pad_to_multiple_of={pad_to_multiple_of}, but sequences are to "
            f"be both truncated and padded. Pass max_length={max_length // pad_to_multiple_of * pad_to_multiple_of}."
        )
    return Lengths(pad, cut, max_length, stride, pad_to_multiple_of, check_side("padding_side", padding_side))


def check_side(name: str, value: Any) -> str:
    """`value`, if it is a side; else InputError."""
    if value not in ("left", "right"):
        raise InputError(f"{name} must be 'left' or 'right', got {value!r}.")
    return str(value)


def _strategy(name: str, value: Any, kinds: type[_S], if_true: _S, if_false: _S) -> _S:
    if value is None or value is False:
        return if_false
    if value is True:
        return if_true
    try:
        return kinds(value)
    except ValueError:
        options = [kind.value for kind in kinds]
        raise InputError(
            f"{name} must be True, False or one of {', '.join(map(repr, options))}, got {value!r}."
            f"{nearest(str(value), options)}"
        ) from None


def whole(name: str, value: Any, *, least: int) -> int | None:
    """`value` as an int (numpy's integers too), None as None; else InputError."""
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return number
