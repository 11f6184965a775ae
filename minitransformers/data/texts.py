"""Where texts come from: files of any size, lists, data sets; each is a sequence of documents, read piece by piece."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minitransformers.errors import CorpusError, InputError, MissingFileError, UnknownNameError, nearest, warn

_DOCUMENTS = ("file", "line", "blank line")
_ERRORS = ("strict", "replace", "ignore", "skip")
_COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_PIECE = 1 << 18  # bytes that are read at a time


class TextFiles:
    """The documents of text files, in order; every iteration reads the files again.

    A document must fit in memory, a file need not. Files are UTF-8; a byte order mark is left out, and line ends of any
    system are "\\n", so a file's text is what `Path(…).read_text("utf-8-sig")` gives. Documents with nothing but white
    space are left out.

    Args:
        files: a path, or several. A directory stands for all files in it and below it, by name, but for hidden ones; a
            pattern such as "texts/*.txt" for the files that it fits. Files that end in .gz, .bz2 or .xz are compressed.
        documents: "file": each file is one document; "line": each line; "blank line": they are parted by lines that
            are empty or white space.
        delimiter: parts documents, in place of the above; such as "<|endoftext|>". It belongs to none of them.
        errors: what to do where a file is no UTF-8 text: "strict" raises an error; "replace" reads U+FFFD in place of
            wrong bytes, "ignore" nothing; "skip" leaves out the file, which is then read twice. A file that can't be
            read is left out too. After each reading a warning says how many were left out.

    Attributes:
        files: the paths, one a file.
        skipped: the files that the last reading left out, each with the reason.

    Raises:
        MissingFileError: a file that does not exist, or a pattern that fits none.
        InputError: no file, a directory without any, an unknown way to part documents.
        CorpusError: (when it is read) a file that is no UTF-8 text, or is damaged.
    """

    def __init__(self, files: Any, *, documents: Any = "file", delimiter: Any = None, errors: Any = "strict") -> None:
        named = [files] if isinstance(files, (str, os.PathLike)) else files
        self.files = [path for name in named for path in _existing(name)]
        self.skipped: dict[Path, str] = {}
        if not self.files:
            raise InputError("files is empty: name at least one text file.")
        if documents not in _DOCUMENTS:
            raise InputError(
                f"documents={documents!r} must be one of {', '.join(map(repr, _DOCUMENTS))}."
                f"{nearest(str(documents), _DOCUMENTS)} Any other way is a delimiter=…."
            )
        if delimiter is not None and (not isinstance(delimiter, str) or not delimiter):
            raise InputError(f"delimiter={delimiter!r} must be a text of at least one character.")
        if delimiter is not None and documents != "file":
            raise InputError(f"documents={documents!r} and delimiter={delimiter!r} contradict each other: pass one.")
        if errors not in _ERRORS:
            raise InputError(
                f"errors={errors!r} must be one of {', '.join(map(repr, _ERRORS))}.{nearest(str(errors), _ERRORS)}"
            )
        self.documents, self.delimiter, self.errors = documents, delimiter, errors

    @property
    def num_bytes(self) -> int | None:
        """The size of all files together; None where one is compressed, whose text is longer."""
        if any(file.suffix in _COMPRESSED for file in self.files):
            return None
        return sum(map(_size, self.files))

    def __iter__(self) -> Iterator[str]:
        self.skipped = {}
        for file in self.files:
            if self.errors == "skip" and (reason := _problem_of(file)):
                self.skipped[file] = reason
                continue
            for document in self._documents(_read(file, "strict" if self.errors == "skip" else self.errors)):
                if document and not document.isspace():
                    yield document
        if self.skipped:
            first, reason = next(iter(self.skipped.items()))
            warn(
                f"{len(self.skipped)} of {len(self.files)} files were left out, the first of them {str(first)!r}: "
                f"{reason} `TextFiles.skipped` lists them."
            )

    def _documents(self, pieces: Iterator[str]) -> Iterator[str]:
        if self.delimiter is not None:
            return _split(pieces, self.delimiter)
        if self.documents == "line":
            return _split(pieces, "\n")
        if self.documents == "blank line":
            return _paragraphs(_split(pieces, "\n"))
        return iter(["".join(pieces)])


def documents_of(source: Any, text_column: Any = "text") -> Iterator[str]:
    """The texts of a source, one by one.

    Args:
        source: TextFiles; a pathlib.Path or a list of them, which stand for TextFiles(source); or texts: a list, an
            iterator, a data set of texts or of rows with a column of texts, such as one of the `datasets` library.
        text_column: which column of a row holds the text.

    Raises:
        InputError: a source that is none, or an item of it that is no text.
        UnknownNameError: rows without that column.
        CorpusError: a text that is none, or a file that is not one.
    """
    return _texts(_items(source, text_column), text_column)


def is_read_once(source: Any) -> bool:
    """Whether `source` is an iterator or a generator: what has been read of it is gone."""
    return isinstance(source, Iterator)


def num_bytes_of(source: Any) -> int | None:
    """The size of a source, where it is known before reading."""
    if isinstance(source := _with_files(source), TextFiles):
        return source.num_bytes
    return None


def _with_files(source: Any) -> Any:
    if isinstance(source, Path):
        return TextFiles(source)
    if isinstance(source, (list, tuple)) and source and all(isinstance(item, Path) for item in source):
        return TextFiles(source)
    return source


def _refuse_names_of_files(texts: list[Any] | tuple[Any, ...]) -> None:
    """A list of names, such as glob.glob gives, would become a corpus of names."""
    if texts and all(isinstance(text, str) and _is_name_of_a_file(text) for text in texts):
        raise InputError(
            f"Each of the {len(texts)} texts is the name of a file that exists, the first {texts[0]!r}. Pass "
            f"TextFiles(names) to read the files; texts that only look like names can come from an iterator, "
            f"iter(texts)."
        )


def _is_name_of_a_file(text: str) -> bool:
    try:
        return "\n" not in text and Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False


def _items(source: Any, text_column: Any) -> Iterator[Any]:
    if isinstance(source, (str, bytes)):
        start = source[:40]
        raise InputError(
            f"A corpus is many texts, got the one {type(source).__name__} {start!r}. Pass TextFiles(path) for a file, "
            "[text] for a text."
        )
    if isinstance(source, Mapping):
        raise InputError(
            f"A corpus is a sequence of texts, got a dictionary of {', '.join(map(str, source))}: pass one."
        )
    if columns := getattr(source, "column_names", None):
        _check_column(text_column, columns)
        if hasattr(source, "select_columns"):
            source = source.select_columns([text_column])  # so that the others need not be decoded
    source = _with_files(source)
    if isinstance(source, (list, tuple)):
        _refuse_names_of_files(source)
    if hasattr(source, "__iter__"):
        return iter(source)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):  # a map-style data set need not know its end
        return (source[index] for index in range(len(source)))
    raise InputError(f"A corpus must be a sequence of texts, got {source!r} of type {type(source).__name__}.")


def _texts(items: Iterator[Any], text_column: Any) -> Iterator[str]:
    for number, item in enumerate(items):
        if isinstance(item, Mapping):
            _check_column(text_column, list(item))
            item = item[text_column]
        if not isinstance(item, str):
            raise InputError(
                f"Document {number} of the corpus must be a str, or a row with one in {text_column!r}; got {item!r} of "
                f"type {type(item).__name__}."
            )
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"Document {number} of the corpus is no valid text: it has {item[error.start]!r}, half of a character, "
                f"at {error.start}. It begins with {item[:40]!r}."
            ) from error
        yield item


def _check_column(text_column: Any, columns: Any) -> None:
    if text_column not in columns:
        raise UnknownNameError(
            f"There is no column text_column={text_column!r}; there are {', '.join(map(str, columns))}."
            f"{nearest(str(text_column), map(str, columns))}"
        )


def _existing(file: Any) -> list[Path]:
    """The files that a path, a directory or a pattern stands for."""
    path = Path(file)
    if path.is_dir():
        inside = sorted(path.rglob("*"))
        files = [each for each in inside if each.is_file() and not _is_hidden(each.relative_to(path))]
        if not files:
            raise InputError(f"The directory {str(path)!r} has no file.")
        return files
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # which patterns from "/" on need
        fitting = [Path(name) for name in names if not Path(name).is_dir()]
        if fitting:
            return fitting
        raise MissingFileError(f"No file fits the pattern {str(path)!r}.")
    raise MissingFileError(f"There is no file {str(path)!r}.")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _problem_of(path: Path) -> str | None:
    """Why a file can't be read as text; None where it can."""
    try:
        for _ in _read(path, "strict"):
            pass
    except CorpusError as error:
        return str(error)
    return None


def _read(path: Path, errors: str) -> Iterator[str]:
    """The text of a file in pieces; `errors` as of `bytes.decode`."""
    # The class takes a decoder of bytes too, which its type does not say.
    decoder: Any = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(errors), translate=True)
    done = 0  # bytes before this piece
    begun = False
    with _readable(path), _COMPRESSED.get(path.suffix, open)(path, "rb") as file:
        while True:
            piece = file.read(_PIECE)
            try:
                text: str = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                # What the decoder complains of begins with what it had kept of the piece before.
                position = done - (len(error.object) - len(piece)) + error.start
                raise CorpusError(
                    f"{str(path)!r} is no UTF-8 text: byte {error.object[error.start]:#04x} at {position:,} "
                    f"({error.reason}). Leave the file out, convert it (iconv -f latin1 -t utf-8, say), or pass "
                    f"TextFiles(…, errors='skip') or 'replace'."
                ) from error
            yield text if begun else text.removeprefix("\ufeff")
            begun = begun or bool(text)
            if not piece:
                return
            done += len(piece)


def _size(path: Path) -> int:
    with _readable(path):
        return path.stat().st_size


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CorpusError(f"{str(path)!r} can't be read: {reason}.") from error


def _split(pieces: Iterable[str], delimiter: str) -> Iterator[str]:
    """`"".join(pieces).split(delimiter)`, one part in memory at a time."""
    begun: list[str] = []  # the part that has not ended yet
    tail = ""  # its last characters, which may be the beginning of a delimiter
    for piece in pieces:
        *ended, rest = (tail + piece).split(delimiter)
        for part in ended:
            yield "".join([*begun, part])
            begun.clear()
        sure = max(0, len(rest) - len(delimiter) + 1)
        begun.append(rest[:sure])
        tail = rest[sure:]
    yield "".join([*begun, tail])


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    paragraph: list[str] = []
    for line in lines:
        if line and not line.isspace():
            paragraph.append(line)
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph.clear()
    yield "\n".join(paragraph)
