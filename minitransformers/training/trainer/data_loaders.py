"""From data sets to DataLoaders: the order, the columns, and the share of each process."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler, SequentialSampler

from minitransformers.errors import InputError
from minitransformers.training.loop.distributed import from_main, rank, world_size
from minitransformers.training.trainer.arguments import TrainingArguments

logger = logging.getLogger(__name__)

BATCHES_SORTED_TOGETHER = 50


class SeededOrder(Sampler[int]):
    """All examples in random order, which depends only on the seed and the epoch."""

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


class LengthGroupedOrder(Sampler[int]):
    """Random order in which neighbours have similar lengths; the longest example comes first, to test the memory.

    The examples of up to 50 batches at a time are sorted by length. The order is drawn from PyTorch's global generator.
    Processes all use the order of the first one, because their generators may differ.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = from_main(torch.randperm(len(self)).tolist())
        together = self.batch_size * max(1, min(len(self) // (self.batch_size * 4), BATCHES_SORTED_TOGETHER))
        groups = [
            sorted(order[start : start + together], key=lambda index: self.lengths[index], reverse=True)
            for start in range(0, len(self), together)
        ]
        longest = max(range(len(groups)), key=lambda number: self.lengths[groups[number][0]])
        groups[0][0], groups[longest][0] = groups[longest][0], groups[0][0]
        return iter([index for group in groups for index in group])


class ShardedBatches(BatchSampler):
    """Every n-th batch, for one of n processes; some may have one batch fewer."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        for number, batch in enumerate(super().__iter__()):
            if number % world_size() == rank():
                yield batch

    def __len__(self) -> int:
        return -(-super().__len__() // world_size())


class ShardedStream(IterableDataset[Any]):
    """The examples of every n-th batch of a stream, for one of n processes.

    Its length, if the stream has one, is the largest of all processes, because all plan the same number of steps.
    """

    def __init__(self, dataset: Any, batch_size: int) -> None:
        # Read here, because the workers of a DataLoader are not in the process group.
        self.dataset, self.batch_size, self.rank, self.world_size = dataset, batch_size, rank(), world_size()

    def __iter__(self) -> Iterator[Any]:
        for number, example in enumerate(self.dataset):
            if number // self.batch_size % self.world_size == self.rank:
                yield example

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        rounds, left = divmod(whole, self.world_size)
        return rounds * self.batch_size + (self.batch_size if left else rest)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, if the stream has such a method."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


class DropColumns:
    """A collator that first drops the columns of each example that are not in `columns`."""

    def __init__(self, collator: Callable[[list[Any]], Any], columns: Iterable[str]) -> None:
        self.collator, self.columns = collator, frozenset(columns)

    def __call__(self, features: list[Any]) -> Any:
        """Collate the examples into a batch."""
        return self.collator(
            [
                {name: value for name, value in feature.items() if name in self.columns}
                if isinstance(feature, Mapping)
                else feature
                for feature in features
            ]
        )


class StoppableLoader:
    """A DataLoader whose epoch ends as soon as `is_stopped` returns True."""

    def __init__(self, loader: DataLoader[Any], is_stopped: Callable[[], bool]) -> None:
        self.loader, self.is_stopped = loader, is_stopped

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch
            if self.is_stopped():
                return

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:  # sampler, collate_fn …
        return getattr(self.loader, name)


def has_length(data: Any) -> bool:
    """Whether the data have a known length."""
    try:
        return isinstance(data, Sized) and len(data) >= 0
    except TypeError:  # a DataLoader of an IterableDataset without length
        return False


def train_sampler(dataset: Any, args: TrainingArguments, input_name: str) -> Sampler[int] | None:
    """The order of the training data; None for a data set with its own order."""
    if isinstance(dataset, IterableDataset) or not has_length(dataset):
        return None
    if args.train_sampling_strategy == "sequential":
        return SequentialSampler(dataset)
    if args.train_sampling_strategy == "group_by_length":
        lengths = lengths_of(dataset, args.length_column_name, input_name)
        return LengthGroupedOrder(lengths, args.train_batch_size * args.gradient_accumulation_steps)
    return SeededOrder(len(dataset), torch.initial_seed() if args.data_seed is None else args.data_seed)


def lengths_of(dataset: Any, column: str, input_name: str) -> list[int]:
    """The lengths of all examples: from the column, if the data set has it, or measured."""
    if column in getattr(dataset, "column_names", ()):
        return [int(length) for length in dataset[column]]
    first = dataset[0]
    if not isinstance(first, Mapping) or input_name not in first:
        raise InputError(
            f"train_sampling_strategy='group_by_length' needs examples that are dictionaries with {input_name!r}, or "
            f"a column {column!r} (length_column_name)."
        )
    return [len(dataset[index][input_name]) for index in range(len(dataset))]


def make_loader(
    dataset: Any,
    collator: Callable[[list[Any]], Any],
    batch_size: int,
    args: TrainingArguments,
    *,
    columns: Iterable[str] | None,
    sampler: Sampler[int] | None = None,
) -> DataLoader[Any]:
    """A DataLoader over the data set, or over this process's share of it.

    Args:
        columns: the columns to keep; None keeps all.
        sampler: the order; None is the data set's own.
    """
    if columns is not None:
        columns = list(columns)
        if hasattr(dataset, "column_names") and hasattr(dataset, "remove_columns"):  # of the datasets library
            names = list(dataset.column_names or ())
            unused = [name for name in names if name not in columns]
            if names and len(unused) == len(names):
                raise InputError(
                    f"None of the columns {names} is an argument of the model's forward pass, which takes "
                    f"{', '.join(columns)}. Rename them, or pass remove_unused_columns=False to keep them for the "
                    f"collator."
                )
            dataset = dataset.remove_columns(unused) if unused else dataset
        else:
            collator = DropColumns(collator, columns)
    options: dict[str, Any] = {
        "collate_fn": collator,
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory and args.device.type == "cuda",
        "persistent_workers": args.dataloader_persistent_workers,
        "prefetch_factor": args.dataloader_prefetch_factor,
    }
    drop_last = args.dataloader_drop_last
    if isinstance(dataset, IterableDataset):
        stream = ShardedStream(dataset, batch_size) if world_size() > 1 else dataset
        return DataLoader(stream, batch_size=batch_size, drop_last=False, **options)
    if world_size() > 1:
        order = SequentialSampler(dataset) if sampler is None else sampler
        return DataLoader(dataset, batch_sampler=ShardedBatches(order, batch_size, drop_last), **options)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, drop_last=drop_last, **options)


def batches_of_this_rank(loader: Any) -> Iterable[Any]:
    """This process's share of an evaluation's batches: every n-th, unless the loader is sharded itself."""
    is_sharded = isinstance(getattr(loader, "batch_sampler", None), ShardedBatches)
    is_sharded = is_sharded or isinstance(getattr(loader, "dataset", None), ShardedStream)
    return loader if is_sharded else islice(loader, rank(), None, world_size())


def label_names(model: nn.Module) -> list[str]:
    """The arguments of the model's forward pass that are labels, judged by their names."""
    names = inspect.signature(type(model).forward).parameters
    answers = ("start_positions", "end_positions") if "QuestionAnswering" in type(model).__name__ else ()
    return [name for name in names if "label" in name or name in answers]
