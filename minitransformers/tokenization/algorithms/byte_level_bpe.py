"""Byte-level byte pair encoding, GPT-2's tokenizer, in plain Python (Radford et al., 2019, §2.2).

Text becomes words, each word its bytes in UTF-8, and pairs of pieces are joined in the order in which they were learnt.
Every text has ids, and `decode` gives it back exactly. `GPT2Tokenizer` computes the same ids in Rust.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from minitransformers.tokenization.algorithms.characters import kind_of
from minitransformers.tokenization.algorithms.merges import Pair, learn_merges, merge

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def visible_bytes() -> list[str]:
    """A visible character for each of the 256 bytes: itself where it is one, otherwise one from 256 on.

    So a vocabulary can be stored as text: a space is "Ġ", the 33rd byte that is not visible.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 256 + others.index(byte)) for byte in range(256)]


VISIBLE = visible_bytes()
BYTES = {char: byte for byte, char in enumerate(VISIBLE)}


class ByteLevelBPE:
    """A vocabulary, the pairs that were joined, and its two directions.

    Args:
        vocabulary: the tokens; a token's place is its id.
        merges: pairs of tokens in the order in which they were learnt.
    """

    def __init__(self, vocabulary: list[str], merges: Iterable[Pair]) -> None:
        self.vocabulary = vocabulary
        self.ids = {token: index for index, token in enumerate(vocabulary)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return [self.ids[piece] for word in words(text) for piece in self.pieces(word)]

    def pieces(self, word: str) -> list[str]:
        """Join the pair that was learnt first, wherever it stands, until no pair is left that was learnt."""
        pieces = spelled(word)
        while known := [pair for pair in pairwise(pieces) if pair in self.ranks]:
            pair = min(known, key=self.ranks.__getitem__)
            pieces = merge(pieces, pair, "".join(pair))
        return pieces

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are no UTF-8 become U+FFFD."""
        return bytes(BYTES[char] for index in ids for char in self.vocabulary[index]).decode(errors="replace")

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, special: Iterable[str] = ("<|endoftext|>",), min_frequency: int = 2
    ) -> ByteLevelBPE:
        """Learn a vocabulary: the 256 bytes first, then joined pairs, the most frequent first (see merges.py)."""
        counts = Counter(word for text in texts for word in words(text))
        vocabulary = [*special, *sorted(VISIBLE)]
        spellings = {tuple(spelled(word)): number for word, number in counts.items()}
        merges = learn_merges(spellings, vocabulary, size, min_frequency)
        return cls(vocabulary, merges)


def spelled(word: str) -> list[str]:
    """The bytes of a word, as visible characters."""
    return [VISIBLE[byte] for byte in word.encode()]


def words(text: str) -> Iterator[str]:
    """Cut a text into words: runs of letters, of digits or of other characters, each with the space before it.

    A contraction is a word of its own. White space before a word's own space is one word.
    """
    start = 0
    while start < len(text):
        contraction = next((c for c in CONTRACTIONS if text.startswith(c, start)), None)
        if contraction is not None:
            end = start + len(contraction)
        elif kind_of(text[start]) == "space" and not is_space_of_a_word(text, start):
            end = end_of_run(text, start)
            if end < len(text) and end - start > 1:
                end -= 1  # the last one belongs to the next word if it is a space, and else stands alone
        else:
            end = end_of_run(text, start + (text[start] == " "))
        yield text[start:end]
        start = end


def is_space_of_a_word(text: str, index: int) -> bool:
    """Whether a space stands right before a word."""
    return text[index] == " " and index + 1 < len(text) and kind_of(text[index + 1]) != "space"


def end_of_run(text: str, start: int) -> int:
    """Where the run of characters of one kind ends that begins at `start`."""
    kind = kind_of(text[start])
    return next((end for end in range(start, len(text)) if kind_of(text[end]) != kind), len(text))
