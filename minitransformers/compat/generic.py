"""Small tools of the reference's `utils.generic`, `utils.hub` and `modeling_utils` that scripts import."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minitransformers.errors import InputError, MissingFileError, nearest
from minitransformers.files.hub import Source
from minitransformers.files.pushing import PushToHub
from minitransformers.files.reading import open_checkpoint

PushToHubMixin = PushToHub


class ExplicitEnum(str, enum.Enum):  # noqa: UP042 - str() of a member is the reference's
    """Names with text values; a wrong value is refused with those that there are."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        known = [member.value for member in cls]
        raise ValueError(f"{value!r} is no {cls.__name__}: choose one of {known}.{nearest(str(value), known)}")


class ContextManagers:
    """Several context managers as one: entered in order, and left in the inverse order."""

    def __init__(self, context_managers: Sequence[AbstractContextManager[Any]]) -> None:
        self.context_managers = context_managers
        self.stack = ExitStack()

    def __enter__(self) -> None:
        for manager in self.context_managers:
            self.stack.enter_context(manager)

    def __exit__(self, *exception: Any) -> bool | None:
        return self.stack.__exit__(*exception)


# ---- values ----------------------------------------------------------------------------------------------------------


def is_torch_tensor(x: object) -> bool:
    """Whether `x` is a tensor of PyTorch."""
    return isinstance(x, Tensor)


def is_numpy_array(x: object) -> bool:
    """Whether `x` is an array of NumPy."""
    return isinstance(x, np.ndarray)


def is_tensor(x: object) -> bool:
    """Whether `x` is a tensor of PyTorch or an array of NumPy."""
    return isinstance(x, (Tensor, np.ndarray))


def is_torch_device(x: object) -> bool:
    """Whether `x` is a `torch.device`."""
    return isinstance(x, torch.device)


def is_torch_dtype(x: object) -> bool:
    """Whether `x` is a `torch.dtype`, or the name of one."""
    return isinstance(x, torch.dtype) or (isinstance(x, str) and isinstance(getattr(torch, x, None), torch.dtype))


def to_py_obj(obj: Any) -> Any:
    """Tensors and arrays, also inside lists and dictionaries, as lists and numbers of Python."""
    if isinstance(obj, Mapping):
        return {name: to_py_obj(value) for name, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [to_py_obj(value) for value in obj]
    if isinstance(obj, Tensor):
        return obj.detach().cpu().tolist()
    return obj.tolist() if isinstance(obj, (np.ndarray, np.number)) else obj


def to_numpy(obj: Any) -> Any:
    """Tensors and lists as arrays, also inside dictionaries."""
    if isinstance(obj, Mapping):
        return {name: to_numpy(value) for name, value in obj.items()}
    if isinstance(obj, Tensor):
        return obj.detach().cpu().numpy()
    return np.array(obj) if isinstance(obj, (list, tuple)) else obj


def flatten_dict(d: Mapping[str, Any], parent_key: str = "", delimiter: str = ".") -> dict[str, Any]:
    """Nested dictionaries as one: `{"a": {"b": 1}}` becomes `{"a.b": 1}`.

    Args:
        d: the dictionary; empty ones inside it are left out.
        parent_key: what all names begin with, followed by `delimiter`.
        delimiter: between the names of two levels.
    """
    flat: dict[str, Any] = {}
    for key, value in d.items():
        name = f"{parent_key}{delimiter}{key}" if parent_key else str(key)
        flat |= flatten_dict(value, name, delimiter) if isinstance(value, Mapping) else {name: value}
    return flat


def strtobool(val: str) -> int:
    """1 for "y", "yes", "t", "true", "on" and "1", 0 for their opposites, in any case.

    Raises:
        InputError: another text.
    """
    words = {**dict.fromkeys(("y", "yes", "t", "true", "on", "1"), 1)}
    words |= dict.fromkeys(("n", "no", "f", "false", "off", "0"), 0)
    if val.lower() not in words:
        raise InputError(f"{val!r} must be one of {', '.join(words)}.")
    return words[val.lower()]


# ---- models ----------------------------------------------------------------------------------------------------------


def find_labels(model_class: type) -> list[str]:
    """The arguments of a model's forward that are labels, as `Trainer` finds them."""
    names = inspect.signature(model_class.forward).parameters  # type: ignore[attr-defined]
    ends = ("label", "start_positions", "end_positions") if "QuestionAnswering" in model_class.__name__ else ("label",)
    return [name for name in names if any(end in name for end in ends)]


def can_return_loss(model_class: type) -> bool:
    """Whether a model's forward has an argument `return_loss` that is True unless given."""
    parameter = inspect.signature(model_class.forward).parameters.get("return_loss")  # type: ignore[attr-defined]
    return parameter is not None and parameter.default is True


def unwrap_model(model: nn.Module, recursive: bool = False) -> nn.Module:
    """The model inside the wrappers of DataParallel, DistributedDataParallel and torch.compile.

    Args:
        model: perhaps wrapped.
        recursive: has no effect: every wrapper around the model is taken off.
    """
    inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    is_wrapper = isinstance(model, wrappers) or hasattr(model, "_orig_mod")
    return unwrap_model(inner) if is_wrapper and isinstance(inner, nn.Module) else model


# ---- files -----------------------------------------------------------------------------------------------------------


def load_state_dict(checkpoint_file: str | PathLike[str], **options: Any) -> dict[str, Tensor]:
    """The tensors of a file, model.safetensors or pytorch_model.bin, by name, on the CPU.

    `options` of the reference (`map_location`, `weights_only`) have no effect: pickles of plain tensors are read, and
    no others.
    """
    path = Path(checkpoint_file)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


def load_sharded_checkpoint(model: nn.Module, folder: str | PathLike[str], strict: bool = True, **options: Any) -> Any:
    """Load into a model of any kind the weights of a directory, whole or in shards.

    Args:
        model: any module.
        folder: with model.safetensors or pytorch_model.bin, or their shards and index.
        strict: missing and unused weights are errors.
        options: `prefer_safe` has no effect: safetensors are read where there are any.

    Returns:
        The names of missing and of unused weights, as `load_state_dict` of PyTorch returns them.
    """
    return model.load_state_dict(dict(open_checkpoint(Source(folder))), strict=strict)


def cached_file(path_or_repo_id: str | PathLike[str], filename: str, **options: Any) -> str | None:
    """The path of a file in a directory or a hub's repository, downloaded where necessary.

    Args:
        path_or_repo_id: the directory, or the repository's name.
        filename: of the file.
        options: those of `Source` (`revision`, `token`, `cache_dir` …); `_raise_exceptions_for_missing_entries=False`
            returns None for a missing file. Others of the reference have no effect.

    Raises:
        MissingFileError: there is no such file.
    """
    names = ("cache_dir", "revision", "subfolder", "local_files_only", "token", "force_download")
    source = Source(path_or_repo_id, **{name: options[name] for name in names if options.get(name) is not None})
    if options.get("_raise_exceptions_for_missing_entries", True):
        return str(source.file(filename))
    path = source.find(filename)
    return None if path is None else str(path)


def has_file(path_or_repo: str | PathLike[str], filename: str, **options: Any) -> bool:
    """Whether a directory or a hub's repository has a file; `options` are those of `cached_file`."""
    try:
        return cached_file(path_or_repo, filename, **options) is not None
    except MissingFileError:
        return False
