"""Loggers, which write the records of a run to a file of JSON lines, or to TensorBoard.

    train(…, loggers=[JsonLines("run/log.jsonl"), TensorBoard("run/tensorboard")])

A logger is called with each record: a dictionary of numbers, with the number of updates as "step". When a run resumes
from a checkpoint, `rewind(n)` removes all but the first n records: the records after the checkpoint will be repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from minitransformers.errors import InputError, MinitransformersError
from minitransformers.files.atomic import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Record = Mapping[str, Any]


@runtime_checkable
class Logger(Protocol):
    """A callable that stores records."""

    def __call__(self, record: Record) -> None:
        """Store one record."""

    def rewind(self, count: int) -> None:
        """Remove all but the first `count` records."""


class JsonLines:
    """Writes one JSON object per line, immediately: `tail -f` shows the run, and a crash loses nothing.

    Existing lines are kept until `rewind`, which also removes an incomplete last line after a crash.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise InputError(f"path={str(path)!r} is a directory; name a file in it, such as log.jsonl.")

    def __call__(self, record: Record) -> None:
        """Append one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")

    def rewind(self, count: int) -> None:
        """Keep the first `count` lines of the file.

        Raises:
            InputError: the file has fewer lines, so it is not the log of this run.
        """
        lines = self.path.read_text("utf-8").splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < count:
            raise InputError(
                f"{self.path} has {len(whole)} lines, but {count} records were logged up to the checkpoint: it belongs "
                "to another run. Choose another file, or remove it."
            )
        if lines != whole[:count]:
            write_text(self.path, "".join(whole[:count]))


class TensorBoard:
    """Writes curves for TensorBoard: `tensorboard --logdir DIRECTORY` shows them.

    As in `transformers`, curves of the training are named train/…, curves of evaluations eval/… and test/….
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._writer: SummaryWriter | None = None
        self._rewound = False
        try:
            import torch.utils.tensorboard  # noqa: F401  # fails here, not after the first hour of training
        except ImportError as error:
            raise MissingPackageError.of("TensorBoard", "tensorboard", "training") from error

    def __call__(self, record: Record) -> None:
        """Add a point to the curve of each number."""
        step = int(record["step"])
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # After a rewind, TensorBoard hides the points that an earlier process wrote from this step on.
            self._writer = SummaryWriter(str(self.directory), purge_step=step if self._rewound else None)
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(_curve(name), value, step)
        self._writer.flush()

    def rewind(self, count: int) -> None:
        """Hide the points after the first `count` records, from the step of the next record on."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._rewound = None, True


class MissingPackageError(MinitransformersError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, feature: str, package: str, extra: str) -> MissingPackageError:
        """The error, with the command that installs the package."""
        return cls(f"{feature} needs the package {package}: `pip install 'minitransformers[{extra}]'` installs it.")


def _curve(name: str) -> str:
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"
