"""The unigram language model, the tokenizer of T5 and ALBERT, in plain Python (Kudo, 2018, §3.2).

Each piece has a probability, and a word is cut where the product of its pieces' probabilities is largest. Spaces are
part of the text, as ▁ before each word. The tokenizers that are read from SentencePiece files compute the same in Rust.
How pieces and probabilities are learnt is in unigram_training.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

UNKNOWN_PENALTY = 10.0  # an unknown character is so much less probable than the rarest piece, in nats


class Unigram:
    """Pieces with their log-probabilities, and the two directions.

    Args:
        pieces: each piece with the logarithm of its probability; a piece's place is its id.
        unknown: the id of characters that no piece has.
    """

    def __init__(self, pieces: list[tuple[str, float]], unknown: int = 0) -> None:
        self.pieces = pieces
        self.ids = {piece: index for index, (piece, _) in enumerate(pieces)}
        self.unknown = unknown
        self.longest = max(map(len, self.ids))
        self.unknown_score = min(score for _, score in pieces) - UNKNOWN_PENALTY

    def encode(self, text: str) -> list[int]:
        """The ids of a text; neighbouring unknown characters have one id together."""
        ids: list[int] = []
        for word in words(text):
            of_word = [index for _, index in self.segment(word)]
            ids += [i for i, last in zip(of_word, [None, *of_word], strict=False) if not i == last == self.unknown]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids."""
        return "".join(self.pieces[index][0] for index in ids).replace("▁", " ").removeprefix(" ")

    def candidates(self, word: str, start: int) -> Iterator[tuple[int, int, float]]:
        """The pieces that `word` has at `start`: where each ends, its id and its score."""
        for end in range(start + 1, min(start + self.longest, len(word)) + 1):
            index = self.ids.get(word[start:end])
            if index is not None:
                yield end, index, self.pieces[index][1]
            elif end == start + 1:
                yield end, self.unknown, self.unknown_score

    def segment(self, word: str) -> list[tuple[str, int]]:
        """The most probable pieces of a word, with their ids (Viterbi, 1967)."""
        best = [0.0] + [-math.inf] * len(word)  # the score of the best pieces up to each place
        last: list[tuple[int, int]] = [(0, 0)] * (len(word) + 1)  # where the last of them starts, and its id
        for start in range(len(word)):
            for end, index, score in self.candidates(word, start):
                if best[start] + score > best[end]:
                    best[end], last[end] = best[start] + score, (start, index)
        pieces: list[tuple[str, int]] = []
        end = len(word)
        while end:
            start, index = last[end]
            pieces.append((word[start:end], index))
            end = start
        return pieces[::-1]


def words(text: str) -> list[str]:
    """The words of a text, each with the ▁ that stands for the space before it."""
    if not text:
        return []
    marked = "▁" + text.replace(" ", "▁").removeprefix("▁")
    return ["▁" + word for word in marked[1:].split("▁")]
