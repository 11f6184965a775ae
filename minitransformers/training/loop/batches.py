"""Batches of a run: grouped into steps, moved to the device, and continued where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.training.loop.distributed import max_over_ranks, world_size
from minitransformers.training.loop.progress import Progress
from minitransformers.training.loop.random_state import (
    generator_state,
    random_state,
    set_generator_state,
    set_random_state,
)
from minitransformers.training.loop.settings import Settings

Batch = Mapping[str, Any]
LABELS = ("labels", "next_sentence_label", "mc_labels", "start_positions")  # arguments whose values count in a loss


def take_batches(batches: Iterator[Any], number: int) -> list[Any]:
    """The next `number` batches, fewer at the end."""
    return list(islice(batches, number))


class Batches:
    """The data of a run, epoch after epoch, in groups of micro-batches that make up one step.

    Exact continuation only needs a loader that gives the same batches from the same random numbers. A checkpoint holds
    the state of all generators at the start of the epoch; the batches that were already used are read again and
    dropped. A sampler of `minitransformers.data` skips them without reading, if the loader has no workers.

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

    def __len__(self) -> int:
        """Batches per epoch on this rank; 0 for a source without length."""
        try:
            return len(self.source)  # type: ignore[arg-type]
        except TypeError:
            return 0

    def epoch(self, progress: Progress, settings: Settings) -> Iterator[list[Batch]]:
        """The micro-batches of each remaining step of the epoch; the last step may have fewer.

        A finished run still asks for the next batch, to see whether the epoch is over too; the random numbers are then
        left as they were, and the step is empty.

        Raises:
            InputError: there is no batch.
        """
        for part in _parts(self.source):
            if hasattr(part, "set_epoch"):
                part.set_epoch(progress.epoch)
        if not progress.batch or self._start is None:
            self._start = {"random": random_state(), "generators": generator_state(self.source)}
            batches = even_batches(self.source)
        else:
            batches = self._rest_of_epoch(progress, self._start)
        while not progress.is_finished(settings):
            following = next(batches, None)
            if following is None:
                return
            yield self.take(chain([following], batches), settings.accumulation)
        before = random_state(), generator_state(self.source)
        is_over = next(batches, None) is None
        set_random_state(before[0])
        set_generator_state(self.source, before[1])
        if not is_over:
            yield []

    def _rest_of_epoch(self, progress: Progress, start: Mapping[str, Any]) -> Iterator[Batch]:
        now = random_state()
        set_random_state(start["random"])
        set_generator_state(self.source, start["generators"])
        to_skip = progress.batch
        sampler = getattr(self.source, "batch_sampler", None)
        if isinstance(sampler, EpochBatchSampler) and not getattr(self.source, "num_workers", 0):
            sampler.load_state_dict(sampler.state_dict(consumed=progress.batch - 1))
            to_skip = 1
        batches = even_batches(self.source)
        for _ in islice(batches, to_skip):
            pass
        set_random_state(now)
        set_generator_state(self.source, self._later)
        return batches

    def count_for(self, rows: int, *, or_else: int) -> int:
        """The number of batches that this rank has used when all ranks together have used `rows` examples."""
        sizes = [getattr(part, "batch_size", None) for part in _parts(self.source)]
        size = next((size for size in sizes if isinstance(size, int)), None)
        return or_else if size is None else -(-rows // (size * world_size()))

    def state_dict(self) -> dict[str, Any]:
        """The values that `epoch` needs to continue, besides the progress."""
        return {"start": self._start, "later": generator_state(self.source)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another process stopped."""
        self._start, self._later = state["start"], state["later"]


def even_batches(source: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, equally many on all ranks: a rank whose data ends early repeats its last batch without labels.

    (Ranks wait for each other in every forward and backward pass.)

    Raises:
        InputError: there is no batch.
    """
    iterator, latest = iter(source), None
    while True:
        batch = next(iterator, None)
        if not max_over_ranks(batch is not None):
            break
        latest = batch if batch is not None else _without_labels(latest)
        yield latest
    if latest is None:
        raise InputError("batches is empty: there is no data.")


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on `device`; tensors in pinned memory (DataLoader's `pin_memory`) move in parallel.

    Dictionaries, lists and tuples are copied; other values stay as they are.
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=batch.is_pinned())
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    return type(batch)(to_device(each, device) for each in batch) if type(batch) in (list, tuple) else batch


def sizes(batches: Sequence[Any]) -> dict[str, int]:
    """The number of "tokens" in the batches, without padding, and of "rows"."""
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


def _without_labels(batch: Batch | None) -> Batch:
    if batch is None:
        raise InputError("batches is empty in this process, and not in others: there is too little data for all.")
    return {key: torch.full_like(value, IGNORED) if key in LABELS else value for key, value in batch.items()}


def _parts(loader: object) -> list[Any]:
    """The loader and its parts, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = [loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    parts += [getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)]
    return list({id(part): part for part in parts if part is not None}.values())
