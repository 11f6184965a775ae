"""Checkpoints as directories: which there are, in which order, and whether each is whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

TRAINING = "training"
RUN, CHECKSUMS = f"{TRAINING}/run.json", f"{TRAINING}/checksums.json"


def checkpoints_in(output_dir: Path) -> list[Path]:
    """The directories that have a checkpoint's name, or had one until a newer one took it, as they were written."""
    names = re.compile(r"checkpoint-\d+|\.checkpoint-\d+\.replaced")
    found = output_dir.iterdir() if output_dir.is_dir() else iter(())
    return sorted((path for path in found if path.is_dir() and names.fullmatch(path.name)), key=serial_number)


def get_last_checkpoint(folder: str | os.PathLike[str]) -> str | None:
    """The checkpoint of the latest step in a run's `output_dir`; None where there is none."""
    found = [path for path in checkpoints_in(Path(folder)) if not path.name.startswith(".")]
    last = max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if last is None else str(last)


def remove_checkpoint(directory: Path) -> None:
    """Remove a checkpoint, so that no half of it is ever taken for one."""
    doomed = directory.with_name(f".{directory.name.strip('.')}.partial")
    directory.rename(doomed)
    shutil.rmtree(doomed)


def serial_number(directory: Path) -> int:
    """Checkpoints are numbered in the order in which they were written, whatever their steps; −1 for unreadable."""
    try:
        return int(read_json(directory / RUN)["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def damage(directory: Path) -> str | None:
    """What is wrong with a checkpoint's files; None for nothing."""
    try:
        checksums = read_json(directory / CHECKSUMS)
        for name, expected in checksums.items():
            if checksum(directory / name) != expected:
                return f"{name} is damaged (its checksum is not the one noted)"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).relative_to(directory)} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return None


def files_in(directory: Path) -> list[Path]:
    """All files below a directory."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def synchronise(path: Path) -> None:
    """Let the disk have what was written to a file, or to a directory where the system can do that."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """What a file of JSON holds."""
    return json.loads(path.read_text("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a file of JSON; numbers of NumPy and PyTorch are written as plain ones."""
    path.write_text(json.dumps(value, default=_plain_number, indent=1) + "\n", "utf-8")


def _plain_number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
