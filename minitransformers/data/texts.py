"""Where texts come from: files of any size, lists, data sets; each is a sequence of documents, read piece by piece."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minitransformers.errors import CorpusError, InputError, MissingFileError, UnknownNameError, nearest

_DOCUMENTS = ("file", "line", "blank line")
_PIECE = 1 << 18  # bytes that are read at a time


class TextFiles:
    """The documents of text files, in order; every iteration reads the files anew.

    A document must fit in memory, a file need not. Files are UTF-8; a byte order mark is left out, and line ends of any
    system are "\\n", so a file's text is what `Path(…).read_text("utf-8-sig")` gives. Documents with nothing but white
    space are left out.

    Args:
        files: a path, or several.
        documents: "file": each file is one document; "line": each line; "blank line": they are parted by lines that
            are empty or white space.
        delimiter: parts documents, in place of the above; such as "<|endoftext|>". It belongs to none of them.

    Raises:
        MissingFileError: a file that does not exist.
        InputError: no file, a directory, an unknown way to part documents.
        CorpusError: (when it is read) a file that is no UTF-8 text.
    """

    def __init__(self, files: Any, *, documents: Any = "file", delimiter: Any = None) -> None:
        self.files = [_existing(file) for file in ([files] if isinstance(files, (str, Path)) else files)]
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
        self.documents, self.delimiter = documents, delimiter

    @property
    def num_bytes(self) -> int:
        """The size of all files together."""
        return sum(map(_size, self.files))

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            for document in self._documents(_read(file)):
                if document and not document.isspace():
                    yield document

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


def _existing(file: Any) -> Path:
    path = Path(file)
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is a directory: pass the files in it, such as sorted(Path({str(path)!r}).glob('*.txt'))."
        )
    if not path.exists():
        raise MissingFileError(f"There is no file {str(path)!r}.")
    return path


def _read(path: Path) -> Iterator[str]:
    """The text of a file in pieces."""
    # The class takes a decoder of bytes too, which its type does not say.
    decoder: Any = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    done = 0  # bytes before this piece
    begun = False
    with _readable(path), open(path, "rb") as file:
        while True:
            piece = file.read(_PIECE)
            try:
                text: str = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                # What the decoder complains of begins with what it had kept of the piece before.
                position = done - (len(error.object) - len(piece)) + error.start
                raise CorpusError(
                    f"{str(path)!r} is no UTF-8 text: byte {error.object[error.start]:#04x} at {position:,} "
                    f"({error.reason}). Leave the file out, or convert it: iconv -f latin1 -t utf-8, say."
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
    except OSError as error:
        raise CorpusError(f"{str(path)!r} can't be read: {error.strerror or error}.") from error


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
