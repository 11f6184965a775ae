"""From data sets to DataLoaders: in which order, with which columns, on which process."""

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

LENGTHS_COMPARED = 50  # batches that are sorted by length together


class SeededOrder(Sampler[int]):
    """All examples in random order: that of an epoch depends on the seed and the epoch's number alone."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        # As `transformers` does by way of `accelerate`: the same seed gives the same order there and here.
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.size, generator=generator).tolist()
        self.epoch += 1


class LengthGroupedOrder(Sampler[int]):
    """Random order in which neighbours have like lengths, the longest example first (so that a lack of memory shows).

    The examples of up to 50 batches at a time are sorted by length. Draws from PyTorch's own random numbers; of several
    processes, whose draws may have come to differ by now, all take the first one's.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int) -> None:
        self.lengths, self.batch_size = lengths, batch_size

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = from_main(torch.randperm(len(self)).tolist())
        together = self.batch_size * max(1, min(len(self) // (self.batch_size * 4), LENGTHS_COMPARED))
        groups = [
            sorted(order[start : start + together], key=lambda index: self.lengths[index], reverse=True)
            for start in range(0, len(self), together)
        ]
        longest = max(range(len(groups)), key=lambda number: self.lengths[groups[number][0]])
        groups[0][0], groups[longest][0] = groups[longest][0], groups[0][0]
        return iter([index for group in groups for index in group])


class SharedBatches(BatchSampler):
    """Every n-th batch: with as many processes, each has its own; some may have one fewer."""

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        for number, batch in enumerate(super().__iter__()):
            if number % world_size() == rank():
                yield batch

    def __len__(self) -> int:
        return -(-super().__len__() // world_size())


class SharedStream(IterableDataset[Any]):
    """The examples of every n-th batch of a stream: with as many processes, each has its own batches.

    Its length, where the stream has one, is that of the process that has most: all plan as long a run.
    """

    def __init__(self, dataset: Any, batch_size: int) -> None:
        # A DataLoader's workers, who go through it, do not know which process they belong to.
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
        """Say which epoch comes next, to a stream that wants to know."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


class WithoutColumns:
    """A collator that first drops the columns of each example that the model does not take."""

    def __init__(self, collator: Callable[[list[Any]], Any], columns: Iterable[str]) -> None:
        self.collator, self.columns = collator, frozenset(columns)

    def __call__(self, features: list[Any]) -> Any:
        """The batch."""
        return self.collator(
            [
                {name: value for name, value in feature.items() if name in self.columns}
                if isinstance(feature, Mapping)
                else feature
                for feature in features
            ]
        )


class UntilStopped:
    """A DataLoader whose epoch ends early where `is_stopped` says so."""

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
    """Whether it is known how many there are."""
    try:
        return isinstance(data, Sized) and len(data) >= 0
    except TypeError:  # an IterableDataset without length, in a DataLoader
        return False


def train_sampler(dataset: Any, args: TrainingArguments, input_name: str) -> Sampler[int] | None:
    """The order of the training data; None for a data set that has its own."""
    if isinstance(dataset, IterableDataset) or not has_length(dataset):
        return None
    if args.train_sampling_strategy == "sequential":
        return SequentialSampler(dataset)
    if args.train_sampling_strategy == "group_by_length":
        lengths = lengths_of(dataset, args.length_column_name, input_name)
        return LengthGroupedOrder(lengths, args.train_batch_size * args.gradient_accumulation_steps)
    return SeededOrder(len(dataset), torch.initial_seed() if args.data_seed is None else args.data_seed)


def lengths_of(dataset: Any, column: str, input_name: str) -> list[int]:
    """The lengths of all examples: the column of them, where there is one, else measured."""
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
    """A DataLoader over the data set; of several processes, each has its share of the batches.

    Args:
        columns: what the model takes; other columns are dropped. None drops none.
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
            collator = WithoutColumns(collator, columns)
    options: dict[str, Any] = {
        "collate_fn": collator,
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory and args.device.type == "cuda",
        "persistent_workers": args.dataloader_persistent_workers,
        "prefetch_factor": args.dataloader_prefetch_factor,
    }
    drop_last = args.dataloader_drop_last
    if isinstance(dataset, IterableDataset):
        stream = SharedStream(dataset, batch_size) if world_size() > 1 else dataset
        return DataLoader(stream, batch_size=batch_size, drop_last=False, **options)
    if world_size() > 1:
        order = SequentialSampler(dataset) if sampler is None else sampler
        return DataLoader(dataset, batch_sampler=SharedBatches(order, batch_size, drop_last), **options)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, drop_last=drop_last, **options)


def own_batches(loader: Any) -> Iterable[Any]:
    """This process's share of an evaluation's batches; of a loader that does not share them, every n-th."""
    shares = isinstance(getattr(loader, "batch_sampler", None), SharedBatches)
    shares = shares or isinstance(getattr(loader, "dataset", None), SharedStream)
    return loader if shares else islice(loader, rank(), None, world_size())


def label_names(model: nn.Module) -> list[str]:
    """The arguments of the model's forward pass that are labels, by their names."""
    names = inspect.signature(type(model).forward).parameters
    answers = ("start_positions", "end_positions") if "QuestionAnswering" in type(model).__name__ else ()
    return [name for name in names if "label" in name or name in answers]
