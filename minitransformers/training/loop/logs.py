"""Where the numbers of a run go: a file of JSON lines, or TensorBoard.

    train(…, loggers=[JsonLines("run/log.jsonl"), TensorBoard("run/tensorboard")])

A logger is called with each record: a dictionary of numbers, with the number of updates as "step". When a run goes on
from a checkpoint, `rewind(n)` lets it forget all but the first n records: what came after the checkpoint comes again.
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
    """What a run tells its numbers to."""

    def __call__(self, record: Record) -> None:
        """Take in one record."""

    def rewind(self, count: int) -> None:
        """Forget all but the first `count` records."""


class JsonLines:
    """One JSON object a line, written at once, so that `tail -f` shows a run and a crash loses nothing.

    Lines that are there already are kept until `rewind`, which also drops a last line that a crash cut short.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            raise InputError(f"path={str(path)!r} is a directory; name a file in it, such as log.jsonl.")

    def __call__(self, record: Record) -> None:
        """Write one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")

    def rewind(self, count: int) -> None:
        """Keep the first `count` lines of the file.

        Raises:
            InputError: the file has fewer: it is not the log of this run.
        """
        lines = self.path.read_text("utf-8").splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < count:
            raise InputError(
                f"{self.path} has {len(whole)} lines, but {count} records were logged up to the checkpoint: it belongs "
                "to another run. Name another file, or remove it."
            )
        if lines != whole[:count]:
            write_text(self.path, "".join(whole[:count]))


class TensorBoard:
    """Curves for TensorBoard: `tensorboard --logdir DIRECTORY` shows them.

    Training's numbers are named train/…, those of evaluations eval/… and test/…, as in `transformers`.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._writer: SummaryWriter | None = None
        self._rewound = False
        try:
            import torch.utils.tensorboard  # noqa: F401  # asked for here, not after the first hour of training
        except ImportError as error:
            raise MissingPackageError.of("TensorBoard", "tensorboard", "training") from error

    def __call__(self, record: Record) -> None:
        """Add a point to the curve of each number."""
        step = int(record["step"])
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # Once rewound, TensorBoard hides what an earlier process wrote at this step or a later one.
            self._writer = SummaryWriter(str(self.directory), purge_step=step if self._rewound else None)
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(_curve(name), value, step)
        self._writer.flush()

    def rewind(self, count: int) -> None:
        """Hide what was written after the first `count` records, from the next record's step on."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._rewound = None, True


class MissingPackageError(MinitransformersError, ImportError):
    """A package that only this part of the library needs is not installed."""

    @classmethod
    def of(cls, what: str, package: str, extra: str) -> MissingPackageError:
        """The error that says how to install it."""
        return cls(f"{what} needs the package {package}: `pip install 'minitransformers[{extra}]'` installs it.")


def _curve(name: str) -> str:
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"
