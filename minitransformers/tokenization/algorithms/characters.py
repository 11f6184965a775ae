"""Kinds of characters, as Unicode classifies them."""

from __future__ import annotations

import unicodedata

WHITE_SPACE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {*map(chr, range(0x2000, 0x200B))}
"""Unicode's White_Space; `str.isspace` has four control characters more."""

_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def is_chinese(char: str) -> bool:
    """Whether a character is of the ideographs that BERT takes as words of their own."""
    return any(first <= ord(char) <= last for first, last in _CHINESE)


def is_control(char: str) -> bool:
    """Whether a character is of Unicode's C classes (control, format, unassigned …), but no tab and no line end."""
    return char not in "\t\n\r" and unicodedata.category(char)[0] == "C"


def is_punctuation(char: str) -> bool:
    """Whether a character is of Unicode's P classes, or one of ASCII's symbols, such as $ and +."""
    is_ascii_symbol = "!" <= char <= "~" and not char.isalnum()
    return is_ascii_symbol or unicodedata.category(char)[0] == "P"


def kind_of(char: str) -> str:
    """A character's kind: space, letter, number or other."""
    if char in WHITE_SPACE:
        return "space"
    return {"L": "letter", "N": "number"}.get(unicodedata.category(char)[0], "other")
