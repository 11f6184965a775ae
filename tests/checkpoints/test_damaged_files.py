"""Damaged files, and indices that lead astray: told apart from weights, and refused with an error that names them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from opening import child, opened
from safetensors.torch import save_file

from minitransformers.errors import CheckpointError, MissingFileError
from minitransformers.files.saving import write_checkpoint

# ------------------------------------------------------------------------------------------------ damage


def raw(path: Path, header: Any, body: bytes = b"", length: int | None = None) -> None:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if length is None else length) + encoded + body)


def entry(start: int, end: int, shape: tuple[int, ...] = (2,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


A = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
DAMAGED: dict[str, tuple[Any, bytes, int | None, str]] = {
    "header longer than the file": ({"a": entry(0, 8)}, b"12345678", 1000, "header should have 1000 bytes"),
    "header of 2**63 bytes": ({"a": entry(0, 8)}, b"12345678", 2**63, "header should have 9223372036854775808 bytes"),
    "header of 2**64-1 bytes": (b"", b"", 2**64 - 1, "header should have 18446744073709551615 bytes, and 0 follow"),
    "not JSON": (b"hello", b"", None, "invalid JSON"),
    "JSON of another kind": ([1, 2], b"", None, "invalid JSON"),
    "not text": (b"\xff\xfe\xfd", b"", None, "is damaged"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, b"12345678", None, "missing field `dtype`"),
    "unknown dtype": ({"a": entry(0, 8, (2,), "F33")}, b"12345678", None, "F33"),
    "dtype without a torch equivalent": ({"a": entry(0, 8, (16,), "F4")}, b"12345678", None, "'a' has the dtype F4"),
    "overlap": ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12), None, "invalid offset for tensor `b`"),
    "gap": ({"a": entry(0, 8), "b": entry(12, 20)}, bytes(20), None, "invalid offset for tensor `b`"),
    "backwards": ({"a": entry(8, 0)}, bytes(8), None, "invalid offset|invalid shape"),
    "out of range": ({"a": entry(0, 800, (200,))}, bytes(8), None, "shorter or longer than its header says"),
    "cut off": ({"a": entry(0, 8)}, bytes(7), None, "shorter or longer than its header says"),
    "something follows": ({"a": entry(0, 8)}, bytes(9), None, "shorter or longer than its header says"),
    "shape and bytes": ({"a": entry(0, 8, (3,))}, bytes(8), None, "invalid shape"),
    "negative length": ({"a": entry(0, 8, (-2,))}, bytes(8), None, "invalid value: integer `-2`"),
    "shape that overflows": ({"a": entry(0, 8, (2**62, 2**62))}, bytes(8), None, "overflow"),
    "shape that no tensor has": ({"a": entry(0, 0, (0, 2**63))}, b"", None, "which no tensor can have"),
    "fraction": ({"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}, bytes(8), None, "invalid JSON"),
    "name twice, other place": (A + b',"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}', bytes(16), None, "`a`"),
    "name twice, same place": (
        A + b',"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}',
        bytes(8),
        None,
        "twice",
    ),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, b"", None, "invalid JSON"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_safetensors(tmp_path: Path, case: str) -> None:
    header, body, length, message = DAMAGED[case]
    raw(tmp_path / "model.safetensors", header, body, length)
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(tmp_path)
    assert str(tmp_path / "model.safetensors") in str(caught.value)
    assert "again (from a hub: force_download=True)" in str(caught.value)


def test_what_looks_odd_and_is_not_damaged(tmp_path: Path) -> None:
    raw(tmp_path / "model.safetensors", {})
    assert len(opened(tmp_path)) == 0
    raw(tmp_path / "model.safetensors", A + b"}  ", struct.pack("<2f", 1, 2))  # 55 bytes: the floats are not aligned
    assert opened(tmp_path)["a"].tolist() == [1, 2]
    raw(
        tmp_path / "model.safetensors", {"z": entry(8, 16), "a": entry(0, 8), "0": entry(16, 16, (0, 2**40))}, bytes(16)
    )
    assert list(opened(tmp_path)) == ["z", "a", "0"]
    assert opened(tmp_path)["0"].shape == (0, 2**40)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 438\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (POINTER, "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>caf\xc3\xa9</html>", "is a web page.*'resolve' stands in place of 'blob'"),
        (b"  \n<html lang='en'>", "is a web page"),
        (b"Entry not found", "is not what its name says but the text 'Entry not found'"),
        (b'{"error": "Repository not found"}', "is damaged"),
        (b"\x00", "is damaged"),
        (bytes(range(256)) * 8, "is damaged"),
    ],
)
def test_something_else_in_place_of_weights(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        opened(tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert "weights_only" not in str(caught.value), "what torch advises is to run the file"


def test_formats_under_the_wrong_name(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        opened(tmp_path)
    save_file({"w": torch.ones(3)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin .*is damaged"):
        opened(tmp_path)


def is_sound_or_refused(directory: Path, size: int) -> bool:
    """Whether an altered file is a checkpoint (True) or an error of ours that names it (False); else the test fails."""
    try:
        checkpoint = opened(directory)
    except CheckpointError as error:
        if str(directory) not in str(error):
            raise
        return False
    total = 0
    for name in checkpoint:
        tensor = checkpoint[name].clone()  # looks at every byte
        assert (tuple(tensor.shape), tensor.dtype) == (checkpoint.shape(name), checkpoint.dtype(name))
        total += tensor.nbytes
    assert total <= size
    return True


SMALL = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bool), "c.d": torch.zeros(0, 4)}


def saved(directory: Path, kind: str) -> Path:
    if kind == "safetensors":
        return write_checkpoint(directory, SMALL)[0]
    torch.save(SMALL, directory / "pytorch_model.bin", _use_new_zipfile_serialization=kind == "zip")
    return directory / "pytorch_model.bin"


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_cut_off_at_every_byte(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, kind)
    content = path.read_bytes()
    for size in range(0, len(content), 5 if kind == "zip" else 1):  # a zip is long, and cut off has no directory
        path.write_bytes(content[:size])
        assert not is_sound_or_refused(tmp_path, size), size


def change_every_byte_of_a_header(directory: Path) -> None:
    """Run in a process of its own, for the sake of what it measures."""
    path = saved(directory, "safetensors")
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    before, changes, sound = virtual_memory(), 0, 0
    for position in range(header):
        for value in {0, 255, *b'90[{,"-', content[position] ^ 1, content[position] ^ 128} - {content[position]}:
            altered = bytearray(content)
            altered[position] = value
            path.write_bytes(altered)
            sound += is_sound_or_refused(directory, len(altered))
            changes += 1
    print(changes, sound, virtual_memory() - before)


def virtual_memory() -> int:
    """The most address space, in MB, that this process ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmPeak"))


def test_every_byte_of_a_header_changed(tmp_path: Path) -> None:
    code = "import sys, test_damaged_files as t; t.change_every_byte_of_a_header(t.Path(sys.argv[1]))"
    changes, sound, megabytes = map(int, child(code, str(tmp_path), path=Path(__file__).parent).split())
    assert changes > 2000
    assert 0 < sound < changes / 4, "the few that pass have other names or a shape of the same size"
    assert megabytes < 64, "a small file made a large allocation"


edits = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete"]), st.integers(0, 2**16), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=4,
)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@given(edits=edits)
def test_any_edit(tmp_path_factory: pytest.TempPathFactory, kind: str, edits: list[tuple[str, int, bytes]]) -> None:
    directory = tmp_path_factory.mktemp("edit")
    path = saved(directory, kind)
    content = bytearray(path.read_bytes())
    for edit, place, new in edits:
        start = place % len(content)
        content[start : start + (0 if edit == "insert" else len(new))] = b"" if edit == "delete" else new
        content = content or bytearray(b"\0")
    path.write_bytes(content)
    is_sound_or_refused(directory, len(content))


# ------------------------------------------------------------------------------------------------ indices


def write_index(directory: Path, weight_map: Any, **more: Any) -> None:
    content = {"metadata": {}, "weight_map": weight_map, **more}
    (directory / "model.safetensors.index.json").write_text(json.dumps(content))


CLIMBING = ["../outside.safetensors", "sub/../../outside.safetensors", "link/outside.safetensors", "..", ".", ""]
CLIMBING += ["./shard.safetensors", "..\\outside.safetensors", "C:outside.safetensors", "a\0b"]


@pytest.mark.parametrize("shard", [*CLIMBING, "absolute"])
def test_index_that_climbs_out_is_refused(tmp_path: Path, shard: str) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    save_file({"w": torch.ones(1)}, tmp_path / "outside.safetensors")
    save_file({"w": torch.ones(1)}, directory / "shard.safetensors")
    (directory / "link").symlink_to(tmp_path)
    write_index(directory, {"w": str(tmp_path / "outside.safetensors") if shard == "absolute" else shard})
    with pytest.raises(CheckpointError, match="only files of its own directory are read"):
        opened(directory)


NO_INDEX = ["{", "[]", "3", "null", '"x"', "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"w": 3}}']
NO_INDEX += ['{"weight_map": {"w": "a", "w": "b"}}', '{"weight_map": {"w": {"w": "a"}}}', "[" * 100_000, "\udcff"]


@pytest.mark.parametrize("content", NO_INDEX)
def test_index_that_is_no_index(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json .*(is damaged|the text)"):
        opened(tmp_path)


def test_index_and_shards_that_disagree(tmp_path: Path) -> None:
    save_file({"w": torch.ones(1), "extra": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"w": torch.zeros(1), "v": torch.ones(3)}, tmp_path / "two.safetensors")
    write_index(tmp_path, {"w": "one.safetensors", "v": "two.safetensors"})
    checkpoint = opened(tmp_path)
    assert checkpoint["w"] == 1, "of a tensor that two shards have, the index says which"
    assert set(checkpoint) == {"w", "v", "extra"}
    write_index(tmp_path, {"w": "one.safetensors", "u": "two.safetensors"})
    with pytest.raises(CheckpointError, match=r"says that 'u' is in two\.safetensors, but it is not"):
        opened(tmp_path)
    write_index(tmp_path, {"w": "one.safetensors", "u": "three.safetensors"})
    with pytest.raises(MissingFileError, match=r"'three\.safetensors', which is not there. It has model.*one\.safet"):
        opened(tmp_path)
    (tmp_path / "three.safetensors").write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=r"three\.safetensors .*git lfs pull"):
        opened(tmp_path)
