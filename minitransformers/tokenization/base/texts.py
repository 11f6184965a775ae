"""What a tokenizer may be called with: one text, a pair, a batch of either, and each of them split into words."""

from __future__ import annotations

from collections.abc import Callable
from reprlib import repr as brief
from typing import Any, NamedTuple

from minitransformers.errors import TokenizationError

_Check = Callable[[Any, str], Any]


class Texts(NamedTuple):
    """The arguments of a call as the Rust library takes them."""

    items: list[Any]  # each a str, a list of words, or a pair of either
    batched: bool  # whether a batch was given rather than one text
    paired: bool  # whether any item is a pair


def read_texts(text: Any, text_pair: Any, is_split_into_words: bool) -> Texts:
    """Bring `text` and `text_pair` into one list.

    A pair is `text` with `text_pair`, or an item of two texts: `[("a", "b"), …]`. An empty `text_pair` beside a single
    text is no pair, as in transformers.

    Raises:
        TokenizationError: anything else than texts in these forms; the message says where.
    """
    check = _check_words if is_split_into_words else _check_text
    if isinstance(text, (list, tuple)) and (not is_split_into_words or _is_nested(text)):
        items = _read_batch(text, text_pair, check, is_split_into_words)
        return Texts(items, batched=True, paired=any(isinstance(item, tuple) for item in items))
    first = check(text, "text")
    if text_pair is None or (isinstance(text_pair, (str, list, tuple)) and not text_pair):
        return Texts([first], batched=False, paired=False)
    return Texts([(first, check(text_pair, "text_pair"))], batched=False, paired=True)


def _read_batch(text: Any, text_pair: Any, check: _Check, is_split_into_words: bool) -> list[Any]:
    if not text:
        raise TokenizationError("text is an empty list: pass at least one text.")
    if text_pair is None:
        is_pair = _is_nested if is_split_into_words else _is_list
        return [
            _read_pair(item, f"text[{index}]", check) if is_pair(item) else check(item, f"text[{index}]")
            for index, item in enumerate(text)
        ]
    if not _is_list(text_pair) or len(text_pair) != len(text):
        given = f"{len(text_pair)} items" if _is_list(text_pair) else brief(text_pair)
        raise TokenizationError(f"text is a batch of {len(text)}, so text_pair must be a list as long; got {given}.")
    return [
        (check(first, f"text[{index}]"), check(second, f"text_pair[{index}]"))
        for index, (first, second) in enumerate(zip(text, text_pair, strict=True))
    ]


def _read_pair(item: Any, where: str, check: _Check) -> tuple[Any, Any]:
    if len(item) != 2:
        raise TokenizationError(
            f"{where} has {len(item)} parts, but a pair has two. Pass is_split_into_words=True if they are words, or "
            "flatten the list if they are texts of their own."
        )
    return check(item[0], f"{where}[0]"), check(item[1], f"{where}[1]")


def _check_text(text: Any, where: str) -> str:
    if not isinstance(text, str):
        hint = " Pass is_split_into_words=True if it is a list of words." if _is_list(text) else ""
        raise TokenizationError(f"{where} must be a str, got {brief(text)} of type {type(text).__name__}.{hint}")
    return text


def _check_words(words: Any, where: str) -> list[str]:
    if not _is_list(words):
        raise TokenizationError(
            f"With is_split_into_words=True {where} must be a list of words, got {brief(words)} of type "
            f"{type(words).__name__}."
        )
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise TokenizationError(
                f"{where}[{index}] must be a word, a str; got {brief(word)} of type {type(word).__name__}."
            )
    return list(words)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_nested(value: Any) -> bool:
    return _is_list(value) and len(value) > 0 and _is_list(value[0])
