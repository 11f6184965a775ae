"""Saving and loading of a run's tensors, weights and optimizer state, by name.

PyTorch's distributed checkpoint writes them to safetensors files: a tensor is written whole, or in the shards that the
processes hold, and any number of processes can read it in other shards.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import CheckpointError, TrainingError
from minitransformers.training.loop.checkpoint_directories import TRAINING
from minitransformers.training.loop.distributed import is_distributed, unwrap
from minitransformers.training.loop.model_files import read_weights
from minitransformers.training.loop.restoring import check_safetensors, checked_state
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.weights import named_weights


def _parameter_names(run: Run) -> list[str]:
    """The names of the optimizer's parameters, in its order."""
    names = {id(parameter): name for name, parameter in unwrap(run.model).named_parameters()}
    return [
        names.get(id(parameter), f"unnamed-{index}")
        for index, parameter in enumerate(p for group in run.optimizer.param_groups for p in group["params"])
    ]


def tensors_of(run: Run, placed: Collection[str] = ()) -> dict[str, Tensor]:
    """All tensors that a checkpoint keeps in training/, by name; sharded if the model is sharded.

    Args:
        run: the run.
        placed: the weights that are in the model's files.
    """
    tensors = {f"model.{n}": tensor for n, tensor in named_weights(unwrap(run.model)).items() if n not in placed}
    if run.settings.save_only_model:
        return tensors
    names = _parameter_names(run)
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[index]}.{key}": v for key, v in state.items() if isinstance(v, Tensor)}
    return tensors


def optimizer_numbers(run: Run) -> dict[str, Any]:
    """The optimizer's state besides tensors: the settings of its groups, and numbers."""
    state = run.optimizer.state_dict()
    return {
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]],
        "numbers": {
            name: {key: value for key, value in state["state"].get(index, {}).items() if not isinstance(value, Tensor)}
            for index, name in enumerate(_parameter_names(run))
        },
    }


def load_tensors(run: Run, directory: Path, numbers: Mapping[str, Any], placed: Mapping[str, bool]) -> None:
    """Load a checkpoint's tensors into model and optimizer.

    Args:
        run: whose model and optimizer are filled.
        directory: of the checkpoint.
        numbers: what `optimizer_numbers` returned.
        placed: the weights that are in the model's files.

    Raises:
        CheckpointError: a tensor is missing, or has another size.
    """
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    indices = {name: index for index, name in enumerate(_parameter_names(run))}
    state: dict[int, dict[str, Any]] = {indices[name]: dict(values) for name, values in numbers["numbers"].items()}
    tensors = {f"model.{n}": tensor for n, tensor in named_weights(unwrap(run.model)).items() if n not in placed}
    for name, (size, dtype) in _stored(directory).items():
        if name in tensors and tensors[name].is_floating_point() != dtype.is_floating_point:
            raise CheckpointError(
                f"{name} has the type {dtype} in {directory}, and {tensors[name].dtype} in the model."
            )
        if not name.startswith("optimizer."):
            continue
        parameter_name, _, key = name.removeprefix("optimizer.").rpartition(".")
        if parameter_name not in indices:
            raise CheckpointError(f"{directory} has {name}, the state of a weight that the optimizer does not have.")
        index = indices[parameter_name]
        _check_state(name, size, dtype, parameters[index], run.optimizer)
        # State of the parameter's shape is sharded like the parameter; the rest, such as the number of steps, is not.
        has_shape = tuple(parameters[index].shape) == size
        tensor = torch.empty_like(parameters[index], dtype=dtype) if has_shape else torch.empty(size, dtype=dtype)
        tensors[name] = state[index][key] = tensor
    read_weights(run.model, directory, placed)
    read_tensors(tensors, directory)
    groups = run.optimizer.state_dict()["param_groups"]
    for group, saved in zip(groups, numbers["groups"], strict=True):
        group |= checked_state("optimizer", saved, {k: v for k, v in group.items() if k != "params"}, run.optimizer)
    run.optimizer.load_state_dict(
        {"state": {i: values for i, values in state.items() if values}, "param_groups": groups}
    )


def write_tensors(tensors: dict[str, Tensor], directory: Path, *, alone: bool = False) -> None:
    """Write this process's shards of the tensors, if there are tensors; all of them, if it writes `alone`."""
    if not tensors:
        return
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    with _with_plain_errors():
        checkpoint.save(
            # Files hold contiguous rows; GPT-2's matrices are transposed views of the memory that they were read into.
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            storage_writer=HuggingFaceStorageWriter(str(directory / TRAINING), save_distributed=True),
            no_dist=alone or not is_distributed(),
        )


def read_tensors(tensors: dict[str, Tensor], directory: Path) -> None:
    """Fill the tensors in place."""
    if not tensors:
        return
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    try:
        with _with_plain_errors():
            checkpoint.load(
                tensors,
                storage_reader=HuggingFaceStorageReader(str(directory / TRAINING)),
                no_dist=not is_distributed(),
            )
    except TrainingError as error:
        raise CheckpointError(f"{directory} cannot be loaded: {error}") from error


@contextmanager
def _with_plain_errors() -> Iterator[None]:
    """Suppress the warning about a single process, and raise PyTorch's error, a BaseException, as TrainingError."""
    from torch.distributed.checkpoint import CheckpointException

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            yield
        except CheckpointException as error:
            raise TrainingError(str(next(iter(error.failures.values()))[0])) from error


def _stored(directory: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Size and type of each tensor in a checkpoint, by name."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    num_bytes = check_safetensors(directory / TRAINING)
    if not num_bytes:
        return {}
    entries: dict[str, Any] = HuggingFaceStorageReader(str(directory / TRAINING)).read_metadata().state_dict_metadata
    stored = {name: (tuple(entry.size), entry.properties.dtype) for name, entry in entries.items()}
    for name, (size, dtype) in stored.items():
        if math.prod(size) * dtype.itemsize > num_bytes:  # it would be allocated
            raise CheckpointError(f"{name} has the size {size} in {directory}, more than there is in its files.")
    return stored


def _check_state(name: str, size: tuple[int, ...], dtype: torch.dtype, parameter: Tensor, optimizer: Any) -> None:
    """Check the state of a parameter for PyTorch's optimizers, whose fused kernels do not."""
    is_checked = type(optimizer).__module__.startswith("torch.optim") and type(optimizer).__name__ != "LBFGS"
    has_shape = size == tuple(parameter.shape)
    fits = math.prod(size) == 1 or (has_shape and dtype.is_floating_point == parameter.is_floating_point())
    factored = type(optimizer).__name__ == "Adafactor" and len(size) <= parameter.ndim
    if is_checked and not (fits or factored):
        raise CheckpointError(
            f"{name} has the size {size} and the type {dtype}, but its parameter has {tuple(parameter.shape)} and "
            f"{parameter.dtype}."
        )
