"""Checkpoints that a thread writes while the training goes on: `Settings.async_save`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from minitransformers.errors import InputError, TrainingError
from minitransformers.files.saving import write_checkpoint
from minitransformers.training.loop.checkpoint_directories import RUN, write_json
from minitransformers.training.loop.checkpoints import (
    remove_old,
    rename_to_final,
    run_numbers,
    write_numbers,
    writing,
)
from minitransformers.training.loop.distributed import is_sharded, on_all_ranks, rank, unwrap
from minitransformers.training.loop.hooks import Hooks, call_hooks
from minitransformers.training.loop.model_files import weights_in_files
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.run_tensors import tensors_of, write_tensors
from minitransformers.training.loop.weights import has_finite_weights, named_weights

logger = logging.getLogger(__name__)


class BackgroundSaving:
    """Writes the checkpoints of a run, one at a time, in a thread of the main process.

    All numbers and a copy of all tensors are taken when a checkpoint is due; the thread only writes. As ever, the
    directory gets its name when all files are on the disk. At the end of a `with` block the last one is finished.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._announce: Callable[[], None] | None = None  # call the hooks of a finished checkpoint

    def __enter__(self) -> BackgroundSaving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None or issubclass(kind, SystemExit):
            self.finish()
        elif self._thread is not None:  # the other processes may have no error
            self._thread.join()

    def start(self, run: Run, hooks: Sequence[Hooks]) -> None:
        """Begin to write a checkpoint, after the one before is finished.

        Raises:
            TrainingError: one of the two could not be written.
            InputError: the model is sharded, so that no process has whole weights.
        """
        if is_sharded(run.model):
            raise InputError("async_save=True needs whole weights in each process: use parallelize(model, 'ddp').")
        self.finish()
        final = Path(str(run.settings.output_dir)) / f"checkpoint-{run.progress.step}"
        own_files = next((hook.save_model for hook in hooks if hasattr(hook, "save_model")), None)
        is_finite = has_finite_weights(run.model)
        with writing(final) as unfinished:
            if own_files is not None:  # of a user, from the weights as they are now
                on_all_ranks(lambda: own_files(run, unfinished))
            on_all_ranks(lambda: write_numbers(run, unfinished))
        self._announce = partial(call_hooks, hooks, "on_save", run, final)
        if rank() != 0:
            return
        weights = {name: _copy(tensor) for name, tensor in named_weights(unwrap(run.model)).items()}
        tensors = {f"model.{name}": tensor for name, tensor in weights.items()}
        tensors |= {name: _copy(tensor) for name, tensor in tensors_of(run, weights).items()}
        numbers = {"finite": is_finite, **run_numbers(run, hooks)}
        model, keep, best_step = unwrap(run.model), run.settings.keep, run.progress.best_step

        def write() -> None:
            if own_files is None:
                _write_model(model, weights, unfinished)
            placed = weights_in_files(weights, unfinished)
            write_json(unfinished / RUN, {**numbers, "weights": placed})
            left = {name: each for name, each in tensors.items() if name.removeprefix("model.") not in placed}
            write_tensors(left, unfinished, alone=True)
            rename_to_final(unfinished, final)
            remove_old(keep, best_step, final.parent)

        self._thread = threading.Thread(target=self._guarded(write, final), name=f"saving {final.name}")
        self._thread.start()

    def finish(self) -> None:
        """Wait until the checkpoint is written, and call the hooks' `on_save`.

        Raises:
            TrainingError: it could not be written.
        """
        announce, self._announce = self._announce, None
        if announce is not None:
            on_all_ranks(self._join)
            announce()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error

    def _guarded(self, write: Callable[[], None], final: Path) -> Callable[[], None]:
        def target() -> None:
            try:
                write()
            except Exception as error:
                message = f"{final} could not be written: {error}. Earlier checkpoints are unchanged."
                self._error = TrainingError(message)
                logger.warning("%s", message)  # now, and as an error when the run waits for it

        return target


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _write_model(model: Any, weights: dict[str, Tensor], directory: Path) -> None:
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(directory, state_dict=weights)
    else:
        write_checkpoint(directory, weights)
