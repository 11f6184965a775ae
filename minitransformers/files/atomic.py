"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there replaces `path` once the block ends without error.

    The bytes are synchronised to disk before the rename, so that a crash leaves the old file or the new one. Renaming
    rather than overwriting also keeps processes alive that have the old file memory-mapped: they go on reading the old
    bytes. A replaced file hands on its permissions, a new one gets the ordinary ones. A symbolic link is replaced
    itself: what it points to, which in a hub's cache is shared by several names, stays as it is.

    Raises:
        OSError: `path` is a directory, its directory does not exist or cannot be written to, or the disk is full.
    """
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(f"{str(path)!r} is a directory, and cannot be replaced by a file.")
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    # Opened so rather than by tempfile, whose files only their owner may read; a saved model is an ordinary file.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else None
        if mode is not None:
            temporary.chmod(mode | stat.S_IWUSR)  # at once, so that what is private never shows
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
