"""Saving and loading of a run's tensors, weights and optimizer state, by name.

PyTorch's distributed checkpoint writes them to safetensors files: a tensor is written whole, or in the shards that the
processes hold, and any number of processes can read it in other shards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import CheckpointError, TrainingError
from minitransformers.training.loop.checkpoint_directories import TRAINING
from minitransformers.training.loop.distributed import is_distributed, unwrap
from minitransformers.training.loop.run import Run


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Saved parameters and buffers by name; tied ones once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in found.values()}


def _parameter_names(run: Run) -> list[str]:
    """The names of the optimizer's parameters, in its order."""
    names = {id(parameter): name for name, parameter in unwrap(run.model).named_parameters()}
    return [
        names.get(id(parameter), f"unnamed-{index}")
        for index, parameter in enumerate(p for group in run.optimizer.param_groups for p in group["params"])
    ]


def tensors_of(run: Run) -> dict[str, Tensor]:
    """All tensors that a checkpoint keeps, by name; sharded if the model is sharded."""
    tensors = {f"model.{name}": tensor for name, tensor in named_weights(unwrap(run.model)).items()}
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


def load_tensors(run: Run, directory: Path, numbers: Mapping[str, Any]) -> None:
    """Load a checkpoint's tensors into model and optimizer; `numbers` come from `optimizer_numbers`.

    Raises:
        CheckpointError: a tensor is missing, or has another size.
    """
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    indices = {name: index for index, name in enumerate(_parameter_names(run))}
    state: dict[int, dict[str, Any]] = {indices[name]: dict(values) for name, values in numbers["numbers"].items()}
    tensors = {f"model.{name}": tensor for name, tensor in named_weights(unwrap(run.model)).items()}
    for name, (size, dtype) in _stored(directory).items():
        if not name.startswith("optimizer."):
            continue
        parameter_name, _, key = name.removeprefix("optimizer.").rpartition(".")
        index = indices[parameter_name]
        # State of the parameter's shape is sharded like the parameter; the rest, such as the number of steps, is not.
        has_shape = tuple(parameters[index].shape) == size
        tensor = torch.empty_like(parameters[index], dtype=dtype) if has_shape else torch.empty(size, dtype=dtype)
        tensors[name] = state[index][key] = tensor
    read_tensors(tensors, directory)
    groups = run.optimizer.state_dict()["param_groups"]
    for group, saved in zip(groups, numbers["groups"], strict=True):
        # JSON has no tuples, such as AdamW's betas.
        group |= {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()}
    run.optimizer.load_state_dict(
        {"state": {i: values for i, values in state.items() if values}, "param_groups": groups}
    )


def write_tensors(tensors: dict[str, Tensor], directory: Path) -> None:
    """Write this process's shards of the tensors."""
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    with _with_plain_errors():
        checkpoint.save(
            # Files hold contiguous rows; GPT-2's matrices are transposed views of the memory that they were read into.
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            storage_writer=HuggingFaceStorageWriter(str(directory / TRAINING), save_distributed=True),
            no_dist=not is_distributed(),
        )


def read_tensors(tensors: dict[str, Tensor], directory: Path) -> None:
    """Fill the tensors in place."""
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

    entries: dict[str, Any] = HuggingFaceStorageReader(str(directory / TRAINING)).read_metadata().state_dict_metadata
    return {name: (tuple(entry.size), entry.properties.dtype) for name, entry in entries.items()}
