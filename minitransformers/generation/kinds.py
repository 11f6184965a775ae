"""What the fields of a GenerationConfig may hold, where they hold anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of value: words that complete "must be …", and the test for it."""

    expected: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any, least: int | None = None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_whole, value))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


def _are_biases(value: Any) -> bool:
    pairs = list(value.items()) if isinstance(value, dict) else value
    return isinstance(pairs, list) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and _are_ids(list(pair[0])) and _is_number(pair[1])
        for pair in pairs
    )


# Each is given to a field as what it is before it has a value; hence Any.
FLAG: Any = Kind("True or False", lambda value: isinstance(value, bool))
WHOLE: Any = Kind("a whole number", _is_whole)
COUNT: Any = Kind("a whole number of at least 0", lambda value: _is_whole(value, 0))
SIZE: Any = Kind("a whole number of at least 1", lambda value: _is_whole(value, 1))
NUMBER: Any = Kind("a number", _is_number)
SECONDS: Any = Kind("a number of seconds above 0", lambda value: _is_number(value) and value > 0)
ID_OR_IDS: Any = Kind("a token id or a list of them", lambda value: _is_whole(value) or _are_ids(value))
IDS: Any = Kind("a list of token ids", _are_ids)
WORDS: Any = Kind("lists of token ids", lambda value: isinstance(value, list) and all(map(_are_ids, value)))
BIASES: Any = Kind("a dict {(token ids): bias} or a list of [[token ids], bias]", _are_biases)
TEXTS: Any = Kind("a text or a list of them, none empty", lambda value: _are_texts(value) or _are_texts([value]))
DECAY: Any = Kind(
    "(first token, factor)",
    lambda value: isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value)),
)
EARLINESS: Any = Kind("True, False or 'never'", lambda value: isinstance(value, bool) or value == "never")
SCHEDULE: Any = Kind(
    "'constant', 'heuristic' or 'heuristic_transient'",
    lambda value: value in ("constant", "heuristic", "heuristic_transient"),
)
