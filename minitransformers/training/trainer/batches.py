"""The Trainer's methods about data: loaders, samplers, columns, and the batches of a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

from minitransformers.errors import InputError
from minitransformers.training.loop.batches import take_batches, to_device
from minitransformers.training.loop.distributed import sum_over_ranks
from minitransformers.training.loop.objective import count_labels
from minitransformers.training.trainer.data_loaders import (
    RemoveColumnsCollator,
    has_length,
    make_loader,
    train_sampler,
    without_columns,
)
from minitransformers.training.trainer.parts import Parts
from minitransformers.training.trainer.samplers import IterableDatasetShard, ShardedStream


class TrainerBatches(Parts):
    """From data sets to the batches of a step, on the device."""

    # ---- loaders -----------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches of one epoch."""
        if self.train_dataset is None:
            raise InputError("Trainer.train needs train_dataset=….")
        return self._get_dataloader(
            self.train_dataset, "Training", self._train_batch_size, self._get_train_sampler, is_training=True
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """The batches of an evaluation; a string names one of several evaluation sets."""
        name = eval_dataset if isinstance(eval_dataset, str) else "eval" if eval_dataset is None else None
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        if dataset is None:
            raise InputError("Trainer.evaluate needs eval_dataset=…, or the Trainer's eval_dataset.")
        return self._get_dataloader(
            dataset, "Evaluation", self.args.eval_batch_size, self._get_eval_sampler, dataloader_key=name
        )

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """The batches of `predict`."""
        return self._get_dataloader(test_dataset, "Prediction", self.args.eval_batch_size, self._get_eval_sampler)

    def _get_dataloader(
        self,
        dataset: Any,
        description: str,
        batch_size: int,
        sampler_fn: Callable[[Any], Any] | None = None,
        is_training: bool = False,
        dataloader_key: str | None = None,
    ) -> DataLoader[Any]:
        """A loader of this process's share; one with persistent workers is kept under `dataloader_key`."""
        kept = self.__dict__.setdefault("_eval_dataloaders", {})
        if self.args.dataloader_persistent_workers and dataloader_key in kept:
            loader: DataLoader[Any] = kept[dataloader_key]
            return loader
        if has_length(dataset) and not len(dataset):
            raise InputError(f"{description}: the data set is empty.")
        dataset, collator = self._without_unused_columns(dataset)
        sampler = None if sampler_fn is None or isinstance(dataset, IterableDataset) else sampler_fn(dataset)
        loader = make_loader(dataset, collator, batch_size, self.args, sampler=sampler, is_training=is_training)
        if self.args.dataloader_persistent_workers and dataloader_key is not None:
            kept[dataloader_key] = loader
        return loader

    def num_examples(self, dataloader: Any) -> int:
        """The number of examples in all batches."""
        dataset: Any = getattr(dataloader, "dataset", None)
        dataset = dataset.dataset if isinstance(dataset, ShardedStream | IterableDatasetShard) else dataset
        return len(dataset) if has_length(dataset) else len(dataloader) * self.args.per_device_train_batch_size

    @staticmethod
    def num_tokens(train_dl: Any, max_steps: int | None = None) -> int:
        """The number of ids in the batches of a loader, or in `max_steps` times those of its first batch."""
        total = 0
        for batch in train_dl:
            tokens = batch["input_ids"].numel()
            if max_steps is not None:
                return int(tokens * max_steps)
            total += tokens
        return total

    # ---- order and columns -------------------------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The order of the training data, or a BatchSampler with its batches; None for the data set's own order."""
        return train_sampler(
            self.train_dataset if train_dataset is None else train_dataset, self.args, self._input_name
        )

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """The order of an evaluation: that of the data set, in which predictions are returned; None for a stream."""
        return SequentialSampler(eval_dataset) if has_length(eval_dataset) else None

    def _set_signature_columns_if_needed(self) -> None:
        """Set `_signature_columns`, the columns that are kept: arguments of the model's forward pass, and labels."""
        if self._signature_columns is None:
            arguments = inspect.signature(self.model.forward).parameters
            self._signature_columns = [*dict.fromkeys([*arguments, "label", "label_ids", *self.label_names])]

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        """The data set, of the datasets library, without the columns that the model does not take."""
        if not self.args.remove_unused_columns:
            return dataset
        self._set_signature_columns_if_needed()
        return without_columns(dataset, None, self._signature_columns or ())[0]

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        """The collator, which first drops the columns that the model does not take."""
        if not self.args.remove_unused_columns:
            return data_collator
        self._set_signature_columns_if_needed()
        return RemoveColumnsCollator(data_collator, self._signature_columns or ())

    def _without_unused_columns(self, dataset: Any) -> tuple[Any, Any]:
        """The data set and the collator, of which one drops the columns."""
        if hasattr(dataset, "column_names") and hasattr(dataset, "remove_columns"):
            return self._remove_unused_columns(dataset), self.data_collator
        return dataset, self._get_collator_with_removed_columns(self.data_collator)

    # ---- a step's batches --------------------------------------------------------------------------------------------

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The batches of one step, and the number of their labels, of all processes; None if there are no labels.

        An override may take other batches; the loss is divided by the number that it returns, unless that is None.

        Args:
            epoch_iterator: the batches of the epoch that are left, at least one.
            num_batches: how many to take, fewer only at the end of an epoch without a known length.
            device: of the number.
        """
        batches = take_batches(epoch_iterator, num_batches)
        return batches, self._get_num_items_in_batch(batches, device)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor | None:
        """The number of labels in the batches, of all processes if `average_tokens_across_devices`."""
        counts = [count_labels(self.model, batch).get("labels") for batch in batch_samples]
        if not counts or None in counts:
            return None
        number = sum(count or 0 for count in counts)
        if self.args.average_tokens_across_devices:
            number = int(sum_over_ranks([{"labels": number}], device)["labels"])
        return torch.tensor(number, device=device)

    def _prepare_input(self, data: Any) -> Any:
        """Tensors on the device, also inside lists and dictionaries."""
        return to_device(data, self.args.device)

    def _prepare_inputs(self, inputs: Any) -> Any:
        """A batch on the device, before it is given to `compute_loss` or to the model; an override may change it.

        Raises:
            InputError: an empty batch.
        """
        inputs = self._prepare_input(inputs)
        if hasattr(inputs, "__len__") and not len(inputs):
            raise InputError("The collator returned an empty batch: does the data set have the model's arguments?")
        return inputs
