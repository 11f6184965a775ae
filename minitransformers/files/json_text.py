"""JSON from files of strangers: read strictly, and refused early where later code could not cope with it.

Python's reader takes names that occur twice, structures of any depth, half characters, and numbers of thousands of
digits. Each of them ends in an error far from the file, or makes two readers see different contents.
"""

from __future__ import annotations

import json
from typing import Any

MOST_LEVELS = 100  # of lists and objects inside each other
MOST_DIGITS = 300  # of a whole number: larger ones have no float


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: the text is no JSON in UTF-8, a name occurs twice in an object, a whole number has more than 300
            digits, lists and objects are nested more than 100 levels deep, or a string has half of a character. The
            message completes "…: ".
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_int=_whole_number)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check_depth(value)
    if "\\ud" in text or "\\uD" in text:  # only escapes can stand for half of a character
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a string has {error.object[error.start]!r}, half of a character") from None
    return value


_TOO_DEEP = f"lists and objects are nested more than {MOST_LEVELS} levels deep"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError where a name occurs twice, as readers differ in which one they take."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!r} occurs twice in an object")
    return unique


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits, {digits[:12]}…")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            item
            for container in level
            if isinstance(container, (dict, list))
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)
