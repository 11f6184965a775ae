"""A corpus of tokens on disk, read lazily: as one long sequence, by documents, or in blocks for language modelling.

corpus = TokenCorpus("corpus")            # what tokenize_corpus wrote
corpus[10:20]                             # ids, across shards
corpus.documents[3]                       # the ids of a document
DataLoader(corpus.blocks(1024), batch_size=8, shuffle=True)
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset

from minitransformers.configs.checks import check_count
from minitransformers.data.shards import TokenShard, id_type
from minitransformers.errors import CorpusError, InputError, MissingFileError
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import is_file
from minitransformers.files.json_text import parse_json

MANIFEST_FILE = "corpus.json"
PARTIAL_FILE = "corpus.partial.json"
FORMAT = "minitransformers token corpus 1"


class TokenCorpus:
    """The token ids of a directory of shards, memory-mapped: a sequence of all ids, one document behind the other.

    Args:
        directory: what `tokenize_corpus` wrote.
        verify: whether to read all files once and compare their checksums, about a second for each GB. Without it only
            headers and sizes are checked.

    Raises:
        MissingFileError: no corpus there, or a shard of it is missing.
        CorpusError: a corpus that is not finished, or damaged.
    """

    def __init__(self, directory: str | os.PathLike[str], *, verify: bool = True) -> None:
        self.directory = Path(directory)
        manifest = read_manifest(self.directory / MANIFEST_FILE)
        self.vocab_size: int = manifest["settings"]["vocab_size"]
        self.shards = [_open(self.directory, entry, verify) for entry in manifest["shards"]]
        self._token_ends = np.cumsum([len(shard) for shard in self.shards])
        self._document_ends = np.cumsum([shard.header.documents for shard in self.shards])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of ids: uint16 or uint32. Convert before computing with them."""
        return id_type(self.vocab_size)

    def __len__(self) -> int:
        """How many tokens it has."""
        return int(self._token_ends[-1])

    def __getitem__(self, index: Any) -> Any:
        """An id, or a numpy array of ids for a slice: a view of the file where the slice lies within one shard."""
        if not isinstance(index, slice):
            place = range(len(self))[index]
            return int(self._read(place, place + 1)[0])
        places = range(*index.indices(len(self)))
        if not places:
            return np.empty(0, dtype=self.dtype)
        ids = self._read(min(places[0], places[-1]), max(places[0], places[-1]) + 1)
        return ids[:: places.step] if places.step > 0 else ids[::-1][:: -places.step]

    @property
    def documents(self) -> Documents:
        """The documents: a sequence of arrays of ids."""
        return Documents(self.shards, self._document_ends, self.vocab_size)

    def blocks(self, length: Any, stride: Any = None) -> TokenBlocks:
        """The corpus cut into blocks of `length` tokens, for language modelling, without regard to documents.

        Args:
            length: in tokens.
            stride: how many tokens after a block the next one begins: `length` unless given, less for blocks that
                overlap.

        Raises:
            InputError: the corpus is shorter than one block.
        """
        return TokenBlocks(self, length, stride)

    def _read(self, start: int, stop: int) -> np.ndarray:
        """The ids from `start` to before `stop`, which are in the corpus and not none."""
        first, last = np.searchsorted(self._token_ends, [start, stop - 1], side="right")
        parts = []
        for number in range(first, last + 1):
            before = int(self._token_ends[number]) - len(self.shards[number])
            parts.append(self.shards[number].tokens[max(0, start - before) : stop - before])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Documents(Sequence[np.ndarray]):
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
        _refuse_outside(int(ids.max(initial=0)), self._vocab_size, shard.path)
        return ids


class TokenBlocks(Dataset[dict[str, Tensor]]):
    """Blocks of one length of a corpus: what causal language models are trained on. A rest at the end is left out.

    Items are `{"input_ids": ids, "labels": ids}`; the models shift labels inside.
    """

    def __init__(self, corpus: TokenCorpus, length: Any, stride: Any = None) -> None:
        self.corpus, self.length = corpus, check_count("length", length, least=1)
        self.stride = self.length if stride is None else check_count("stride", stride, least=1)
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
        _refuse_outside(int(ids.max()), self.corpus.vocab_size, self.corpus.directory)
        return {"input_ids": ids, "labels": ids.clone()}


def read_manifest(path: Path) -> dict[str, Any]:
    """What corpus.json says: `settings`, and of each shard `file`, `tokens`, `documents` and checksums.

    Raises:
        MissingFileError: no such file.
        CorpusError: it is damaged, or something else.
    """
    if not is_file(path):
        shards = 0
        with contextlib.suppress(OSError):  # a name that no directory can have
            shards = len(list(path.parent.glob("*.tokens")))
        if is_file(path.parent / PARTIAL_FILE) or shards:
            raise CorpusError(
                f"{str(path.parent)!r} holds {shards} shards of a corpus that is not finished. Run tokenize_corpus "
                "with the same arguments: it goes on where it stopped."
            )
        raise MissingFileError(f"There is no {path.name} in {str(path.parent)!r}: tokenize_corpus makes a corpus.")
    try:
        manifest = parse_json(path.read_bytes())
        whole = manifest["format"] == FORMAT and isinstance(manifest["settings"]["vocab_size"], int)
        for entry in manifest["shards"]:
            whole = whole and Path(entry["file"]).name == entry["file"] and bool(entry["sha256"])
            whole = whole and entry["tokens"] >= 0 and entry["documents"] > 0 and bool(entry["text_sha256"])
        whole = whole and bool(manifest["shards"])
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise CorpusError(
            f"{str(path)!r} is damaged, or not of the format {FORMAT!r}. Get it again, or delete it and run "
            "tokenize_corpus."
        )
    result: dict[str, Any] = manifest
    return result


def write_manifest(path: Path, settings: dict[str, Any], shards: list[dict[str, Any]]) -> None:
    """Write what `read_manifest` reads.

    Raises:
        CorpusError: it can't be written.
    """
    try:
        write_text(path, json.dumps({"format": FORMAT, "settings": settings, "shards": shards}, indent=2) + "\n")
    except OSError as error:
        raise CorpusError(f"{str(path)!r} can't be written: {error.strerror or error}.") from error


def _refuse_outside(largest: int, vocab_size: int, path: Path) -> None:
    """Refuse ids of a damaged file, which nothing else notices where checksums are not compared."""
    if largest >= vocab_size:
        raise CorpusError(
            f"{str(path)!r} is damaged: it has the id {largest}, and a vocabulary of {vocab_size:,} tokens. Get it "
            "again, or run tokenize_corpus; verify=True compares checksums."
        )


def _open(directory: Path, entry: dict[str, Any], verify: bool) -> TokenShard:
    shard = TokenShard(directory / entry["file"])
    if shard.header.sha256.hex() != entry["sha256"]:
        raise CorpusError(
            f"{str(shard.path)!r} is another shard than the one that {MANIFEST_FILE} lists. Get both again, or run "
            "tokenize_corpus."
        )
    if verify:
        shard.verify()
    return shard
