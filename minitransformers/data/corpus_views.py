"""What a corpus of tokens on disk can be read as: one long sequence, documents, blocks, and two parts of a split.

`TokenSequence` is what a whole corpus (corpus.py) and a part of one have in common.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset

from minitransformers.configs.checks import check_count
from minitransformers.data.packing import restarting_positions
from minitransformers.data.shards import TokenShard, id_type
from minitransformers.errors import CorpusError, InputError
from minitransformers.nn.losses import IGNORED


class TokenSequence(ABC):
    """Token ids on disk, one document behind the other. `corpus[10:20]` reads ids, `corpus.documents[3]` a document.

    Attributes:
        directory: of the corpus.
        vocab_size: all ids are below it.
    """

    directory: Path
    vocab_size: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of ids: uint16 or uint32. Convert before computing with them."""
        return id_type(self.vocab_size)

    @abstractmethod
    def __len__(self) -> int:
        """How many tokens it has."""

    def __getitem__(self, index: Any) -> Any:
        """An id, or a numpy array of ids for a slice: a view of the file where the slice lies within one shard."""
        if not isinstance(index, slice):
            place = range(len(self))[index]
            return int(self.read(place, place + 1)[0])
        places = range(*index.indices(len(self)))
        if not places:
            return np.empty(0, dtype=self.dtype)
        ids = self.read(min(places[0], places[-1]), max(places[0], places[-1]) + 1)
        return ids[:: places.step] if places.step > 0 else ids[::-1][:: -places.step]

    @property
    @abstractmethod
    def documents(self) -> Sequence[np.ndarray]:
        """The documents: a sequence of arrays of ids."""

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """The ids from `start` to before `stop`; 0 <= start < stop <= len(self)."""

    @abstractmethod
    def document_starts(self, start: int, stop: int) -> np.ndarray:
        """The places from `start` to before `stop` where documents begin, rising."""

    @abstractmethod
    def document_lengths(self) -> np.ndarray:
        """How many tokens each document has."""

    def blocks(self, length: Any, stride: Any = None, *, document_mask: bool = False) -> TokenBlocks:
        """The tokens cut into blocks of `length`, for language modelling; a document may go on in the next block.

        Args:
            length: in tokens.
            stride: how many tokens after a block the next one begins: `length` unless given, less for blocks that
                overlap.
            document_mask: keep the documents of a block apart: see `TokenBlocks`.

        Raises:
            InputError: there are fewer tokens than one block takes.
        """
        return TokenBlocks(self, length, stride, document_mask=document_mask)

    def split(self, validation: Any = 0.05, *, seed: Any = 0) -> CorpusSplit:
        """Two parts, `train` and `validation`: each document is in one of them, drawn at random.

        The same corpus, share and seed give the same parts. Nothing is copied: parts read the files of the corpus.

        Args:
            validation: the share of documents in the second part, rounded to whole documents, at least one.
            seed: a whole number.

        Raises:
            InputError: fewer than two documents, a share that leaves no document for training, or a bad seed.
        """
        count, seed = len(self.document_lengths()), check_count("seed", seed, least=0)
        if isinstance(validation, bool) or not isinstance(validation, (int, float)) or not 0 < validation < 1:
            raise InputError(
                f"validation={validation!r} must be a share of the documents between 0 and 1, such as 0.05."
            )
        held_out = max(1, round(validation * count))
        if held_out >= count:
            raise InputError(
                f"validation={validation} of {count} documents leaves none for training: take a smaller share, or make "
                "the corpus of more documents (TextFiles(…, documents='blank line'), say)."
            )
        is_held_out = np.zeros(count, dtype=bool)
        is_held_out[np.random.default_rng(seed).choice(count, held_out, replace=False, shuffle=False)] = True
        return CorpusSplit(
            CorpusPart(self, np.flatnonzero(~is_held_out)), CorpusPart(self, np.flatnonzero(is_held_out))
        )


class CorpusPart(TokenSequence):
    """Some documents of a corpus as a corpus of their own, in the same order. Nothing is copied.

    Args:
        corpus: the whole.
        indices: which documents of it, rising.
    """

    def __init__(self, corpus: TokenSequence, indices: np.ndarray) -> None:
        self.corpus, self.indices = corpus, indices
        self.directory, self.vocab_size = corpus.directory, corpus.vocab_size
        # Neighbouring documents are read together: a part is a list of runs, stretches of tokens of the corpus.
        ends = np.cumsum(corpus.document_lengths())
        first = np.flatnonzero(np.diff(indices, prepend=-2) != 1)  # of each run, in `indices`
        last = np.append(first[1:], len(indices)) - 1
        before = np.concatenate([[0], ends])
        self._run_starts = before[indices[first]]
        self._run_ends = np.cumsum(before[indices[last] + 1] - self._run_starts)  # as places of this part

    def __len__(self) -> int:
        return int(self._run_ends[-1])

    @property
    def documents(self) -> SelectedDocuments:
        """The documents: a sequence of arrays of ids."""
        return SelectedDocuments(self.corpus.documents, self.indices)

    def read(self, start: int, stop: int) -> np.ndarray:
        """The ids from `start` to before `stop`."""
        parts = [self.corpus.read(begin, end) for begin, end, _ in self._pieces(start, stop)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def document_starts(self, start: int, stop: int) -> np.ndarray:
        """The places from `start` to before `stop` where documents begin."""
        return np.concatenate(
            [self.corpus.document_starts(begin, end) - shift for begin, end, shift in self._pieces(start, stop)]
        )

    def document_lengths(self) -> np.ndarray:
        """How many tokens each document has."""
        lengths: np.ndarray = self.corpus.document_lengths()[self.indices]
        return lengths

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Where the tokens stand in the corpus: from, to, and how much further than in this part."""
        first, last = np.searchsorted(self._run_ends, [start, stop - 1], side="right")
        pieces = []
        for run in range(first, last + 1):
            here = int(self._run_ends[run - 1]) if run else 0
            shift = int(self._run_starts[run]) - here
            begin, end = max(start, here), min(stop, int(self._run_ends[run]))
            if begin < end:  # a run of empty documents has no tokens
                pieces.append((begin + shift, end + shift, shift))
        return pieces


class CorpusSplit(NamedTuple):
    """What `TokenSequence.split` gives: the documents to train on, and those held out."""

    train: CorpusPart
    validation: CorpusPart


class Documents(Sequence[Any]):
    """The documents of shards, each read when it is asked for."""

    def __init__(self, shards: list[TokenShard], ends: np.ndarray, vocab_size: int) -> None:
        self._shards, self._ends, self._vocab_size = shards, ends, vocab_size

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        number = int(np.searchsorted(self._ends, place, side="right"))
        shard = self._shards[number]
        ids = shard.document(place - int(self._ends[number]) + shard.header.documents)
        refuse_outside(int(ids.max(initial=0)), self._vocab_size, shard.path)
        return ids


class SelectedDocuments(Sequence[Any]):
    """Some of a sequence of documents."""

    def __init__(self, documents: Sequence[Any], indices: np.ndarray) -> None:
        self._documents, self._indices = documents, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._documents[int(self._indices[range(len(self))[index]])]


class TokenBlocks(Dataset[dict[str, Tensor]]):
    """Blocks of one length of a corpus: what causal language models are trained on. A rest at the end is left out.

    Items are `{"input_ids": ids, "labels": ids}`; the models shift labels inside. With `document_mask=True` they have
    `position_ids` besides, which restart at each document, and the label of each document's first token is -100: so
    tokens attend to their own document only, as in `PackedDataset`. The model must not make a cache then: call
    `model(**batch, use_cache=False)`, or set `model.config.use_cache = False` to train.
    """

    def __init__(self, corpus: TokenSequence, length: Any, stride: Any = None, *, document_mask: bool = False) -> None:
        self.corpus, self.length = corpus, check_count("length", length, least=1)
        self.stride = self.length if stride is None else check_count("stride", stride, least=1)
        self.document_mask = document_mask
        if self.length > len(corpus):
            raise InputError(
                f"length={length}, but the corpus has only {len(corpus):,} tokens: there is not one block. Take a "
                "smaller length, or more text."
            )

    def __len__(self) -> int:
        return (len(self.corpus) - self.length) // self.stride + 1

    def __getitem__(self, index: int) -> dict[str, Int64[Tensor, " length"]]:
        start = range(len(self))[index] * self.stride
        ids = torch.from_numpy(self.corpus[start : start + self.length].astype(np.int64))
        refuse_outside(int(ids.max()), self.corpus.vocab_size, self.corpus.directory)
        labels = ids.clone()
        if not self.document_mask:
            return {"input_ids": ids, "labels": labels}
        starts = self.corpus.document_starts(start, start + self.length) - start
        places = torch.from_numpy(np.append(0, starts).astype(np.int64))  # the block itself starts at 0
        position_ids = restarting_positions(places, self.length, self.length)
        labels[position_ids == 0] = IGNORED
        return {"input_ids": ids, "labels": labels, "position_ids": position_ids}


def refuse_outside(largest: int, vocab_size: int, path: Path) -> None:
    """Refuse ids of a damaged file, which nothing else notices where checksums are not compared.

    Raises:
        CorpusError: an id that the vocabulary does not have.
    """
    if largest >= vocab_size:
        raise CorpusError(
            f"{str(path)!r} is damaged: it has the id {largest}, and a vocabulary of {vocab_size:,} tokens. Get it "
            "again, or run tokenize_corpus; verify=True compares checksums."
        )
