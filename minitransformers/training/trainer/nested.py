"""Tensors and arrays inside tuples, lists and dictionaries: detached, joined, truncated, on all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.training.loop.distributed import is_distributed, world_size
from minitransformers.training.trainer.strategies import ParallelMode


def nested_detach(tensors: Any) -> Any:
    """The tensors without their graphs; other values as they are."""
    if isinstance(tensors, list | tuple):
        return type(tensors)(nested_detach(each) for each in tensors)
    if isinstance(tensors, Mapping):
        return type(tensors)({name: nested_detach(each) for name, each in tensors.items()})  # type: ignore[call-arg]
    return tensors.detach() if isinstance(tensors, Tensor) else tensors


def nested_numpify(tensors: Any) -> Any:
    """The tensors as arrays. NumPy has no bfloat16; float32 holds each of its values."""
    if isinstance(tensors, list | tuple):
        return type(tensors)(nested_numpify(each) for each in tensors)
    if isinstance(tensors, Mapping):
        return {name: nested_numpify(each) for name, each in tensors.items()}
    tensor = tensors.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def nested_truncate(tensors: Any, limit: int) -> Any:
    """The first `limit` rows of each tensor or array."""
    if isinstance(tensors, list | tuple):
        return type(tensors)(nested_truncate(each, limit) for each in tensors)
    if isinstance(tensors, Mapping):
        return {name: nested_truncate(each, limit) for name, each in tensors.items()}
    return tensors[:limit]


def nested_concat(tensors: Any, new_tensors: Any, padding_index: int = IGNORED) -> Any:
    """Both joined in their first dimension; where they differ in the second, the shorter is padded.

    Raises:
        InputError: structures that differ, or values that are neither tensors nor arrays.
    """
    if type(tensors) is not type(new_tensors) and not isinstance(tensors, Tensor):
        raise InputError(f"{type(tensors).__name__} and {type(new_tensors).__name__} cannot be joined.")
    if isinstance(tensors, list | tuple):
        return type(tensors)(nested_concat(*each, padding_index) for each in zip(tensors, new_tensors, strict=True))
    if isinstance(tensors, Mapping):
        return {name: nested_concat(each, new_tensors[name], padding_index) for name, each in tensors.items()}
    if isinstance(tensors, Tensor):
        return torch_pad_and_concatenate(tensors, new_tensors, padding_index)
    if isinstance(tensors, np.ndarray):
        return numpy_pad_and_concatenate(tensors, new_tensors, padding_index)
    raise InputError(f"{type(tensors).__name__} cannot be joined: pass tensors or arrays.")


def atleast_1d(tensor_or_array: Any) -> Any:
    """A vector of a single number; others as they are."""
    return (torch if isinstance(tensor_or_array, Tensor) else np).atleast_1d(tensor_or_array)


def torch_pad_and_concatenate(tensor1: Tensor, tensor2: Tensor, padding_index: int = IGNORED) -> Tensor:
    """Two tensors joined in their first dimension, the shorter padded in the second."""
    first, second = atleast_1d(tensor1), atleast_1d(tensor2)
    if first.ndim == 1 or first.shape[1] == second.shape[1]:
        return torch.cat((first, second))
    length = max(first.shape[1], second.shape[1])
    joined: Tensor = first.new_full((len(first) + len(second), length, *first.shape[2:]), padding_index)
    joined[: len(first), : first.shape[1]] = first
    joined[len(first) :, : second.shape[1]] = second
    return joined


def numpy_pad_and_concatenate(array1: np.ndarray, array2: np.ndarray, padding_index: int = IGNORED) -> np.ndarray:
    """Two arrays joined in their first dimension, the shorter padded in the second."""
    first, second = atleast_1d(array1), atleast_1d(array2)
    if first.ndim > 1:
        length = max(first.shape[1], second.shape[1])
        first, second = (expand_like(each, length, padding_index) for each in (first, second))
    return np.concatenate((first, second))


def expand_like(arrays: np.ndarray, new_seq_length: int, padding_index: int = IGNORED) -> np.ndarray:
    """An array padded in its second dimension to `new_seq_length`."""
    if arrays.shape[1] == new_seq_length:
        return arrays
    padded = np.full_like(arrays, padding_index, shape=(arrays.shape[0], new_seq_length, *arrays.shape[2:]))
    padded[:, : arrays.shape[1]] = arrays
    return padded


def nested_new_like(arrays: Any, num_samples: int, padding_index: int = IGNORED) -> Any:
    """Arrays like these, with `num_samples` rows of padding."""
    if isinstance(arrays, list | tuple):
        return type(arrays)(nested_new_like(each, num_samples, padding_index) for each in arrays)
    return np.full_like(arrays, padding_index, shape=(num_samples, *arrays.shape[1:]))


def find_batch_size(tensors: Any) -> int | None:
    """The first dimension of the first tensor or array that has one; None if there is none."""
    if isinstance(tensors, list | tuple | Mapping):
        values = tensors.values() if isinstance(tensors, Mapping) else tensors
        return next((size for each in values if (size := find_batch_size(each)) is not None), None)
    has_rows = isinstance(tensors, Tensor | np.ndarray) and tensors.ndim > 0
    return int(tensors.shape[0]) if has_rows else None


def denumpify_detensorize(metrics: Any) -> Any:
    """Metrics as plain numbers, also inside lists and dictionaries."""
    if isinstance(metrics, list | tuple):
        return type(metrics)(denumpify_detensorize(each) for each in metrics)
    if isinstance(metrics, Mapping):
        return {name: denumpify_detensorize(each) for name, each in metrics.items()}
    is_number = isinstance(metrics, np.generic) or (isinstance(metrics, Tensor) and metrics.numel() == 1)
    return metrics.item() if is_number else metrics


# ---- all processes ---------------------------------------------------------------------------------------------------


def distributed_concat(tensor: Any, num_total_examples: int | None = None) -> Any:
    """The tensors of all processes, of the same shape, joined in their first dimension, and cut to a number of rows.

    Raises:
        InputError: there is no process group.
    """
    if not is_distributed():
        raise InputError("distributed_concat needs several processes: start the script with torchrun.")
    if isinstance(tensor, list | tuple):
        return type(tensor)(distributed_concat(each, num_total_examples) for each in tensor)
    if isinstance(tensor, Mapping):
        return {name: distributed_concat(each, num_total_examples) for name, each in tensor.items()}
    own = atleast_1d(tensor).contiguous()
    parts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(parts, own)
    return torch.cat(parts)[:num_total_examples]


def nested_gather(tensors: Any, parallel_mode: ParallelMode, name: str | None = None) -> Any:
    """`distributed_concat` if the run is distributed; otherwise the tensors."""
    return distributed_concat(tensors) if tensors is not None and parallel_mode == ParallelMode.DISTRIBUTED else tensors


def distributed_broadcast_scalars(
    scalars: Sequence[int | float], num_total_examples: int | None = None, device: torch.device | str | None = "cuda"
) -> Tensor:
    """The numbers of all processes in one tensor."""
    joined: Tensor = distributed_concat(torch.tensor(scalars, device=device), num_total_examples)
    return joined


class EvalLoopContainer:
    """Collects the results of the batches of an evaluation.

    Args:
        do_nested_concat: join them in their first dimension; otherwise they stay a list.
        padding_index: of `nested_concat`.
    """

    def __init__(self, do_nested_concat: bool = True, padding_index: int = IGNORED) -> None:
        self.do_nested_concat, self.padding_index = do_nested_concat, padding_index
        self.tensors: Any = None
        self.arrays: Any = None

    def add(self, tensors: Any) -> None:
        """Add the tensors of a batch."""
        self.tensors = self._joined(self.tensors, tensors if self.do_nested_concat else [tensors])

    def to_cpu_and_numpy(self) -> None:
        """Move the tensors that were added to the CPU, as arrays."""
        if self.tensors is not None:
            self.arrays, self.tensors = self._joined(self.arrays, nested_numpify(self.tensors)), None

    def get_arrays(self) -> Any:
        """All results as arrays; None if there are none."""
        self.to_cpu_and_numpy()
        return self.arrays

    def _joined(self, before: Any, new: Any) -> Any:
        if before is None:
            return new
        return nested_concat(before, new, self.padding_index) if self.do_nested_concat else before + new
