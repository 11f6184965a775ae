"""Place: how much of an epoch is used, so that any number of processes can go on with the rest.

The samplers of `minitransformers.data`, and the loaders of a `Trainer`, store how many examples or batches all
processes together have used, and divide the rest of the epoch anew. The shares of a DistributedSampler, and lists of
batches that a script divides itself, are read up to the same number of examples. Of other sources nobody knows which
examples other processes have used: they are refused when the number of processes changes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from minitransformers.errors import CheckpointError
from minitransformers.training.loop.distributed import collective_device, sum_over_ranks, world_size
from minitransformers.training.loop.jumps import can_jump, draws_at_start
from minitransformers.training.loop.progress import Progress
from minitransformers.training.loop.restoring import checked_count, restoring


class Place:
    """The place of a run in an epoch of its data.

    Attributes:
        before: batches of the epoch that were used before it was last divided among processes, in the present number.
        first: the number of the batch to go on with, in the order of the source.
        is_found: the source itself goes on at the place.
        is_same_division: the number of processes has not changed.
    """

    def __init__(self, source: Any) -> None:
        self.loader = getattr(source, "loader", source)  # inside a StoppableLoader
        self.before, self.first, self.is_found, self.is_same_division = 0, 0, False, True
        self._state: Mapping[str, Any] = {}
        self._is_sought = False

    def state_dict(self, progress: Progress) -> dict[str, Any]:
        """The place, as JSON can hold it."""
        if self._is_sought:
            return {**self._state}
        place: dict[str, Any] = {"processes": world_size(), "before": self.before, "order": self._order()}
        consumed = progress.batch - self.before
        if (sampler := self._sampler()) is not None:
            place["sampler"] = sampler.state_dict(consumed=consumed)
        elif world_size() == 1 and can_jump(self.loader):
            place["sampler"] = {"batches": progress.batch}
        if (stream := self._shared_stream()) is not None:
            place["origin"] = stream.origin
        if (stateful := self._stateful()) is not None:
            place["source"] = _text(stateful.state_dict())
        return place

    def load_state_dict(self, state: Mapping[str, Any] | None, progress: Progress) -> None:
        """Keep a place for `find`, which is called when the epoch begins.

        Raises:
            CheckpointError: nobody knows which examples of the epoch are used.
        """
        self._state, self._is_sought = state or {}, state is not None
        self.is_same_division = self._state.get("processes", world_size()) == world_size()
        if not self.is_same_division and progress.batch and not self._can_divide():
            raise CheckpointError(
                f"The checkpoint is in the middle of an epoch, of which {self._state['processes']} processes have read "
                f"{progress.rows} examples; which ones is not known to {world_size()} processes. Use a sampler of "
                f"minitransformers.data or DistributedSampler, start with as many processes as before, or resume from "
                f"a checkpoint at the end of an epoch."
            )

    def find(self, progress: Progress) -> None:
        """Let the source go on at the place, if it can; `progress.batch` becomes the number of batches before it.

        Raises:
            CheckpointError: the place is one in other data.
        """
        state, sampler, stream = self._state, self._sampler(), self._shared_stream()
        self._is_sought = False
        self.first, self.before = progress.batch, checked_count("before", state.get("before", 0))
        with restoring("The place in the data"):
            if sampler is not None and "sampler" in state:
                sampler.load_state_dict(state["sampler"])
                self.is_found = True
                self.before = (
                    progress.batch - sampler.batches_since if self.is_same_division else sampler.batches_before
                )
            elif "source" in state and self.is_same_division and (stateful := self._stateful()) is not None:
                stateful.load_state_dict(_value(state["source"]))
                self.is_found = True
            elif stream is not None:
                if not self.is_same_division:
                    stream.origin, self.is_found = progress.rows, True
                    self.before = -(-progress.rows // (stream.batch_size * world_size()))
                else:
                    stream.origin = checked_count("origin", state.get("origin", 0))
                    self.first = progress.batch - self.before
            elif not self.is_same_division and world_size() == 1 and "batches" in state.get("sampler", {}):
                progress.batch = self.first = checked_count("batches", state["sampler"]["batches"])
                self.before = 0
                self.is_same_division = True  # in which this process has all batches
        if not self.is_same_division and self.is_found:
            progress.batch = self.before

    def read_up_to(self, batches: Iterator[Any], progress: Progress, num_rows: Any) -> Any:
        """Read so many batches that all processes together have read as many examples as before; returns the last one.

        Raises:
            CheckpointError: no number of batches has as many examples.
        """
        rows, progress.batch, latest = 0, 0, None
        while rows < progress.rows:
            following = next(batches, None)
            own = 0 if following is None else num_rows(following)
            new = int(sum_over_ranks([{"rows": own}], collective_device())["rows"])
            if not new or rows + new > progress.rows:
                raise CheckpointError(
                    f"{self._state.get('processes')} processes have read {progress.rows} examples of this epoch. "
                    f"{world_size()} processes read {rows} in {progress.batch} batches, and {rows + new} in one more: "
                    f"choose a batch size that divides the rest, or as many processes as before."
                )
            rows, latest, progress.batch = rows + new, following or latest, progress.batch + 1
        return latest

    def _can_divide(self) -> bool:
        """Whether the rest of an epoch can be divided among another number of processes."""
        saved = self._state
        if self._sampler() is not None:
            return "sampler" in saved
        if not isinstance(self.loader, DataLoader):
            return not hasattr(self.loader, "dataset")  # batches that a script divides itself
        if isinstance(self.loader.dataset, IterableDataset):
            has_order = self._shared_stream() is not None or "origin" in saved
            return has_order and not self.loader.num_workers
        if world_size() == 1 and "batches" in saved.get("sampler", {}) and saved["order"] == self._order():
            return can_jump(self.loader)
        return isinstance(self.loader.sampler, DistributedSampler) and saved["order"] == self._order()

    def _order(self) -> str | None:
        """The kind of order of the examples."""
        batches = getattr(self.loader, "batch_sampler", None)
        sampler = getattr(batches, "sampler", None) or getattr(self.loader, "sampler", None)
        return None if sampler is None else type(sampler).__name__

    def _sampler(self) -> Any:
        """The loader's batch sampler, if it can go on anywhere."""
        sampler = getattr(self.loader, "batch_sampler", None)
        return sampler if hasattr(sampler, "batches_before") and draws_at_start(sampler) else None

    def _shared_stream(self) -> Any:
        """The stream of which this process reads a share."""
        dataset = getattr(self.loader, "dataset", None)
        return dataset if hasattr(dataset, "origin") else None

    def _stateful(self) -> Any:
        """The loader, or its stream, if it has a state of its own that is exact."""
        loader = self.loader
        if hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict"):
            return loader
        dataset = getattr(loader, "dataset", None)
        has_state = hasattr(dataset, "state_dict") and hasattr(dataset, "load_state_dict")
        is_stream = isinstance(loader, DataLoader) and isinstance(dataset, IterableDataset)
        is_read_here = not getattr(loader, "num_workers", 0)
        return dataset if has_state and is_stream and is_read_here and not _has_buffer(dataset) else None


def _has_buffer(dataset: Any) -> bool:
    """Whether it shuffles a buffer of examples, which the states of streams of `datasets` leave out."""
    part = getattr(dataset, "_ex_iterable", None)
    while part is not None:
        if "Buffer" in type(part).__name__:
            return True
        part = getattr(part, "ex_iterable", None)
    return False


def _text(state: Any) -> str:
    """A state with tensors, as text."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _value(text: str) -> Any:
    return torch.load(io.BytesIO(base64.b64decode(text, validate=True)), weights_only=True)
