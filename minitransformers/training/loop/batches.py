"""Batches of a run: grouped into steps, moved to the device, and continued where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import CheckpointError, InputError
from minitransformers.training.loop.distributed import max_over_ranks
from minitransformers.training.loop.jumps import can_jump, parts_of, read_from
from minitransformers.training.loop.places import Place
from minitransformers.training.loop.progress import Progress
from minitransformers.training.loop.random_state import (
    generator_state,
    random_state,
    set_generator_state,
    set_random_state,
)
from minitransformers.training.loop.restoring import restoring
from minitransformers.training.loop.settings import Settings

Batch = Mapping[str, Any]
# Arguments whose values count in a loss
LABELS = ("labels", "next_sentence_label", "sentence_order_label", "mc_labels", "start_positions", "end_positions")


class Repeated(dict[str, Any]):
    """A batch that a rank uses a second time, because others have one more: its loss has the weight 0."""


def take_batches(batches: Iterator[Any], number: int) -> list[Any]:
    """The next `number` batches, fewer at the end."""
    return list(islice(batches, number))


class Batches:
    """The data of a run, epoch after epoch, in groups of micro-batches that make up one step.

    Exact continuation only needs a loader that gives the same batches from the same random numbers. A checkpoint holds
    the states of all generators at the start of the epoch, and the place in the epoch (see places.py). A DataLoader
    with the usual samplers goes on from there at once; of other sources, the batches that were used are read again.

    Args:
        source: yields the batches of one epoch each time.
        take: (batches, number) → the micro-batches of the next step; it is called only while there are batches.
    """

    def __init__(
        self, source: Iterable[Batch], take: Callable[[Iterator[Batch], int], list[Batch]] = take_batches
    ) -> None:
        self.source, self.take = source, take
        self._start: dict[str, Any] | None = None  # the generators at the start of this epoch
        self._later: dict[str, Any] = {}  # the loader's own generators when the checkpoint was written
        self._workers: dict[str, Any] = {}  # the generators of the loader's workers
        self._place = Place(source)

    def __len__(self) -> int:
        """Batches per epoch on this rank; 0 for a source without length."""
        try:
            return len(self.source) + self._place.before  # type: ignore[arg-type]
        except TypeError:
            return 0

    def epoch(self, progress: Progress, settings: Settings) -> Iterator[list[Batch]]:
        """The micro-batches of each remaining step of the epoch; the last step may have fewer.

        A finished run still asks for the next batch, to see whether the epoch is over too; the random numbers are then
        left as they were, and the step is empty.

        Raises:
            InputError: there is no batch.
            CheckpointError: the checkpoint's place in the epoch cannot be found.
        """
        for part in parts_of(self.source):
            if hasattr(part, "set_epoch"):
                part.set_epoch(progress.epoch)
        if not progress.batch or self._start is None:
            self._start = {"random": random_state(), "generators": generator_state(self.source)}
            self._workers, self._place = {}, Place(self.source)
            batches = even_batches(self._read(0), settings.accumulation)
        else:
            batches = self._rest_of_epoch(progress, settings, self._start)
        while not progress.is_finished(settings):
            following = next(batches, None)
            if following is None:
                return
            yield self.take(chain([following], batches), settings.accumulation)
        before = random_state(), generator_state(self.source), {**self._workers}
        is_over = next(batches, None) is None
        set_random_state(before[0])
        set_generator_state(self.source, before[1])
        self._workers.update(before[2])
        if not is_over:
            yield []

    def _rest_of_epoch(self, progress: Progress, settings: Settings, start: Mapping[str, Any]) -> Iterator[Batch]:
        now = random_state()
        with restoring("The place in the data"):
            set_random_state(start["random"])
            set_generator_state(self.source, start["generators"])
        place, latest = self._place, None
        place.find(progress)
        if not place.is_same_division:
            self._workers = {}
        if place.is_found or (can_jump(place.loader) and place.is_same_division):
            batches = self._read(0 if place.is_found else place.first, is_resumed=True)
        else:
            batches = iter(self.source)
            if place.is_same_division:
                for each in islice(batches, place.first):
                    latest = each
            else:
                latest = place.read_up_to(batches, progress, num_rows)
        set_random_state(now)
        set_generator_state(self.source, self._later)
        return even_batches(batches, settings.accumulation, latest=latest, is_resumed=True)

    def _read(self, first: int, *, is_resumed: bool = False) -> Iterator[Batch]:
        """The batches of the epoch from one on. In a resumed epoch, their order is drawn now."""
        loader = self._place.loader
        if not can_jump(loader) or not (is_resumed or loader.num_workers):
            return iter(self.source)
        batches = read_from(loader, first, self._workers)
        return self.source.until_stopped(batches) if hasattr(self.source, "until_stopped") else batches

    def state_dict(self, progress: Progress) -> dict[str, Any]:
        """The values that `epoch` needs to continue, besides the progress."""
        return {
            "start": self._start,
            "later": generator_state(self.source),
            "workers": {**self._workers},  # a copy: reading goes on while a checkpoint is written
            "place": self._place.state_dict(progress) if progress.batch else None,
        }

    def load_state_dict(self, state: Mapping[str, Any], progress: Progress) -> None:
        """Continue where another process stopped, also as another number of processes.

        Raises:
            CheckpointError: nobody knows which examples of the epoch the other processes have used.
        """
        for name in ("start", "later", "workers", "place"):
            if not isinstance(state.get(name), Mapping | None):
                raise CheckpointError(f"{name} is {state[name]!r:.60} in the checkpoint; it must be a dictionary.")
        self._start, self._later = state["start"], state["later"] or {}
        self._workers = dict(state.get("workers") or {})
        self._place.load_state_dict(state.get("place"), progress)


def even_batches(
    source: Iterable[Batch], at_once: int = 1, *, latest: Batch | None = None, is_resumed: bool = False
) -> Iterator[Batch]:
    """The batches, equally many on all ranks: a rank whose data ends early repeats its last batch, uncounted.

    (Ranks wait for each other in every forward and backward pass.)

    Args:
        source: this rank's batches.
        at_once: batches to read before asking the other ranks for the number of theirs.
        latest: the batch before these.
        is_resumed: these are the rest of an epoch, of which nothing may be left.

    Raises:
        InputError: there is no batch.
    """
    iterator = iter(source)
    while True:
        own = list(islice(iterator, at_once))
        number = max_over_ranks(len(own))
        yield from own
        latest = own[-1] if own else latest
        for _ in range(number - len(own)):
            yield _repeated(latest)
        if number < at_once:
            break
    if latest is None and not is_resumed:
        raise InputError("batches is empty: there is no data.")


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on `device`; tensors in pinned memory (DataLoader's `pin_memory`) move in parallel.

    Dictionaries, lists and tuples are copied; other values stay as they are.
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=batch.is_pinned())
    if isinstance(batch, Mapping):
        moved = {key: to_device(value, device) for key, value in batch.items()}
        return Repeated(moved) if isinstance(batch, Repeated) else moved
    return type(batch)(to_device(each, device) for each in batch) if type(batch) in (list, tuple) else batch


def sizes(batches: Sequence[Any]) -> dict[str, int]:
    """The number of "tokens" in the batches, without padding, and of "rows"."""
    batches = [batch for batch in batches if not isinstance(batch, Repeated)]
    masks = [batch.get("attention_mask") if isinstance(batch, Mapping) else None for batch in batches]
    tokens = [
        int(mask.sum()) if isinstance(mask, Tensor) else max((v.numel() for v in _tensors(batch)), default=0)
        for mask, batch in zip(masks, batches, strict=True)
    ]
    return {"tokens": sum(tokens), "rows": sum(map(num_rows, batches))}


def num_rows(batch: Any) -> int:
    """The number of examples in the batch."""
    return max((len(value) for value in _tensors(batch) if value.ndim), default=0)


def _tensors(batch: Any) -> list[Tensor]:
    """The tensors of a batch: a dictionary, or what a collator of a user's own returns."""
    values = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, list | tuple) else [batch]
    return [value for value in values if isinstance(value, Tensor)]


def _repeated(batch: Batch | None) -> Repeated:
    if batch is None:
        raise InputError("batches is empty in this process, and not in others: there is too little data for all.")
    if not isinstance(batch, Mapping):
        raise InputError(
            f"The processes have different numbers of batches, and a batch of type {type(batch).__name__} cannot be "
            f"repeated: let the collator return a dictionary, or give each process equally many batches."
        )
    return Repeated(batch)
