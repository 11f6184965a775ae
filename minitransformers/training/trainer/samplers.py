"""The orders in which a `Trainer` reads its data, and the shares of several processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DistributedSampler, IterableDataset, Sampler

from minitransformers.errors import InputError
from minitransformers.generation.seeds import set_seed
from minitransformers.training.loop.distributed import from_main, rank, world_size
from minitransformers.training.loop.jumps import draws_at_start
from minitransformers.training.loop.restoring import checked_count

BATCHES_SORTED_TOGETHER = 50


# ---- orders ----------------------------------------------------------------------------------------------------------


class SeededOrder(Sampler[int]):
    """All examples in random order, which depends only on the seed and the epoch."""

    draws_at_start = True

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        # The same order as `transformers` has through `accelerate`.
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.size, generator=generator).tolist()
        self.epoch += 1


def get_length_grouped_indices(
    lengths: Sequence[int],
    batch_size: int,
    mega_batch_mult: int | None = None,
    generator: torch.Generator | None = None,
) -> list[int]:
    """A random order in which neighbours have similar lengths; the longest example comes first, to test the memory.

    Args:
        lengths: of all examples.
        batch_size: of a whole step.
        mega_batch_mult: the number of batches whose examples are sorted by length together; by default up to 50.
        generator: of the order; by default PyTorch's global one.
    """
    if mega_batch_mult is None:
        mega_batch_mult = max(1, min(len(lengths) // (batch_size * 4), BATCHES_SORTED_TOGETHER))
    order = torch.randperm(len(lengths), generator=generator).tolist()
    together = batch_size * mega_batch_mult
    groups = [
        sorted(order[start : start + together], key=lambda index: lengths[index], reverse=True)
        for start in range(0, len(lengths), together)
    ]
    longest = max(range(len(groups)), key=lambda number: lengths[groups[number][0]])
    groups[0][0], groups[longest][0] = groups[longest][0], groups[0][0]
    return [index for group in groups for index in group]


class LengthGroupedSampler(Sampler[int]):
    """The order of `get_length_grouped_indices`. All processes use that of the first: their generators may differ.

    Args:
        batch_size: of a whole step.
        dataset: examples that are dictionaries, whose lengths are measured if `lengths` is None.
        lengths: of all examples.
        model_input_name: the entry that is measured, by default "input_ids".
        generator: of the order; by default PyTorch's global one.
    """

    draws_at_start = True

    def __init__(
        self,
        batch_size: int,
        dataset: Any = None,
        lengths: Sequence[int] | Tensor | None = None,
        model_input_name: str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.batch_size, self.generator = batch_size, generator
        self.lengths = measured_lengths(dataset, lengths, model_input_name)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(from_main(get_length_grouped_indices(self.lengths, self.batch_size, generator=self.generator)))


class DistributedLengthGroupedSampler(DistributedSampler[Any]):
    """The share of one process of an order in which neighbours have similar lengths; it depends on seed and epoch.

    Args:
        batch_size, dataset, lengths, model_input_name: see `LengthGroupedSampler`.
        num_replicas, rank: the number of processes, and of this process; by default those of the process group.
        seed: of the order.
        drop_last: leave examples out so that all shares are equally long; otherwise some examples occur twice.
    """

    def __init__(
        self,
        batch_size: int,
        dataset: Any = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        seed: int = 0,
        drop_last: bool = False,
        lengths: Sequence[int] | Tensor | None = None,
        model_input_name: str | None = None,
    ) -> None:
        self.lengths = measured_lengths(dataset, lengths, model_input_name)
        super().__init__(self.lengths, num_replicas, rank, shuffle=True, seed=seed, drop_last=drop_last)  # type: ignore[arg-type]
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        order = (order + order[: self.total_size - len(order)])[: self.total_size]
        return iter(order[self.rank : self.total_size : self.num_replicas])


def measured_lengths(dataset: Any, lengths: Any, name: str | None) -> list[int]:
    """`lengths` as a list, or the lengths of the entries `name` of all examples.

    Raises:
        InputError: neither lengths nor a data set, or examples without that entry.
    """
    if lengths is not None:
        return lengths.tolist() if isinstance(lengths, Tensor) else [int(each) for each in lengths]
    if dataset is None:
        raise InputError("Pass dataset=… or lengths=….")
    name, first = name or "input_ids", dataset[0]
    if not isinstance(first, Mapping) or name not in first:
        raise InputError(
            f"The lengths of examples are those of their {name!r}: pass dictionaries with it, or lengths=…."
        )
    return [len(dataset[index][name]) for index in range(len(dataset))]


# ---- shares of several processes -------------------------------------------------------------------------------------


class _Shares:
    """Of batches that all processes draw alike, every n-th, for one of n processes; see loop/places.py.

    Attributes:
        origin: batches of the epoch that were used before it was divided among these processes.
    """

    origin = 0
    batches_since = 0  # the rest is divided anew whenever a state is loaded
    _epoch: int | None = None

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; a new one is divided as a whole."""
        if epoch != self._epoch:
            self._epoch, self.origin = epoch, 0

    @property
    def batches_before(self) -> int:
        """About how many batches of a process were used before the division."""
        return -(-self.origin // world_size())

    def state_dict(self, consumed: int) -> dict[str, int]:
        """The number of batches that all processes have used, when this one has used so many since the division."""
        return {"batches": self.origin + consumed * world_size()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Divide what is left of the epoch among the present processes."""
        self.origin = checked_count("batches", state["batches"])

    def _own(self, batches: Iterable[Any]) -> Iterator[Any]:
        return islice(batches, self.origin + rank(), None, world_size())

    def _number_of_own(self, number: int) -> int:
        return -(-max(0, number - self.origin) // world_size())


class ShardedBatches(_Shares, BatchSampler):
    """Every n-th batch, for one of n processes; some may have one batch fewer."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)

    @property
    def draws_at_start(self) -> bool:
        """Whether the order is drawn when an epoch begins."""
        return draws_at_start(self.sampler)

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._own(super().__iter__())

    def __len__(self) -> int:
        return self._number_of_own(super().__len__())


class SharedBatches(_Shares, Sampler[Any]):
    """Every n-th batch of a batch sampler of a user's own, for one of n processes."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.batch_size, self.drop_last = getattr(batches, "batch_size", None), getattr(batches, "drop_last", False)

    @property
    def draws_at_start(self) -> bool:
        """Whether the batches are drawn when an epoch begins."""
        return draws_at_start(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return self._own(self.batches)

    def __len__(self) -> int:
        return self._number_of_own(len(self.batches))

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, also of the batch sampler, if it has such a method."""
        super().set_epoch(epoch)
        if hasattr(self.batches, "set_epoch"):
            self.batches.set_epoch(epoch)


class ShardedStream(IterableDataset[Any]):
    """The examples of every n-th batch of a stream, for one of n processes.

    Its length, if the stream has one, is the largest of all processes, because all plan the same number of steps.
    """

    def __init__(self, dataset: Any, batch_size: int) -> None:
        # Read here, because the workers of a DataLoader are not in the process group.
        self.dataset, self.batch_size, self.rank, self.world_size = dataset, batch_size, rank(), world_size()
        self.origin = 0  # examples of the epoch that were used before it was divided among these processes
        self._epoch: int | None = None

    def __iter__(self) -> Iterator[Any]:
        for number, example in enumerate(islice(iter(self.dataset), self.origin, None)):
            if number // self.batch_size % self.world_size == self.rank:
                yield example

    def __len__(self) -> int:
        whole, rest = divmod(max(0, len(self.dataset) - self.origin), self.batch_size)
        rounds, left = divmod(whole, self.world_size)
        return rounds * self.batch_size + (self.batch_size if left else rest)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, also of the stream, if it has such a method."""
        if epoch != self._epoch:
            self._epoch, self.origin = epoch, 0
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


class IterableDatasetShard(IterableDataset[Any]):
    """The share of one process of a stream: of each group of `num_processes` batches, the batch of its number.

    The last group is completed by examples from the beginning, unless `drop_last`.

    Args:
        dataset: the stream. If it has a `generator` and no `set_epoch`, that is seeded with `seed` plus the epoch.
        batch_size: of one process.
        drop_last: leave the last, incomplete group out.
        num_processes, process_index: the number of processes, and of this process.
        seed: of the stream's generator.

    Attributes:
        num_examples: read so far from the stream in the current epoch, on all processes.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        drop_last: bool = False,
        num_processes: int = 1,
        process_index: int = 0,
        seed: int = 0,
    ) -> None:
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_processes, self.process_index, self.seed = num_processes, process_index, seed
        self.epoch = self.num_examples = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch."""
        self.epoch = epoch
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        self.num_examples = 0
        generator = getattr(self.dataset, "generator", None)
        if not hasattr(self.dataset, "set_epoch") and isinstance(generator, torch.Generator):
            generator.manual_seed(self.seed + self.epoch)
        size, begin = self.batch_size * self.num_processes, self.process_index * self.batch_size
        first: list[Any] = []
        group: list[Any] = []
        for example in self.dataset:
            self.num_examples += 1
            group.append(example)
            if len(group) == size:
                yield from group[begin : begin + self.batch_size]
                first, group = first or group, []
        if group and not self.drop_last:
            first = first or list(group)
            while len(group) < size:
                group += first
            yield from group[begin : begin + self.batch_size]

    def __len__(self) -> int:
        groups = len(self.dataset) / (self.batch_size * self.num_processes)
        return (math.floor(groups) if self.drop_last else math.ceil(groups)) * self.batch_size


class ShardSampler(Sampler[int]):
    """The share of one process of a data set in its order: of each group of batches, the one of its number.

    Args:
        dataset: with a length.
        batch_size: of one process.
        drop_last: leave the last, incomplete group out; otherwise it is completed from the beginning.
        num_processes, process_index: the number of processes, and of this process.
    """

    def __init__(
        self, dataset: Any, batch_size: int = 1, drop_last: bool = False, num_processes: int = 1, process_index: int = 0
    ) -> None:
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.num_processes, self.process_index = num_processes, process_index
        self.total_batch_size = batch_size * num_processes
        groups = len(dataset) / self.total_batch_size
        self.total_num_samples = (math.floor(groups) if drop_last else math.ceil(groups)) * self.total_batch_size

    def __len__(self) -> int:
        return self.total_num_samples // self.num_processes

    def __iter__(self) -> Iterator[int]:
        for start in range(self.batch_size * self.process_index, self.total_num_samples, self.total_batch_size):
            yield from (index % len(self.dataset) for index in range(start, start + self.batch_size))


class DistributedSamplerWithLoop(DistributedSampler[Any]):
    """A DistributedSampler whose shares are completed to whole batches by indices of their beginning.

    Args:
        dataset: with a length.
        batch_size: of one process.
        kwargs: of `DistributedSampler`.
    """

    def __init__(self, dataset: Any, batch_size: int, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[int]:
        indices = list(super().__iter__())
        missing = -len(indices) % self.batch_size
        # Where the shares had to be made equally long, the first index may occur already.
        begin = int(self.rank < len(self.dataset) % self.num_replicas)  # type: ignore[arg-type]
        return iter(indices + indices[begin : begin + missing])


def seed_worker(worker_id: int, num_workers: int, rank: int) -> None:
    """Seed all generators of a worker of a DataLoader, differently on each process and in each worker."""
    set_seed((torch.initial_seed() + num_workers * rank) % 2**32)
