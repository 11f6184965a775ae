"""The characters of a corpus, at the beginning of words and inside words, counted without cutting texts into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

_UNKNOWN, _DROPPED, _SPACE, _WORD, _LETTER = -1, 0, 1, 2, 3  # kinds of characters; a _WORD is one alone, as "!"
_SIZE, _AT_ONCE = 0x110000, 1 << 20


def first_pieces(texts: Iterable[str], backend: Any, limit: int, prefix: str = "##") -> list[str]:
    """The pieces of one character of a WordPiece vocabulary, sorted: "a" for each, and "##a" for those inside words.

    What a tokenizer makes of a character (another one, several, nothing) is asked once for each. Its neighbours then
    say whether it begins a word.

    Args:
        texts: the corpus.
        backend: a tokenizer of the Rust library, whose normalizer and pre-tokenizer treat each character alike wherever
            it stands, as BERT's do.
        limit: how many characters, the most frequent ones.
        prefix: of pieces inside words.
    """
    kinds, becomes = np.full(_SIZE, _UNKNOWN, dtype=np.int8), dict[int, list[str]]()
    first, inside = np.zeros(_SIZE, dtype=np.int64), np.zeros(_SIZE, dtype=np.int64)
    for text in _joined(texts):
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        for point in np.unique(points[kinds[points] == _UNKNOWN]).tolist():
            kinds[point], becomes[point] = _ask(backend, chr(point))
        points = points[kinds[points] != _DROPPED]
        kind = kinds[points]
        follows_letter = np.concatenate([[False], kind[:-1] == _LETTER])
        first += np.bincount(points[(kind == _WORD) | ((kind == _LETTER) & ~follows_letter)], minlength=_SIZE)
        inside += np.bincount(points[(kind == _LETTER) & follows_letter], minlength=_SIZE)
    counts, are_inside = Counter[str](), set[str]()
    for point, words in becomes.items():
        for number, word in enumerate(words):
            for place, character in enumerate(word):
                counts[character] += int(first[point] + inside[point])
                if place or (inside[point] and not number):
                    are_inside.add(character)
    kept = sorted((count, character) for character, count in counts.items() if count)
    kept = sorted(kept, key=lambda pair: (-pair[0], pair[1]))[:limit]
    characters = {character for _, character in kept}
    pieces = [*characters, *(prefix + character for character in characters & are_inside)]
    return sorted(pieces, key=lambda piece: (len(piece), piece))


def _joined(texts: Iterable[str]) -> Iterator[str]:
    """The texts in pieces of about a million characters: NumPy's calls have a price."""
    collected: list[str] = []
    size = 0
    for text in texts:
        collected.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            yield "\n".join(collected)
            collected, size = [], 0
    yield "\n".join(collected)


def _ask(backend: Any, character: str) -> tuple[int, list[str]]:
    """The kind of a character, and the words that it becomes, or is a part of."""
    if "\ud800" <= character <= "\udfff":  # no character, and no text that the Rust library takes
        return _SPACE, []
    text = f"a{character}a"
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
    if len(words) == 1:
        between = words[0][1:-1]
        return (_LETTER if between else _DROPPED), [between]
    between = words[1:-1]
    return (_WORD if between else _SPACE), between
