"""A corpus of tokens on disk, read lazily: as one long sequence, by documents, or in blocks for language modelling.

corpus = TokenCorpus("corpus")            # what tokenize_corpus wrote
corpus[10:20]                             # ids, across shards
corpus.documents[3]                       # the ids of a document
DataLoader(corpus.blocks(1024), batch_size=8, shuffle=True)
train, validation = corpus.split(0.05, seed=0)   # by document; each is read like the corpus

Reading is in corpus_views.py.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from minitransformers.data.corpus_views import Documents, TokenSequence
from minitransformers.data.shards import TokenShard
from minitransformers.errors import CorpusError, MissingFileError
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import is_file
from minitransformers.files.json_text import parse_json

MANIFEST_FILE = "corpus.json"
PARTIAL_FILE = "corpus.partial.json"
FORMAT = "minitransformers token corpus 1"


class TokenCorpus(TokenSequence):
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

    def __len__(self) -> int:
        return int(self._token_ends[-1])

    @property
    def documents(self) -> Documents:
        """The documents: a sequence of arrays of ids."""
        return Documents(self.shards, self._document_ends, self.vocab_size)

    def document_lengths(self) -> np.ndarray:
        """How many tokens each document has."""
        return np.concatenate([shard.document_lengths() for shard in self.shards])

    def read(self, start: int, stop: int) -> np.ndarray:
        """The ids from `start` to before `stop`; 0 <= start < stop <= len(self)."""
        first, last = np.searchsorted(self._token_ends, [start, stop - 1], side="right")
        parts = []
        for number in range(first, last + 1):
            before = int(self._token_ends[number]) - len(self.shards[number])
            parts.append(self.shards[number].tokens[max(0, start - before) : stop - before])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def document_starts(self, start: int, stop: int) -> np.ndarray:
        """The places from `start` to before `stop` where documents begin, rising."""
        first, last = np.searchsorted(self._token_ends, [start, stop - 1], side="right")
        parts = []
        for number in range(first, last + 1):
            shard = self.shards[number]
            before = int(self._token_ends[number]) - len(shard)
            parts.append(shard.starts_between(max(0, start - before), min(stop - before, len(shard))) + before)
        return np.concatenate(parts)


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
