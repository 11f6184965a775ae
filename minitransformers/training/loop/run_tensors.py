"""The tensors of a run, weights and the optimizer's state, by name: to files and back.

PyTorch's distributed checkpoint does it, in safetensors files: a tensor is written whole, or in the pieces that the
processes have; it is read into whatever pieces are asked for, by any number of processes.
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
    """Parameters and buffers that are saved, by name; tied ones once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in found.values()}


def _parameter_names(run: Run) -> list[str]:
    """The name of each parameter that the optimizer has, in its order."""
    names = {id(parameter): name for name, parameter in unwrap(run.model).named_parameters()}
    return [
        names.get(id(parameter), f"unnamed-{index}")
        for index, parameter in enumerate(p for group in run.optimizer.param_groups for p in group["params"])
    ]


def tensors_of(run: Run) -> dict[str, Tensor]:
    """Everything in the run that checkpoints keep and that is a tensor, by name; in pieces where the model is."""
    tensors = {f"model.{name}": tensor for name, tensor in named_weights(unwrap(run.model)).items()}
    if run.settings.save_only_model:
        return tensors
    names = _parameter_names(run)
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[index]}.{key}": v for key, v in state.items() if isinstance(v, Tensor)}
    return tensors


def optimizer_numbers(run: Run) -> dict[str, Any]:
    """What the optimizer keeps besides tensors: the settings of its groups, and numbers."""
    state = run.optimizer.state_dict()
    return {
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]],
        "numbers": {
            name: {key: value for key, value in state["state"].get(index, {}).items() if not isinstance(value, Tensor)}
            for index, name in enumerate(_parameter_names(run))
        },
    }


def load_tensors(run: Run, directory: Path, numbers: Mapping[str, Any]) -> None:
    """Give model and optimizer what a checkpoint has of them; `numbers` are those of `optimizer_numbers`.

    Raises:
        CheckpointError: a tensor is missing, or of another size.
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
        # What has the parameter's shape is in pieces where that is; the rest, such as the number of steps, is whole.
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
    """Write what this process has of the tensors."""
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    with _quietly_alone():
        checkpoint.save(
            # Files hold rows one after the other; GPT-2's matrices, read from where they are transposed, do not.
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            storage_writer=HuggingFaceStorageWriter(str(directory / TRAINING), save_distributed=True),
            no_dist=not is_distributed(),
        )


def read_tensors(tensors: dict[str, Tensor], directory: Path) -> None:
    """Fill the tensors in place."""
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    try:
        with _quietly_alone():
            checkpoint.load(
                tensors,
                storage_reader=HuggingFaceStorageReader(str(directory / TRAINING)),
                no_dist=not is_distributed(),
            )
    except TrainingError as error:
        raise CheckpointError(f"{directory} cannot be loaded: {error}") from error


@contextmanager
def _quietly_alone() -> Iterator[None]:
    """Without a warning that this is a single process, and with errors that are an Exception."""
    from torch.distributed.checkpoint import CheckpointException

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            yield
        except CheckpointException as error:
            raise TrainingError(str(next(iter(error.failures.values()))[0])) from error


def _stored(directory: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Name, size and type of each tensor in a checkpoint, put together from its pieces."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    entries: dict[str, Any] = HuggingFaceStorageReader(str(directory / TRAINING)).read_metadata().state_dict_metadata
    return {name: (tuple(entry.size), entry.properties.dtype) for name, entry in entries.items()}
