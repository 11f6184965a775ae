"""The lock of an output directory: two runs that wrote checkpoints into it would remove each other's."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minitransformers.errors import CheckpointError, InputError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None

logger = logging.getLogger(__name__)
_descriptors: set[int] = set()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, which is made if need be, during a `with` block.

    It is a lock of the operating system (flock) on the directory itself: it leaves no file, and ends with the process
    that holds it, however that ends.

    Raises:
        CheckpointError: another run holds it.
        InputError: there is no such directory, and none can be made.
    """
    descriptor = _lock(directory)
    try:
        yield
    finally:
        if descriptor is not None:
            _descriptors.discard(descriptor)
            os.close(descriptor)


def _lock(directory: Path) -> int | None:
    if fcntl is None:
        return None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"output_dir={str(directory)!r} cannot be used: {error}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(
            f"output_dir={str(directory)!r} is in use by another run{_owner(directory)}, and two runs would remove "
            f"each other's checkpoints. Wait for its end, or choose another output_dir."
        ) from None
    except OSError as error:  # some network file systems
        os.close(descriptor)
        logger.warning("%s cannot be locked (%s): start no second run in it.", directory, error)
        return None
    _descriptors.add(descriptor)
    return descriptor


def _owner(directory: Path) -> str:
    """The process that holds the lock, if the system tells it."""
    inode = directory.stat().st_ino
    try:
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return ""
    return next((f" (process {fields[4]})" for fields in locks if fields[5].endswith(f":{inode}")), "")


def _release_in_child() -> None:
    """Close the descriptors in a forked process, such as a worker of a DataLoader, which may outlive the run."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
