"""Tensors in files, by name: safetensors, single or in shards, and pickles read without running what is in them.

No model is known here. Tensors are memory-mapped: opening a checkpoint reads its headers, and a tensor's bytes are read
by the operating system when they are first looked at. The mapping is private, so that a tensor may be changed in place
(training starts at once, without a copy) and the file never is. The format: 8 bytes with the length of a JSON header
that gives each tensor's dtype, shape and place, the header, the tensors' bytes
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from minitransformers.atomic import replacing, write_text
from minitransformers.errors import CheckpointError, InputError, MissingFileError, UnknownNameError
from minitransformers.hub import Source

logger = logging.getLogger(__name__)

SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"

_DTYPES = {
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
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


# ------------------------------------------------------------------------------------------------------- reading


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

    def file_of(self, name: str) -> str:
        """The name of the file that a tensor is in."""
        return self._entry(name).file

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            files = ", ".join(sorted({entry.file for entry in self._entries.values()})) or "this checkpoint"
            raise UnknownNameError(f"There is no tensor {name!r} in {files}.") from None


def open_checkpoint(source: Source) -> Checkpoint:
    """The weights of a directory or repository.

    The first of these is taken, in the reference's order: model.safetensors, model.safetensors.index.json with its
    shards, pytorch_model.bin, pytorch_model.bin.index.json with its shards.

    Raises:
        MissingFileError: none of them is there, or a shard is not.
        CheckpointError: a file is damaged, is something else than its name says, or would run code.
    """
    for single, read in ((SAFETENSORS, _read_safetensors), (PICKLE, _read_pickle)):
        path = source.find(single)
        if path is not None:
            return read(path)
        path = source.find(f"{single}.index.json")
        if path is not None:
            return _read_shards(source, path, read)
    looked_for = ", ".join(f"{single}, {single}.index.json" for single in (SAFETENSORS, PICKLE))
    raise MissingFileError(f"There are no weights in {source}: looked for {looked_for}. {source.contents()}")


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        # safe_open checks that the tensors' places fill the file without gap or overlap, and fit shapes and dtypes.
        opened = safe_open(path, framework="pt")
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
        metadata = header.pop("__metadata__", None) or {}
        entries = {}
        for name, tensor in header.items():
            shape, dtype = tuple(tensor["shape"]), tensor["dtype"]
            if dtype not in _DTYPES:
                raise ValueError(f"{name!r} has the dtype {dtype}, which is not one of {', '.join(_DTYPES)}")
            if any(length >= 2**63 for length in shape):
                raise ValueError(f"{name!r} has the shape {shape}, which no tensor can have")
            entries[name] = _Entry(path.name, shape, _DTYPES[dtype], _reader(opened, name))
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
        content = json.loads(index.read_bytes().decode(), object_pairs_hook=_without_duplicates)
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


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json: an object; ValueError where a name occurs twice, as readers differ in which one they take."""
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise ValueError(f"the name {name!r} occurs twice")
        unique[name] = value
    return unique


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


# ------------------------------------------------------------------------------------------------------- writing


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

    Returns:
        The files written, the index last.

    Raises:
        InputError: a size, name, dtype or metadata that cannot be written, or a directory that is a file.
    """
    limit = _size(max_shard_size)
    texts = {**(metadata or {}), "format": "pt"}
    for key, value in texts.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"metadata must map text to text, got {key!r}: {value!r}.")
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"directory must be a directory, and {str(directory)!r} is a file.")
    shards = _split({name: _layout(name, tensor) for name, tensor in tensors.items()}, limit)
    directory.mkdir(parents=True, exist_ok=True)
    names = [SAFETENSORS] if len(shards) == 1 else _free_names(directory, len(shards))
    for name, shard in zip(names, shards, strict=True):
        _write_file(directory / name, shard, tensors, texts)
    if len(shards) > 1:
        places = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(layout.nbytes for shard in shards for layout in shard.values())
        index = {"metadata": {"total_size": total}, "weight_map": places}
        names.append(f"{SAFETENSORS}.index.json")
        write_text(directory / names[-1], json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    for path in directory.iterdir():
        if path.name not in names and re.fullmatch(
            r"model\.safetensors(\.index\.json)?|model(-\d+)?-\d{5}-of-\d{5}\.safetensors", path.name
        ):
            path.unlink()
    return [directory / name for name in names]


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


def _free_names(directory: Path, number: int) -> list[str]:
    """Names for shards, in transformers' form, that no file has."""
    stems = ("model" if attempt == 1 else f"model-{attempt}" for attempt in count(1))
    names = ([f"{stem}-{shard:05}-of-{number:05}.safetensors" for shard in range(1, number + 1)] for stem in stems)
    return next(free for free in names if not any((directory / name).exists() for name in free))


def _write_file(path: Path, shard: dict[str, _Layout], tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
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
            plain = tensors[name].detach().resolve_conj().resolve_neg().cpu().contiguous()
            file.write(plain.reshape(-1).view(torch.uint8).numpy().data)
