"""From data sets to DataLoaders: the order, the columns, and the share of each process."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Sampler, SequentialSampler

from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.data.samplers import DistributedBatchSampler
from minitransformers.errors import InputError
from minitransformers.training.loop.distributed import max_over_ranks, rank, world_size
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.samplers import (
    LengthGroupedSampler,
    SeededOrder,
    ShardedBatches,
    ShardedStream,
    SharedBatches,
    seed_worker,
)


class RemoveColumnsCollator:
    """A collator that first drops the columns of each example that are not in `signature_columns`.

    Args:
        data_collator: makes a batch of what is left.
        signature_columns: the columns to keep.
        logger, model_name, description: have no effect.
    """

    def __init__(
        self,
        data_collator: Callable[[list[Any]], Any],
        signature_columns: Iterable[str],
        logger: Any = None,
        model_name: str | None = None,
        description: str | None = None,
    ) -> None:
        self.data_collator, self.signature_columns = data_collator, frozenset(signature_columns)

    def __call__(self, features: list[Any]) -> Any:
        """Collate the examples into a batch."""
        return self.data_collator(
            [
                {name: value for name, value in feature.items() if name in self.signature_columns}
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
        return self.until_stopped(self.loader)

    def until_stopped(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Those of the loader's batches that come before the end."""
        for batch in batches:
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
        column = args.length_column_name
        lengths = dataset[column] if column in getattr(dataset, "column_names", ()) else None
        return LengthGroupedSampler(
            args.train_batch_size * args.gradient_accumulation_steps, dataset, lengths, input_name
        )
    return SeededOrder(len(dataset), order_seed(args))


def order_seed(args: TrainingArguments) -> int:
    """The seed of the order of the data."""
    return torch.initial_seed() if args.data_seed is None else args.data_seed


def without_columns(dataset: Any, collator: Any, columns: Iterable[str]) -> tuple[Any, Any]:
    """The data set and the collator, one of which drops the columns that are not in `columns`.

    Raises:
        InputError: no column would be left.
    """
    columns = list(columns)
    if not (hasattr(dataset, "column_names") and hasattr(dataset, "remove_columns")):  # of the datasets library
        return dataset, RemoveColumnsCollator(collator, columns)
    names = list(dataset.column_names or ())
    unused = [name for name in names if name not in columns]
    if names and len(unused) == len(names):
        raise InputError(
            f"None of the columns {names} is an argument of the model's forward pass, which takes "
            f"{', '.join(columns)}. Rename them, or pass remove_unused_columns=False to keep them for the collator."
        )
    return dataset.remove_columns(unused) if unused else dataset, collator


def make_loader(
    dataset: Any,
    collator: Callable[[list[Any]], Any],
    batch_size: int,
    args: TrainingArguments,
    *,
    sampler: Any = None,
    is_training: bool = False,
) -> DataLoader[Any]:
    """A DataLoader over the data set, or over this process's share of it.

    Args:
        sampler: the order, or a BatchSampler with the batches; None is the data set's own order.
        is_training: whether workers are seeded by the process too.
    """
    options: dict[str, Any] = {
        "collate_fn": collator,
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory and args.device.type == "cuda",
        "persistent_workers": args.dataloader_persistent_workers,
        "prefetch_factor": args.dataloader_prefetch_factor,
        "multiprocessing_context": args.dataloader_multiprocessing_context if args.dataloader_num_workers else None,
        "in_order": args.dataloader_in_order,
    }
    if isinstance(dataset, IterableDataset):
        return share_batches(DataLoader(dataset, batch_size=batch_size, drop_last=False, **options), args)
    if is_training:
        options["worker_init_fn"] = partial(seed_worker, num_workers=args.dataloader_num_workers, rank=rank())
    if isinstance(sampler, BatchSampler):
        return share_batches(DataLoader(dataset, batch_sampler=sampler, **options), args)
    loader = DataLoader(dataset, batch_size, sampler=sampler, drop_last=args.dataloader_drop_last, **options)
    return share_batches(loader, args)


def share_batches(loader: DataLoader[Any], args: TrainingArguments) -> DataLoader[Any]:
    """A loader like this one, with this process's share of the batches, whose order a seed determines.

    As through `accelerate`, a RandomSampler without a generator becomes an order that depends on seed and epoch.
    """
    if is_shared(loader):
        return loader
    options = {
        name: getattr(loader, name)
        for name in (
            "collate_fn",
            "num_workers",
            "pin_memory",
            "timeout",
            "worker_init_fn",
            "multiprocessing_context",
            "generator",
            "prefetch_factor",
            "persistent_workers",
            "in_order",
        )
    }
    dataset, batches, several = loader.dataset, loader.batch_sampler, world_size() > 1
    if isinstance(dataset, IterableDataset):
        size = loader.batch_size or 1
        stream: Any = ShardedStream(dataset, size) if several else dataset
        return DataLoader(stream, loader.batch_size, drop_last=loader.drop_last, **options) if several else loader
    if isinstance(batches, EpochBatchSampler) and several:
        return DataLoader(dataset, batch_sampler=DistributedBatchSampler(batches, world_size(), rank()), **options)
    if type(batches) is not BatchSampler:  # of a user's own, or none
        return DataLoader(dataset, batch_sampler=SharedBatches(batches), **options) if several and batches else loader
    sampler: Any = loader.sampler
    is_random = type(sampler) is RandomSampler and sampler.generator is None and not sampler.replacement
    if is_random and sampler.num_samples == len(dataset):  # type: ignore[arg-type]
        sampler = SeededOrder(len(dataset), order_seed(args))  # type: ignore[arg-type]
    if several:
        shares = ShardedBatches(sampler, batches.batch_size, batches.drop_last)
        return DataLoader(dataset, batch_sampler=shares, **options)
    if sampler is loader.sampler:
        return loader
    return DataLoader(dataset, batches.batch_size, sampler=sampler, drop_last=batches.drop_last, **options)


def is_shared(loader: Any) -> bool:
    """Whether the loader gives the batches of this process only."""
    batches = getattr(loader, "batch_sampler", None)
    return isinstance(batches, ShardedBatches | SharedBatches | DistributedBatchSampler) or isinstance(
        getattr(loader, "dataset", None), ShardedStream
    )


def batches_of_this_rank(loader: Any) -> Iterable[Any]:
    """This process's share of an evaluation's batches: every n-th, unless the loader is shared itself."""
    return loader if is_shared(loader) else islice(loader, rank(), None, world_size())


def in_lockstep(batches: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """The batches, each with whether it counts: a process with fewer batches repeats its last one, uncounted.

    A model whose weights are sharded needs all processes in each of its forward passes.
    """
    iterator, latest = iter(batches), None
    while True:
        batch = next(iterator, None)
        if not max_over_ranks(batch is not None):
            return
        latest = latest if batch is None else batch
        if latest is None:
            raise InputError("The data has fewer batches than there are processes, which a sharded model needs.")
        yield latest, batch is not None


def label_names(model: nn.Module) -> list[str]:
    """The arguments of the model's forward pass that are labels, judged by their names."""
    names = inspect.signature(type(model).forward).parameters
    answers = ("start_positions", "end_positions") if "QuestionAnswering" in type(model).__name__ else ()
    # `shift_labels` replaces `labels` where a collator has shifted them; batches need not have both.
    return [name for name in names if ("label" in name and name != "shift_labels") or name in answers]
