"""Reading tensors from files, by name: safetensors, single or in shards, and pickles, without running what is in them.

No model is known here. Tensors are memory-mapped: opening a checkpoint reads its headers, and a tensor's bytes are read
by the operating system when they are first looked at. The mapping is private, so that a tensor may be changed in place
(training starts at once, without a copy) and the file never is. The format: 8 bytes with the length of a JSON header
that gives each tensor's dtype, shape and place, the header, the tensors' bytes
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import logging
import pickle
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from minitransformers.errors import CheckpointError, InputError, MissingFileError, UnknownNameError
from minitransformers.files.file_names import PICKLE, SAFETENSORS, WeightFiles
from minitransformers.files.hub import Source
from minitransformers.files.json_text import parse_json

logger = logging.getLogger(__name__)

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
}


@dataclass(frozen=True)
class _Entry:
    """Where a tensor is, and what is known of it without reading it."""

    file: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


class Checkpoint(Mapping[str, Tensor]):
    """The tensors of one or several files by name, each made when it is asked for.

    A tensor shares its memory with the mapped file: asking makes no copy of the bytes, asking twice gives two tensors
    on the same memory, and changing one in place changes what this checkpoint gives, but not the file.

    Attributes:
        metadata: the text that the files carry beside their tensors, such as `{"format": "pt"}`.
        ignored: what else the files hold, by name, each with why it is not taken.
    """

    def __init__(self, entries: dict[str, _Entry], metadata: dict[str, str], ignored: dict[str, str]) -> None:
        self._entries = entries
        self.metadata = metadata
        self.ignored = ignored

    def __getitem__(self, name: str) -> Tensor:
        return self._entry(name).read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # Mapping's own would make the tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, from the header."""
        return self._entry(name).shape

    def dtype(self, name: str) -> torch.dtype:
        """The dtype of a tensor, from the header."""
        return self._entry(name).dtype

    def renamed(self, patterns: Mapping[str, str]) -> Checkpoint:
        """The same tensors under other names: each regular expression of `patterns` is replaced, one after the other.

        Raises:
            InputError: something that is no regular expression, or two tensors with one name.
        """
        entries: dict[str, _Entry] = {}
        for name, entry in self._entries.items():
            new = name
            for pattern, replacement in patterns.items():
                try:
                    new = re.sub(pattern, replacement, new)
                except re.error as error:
                    raise InputError(
                        f"key_mapping has {pattern!r}: {replacement!r}; a regular expression and its replacement are "
                        f"expected ({error})."
                    ) from None
            if new in entries:
                raise InputError(f"key_mapping gives two tensors the name {new!r}; {name!r} is one of them.")
            entries[new] = entry
        return Checkpoint(entries, self.metadata, self.ignored)

    def file_of(self, name: str) -> str:
        """The name of the file that a tensor is in."""
        return self._entry(name).file

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            files = ", ".join(sorted({entry.file for entry in self._entries.values()})) or "this checkpoint"
            raise UnknownNameError(f"There is no tensor {name!r} in {files}.") from None


def checkpoint_of(state_dict: Mapping[str, Tensor]) -> Checkpoint:
    """Weights that are in memory already, as if they came from files."""
    entries = {
        name: _Entry("the state dict", tuple(tensor.shape), tensor.dtype, _constant(tensor.detach()))
        for name, tensor in state_dict.items()
    }
    return Checkpoint(entries, {}, {})


def open_checkpoint(
    source: Source, variant: str | None = None, names: tuple[str, str] = (SAFETENSORS, PICKLE)
) -> Checkpoint:
    """The weights of a directory or repository.

    The first of these is taken, in the reference's order: model.safetensors, model.safetensors.index.json with its
    shards, pytorch_model.bin, pytorch_model.bin.index.json with its shards. Of a `variant`, only its own files are
    read: model.fp16.safetensors, model.safetensors.index.fp16.json and so on. `names` are what whole files are called,
    where they hold something else than a model.

    Raises:
        InputError: a variant that cannot be part of a file name.
        MissingFileError: none of them is there, or a shard is not.
        CheckpointError: a file is damaged, is something else than its name says, or would run code.
    """
    kinds = [(WeightFiles(names[0], variant), _read_safetensors), (WeightFiles(names[1], variant), _read_pickle)]
    for files, read in kinds:
        path = source.find(files.whole)
        if path is not None:
            return read(path)
        path = source.find(files.index)
        if path is not None:
            return _read_shards(source, path, read)
    looked_for = ", ".join(f"{files.whole}, {files.index}" for files, _ in kinds)
    raise MissingFileError(f"There are no weights in {source}: looked for {looked_for}. {source.contents()}")


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        # safe_open checks that the tensors' places fill the file without gap or overlap, and fit shapes and dtypes.
        opened = safe_open(path, framework="pt")
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = parse_json(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        entries = {}
        for name, tensor in header.items():
            shape, dtype = tuple(tensor["shape"]), tensor["dtype"]
            if dtype not in DTYPES:
                raise ValueError(f"{name!r} has the dtype {dtype}, which is not one of {', '.join(DTYPES)}")
            if any(length >= 2**63 for length in shape):
                raise ValueError(f"{name!r} has the shape {shape}, which no tensor can have")
            entries[name] = _Entry(path.name, shape, DTYPES[dtype], _reader(opened, name))
    except Exception as error:
        raise CheckpointError(_damage(path, error)) from error
    return Checkpoint(entries, metadata, {})


def _reader(opened: Any, name: str) -> Callable[[], Tensor]:
    return lambda: opened.get_tensor(name)


def _read_pickle(path: Path) -> Checkpoint:
    try:
        with open(path, "rb") as file:
            mappable = file.read(4) == b"PK\3\4"  # torch.save's format since 1.6; older files are read into memory
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except Exception as error:
        raise CheckpointError(_refusal(path, error) or _damage(path, error)) from error
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds one {type(loaded).__name__}, not tensors by name.")
    entries, ignored = {}, {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            ignored[str(name)] = f"is of type {type(value).__name__}, not a tensor"
            continue
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise CheckpointError(f"{name!r} in {path} is a quantized, sparse or empty (meta) tensor; save plain ones.")
        value = value.detach()
        entries[name] = _Entry(path.name, tuple(value.shape), value.dtype, _constant(value))
    if ignored and not entries:
        raise CheckpointError(
            f"{path} holds no tensors by name, but: {', '.join(f'{name!r} {why}' for name, why in ignored.items())}. "
            "If one of these holds the weights, save that one alone under this name."
        )
    for name, why in ignored.items():
        logger.info("%s: %r is not loaded, it %s.", path, name, why)
    return Checkpoint(entries, {}, ignored)


def _constant(tensor: Tensor) -> Callable[[], Tensor]:
    return lambda: tensor.view(tensor.shape)  # a tensor of the caller's own, on the same memory


def _read_shards(source: Source, index: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """The tensors of all shards that an index names."""
    try:
        content = parse_json(index.read_bytes())
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict) or not places or not all(isinstance(shard, str) for shard in places.values()):
            raise ValueError("it has no 'weight_map' that gives each tensor's file")
    except Exception as error:
        raise CheckpointError(_damage(index, error)) from error
    entries: dict[str, _Entry] = {}
    metadata: dict[str, str] = {}
    ignored: dict[str, str] = {}
    opened = {}
    for shard in dict.fromkeys(places.values()):
        # A plain file name: no '..', no absolute path, no link to a directory elsewhere on the way.
        if shard in ("", ".", "..") or PureWindowsPath(shard).name != shard or "\0" in shard:
            raise CheckpointError(f"{index} names the shard {shard!r}; only files of its own directory are read.")
        path = source.find(shard)
        if path is None:
            raise MissingFileError(f"{index} names the shard {shard!r}, which is not there. {source.contents()}")
        opened[shard] = read(path)
        entries |= opened[shard]._entries
        metadata |= opened[shard].metadata
        ignored |= opened[shard].ignored
    for name, shard in places.items():
        if name not in opened[shard]:
            raise CheckpointError(
                f"{index} says that {name!r} is in {shard}, but it is not. Is one of the two from another checkpoint?"
            )
        entries[name] = opened[shard]._entries[name]  # the index decides where two shards have it
    return Checkpoint(entries, metadata, ignored)


def _damage(path: Path, error: Exception) -> str:
    """What is wrong with a file that cannot be read, and what to do; above all whether it is something else."""
    again = "Download or copy it again (from a hub: force_download=True)."
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(200)
    except OSError as unreadable:
        return f"{path} cannot be read: {unreadable}."
    text = start.decode("ascii", errors="replace")
    if not start:
        return f"{path} is empty. {again}"
    if text.startswith("version https://git-lfs"):
        return (
            f"{path} is not the weights but a pointer to them, as git without LFS leaves it. Run `git lfs pull` there."
        )
    if re.match(r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE):
        return f"{path} is a web page. Download the file itself: in its address, 'resolve' stands in place of 'blob'."
    if re.fullmatch(r"[\s!-~]+", text) and not text.lstrip().startswith("{"):
        return f"{path} is not what its name says but the text {text[:80]!r}. {again}"
    cause = " ".join(str(error).split())
    if path.suffix == ".safetensors" and size >= 8 and (length := struct.unpack("<Q", start[:8])[0]) > size - 8:
        cause = f"its header should have {length} bytes, and {size - 8} follow: it is cut off, or no safetensors file"
    elif "not fully covered" in cause:
        cause = "it is shorter or longer than its header says, probably cut off"
    if isinstance(error, pickle.UnpicklingError):
        # What torch says first is how to run the code in the file.
        cause = cause.split("WeightsUnpickler error: ")[-1].split(" Check the documentation")[0]
    return f"{path} ({size} bytes) is damaged: {cause.rstrip('.') or type(error).__name__}. {again}"


def _refusal(path: Path, error: Exception) -> str | None:
    """Why a pickle is not read, where the reason is not damage but that it holds more than tensors."""
    found = re.search(r"[Uu]nsupported (?:class|global:|GLOBAL)(?: GLOBAL)? ([\w.]+)", str(error))
    script = "TorchScript" in str(error)
    if not script and (found is None or not isinstance(error, pickle.UnpicklingError)):
        return None
    what = "this one is a TorchScript program" if found is None else f"this one wants {found[1]!r}, which is no tensor"
    return (
        f"{path} is refused: a pickle can run any code, and {what}. If you trust where it comes from, convert its "
        f"weights once: safetensors.torch.save_file(torch.load({path.name!r}, weights_only=False), {SAFETENSORS!r})."
    )
