"""Weights into files: under the names that `transformers` reads, whole or in shards, never half written."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.files.atomic import replacing, write_text
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.files.file_names import PICKLE, SAFETENSORS, WeightFiles
from minitransformers.files.reading import DTYPES

_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def named_for_files(
    state: Mapping[str, Tensor], names: CheckpointNames, ties: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    """`state` under the names, and in the layout, that files have.

    Args:
        ties: pairs of parameters, of which the first is left out where both are the same tensor.
    """
    written = {}
    for name, tensor in state.items():
        source = (ties or {}).get(name, "")
        if source in state and state[source].data_ptr() == tensor.data_ptr():
            continue
        written[names.file_name(name)] = tensor.t() if names.is_transposed(name) else tensor
    return written


class _Layout(NamedTuple):
    """What a file's header says of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    nbytes: int


def write_checkpoint(
    directory: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    max_shard_size: int | str = "50GB",
    metadata: Mapping[str, str] | None = None,
    variant: str | None = None,
    safe_serialization: bool = True,
    names: tuple[str, str] = (SAFETENSORS, PICKLE),
) -> list[Path]:
    """Save tensors as model.safetensors or, where they exceed `max_shard_size`, as shards with an index.

    One tensor at a time is made contiguous and brought to the CPU. Tensors that share memory are written each on its
    own. What an earlier save left and this one does not replace is removed, last of all: whenever the process dies, the
    directory holds the old checkpoint or the new one. (Shards replace no file, as the old index may need it: where the
    usual names are taken, theirs begin with `model-2` in place of `model`.)

    Args:
        directory: made if it does not exist.
        tensors: by name; may be a mapping that makes each tensor when it is asked for, twice.
        max_shard_size: in bytes, or as "500MB", "5GB" (powers of 1000), "1GiB" (of 1024). A larger tensor gets a shard
            of its own.
        metadata: text to put into the files; `{"format": "pt"}`, which transformers asks for, always is.
        variant: becomes a part of the files' names: model.fp16.safetensors. Files of other variants stay.
        safe_serialization: False writes pickles of plain tensors, pytorch_model.bin, without metadata. Safetensors of
            the same variant are removed then, because they would be read in place of the pickle.
        names: what whole files are called, safetensors and pickles, where the tensors are not a model's.

    Returns:
        The files written, the index last.

    Raises:
        InputError: a size, name, dtype, metadata or variant that cannot be written, or a directory that is a file.
    """
    limit = _size(max_shard_size)
    safetensors = WeightFiles(names[0], variant)
    files = safetensors if safe_serialization else WeightFiles(names[1], variant)
    texts = {**(metadata or {}), "format": "pt"}
    for key, value in texts.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"metadata must map text to text, got {key!r}: {value!r}.")
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"directory must be a directory, and {str(directory)!r} is a file.")
    shards = _split({name: _layout(name, tensor) for name, tensor in tensors.items()}, limit)
    directory.mkdir(parents=True, exist_ok=True)
    present = [path.name for path in directory.iterdir()]
    written = [files.whole] if len(shards) == 1 else files.shards(len(shards), taken=present)
    for name, shard in zip(written, shards, strict=True):
        if safe_serialization:
            _write_safetensors(directory / name, shard, tensors, texts)
        else:
            _write_pickle(directory / name, shard, tensors)
    if len(shards) > 1:
        places = {tensor: name for name, shard in zip(written, shards, strict=True) for tensor in shard}
        total = sum(layout.nbytes for shard in shards for layout in shard.values())
        index = {"metadata": {"total_size": total}, "weight_map": places}
        written.append(files.index)
        write_text(directory / written[-1], json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    for name in sorted(present, key=lambda name: not name.endswith(".json")):  # an index before its shards
        if name not in written and (files.has(name) or safetensors.has(name)):
            (directory / name).unlink()
    return [directory / name for name in written]


def _size(value: int | str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B\s*", str(value), re.IGNORECASE | re.ASCII)
    if isinstance(value, str) and found:
        size = int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " "))
    else:
        size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if size <= 0:
        raise InputError(f"max_shard_size must be a number of bytes or a text such as '5GB' or '1GiB', got {value!r}.")
    return size


def _layout(name: str, tensor: Tensor) -> _Layout:
    """What the header will say of a tensor; InputError where it cannot be written."""
    if not isinstance(name, str) or name == "__metadata__":
        raise InputError(f"tensors: {name!r} cannot be the name of a tensor in a file.")
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
        raise InputError(f"tensors: {name!r} must be a dense tensor with values, got {tensor!r:.100}.")
    if tensor.dtype not in _DTYPE_NAMES:
        raise InputError(f"tensors: {name!r} is {tensor.dtype}; safetensors has {', '.join(map(str, _DTYPE_NAMES))}.")
    return _Layout(tensor.dtype, tuple(tensor.shape), tensor.numel() * tensor.dtype.itemsize)


def _split(layouts: dict[str, _Layout], limit: int) -> list[dict[str, _Layout]]:
    """The tensors in their order, cut into groups of at most `limit` bytes or one tensor."""
    shards: list[dict[str, _Layout]] = [{}]
    room = limit
    for name, layout in layouts.items():
        if layout.nbytes > room and shards[-1]:
            shards.append({})
            room = limit
        shards[-1][name] = layout
        room -= layout.nbytes
    return shards


def _write_safetensors(
    path: Path, shard: dict[str, _Layout], tensors: Mapping[str, Tensor], metadata: dict[str, str]
) -> None:
    order = sorted(shard, key=lambda name: -shard[name].dtype.itemsize)  # so that each tensor is aligned
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in order:
        dtype, shape, nbytes = shard[name]
        header[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": shape, "data_offsets": [end, end + nbytes]}
        end += nbytes
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in order:
            file.write(_plain(tensors[name]).reshape(-1).view(torch.uint8).numpy().data)


def _write_pickle(path: Path, shard: dict[str, _Layout], tensors: Mapping[str, Tensor]) -> None:
    state = {}
    for name in shard:
        plain = _plain(tensors[name])
        # torch.save writes the whole memory of a view.
        state[name] = plain.clone() if plain.untyped_storage().nbytes() != shard[name].nbytes else plain
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)  # a path would put its random name into the file


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
