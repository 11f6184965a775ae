"""Directories of checkpoints: finding, ordering, checking and removing them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRAINING = "training"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
RUN, CHECKSUMS = f"{TRAINING}/run.json", f"{TRAINING}/checksums.json"


def checkpoints_in(output_dir: Path) -> list[Path]:
    """The directories of checkpoints, also those that a newer one of the same step has replaced, oldest first."""
    names = re.compile(r"checkpoint-\d+|\.checkpoint-\d+\.replaced")
    found = output_dir.iterdir() if output_dir.is_dir() else iter(())
    return sorted((path for path in found if path.is_dir() and names.fullmatch(path.name)), key=serial_number)


def get_last_checkpoint(folder: str | os.PathLike[str]) -> str | None:
    """The checkpoint of the latest step in a run's `output_dir`; None if there is no checkpoint."""
    found = [path for path in checkpoints_in(Path(folder)) if not path.name.startswith(".")]
    last = max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if last is None else str(last)


def remove_checkpoint(directory: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that an interrupted removal leaves no damaged checkpoint."""
    renamed = directory.with_name(f".{directory.name.strip('.')}.partial")
    directory.rename(renamed)
    shutil.rmtree(renamed)


def serial_number(directory: Path) -> int:
    """The position of a checkpoint in the order of writing, which may differ from the steps; −1 if unreadable."""
    try:
        return int(read_json(directory / RUN)["serial"])
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return -1


def is_finite(directory: Path) -> bool:
    """Whether all weights of a checkpoint are finite numbers; of one that does not tell, True."""
    try:
        return bool(read_json(directory / RUN).get("finite", True))
    except (OSError, ValueError, AttributeError):
        return True


def last_finite(checkpoints: list[Path]) -> list[Path]:
    """The newest of the checkpoints whose weights are finite, which is never removed; empty if there is none."""
    return next(([path] for path in reversed(checkpoints) if is_finite(path)), [])


def find_damage(directory: Path) -> str | None:
    """A description of the damage to a checkpoint's files; None for an intact checkpoint."""
    try:
        checksums = read_json(directory / CHECKSUMS)
        for name, expected in checksums.items():
            if ".." in Path(name).parts or Path(name).is_absolute():
                return f"{CHECKSUMS} names {name!r:.80}, which is outside"
            if name == WEIGHTS and is_resharded(directory, checksums):
                continue
            if checksum(directory / name) != expected:
                return f"{name} is damaged (its checksum does not match the stored one)"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).relative_to(directory)} is missing"
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return str(error)
    return None


def is_resharded(directory: Path, checksums: Mapping[str, str] | None = None) -> bool:
    """Whether the model's file was replaced by several files and an index after the checkpoint was written.

    Args:
        directory: of the checkpoint.
        checksums: those in the directory, by default read from it.
    """
    checksums = read_json(directory / CHECKSUMS) if checksums is None else checksums
    return INDEX not in checksums and not (directory / WEIGHTS).exists() and (directory / INDEX).exists()


def files_in(directory: Path) -> list[Path]:
    """All files in a directory and its subdirectories."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def synchronise(path: Path) -> None:
    """Flush a file to the disk, or a directory if the system supports that."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: it is no JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; numbers of NumPy and PyTorch are written as plain numbers."""
    path.write_text(json.dumps(value, default=_plain_number, indent=1) + "\n", "utf-8")


def _plain_number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
