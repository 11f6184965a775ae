"""Reading a DataLoader from the middle of an epoch, without reading what comes before.

The order of an epoch is drawn when it begins, by the samplers that are listed here. So indices can be skipped in place
of examples. Workers draw random numbers, too, for masks for example: each batch comes with the states of the generators
of its worker, which a checkpoint keeps, and a new worker starts from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from types import SimpleNamespace
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)

from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.training.loop.random_state import (
    generator_state,
    random_state,
    set_generator_state,
    set_random_state,
)

_KNOWN = (
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    DistributedSampler,
    EpochBatchSampler,
)
_OPTIONS = ("pin_memory", "timeout", "multiprocessing_context", "generator", "prefetch_factor")


def can_jump(loader: Any) -> bool:
    """Whether `read_from` works: a plain DataLoader of indexed examples, with samplers that draw at the start."""
    if getattr(type(loader), "__iter__", None) is not DataLoader.__iter__ or isinstance(
        loader.dataset, IterableDataset
    ):
        return False
    batches = loader.batch_sampler
    samplers = loader.sampler if type(batches) is BatchSampler else batches
    has_simple_workers = not loader.num_workers or (loader.in_order and not loader.persistent_workers)
    return has_simple_workers and draws_at_start(samplers)


def draws_at_start(sampler: Any) -> bool:
    """Whether a sampler draws the order of an epoch when that begins, with no draw later."""
    return isinstance(sampler, _KNOWN) or bool(getattr(sampler, "draws_at_start", False))


def read_from(loader: DataLoader[Any], first: int, workers: dict[str, Any]) -> Iterator[Any]:
    """The batches of `loader` from the one with that number on.

    Args:
        loader: one that `can_jump`.
        first: counted from 0.
        workers: the states of the workers by number, as they were after their last batches before `first`; updated
            with each batch.
    """
    # The new loader gives batches to workers in turns, from worker 0 on: empty ones go to those whose turn has been.
    num_empty = first % loader.num_workers if loader.num_workers else 0
    rest = _Rest(loader.batch_sampler, first, num_empty)
    functions = _InWorker(loader, {**workers})
    has_workers = bool(loader.num_workers)
    reader = iter(
        DataLoader(
            loader.dataset,
            batch_sampler=rest,
            num_workers=loader.num_workers,
            collate_fn=functions.collate if has_workers else loader.collate_fn,
            worker_init_fn=functions.begin if has_workers else None,
            **{name: getattr(loader, name) for name in _OPTIONS},
        )
    )
    if not has_workers:
        rest.draw()
        return reader
    return _without_states(reader, workers)


def _without_states(reader: Iterator[Any], workers: dict[str, Any]) -> Iterator[Any]:
    for received in reader:
        if received is not None:
            batch, number, state = received
            workers[str(number)] = state
            yield batch


class _Rest:
    """The batches of a batch sampler from one on, after empty ones."""

    def __init__(self, batches: Any, first: int, num_empty: int) -> None:
        self.batches, self.first, self.num_empty = batches, first, num_empty
        self._following: Iterator[list[int]] = iter(())

    def __iter__(self) -> Iterator[list[int]]:
        self._following = self._all()
        return self

    def _all(self) -> Iterator[list[int]]:
        yield from [[]] * self.num_empty
        yield from islice(self.batches, self.first, None)

    def __next__(self) -> list[int]:
        return next(self._following)

    def draw(self) -> None:
        """Let the sampler draw its order now, and not when the first batch is needed."""
        self._following = chain(list(islice(self._following, 1)), self._following)


class _InWorker:
    """The functions that a worker calls: at its start, and with the examples of each batch."""

    def __init__(self, loader: DataLoader[Any], states: dict[str, Any]) -> None:
        self.collate_fn: Callable[[Any], Any] = loader.collate_fn
        self.init_fn, self.states = loader.worker_init_fn, states

    def begin(self, number: int) -> None:
        if self.init_fn is not None:
            self.init_fn(number)
        state = self.states.get(str(number))
        if state is not None:
            set_random_state(state["random"])
            set_generator_state(self._parts(), state["generators"])

    def collate(self, examples: Any) -> Any:
        if not len(examples):
            return None
        batch = self.collate_fn(examples)
        info: Any = get_worker_info()
        return batch, info.id, {"random": random_state(), "generators": generator_state(self._parts())}

    def _parts(self) -> SimpleNamespace:
        info: Any = get_worker_info()
        return SimpleNamespace(dataset=info.dataset, collate_fn=self.collate_fn)


def parts_of(loader: object) -> Iterable[Any]:
    """The loader and its parts, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = [loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    parts += [getattr(loader, "dataset", None), getattr(loader, "collate_fn", None)]
    return list({id(part): part for part in parts if part is not None}.values())
