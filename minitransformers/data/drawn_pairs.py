"""Pairs for next-sentence prediction, drawn from a corpus on disk: each one is made when it is asked for.

    lines = …                                 # sentences, and an empty text after each document
    corpus = tokenize_corpus(lines, tokenizer, "corpus", add_special_tokens=False)
    pairs = DrawnPairs(corpus, max_length=125, seed=0)
    SentencePairDataset(pairs, tokenizer)[1000]

`next_sentence_pairs` (pairs.py) walks through documents in memory and returns all pairs. Here pair number i begins at a
random sentence, which depends on the seed and on i alone. So pairs can be read in any order and by any process, and
memory does not grow with the number of tokens: it is 32 bytes for each document.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from minitransformers.configs.checks import check_count, check_probability
from minitransformers.data.corpus import TokenCorpus
from minitransformers.data.pairs import (
    IS_NEXT,
    NOT_NEXT,
    SentencePair,
    join_sentences,
    target_length,
    truncate_pair,
)
from minitransformers.errors import InputError

_CHUNK = 1 << 16  # sentences whose lengths are in memory at a time


class DrawnPairs(Sequence[SentencePair]):
    """Pairs of stretches of text: in half of them the second follows the first, in half it is of another document.

    A pair is cut as in `next_sentence_pairs`; only the sentences where pairs begin are drawn, each with the same
    probability. A document of one sentence is only used as the second stretch of a pair.

    Args:
        corpus: its documents are sentences, without special tokens; an empty one ends a document. This is the form of
            the text files that BERT's released code reads, one sentence a line and an empty line after a document.
        max_length: how many tokens both stretches may have together, special tokens not counted; at least 2.
        number: how many pairs there are; by default so many that they have about as many tokens as the corpus.
        short_sequence_probability: of a pair to aim at a random shorter length.
        seed: a whole number. Another seed gives other pairs.

    Attributes:
        documents: for each document, its first sentence and the one after its last, as numbers of `corpus.documents`.

    Raises:
        InputError: fewer than two documents, none of two sentences, a length, number, probability or seed that is
            impossible.
    """

    def __init__(
        self,
        corpus: TokenCorpus,
        *,
        max_length: Any,
        number: Any = None,
        short_sequence_probability: float | int = 0.1,
        seed: Any = 0,
    ) -> None:
        self.max_length = check_count("max_length", max_length, least=2)
        check_probability("short_sequence_probability", short_sequence_probability)
        self.short_sequence_probability = float(short_sequence_probability)
        self.seed = check_count("seed", seed, least=0)
        once = max(1, len(corpus) // self.max_length)
        self.number = once if number is None else check_count("number", number, least=1)
        self.documents = _document_bounds(corpus)
        self._sentences = corpus.documents
        sizes = self.documents[:, 1] - self.documents[:, 0]
        if len(sizes) < 2:
            raise InputError(
                f"The corpus has {len(sizes)} document, but half of the pairs take their second part from another one: "
                "put an empty text after each document, and pass at least two documents."
            )
        self._long = np.flatnonzero(sizes > 1)
        if not len(self._long):
            raise InputError(
                f"None of the {len(sizes)} documents has two sentences, so that no sentence follows another: make each "
                "sentence a text of its own."
            )
        self._ends = np.cumsum(sizes[self._long])  # of the sentences where a pair can begin

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        draw = random.Random(f"{self.seed} {range(len(self))[index]}")
        place = draw.randrange(int(self._ends[-1]))
        number = int(np.searchsorted(self._ends, place, side="right"))
        document, last = int(self._long[number]), int(self.documents[self._long[number], 1])
        target = target_length(draw, self.max_length, self.short_sequence_probability)
        is_next = draw.random() < 0.5
        start = last - (int(self._ends[number]) - place)
        sentences = self._stretch(start, last, target, at_least=2)
        if is_next and len(sentences) == 1:  # the last sentence: as a next one it takes the one before it along
            sentences = [self._sentence(start - 1), *sentences]
        cut = draw.randint(1, max(1, len(sentences) - 1))
        first = join_sentences(sentences[:cut])
        if is_next:
            second = sentences[cut:]
        else:
            other = draw.randrange(len(self.documents) - 1)
            begin, end = map(int, self.documents[other + (other >= document)])
            second = self._stretch(draw.randrange(begin, end), end, target - len(first), at_least=1)
        parts = truncate_pair(first, join_sentences(second), self.max_length, draw)
        return SentencePair(*parts, IS_NEXT if is_next else NOT_NEXT)

    def _sentence(self, number: int) -> list[int]:
        ids: list[int] = self._sentences[number].tolist()
        return ids

    def _stretch(self, start: int, end: int, target: int, at_least: int) -> list[list[int]]:
        """Sentences from `start` on, until there are `target` tokens or the document ends."""
        sentences: list[list[int]] = []
        tokens = 0
        while start + len(sentences) < end and (tokens < target or len(sentences) < at_least):
            sentences.append(self._sentence(start + len(sentences)))
            tokens += len(sentences[-1])
        return sentences


def _document_bounds(corpus: TokenCorpus) -> np.ndarray:
    """For each document its first sentence and the one after its last: an array of shape (documents, 2)."""
    empty, before = [], 0
    for shard in corpus.shards:
        for begin in range(0, shard.header.documents, _CHUNK):
            starts = shard.starts[begin : begin + _CHUNK + 1].astype(np.int64)
            empty.append(np.flatnonzero(np.diff(starts) == 0) + before + begin)
        before += shard.header.documents
    ends = np.concatenate([*empty, [before]])
    bounds = np.stack([np.concatenate([[0], ends[:-1] + 1]), ends], axis=1)
    with_sentences: np.ndarray = bounds[bounds[:, 1] > bounds[:, 0]]
    return with_sentences
