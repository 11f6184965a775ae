"""Token ids on disk: one file with a header that tells whether it is whole, read by memory mapping.

    header   64 bytes and a CRC-32 of itself: magic, version, bytes per id, vocabulary size, tokens, documents, SHA-256
    tokens   all ids, uint16 where the vocabulary allows, else uint32
    index    where each document begins, and where the last ends, uint64, behind 0 to 6 bytes that align it

Everything is little-endian. The SHA-256 is that of tokens and index.
"""

from __future__ import annotations

import array
import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minitransformers.errors import CorpusError, InputError, MinitransformersError, MissingFileError
from minitransformers.files.atomic import replacing

MAGIC = b"\x93TOKENS\n"  # a first byte that no text begins with, and a line end that a careless copy would change
VERSION = 1
_FIELDS = struct.Struct("<8sHHIQQ32s")
_CHECK = struct.Struct("<4xI")
HEADER_SIZE = _FIELDS.size + _CHECK.size


@dataclass(frozen=True)
class ShardHeader:
    """What a shard's header says.

    Attributes:
        magic, version: that it is a shard, and of which kind.
        id_bytes: 2 or 4, how many an id takes.
        vocab_size: all ids are below it.
        tokens, documents: how many there are.
        sha256: of what follows the header.
    """

    magic: bytes
    version: int
    id_bytes: int
    vocab_size: int
    tokens: int
    documents: int
    sha256: bytes

    @property
    def index_start(self) -> int:
        """The byte of the file where the index begins."""
        return HEADER_SIZE + -(-self.tokens * self.id_bytes // 8) * 8

    @property
    def file_size(self) -> int:
        """How many bytes the whole file must have."""
        return self.index_start + 8 * (self.documents + 1)

    def to_bytes(self) -> bytes:
        """The header as it stands in a file."""
        fields = _FIELDS.pack(*astuple(self))
        return fields + _CHECK.pack(zlib.crc32(fields))


def id_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that ids below `vocab_size` fit in: uint16 up to 65,536, else uint32."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def write_shard(path: str | os.PathLike[str], documents: Iterable[Any], vocab_size: int) -> ShardHeader:
    """Write documents of token ids to a new shard: the whole of it or, where anything goes wrong, nothing.

    Args:
        path: of the file.
        documents: arrays or lists of ids; taken one by one, so they need not fit in memory together.
        vocab_size: all ids must be below it.

    Raises:
        InputError: ids that are none, or outside the vocabulary.
        CorpusError: the file can't be written.
    """
    if not 1 <= vocab_size < 1 << 32:
        raise InputError(f"vocab_size={vocab_size} must be from 1 to {(1 << 32) - 1}.")
    dtype = id_type(vocab_size)
    checksum, starts = hashlib.sha256(), array.array("Q", [0])
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            file.write(bytes(HEADER_SIZE))  # the real one is known at the end

            def write(data: bytes) -> None:
                checksum.update(data)
                file.write(data)

            for number, ids in enumerate(documents):
                checked = _checked_ids(ids, number, vocab_size)
                write(checked.astype(dtype).tobytes())
                starts.append(starts[-1] + len(checked))
            tokens = starts[-1]
            write(bytes(-(tokens * dtype.itemsize) % 8))
            write(np.array(starts, dtype="<u8").tobytes())
            documents_written = len(starts) - 1
            header = ShardHeader(
                MAGIC, VERSION, dtype.itemsize, vocab_size, tokens, documents_written, checksum.digest()
            )
            file.seek(0)
            file.write(header.to_bytes())
    except OSError as error:
        if isinstance(error, MinitransformersError):  # of the documents, not of this file
            raise
        raise CorpusError(
            f"{os.fspath(path)!r} can't be written: {error.strerror or error}. What stood there before is as it was."
        ) from error
    return header


class TokenShard:
    """A shard, opened: its header is read and checked at once, ids when they are asked for.

    Raises:
        MissingFileError: no such file.
        CorpusError: a file that is no shard, one that is cut off, or a damaged header.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.header = _read_header(self.path)

    def __len__(self) -> int:
        """How many tokens it has."""
        return self.header.tokens

    @cached_property
    def tokens(self) -> np.ndarray:
        """All ids, memory-mapped: a read-only array."""
        ids = self._bytes[HEADER_SIZE : HEADER_SIZE + self.header.tokens * self.header.id_bytes]
        return ids.view(f"<u{self.header.id_bytes}")

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each document begins in `tokens`, and where the last ends, memory-mapped."""
        return self._bytes[self.header.index_start :].view("<u8")

    def document(self, index: int) -> np.ndarray:
        """The ids of one document."""
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        if not start <= end <= len(self):
            raise CorpusError(f"{str(self.path)!r} is damaged: document {index} is from {start} to {end}. {_REMEDY}")
        return self.tokens[start:end]

    def document_lengths(self) -> np.ndarray:
        """How many tokens each document has."""
        lengths = np.diff(self.starts.astype(np.int64))
        if (lengths < 0).any() or lengths.sum() != len(self):
            raise CorpusError(f"{str(self.path)!r} is damaged: its index of documents doesn't fit. {_REMEDY}")
        return lengths

    def starts_between(self, begin: int, end: int) -> np.ndarray:
        """The places from `begin` to before `end` where documents begin, rising."""
        starts = self.starts[:-1]  # the last entry is where the last document ends
        first, last = np.searchsorted(starts, np.array([begin, end], dtype=starts.dtype))
        found = starts[first:last].astype(np.int64)
        if (np.diff(found, prepend=begin, append=end) < 0).any():
            raise CorpusError(f"{str(self.path)!r} is damaged: its index of documents doesn't rise. {_REMEDY}")
        return found

    def verify(self) -> None:
        """Read the whole file, in pieces, and compare it with its checksum.

        Raises:
            CorpusError: they differ.
        """
        checksum = hashlib.sha256()
        with open(self.path, "rb") as file:
            file.seek(HEADER_SIZE)
            while piece := file.read(1 << 20):
                checksum.update(piece)
        if checksum.digest() != self.header.sha256:
            raise CorpusError(f"{str(self.path)!r} is damaged: its SHA-256 is not that of its header. {_REMEDY}")

    @cached_property
    def _bytes(self) -> np.ndarray:
        return np.asarray(np.memmap(self.path, dtype=np.uint8, mode="r"))  # the plain class is sliced faster

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "header": self.header}  # each process maps the file itself


_REMEDY = "Get the file again, or delete it and run tokenize_corpus with the same arguments: it writes what is missing."


def _read_header(path: Path) -> ShardHeader:
    if path.is_dir():
        raise CorpusError(f"{str(path)!r} is a directory; a shard is a file. TokenCorpus opens a directory of them.")
    if not path.exists():
        raise MissingFileError(f"There is no file {str(path)!r}.")
    with open(path, "rb") as file:
        data, size = file.read(HEADER_SIZE), os.fstat(file.fileno()).st_size
    if not data.startswith(MAGIC):
        raise CorpusError(
            f"{str(path)!r} is no token shard: it begins with {data[:8]!r}, not with {MAGIC!r}. {_REMEDY}"
        )
    if len(data) < HEADER_SIZE:
        raise CorpusError(f"{str(path)!r} is cut off: it has {size} bytes, the header alone {HEADER_SIZE}. {_REMEDY}")
    header = ShardHeader(*_FIELDS.unpack_from(data))
    if data != header.to_bytes():
        raise CorpusError(f"{str(path)!r} is damaged: its header has another CRC-32 than it says. {_REMEDY}")
    if header.version != VERSION:
        raise CorpusError(
            f"{str(path)!r} is a shard of version {header.version}, but this library reads {VERSION}: update it."
        )
    if size != header.file_size:
        what = "cut off" if size < header.file_size else "damaged"
        raise CorpusError(f"{str(path)!r} is {what}: it has {size:,} bytes in place of {header.file_size:,}. {_REMEDY}")
    return header


def _checked_ids(ids: Any, number: int, vocab_size: int) -> np.ndarray:
    checked = np.asarray(ids)
    if not checked.size:
        return np.empty(0, dtype=np.int64)
    if checked.ndim != 1 or checked.dtype.kind not in "iu":
        raise InputError(f"Document {number} must be a list of token ids, got shape {checked.shape}, {checked.dtype}.")
    if checked.min() < 0 or checked.max() >= vocab_size:
        raise InputError(
            f"Document {number} has ids from {checked.min()} to {checked.max()}; they must be from 0 to "
            f"{vocab_size - 1}, below vocab_size={vocab_size}."
        )
    return checked
