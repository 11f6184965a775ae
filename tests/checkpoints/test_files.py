"""Tensors in files: read without a copy, written so that the reference reads them, none lost while they are written.

Files that are damaged are in test_damaged_files.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from opening import child, opened
from safetensors.torch import load_file, save_file
from torch import Tensor

from minitransformers.errors import CheckpointError, InputError, MissingFileError
from minitransformers.files import atomic, saving
from minitransformers.files.hub import Source
from minitransformers.files.reading import open_checkpoint
from minitransformers.files.saving import write_checkpoint

DTYPES = [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32]
DTYPES += [torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
DTYPES += [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu]


def of_dtype(dtype: torch.dtype, *shape: int) -> Tensor:
    """Every bit pattern that the dtype has room for, or its two values for bool."""
    count = torch.Size(shape).numel() * dtype.itemsize
    generator = torch.Generator().manual_seed(count)
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (count,), generator=generator, dtype=torch.uint8)
    return raw.view(dtype).reshape(shape)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return set(one) == set(other) and all(
        (one[name].dtype, one[name].shape, bits(one[name])) == (other[name].dtype, other[name].shape, bits(other[name]))
        for name in one
    )


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    return {
        "embeddings.weight": torch.arange(12.0).reshape(4, 3),
        "mask": torch.tensor([True, False, True]),
        "layer.0.bias": torch.ones(5, dtype=torch.bfloat16),
        "scale": torch.tensor(0.5, dtype=torch.float64),
        "empty": torch.zeros(0, 7),
    }


# ------------------------------------------------------------------------------------------------ reading, writing


def test_single_file_round_trip(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    assert write_checkpoint(tmp_path / "new" / "model", tensors, metadata={"note": "ü"}) == [
        tmp_path / "new" / "model" / "model.safetensors"
    ]
    checkpoint = opened(tmp_path / "new" / "model")
    assert same(checkpoint, tensors)
    assert same(load_file(tmp_path / "new" / "model" / "model.safetensors"), tensors)
    assert checkpoint.metadata == {"format": "pt", "note": "ü"}
    assert len(checkpoint) == 5
    assert checkpoint.ignored == {}


def test_header_is_known_without_reading(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    write_checkpoint(tmp_path, tensors)
    checkpoint = opened(tmp_path)
    for name, tensor in tensors.items():
        assert name in checkpoint
        assert checkpoint.shape(name) == tuple(tensor.shape)
        assert checkpoint.dtype(name) == tensor.dtype
        assert checkpoint.file_of(name) == "model.safetensors"
    for ask in (checkpoint.__getitem__, checkpoint.shape, checkpoint.dtype, checkpoint.file_of):
        with pytest.raises(KeyError, match=r"no tensor 'absent' in model\.safetensors"):
            ask("absent")
    assert "absent" not in checkpoint
    assert checkpoint.get("absent") is None


def test_every_dtype_bit_by_bit(tmp_path: Path) -> None:
    tensors = {str(dtype): of_dtype(dtype, 3, 5) for dtype in DTYPES}
    tensors |= {f"{dtype} scalar": of_dtype(dtype) for dtype in DTYPES}
    write_checkpoint(tmp_path, tensors)
    assert same(opened(tmp_path), tensors)
    assert same(load_file(tmp_path / "model.safetensors"), tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(opened(tmp_path), tensors)


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=6),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=6, max_size=6),
    limit=st.integers(1, 400),
)
def test_any_tensors_any_shard_size(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], dtypes: list[torch.dtype], limit: int
) -> None:
    directory = tmp_path_factory.mktemp("save")
    tensors = {f"t{i}": of_dtype(dtype, *shape) for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))}
    paths = write_checkpoint(directory, tensors, max_shard_size=limit)
    assert sorted(paths) == sorted(directory.iterdir())
    assert same(opened(directory), tensors)
    shards = [load_file(path) for path in paths if path.suffix == ".safetensors"]
    assert same({name: tensor for shard in shards for name, tensor in shard.items()}, tensors)
    for shard in shards:
        assert len(shard) <= 1 or sum(tensor.nbytes for tensor in shard.values()) <= limit
    for path in paths:
        if path.suffix == ".safetensors":
            (length,) = struct.unpack("<Q", path.read_bytes()[:8])
            header = json.loads(path.read_bytes()[8 : 8 + length])
            offsets = {name: entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}
            assert all((8 + length + offsets[name]) % tensors[name].element_size() == 0 for name in offsets), "aligned"


def test_shards_have_the_names_and_index_of_transformers(tmp_path: Path) -> None:
    tensors = {f"w{i}": torch.full((100,), float(i)) for i in range(5)}
    paths = write_checkpoint(tmp_path, tensors, max_shard_size="1KB")
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert [path.name for path in paths] == [*names, "model.safetensors.index.json"]
    index = json.loads(paths[-1].read_text())
    assert index["metadata"] == {"total_size": 2000}
    assert index["weight_map"] == {f"w{i}": names[i // 2] for i in range(5)}
    checkpoint = opened(tmp_path)
    assert same(checkpoint, tensors)
    assert checkpoint.file_of("w4") == names[2]
    assert checkpoint.metadata == {"format": "pt"}


def test_transformers_reads_our_shards_and_we_read_its(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, vocab_size=20)
    model = BertModel(config)
    config.save_pretrained(tmp_path / "ours")
    write_checkpoint(tmp_path / "ours", model.state_dict(), max_shard_size="2KB")
    assert len(list((tmp_path / "ours").glob("model-*.safetensors"))) > 2
    loaded, report = BertModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert same(loaded.state_dict(), model.state_dict())
    model.save_pretrained(tmp_path / "theirs", max_shard_size="2KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    theirs = opened(tmp_path / "theirs")
    assert same(theirs, {name: tensor for name, tensor in model.state_dict().items() if name in theirs})
    assert set(theirs) == {name for name, _ in model.named_parameters()}


def test_tensors_of_every_layout_in_memory(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    complex_base = torch.tensor([1 + 2j, 3 - 4j])
    tensors = {
        "transposed": base.T,
        "strided": base[::2, 1::2],
        "expanded": torch.ones(1, 3).expand(4, 3),
        "tied": base,
        "tied too": base,
        "parameter": torch.nn.Parameter(base),
        "conjugate": complex_base.conj(),
        "negative": complex_base.conj().imag,
    }
    write_checkpoint(tmp_path, tensors)
    checkpoint = opened(tmp_path)
    for name, tensor in tensors.items():
        assert torch.equal(checkpoint[name], tensor.detach().resolve_conj().resolve_neg()), name
        assert checkpoint[name].is_contiguous()
        assert not checkpoint[name].requires_grad


def test_mapping_that_makes_tensors_when_asked_is_never_held_whole(tmp_path: Path) -> None:
    alive: list[Any] = []

    class Lazy(Mapping[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            import weakref

            tensor = torch.full((10,), float(name))
            alive.append(weakref.ref(tensor))
            assert sum(reference() is not None for reference in alive) <= 2
            return tensor

        def __iter__(self) -> Iterator[str]:
            return iter(str(number) for number in range(20))

        def __len__(self) -> int:
            return 20

    write_checkpoint(tmp_path, Lazy(), max_shard_size=200)
    assert all(torch.equal(tensor, torch.full((10,), float(name))) for name, tensor in opened(tmp_path).items())


def test_saving_over_the_files_that_are_being_read(tmp_path: Path) -> None:
    tensors = {f"w{i}": torch.full((100,), float(i)) for i in range(4)}
    for size in ("1KB", "1GB", 400, 400, "1GB"):
        write_checkpoint(tmp_path, tensors, max_shard_size=size)
        checkpoint = opened(tmp_path)
        tensors = {name: tensor.add_(1) for name, tensor in checkpoint.items()}
    assert [float(tensor[0]) for tensor in tensors.values()] == [5, 6, 7, 8]


# ------------------------------------------------------------------------------------------------ memory

MEMORY = """
import hashlib, sys
from pathlib import Path
import torch
from minitransformers.files.reading import open_checkpoint
from minitransformers.files.hub import Source

def anonymous():  # MB of memory that is this process's own, which mapped and unchanged pages of a file are not
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Anonymous:")) / 1024

torch.ones(10).sum()
weights = next(path for path in Path(sys.argv[1]).iterdir())
digest = hashlib.sha256(weights.read_bytes()).hexdigest()
before = anonymous()
checkpoint = open_checkpoint(Source(sys.argv[1]))
total = sum(float(checkpoint[name].sum()) for name in checkpoint)
read = anonymous()
first = torch.nn.Parameter(checkpoint["w0"])
(first * 3).sum().backward()
torch.optim.SGD([first], lr=1.0).step()
print(total, read - before, float(first[0]), float(checkpoint["w0"][0]), float(checkpoint["w1"][0]))
print(hashlib.sha256(weights.read_bytes()).hexdigest() == digest)
"""


@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
def test_tensors_are_the_mapped_file_and_can_be_trained(tmp_path: Path, kind: str) -> None:
    tensors = {f"w{i}": torch.ones(5_000_000) for i in range(10)}  # 200 MB
    if kind == "safetensors":
        write_checkpoint(tmp_path, tensors)
    else:
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    numbers, unchanged = child(MEMORY, str(tmp_path)).splitlines()
    shutil.rmtree(tmp_path)
    total, megabytes, first, again, other = map(float, numbers.split())
    assert total == 50_000_000
    assert megabytes < 15, "reading 200 MB of weights copied them"
    assert (first, again, other) == (-2, -2, 1), "a change is seen through this checkpoint alone"
    assert unchanged == "True"


def test_two_requests_share_memory_and_two_checkpoints_do_not(tmp_path: Path) -> None:
    for save in (lambda: write_checkpoint(tmp_path, {"w": torch.zeros(3)}), None):
        if save is None:
            (tmp_path / "model.safetensors").unlink()
            torch.save({"w": torch.nn.Parameter(torch.zeros(3))}, tmp_path / "pytorch_model.bin")
        else:
            save()
        checkpoint, other = opened(tmp_path), opened(tmp_path)
        checkpoint["w"].add_(1)
        assert checkpoint["w"].tolist() == [1, 1, 1]
        assert not checkpoint["w"].requires_grad
        assert other["w"].tolist() == [0, 0, 0]


# ------------------------------------------------------------------------------------------------ which files


def test_order_of_preference(tmp_path: Path) -> None:
    tensor = {"w": torch.zeros(1)}
    torch.save({"w": tensor["w"] + 4}, tmp_path / "pytorch_model-00001-of-00001.bin")
    index = {"metadata": {}, "weight_map": {"w": "pytorch_model-00001-of-00001.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert opened(tmp_path)["w"] == 4
    torch.save({"w": tensor["w"] + 3}, tmp_path / "pytorch_model.bin")
    assert opened(tmp_path)["w"] == 3
    save_file({"w": tensor["w"] + 2}, tmp_path / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"w": "model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert opened(tmp_path)["w"] == 2
    save_file({"w": tensor["w"] + 1}, tmp_path / "model.safetensors")
    assert opened(tmp_path)["w"] == 1


def test_no_weights_lists_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "tf_model.h5").touch()
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(MissingFileError) as caught:
        opened(tmp_path)
    for part in (str(tmp_path), "pytorch_model.bin.index.json", "It has model.safetensors/, tf_model.h5."):
        assert part in str(caught.value)


def test_weights_in_a_subfolder_and_in_a_hubs_cache(tmp_path: Path) -> None:
    commit, cache = "a" * 40, tmp_path / "cache"
    snapshot = cache / "models--owner--name" / "snapshots" / commit / "sub"
    tensors = {f"w{i}": torch.full((10,), float(i)) for i in range(3)}
    for path in write_checkpoint(tmp_path / "blobs", tensors, max_shard_size=40):
        snapshot.mkdir(parents=True, exist_ok=True)
        blob = tmp_path / "blobs" / hashlib.sha256(path.name.encode()).hexdigest()
        path.rename(blob)  # as huggingface_hub keeps them: the real files have no suffix
        (snapshot / path.name).symlink_to(blob)
    source = Source("owner/name", cache_dir=cache, revision=commit, subfolder="sub", local_files_only=True)
    checkpoint = open_checkpoint(source)
    assert same(checkpoint, tensors)
    assert checkpoint.file_of("w0") == "model-00001-of-00003.safetensors"
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"model-00002-of-00003\.safetensors', which is not there.*a connection"):
        open_checkpoint(dataclasses.replace(source))


# ------------------------------------------------------------------------------------------------ pickles


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_old_and_new(tmp_path: Path, zipped: bool) -> None:
    tied = torch.arange(6.0).reshape(2, 3)
    saved: Any = OrderedDict(w=tied, tied=tied, view=tied.T, parameter=torch.nn.Parameter(torch.ones(2)))
    saved |= {str(dtype): of_dtype(dtype, 4) for dtype in (torch.bool, torch.bfloat16, torch.float16, torch.int64)}
    saved |= {"epoch": 3, "config": {"hidden": [1, 2]}, "nested": {"w": tied}, 7: tied}
    torch.save(saved, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    checkpoint = opened(tmp_path)
    kept = {name: value.detach() for name, value in saved.items() if isinstance(value, Tensor) and name != 7}
    assert same(checkpoint, kept)
    assert checkpoint.shape("view") == (3, 2)
    assert checkpoint.dtype("torch.bfloat16") == torch.bfloat16
    assert checkpoint.file_of("w") == "pytorch_model.bin"
    assert checkpoint.metadata == {}
    assert set(checkpoint.ignored) == {"epoch", "config", "nested", "7"}
    assert checkpoint.ignored["nested"] == "is of type dict, not a tensor"


class Bomb:
    """Pickled, a call that makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", ["bomb", "namespace", "module", "array"])
def test_pickle_that_wants_more_than_tensors_is_refused(tmp_path: Path, zipped: bool, inside: str) -> None:
    import numpy as np

    things: dict[str, tuple[Any, str]] = {
        "bomb": (Bomb(tmp_path / "exploded"), f"{os.mkdir.__module__}.mkdir"),
        "namespace": (argparse.Namespace(lr=1), "argparse.Namespace"),
        "module": (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        "array": (np.ones(2), "numpy"),
    }
    thing, name = things[inside]
    saved = {"w": torch.ones(1), "thing": thing}
    torch.save(saved, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path)
    for part in ("pytorch_model.bin is refused", "can run any code", name, "safetensors.torch.save_file"):
        assert part in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_torchscript_is_refused(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"refused.*TorchScript"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds one list, not tensors by name"),
        (torch.ones(1), "holds one Tensor, not tensors by name"),
        ({"state_dict": {"w": torch.ones(1)}, "epoch": 3}, "'state_dict' is of type dict.*save that one alone"),
        ({"w": torch.eye(2).to_sparse()}, "'w' in .* is a quantized, sparse or empty"),
        ({"w": torch.ones(2, device="meta")}, "'w' in .* is a quantized, sparse or empty"),
    ],
)
def test_pickles_of_something_else(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path)


@pytest.mark.filterwarnings("ignore")  # torch discourages what this makes
def test_pickle_of_quantized_tensors(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    torch.save({"w": quantized}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"'w' in .* is a quantized, sparse or empty"):
        opened(tmp_path)


# ------------------------------------------------------------------------------------------------ saving


SIZES = {1: 1, 10**12: 10**12, "1B": 1, "500MB": 5 * 10**8, "5GB": 5 * 10**9, "1GiB": 2**30, "2 KiB": 2048}
SIZES |= {"1.5kb": 1500, "1TB": 10**12, " 10 mib ": 10 * 2**20}


@pytest.mark.parametrize(("size", "expected"), SIZES.items())
def test_sizes(size: int | str, expected: int) -> None:
    assert saving._size(size) == expected


@pytest.mark.parametrize("size", [0, -5, True, "", "5", "GB", "-5GB", "5 XB", "0GB", "0.1B", "5GB5", "1e9B", "５GB"])
def test_bad_sizes(tmp_path: Path, size: Any) -> None:
    with pytest.raises(InputError, match="max_shard_size must be"):
        write_checkpoint(tmp_path / "new", {"w": torch.ones(1)}, max_shard_size=size)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("__metadata__", torch.ones(1), "cannot be the name"),
        ("w", torch.ones(1, device="meta"), "dense tensor with values"),
        ("w", torch.eye(2).to_sparse(), "dense tensor with values"),
        ("w", torch.ones(1, dtype=torch.complex128), "'w' is torch.complex128"),
    ],
)
def test_tensors_that_cannot_be_written(tmp_path: Path, name: str, tensor: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_checkpoint(tmp_path / "new", {"v": torch.ones(1), name: tensor}, max_shard_size=1)
    assert not (tmp_path / "new").exists(), "raised before any work"


def test_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        write_checkpoint(tmp_path / "file", {"w": torch.ones(1)})


def test_what_no_longer_belongs_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = {"config.json", "pytorch_model.bin", "model-best.safetensors", "my-00001-of-00002.safetensors"}
    for name in others:
        (tmp_path / name).touch()
    tensors = {f"w{i}": torch.full((100,), float(i)) for i in range(4)}
    for size in (400, 800, 400, 400, "1GB", 400, 400, 400, "1GB"):
        paths = write_checkpoint(tmp_path, tensors, max_shard_size=size)
        assert {path.name for path in tmp_path.iterdir()} == others | {path.name for path in paths}
        assert same(opened(tmp_path), tensors)


class Died(BaseException):
    """Stands for the end of the process: nothing after it is run."""


@pytest.mark.parametrize("old", [None, 400, 800, "1GB"])
@pytest.mark.parametrize("new", [400, 800, "1GB"])
def test_death_at_any_moment_leaves_the_old_or_the_new(
    tmp_path: Path, old: int | str | None, new: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the save before each of the steps that change the directory, and load what is there."""
    before = {f"w{i}": torch.full((100,), float(i)) for i in range(4)}
    after = {name: tensor + 100 for name, tensor in before.items()}
    real_replace, real_unlink = Path.replace, Path.unlink
    seen = set()
    for step in range(100):
        directory = tmp_path / str(step)
        directory.mkdir()
        if old is not None:
            write_checkpoint(directory, before, max_shard_size=old)
        left = step

        def count_down() -> None:
            nonlocal left
            if left == 0:
                raise Died
            left -= 1

        def replace(path: Path, target: Path) -> Path:
            count_down()
            return real_replace(path, target)

        def unlink(path: Path, missing_ok: bool = False) -> None:
            if not path.name.endswith(".tmp"):
                count_down()
            real_unlink(path, missing_ok)

        with monkeypatch.context() as patched:
            patched.setattr(atomic.Path, "replace", replace)
            patched.setattr(saving.Path, "unlink", unlink)
            try:
                write_checkpoint(directory, after, max_shard_size=new)
                done = True
            except Died:
                done = False
        try:
            checkpoint = opened(directory)
        except MissingFileError:
            assert old is None, "there was a checkpoint before"
            assert not done
            continue
        is_new = same(checkpoint, after)
        assert is_new or same(checkpoint, before), step
        seen.add(is_new)
        if done:
            assert is_new
            break
        # The next save, in whatever state the directory is, clears up.
        paths = write_checkpoint(directory, after, max_shard_size=new)
        assert {path.name for path in directory.iterdir()} == {path.name for path in paths}
        assert same(opened(directory), after)
    assert done
    assert seen == ({True} if old is None else {True, False})


def test_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"w": torch.ones(10)})
    code = (
        "import resource, sys, torch; from minitransformers.files.saving import write_checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: write_checkpoint(sys.argv[1], {'w': torch.zeros(1000), 'v': torch.ones(100_000)}, max_shard_size=4000)\n"
        "except OSError as error: print(type(error).__name__)"
    )
    assert child(code, str(tmp_path)) == "OSError\n"
    assert same(opened(tmp_path), {"w": torch.ones(10)})
    assert not list(tmp_path.glob(".*"))
