"""Reading the arguments of a tokenizer: texts, the lengths of the result, and examples that were encoded before.

Every reader returns one plain form and raises an error for anything else, so that codec.py works without checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from reprlib import repr as brief
from typing import Any

import numpy as np
import torch

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError, TokenizationError, nearest, warn

NO_LIMIT = int(1e30)  # the model_max_length of a tokenizer whose files don't set one
_LARGEST_LIMIT = int(1e20)  # a greater model_max_length means that there is no limit
SIDES = ("left", "right")


class PaddingStrategy(StrEnum):
    """The values of `padding`, besides True (LONGEST) and False (DO_NOT_PAD)."""

    LONGEST = "longest"
    MAX_LENGTH = "max_length"
    DO_NOT_PAD = "do_not_pad"


class TruncationStrategy(StrEnum):
    """The values of `truncation`, besides True (LONGEST_FIRST) and False (DO_NOT_TRUNCATE)."""

    ONLY_FIRST = "only_first"
    ONLY_SECOND = "only_second"
    LONGEST_FIRST = "longest_first"
    DO_NOT_TRUNCATE = "do_not_truncate"


# ---- texts -----------------------------------------------------------------------------------------------------------


def read_texts(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[Any], bool]:
    """The texts to encode (each a str, a list of words, or a pair of either) as a list, and whether they are a batch.

    A pair is `text` with `text_pair`, or an item of two texts: `[("a", "b"), …]`. As in transformers, an empty
    `text_pair` beside a single text is ignored.

    Raises:
        TokenizationError: a value of another form; the message names its place.
    """
    if isinstance(text, str) and text_pair is None and not is_split_into_words:
        return [text], False
    if isinstance(text, (list, tuple)) and (not is_split_into_words or _is_nested(text)):
        return _read_batch(text, text_pair, is_split_into_words), True
    first = _read_text(text, "text", is_split_into_words)
    if text_pair is None or (isinstance(text_pair, (str, list, tuple)) and not text_pair):
        return [first], False
    return [(first, _read_text(text_pair, "text_pair", is_split_into_words))], False


def _read_batch(text: Any, text_pair: Any, is_split_into_words: bool) -> list[Any]:
    if not text:
        raise TokenizationError("text is an empty list: pass at least one text.")
    if text_pair is None:
        is_pair = _is_nested if is_split_into_words else _is_list
        read = [_read_pair if is_pair(item) else _read_text for item in text]
        return [read[i](item, f"text[{i}]", is_split_into_words) for i, item in enumerate(text)]
    if not _is_list(text_pair) or len(text_pair) != len(text):
        given = f"{len(text_pair)} items" if _is_list(text_pair) else brief(text_pair)
        raise TokenizationError(f"text is a batch of {len(text)}, so text_pair must be a list as long; got {given}.")
    firsts = [_read_text(item, f"text[{i}]", is_split_into_words) for i, item in enumerate(text)]
    seconds = [_read_text(item, f"text_pair[{i}]", is_split_into_words) for i, item in enumerate(text_pair)]
    return list(zip(firsts, seconds, strict=True))


def _read_pair(pair: Any, place: str, is_split_into_words: bool) -> tuple[Any, Any]:
    if len(pair) != 2:
        raise TokenizationError(
            f"{place} has {len(pair)} parts, but a pair has two. Pass is_split_into_words=True if they are words, or "
            "flatten the list if they are separate texts."
        )
    first, second = (_read_text(text, f"{place}[{i}]", is_split_into_words) for i, text in enumerate(pair))
    return first, second


def _read_text(text: Any, place: str, is_split_into_words: bool) -> Any:
    if is_split_into_words:
        return _read_words(text, place)
    if not isinstance(text, str):
        hint = " Pass is_split_into_words=True if it is a list of words." if _is_list(text) else ""
        raise TokenizationError(f"{place} must be a str, got {brief(text)} of type {type(text).__name__}.{hint}")
    return text


def _read_words(words: Any, place: str) -> list[str]:
    if not _is_list(words):
        raise TokenizationError(
            f"With is_split_into_words=True {place} must be a list of words, got {brief(words)} of type "
            f"{type(words).__name__}."
        )
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise TokenizationError(
                f"{place}[{index}] must be a word, a str; got {brief(word)} of type {type(word).__name__}."
            )
    return list(words)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_nested(value: Any) -> bool:
    return _is_list(value) and len(value) > 0 and _is_list(value[0])


# ---- lengths ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lengths:
    """The lengths of the sequences of one call.

    Attributes:
        padding: None for no padding.
        truncation: None for no truncation.
        padding_side: "left" or "right".
        max_length: in tokens; set where `padding` is "max_length" or `truncation` is set.
        stride: how many tokens each overflowing piece repeats.
        pad_to_multiple_of: the padded length is rounded up to a multiple of it.
    """

    padding: str | None
    truncation: str | None
    padding_side: str
    max_length: int | None
    stride: int
    pad_to_multiple_of: int | None

    def padded(self, length: int) -> int:
        """The length to which a batch is padded whose longest sequence has `length` tokens."""
        if self.padding == PaddingStrategy.MAX_LENGTH and self.max_length is not None:
            length = self.max_length
        return length if self.pad_to_multiple_of is None else length + -length % self.pad_to_multiple_of


def choose_lengths(
    padding: Any,
    padding_side: Any,
    truncation: Any,
    max_length: Any,
    stride: Any,
    pad_to_multiple_of: Any,
    limit: int | float,
    verbose: bool,
) -> Lengths:
    """Read the arguments as transformers does.

    `max_length` alone truncates. Without `max_length` the model's `limit` counts. If there is no limit either, nothing
    is padded or truncated to it.

    Raises:
        InputError: an unknown strategy or side, an invalid length, or, with truncation and padding, a `max_length` that
            is no multiple of `pad_to_multiple_of`.
    """
    if max_length is not None:
        max_length = check_count("max_length", max_length)
        truncation = True if padding is False and truncation is None else truncation
    if pad_to_multiple_of is not None:
        pad_to_multiple_of = check_count("pad_to_multiple_of", pad_to_multiple_of, least=1)
    stride = check_count("stride", stride) if stride else 0
    if padding_side not in SIDES:
        raise InputError(f"padding_side={padding_side!r} must be 'left' or 'right'.")
    pad, cut = padding, truncation
    if isinstance(padding, bool) or padding is None:
        pad = PaddingStrategy.LONGEST if padding else PaddingStrategy.DO_NOT_PAD
    if isinstance(truncation, bool) or truncation is None:
        cut = TruncationStrategy.LONGEST_FIRST if truncation else TruncationStrategy.DO_NOT_TRUNCATE
    if pad not in tuple(PaddingStrategy):
        raise _unknown_strategy("padding", padding, PaddingStrategy)
    if cut not in tuple(TruncationStrategy):
        raise _unknown_strategy("truncation", truncation, TruncationStrategy)
    pads, cuts = pad != PaddingStrategy.DO_NOT_PAD, cut != TruncationStrategy.DO_NOT_TRUNCATE
    if verbose and padding is True and max_length is not None and not cuts:
        warn("max_length has no effect with padding=True and no truncation: pass padding='max_length'.")
    if max_length is None and (cuts or pad == PaddingStrategy.MAX_LENGTH):
        if limit <= _LARGEST_LIMIT:
            max_length = int(limit)
        else:
            pads, cuts = pad == PaddingStrategy.LONGEST, False
            if verbose:
                warn("Nothing is padded or truncated: neither max_length nor tokenizer.model_max_length is set.")
    if pads and cuts and pad_to_multiple_of and max_length % pad_to_multiple_of:
        raise InputError(
            f"max_length={max_length} is no multiple of pad_to_multiple_of={pad_to_multiple_of}, but sequences are "
            f"truncated and padded. Pass max_length={max_length // pad_to_multiple_of * pad_to_multiple_of}."
        )
    strategies = (str(pad) if pads else None, str(cut) if cuts else None)
    return Lengths(*strategies, padding_side, max_length, stride, pad_to_multiple_of)


def _unknown_strategy(name: str, value: Any, strategies: type[StrEnum]) -> InputError:
    options = list(map(str, strategies))
    listed = ", ".join(map(repr, options))
    return InputError(f"{name}={value!r} must be True, False or one of {listed}.{nearest(str(value), options)}")


# ---- encoded examples ------------------------------------------------------------------------------------------------


def read_examples(encoded: Any, ids_name: str) -> tuple[dict[str, Any], bool]:
    """Encoded sequences as one dictionary of rows, a list for every field, and whether they are a batch.

    Args:
        encoded: a dictionary of lists (one sequence, which becomes a batch of one) or of lists of lists (a batch), or a
            list of dictionaries. Arrays and tensors may stand for lists.
        ids_name: the field with the ids.

    Raises:
        InputError: another form, no ids, or fields that don't fit each other.
    """
    if isinstance(encoded, Mapping):
        fields = dict(encoded)
    elif isinstance(encoded, (list, tuple)) and encoded and all(isinstance(row, Mapping) for row in encoded):
        for row in encoded:
            if row.keys() != encoded[0].keys():
                raise InputError(f"All examples must have the same fields; got {list(encoded[0])} and {list(row)}.")
        fields = {name: [row[name] for row in encoded] for name in encoded[0]}
    else:
        raise InputError(
            f"encoded_inputs must be a dictionary or a list of dictionaries with input_ids, got {brief(encoded)}."
        )
    if ids_name not in fields:
        raise InputError(f"pad needs {ids_name!r}, got only {list(fields)}.{nearest(ids_name, fields)}")
    ids = _to_lists(fields[ids_name])
    if not isinstance(ids, list):
        raise InputError(f"{ids_name!r} must be a list of ids, or of lists of ids; got {brief(ids)}.")
    if not ids:
        return fields, False
    batched = isinstance(ids[0], list)
    table = {name: _to_lists(value) if batched else [_to_lists(value)] for name, value in fields.items()}
    for name, rows in table.items():
        if not isinstance(rows, list) or len(rows) != len(table[ids_name]):
            raise InputError(f"{name!r} must have {len(ids)} rows, as {ids_name!r} has; got {brief(rows)}.")
    return table, batched


def tensor_type(encoded: Any, ids_name: str) -> str | None:
    """The type of the ids in encoded examples: "pt" for torch tensors, "np" for numpy arrays, None for lists."""
    value = encoded[ids_name] if isinstance(encoded, Mapping) else [example[ids_name] for example in encoded]
    while isinstance(value, (list, tuple)):
        if not value:
            return None
        value = next((row for row in value if not isinstance(row, (list, tuple)) or row), None)
    return "pt" if isinstance(value, torch.Tensor) else "np" if isinstance(value, np.ndarray) else None


_NUMBERS = frozenset({int, float, bool})


def _to_lists(value: Any) -> Any:
    """Arrays, tensors and tuples, nested to any depth, as lists."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if not isinstance(value, (list, tuple)):
        return value
    # A row of numbers is tested as a whole: a call for each number would take longer than all the rest of padding.
    return list(value) if _NUMBERS.issuperset(map(type, value)) else [_to_lists(row) for row in value]
