"""Damaged, missing and foreign files: loading names the file and the remedy, and never fails somewhere inside."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bad_input_models as tiny
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file, save_file

import minitransformers
from minitransformers import CheckpointError, ConfigError, MinitransformersError, MissingFileError

NAMES = ["BertForMaskedLM", "GPT2LMHeadModel"]
WEIGHTS, INDEX, PICKLED = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good checkpoint of each family."""
    directories = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    for name, directory in directories.items():
        tiny.model(name).save_pretrained(directory)
    return directories


def copy_of(directory: Path, to: Path) -> Path:
    return Path(shutil.copytree(directory, to / "model"))


def as_shards(directory: Path) -> None:
    weights = load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    shards = {f"model-0000{number}-of-00002.safetensors": list(weights)[number - 1 :: 2] for number in (1, 2)}
    for shard, names in shards.items():
        save_file({name: weights[name] for name in names}, directory / shard, {"format": "pt"})
    places = {name: shard for shard, names in shards.items() for name in names}
    (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def as_pickle(directory: Path) -> dict[str, Any]:
    weights = load_file(directory / WEIGHTS)
    (directory / WEIGHTS).unlink()
    torch.save(weights, directory / PICKLED)
    return weights


def change_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_index(path: Path, place: str) -> None:
    change_json(path, lambda index: index["weight_map"].update({next(iter(index["weight_map"])): place}))


class RunsCode:
    """What a malicious pickle does when it is read without care."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code of the file has run')",))


# ---- what is done to a directory, and what the error must say -------------------------------------------------------

Damage = Callable[[Path], object]


def sharded(damage: Damage) -> Damage:
    return lambda directory: (as_shards(directory), damage(directory))


def pickled(damage: Damage) -> Damage:
    return lambda directory: (as_pickle(directory), damage(directory))


def header(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the header of the weights and leave the rest."""

    def damage(directory: Path) -> None:
        content = (directory / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        entries = json.loads(content[8 : 8 + length])
        change(entries)
        encoded = json.dumps(entries).encode()
        (directory / WEIGHTS).write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])

    return damage


def first_tensor(entries: dict[str, Any]) -> dict[str, Any]:
    return next(entry for name, entry in entries.items() if name != "__metadata__")


def rewrite(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Damage:
    def damage(directory: Path) -> None:
        save_file(change(load_file(directory / WEIGHTS)), directory / WEIGHTS, {"format": "pt"})

    return damage


CASES: list[tuple[str, Damage, type[Exception], list[str]]] = [
    ("no files", lambda d: [path.unlink() for path in d.iterdir()], MissingFileError, ["config.json", "no files"]),
    ("no config", lambda d: (d / "config.json").unlink(), MissingFileError, ["'config.json'", "It has", WEIGHTS]),
    ("no weights", lambda d: (d / WEIGHTS).unlink(), MissingFileError, ["no weights", WEIGHTS, INDEX, PICKLED]),
    ("config empty", lambda d: (d / "config.json").write_text(""), ConfigError, ["config.json", "is not JSON"]),
    ("config cut", lambda d: (d / "config.json").write_text('{"a": '), ConfigError, ["is not JSON", "complete?"]),
    ("config a list", lambda d: (d / "config.json").write_text("[]"), ConfigError, ["holds a list"]),
    ("config binary", lambda d: (d / "config.json").write_bytes(b"\xff\x00"), ConfigError, ["is not JSON"]),
    (
        "config impossible",
        lambda d: change_json(d / "config.json", lambda content: content.update(vocab_size=-3)),
        ConfigError,
        ["vocab_size=-3 must be a whole number of at least 1"],
    ),
    (
        "config of another type",
        lambda d: change_json(d / "config.json", lambda content: content.update(vocab_size="many")),
        ConfigError,
        ["vocab_size='many' must be a whole number"],
    ),
    (
        "config of a larger model",
        lambda d: change_json(d / "config.json", lambda content: content.update(vocab_size=24)),
        CheckpointError,
        ["has shape (23, 12)", "needs (24, 12)", "Is config.json from another model"],
    ),
    (
        "config of an unknown family",
        lambda d: change_json(d / "config.json", lambda content: content.update(model_type="brt")),
        ConfigError,
        ["model_type 'brt'"],
    ),
    ("weights empty", lambda d: (d / WEIGHTS).write_bytes(b""), CheckpointError, [WEIGHTS, "is empty", "again"]),
    ("weights short", lambda d: (d / WEIGHTS).write_bytes(b"abc"), CheckpointError, [WEIGHTS]),
    (
        "weights without their end",
        lambda d: (d / WEIGHTS).write_bytes((d / WEIGHTS).read_bytes()[:-4]),
        CheckpointError,
        [WEIGHTS, "damaged", "again"],
    ),
    (
        "weights with more at their end",
        lambda d: (d / WEIGHTS).write_bytes((d / WEIGHTS).read_bytes() + b"more"),
        CheckpointError,
        [WEIGHTS, "damaged"],
    ),
    (
        "weights cut in the header",
        lambda d: (d / WEIGHTS).write_bytes((d / WEIGHTS).read_bytes()[:100]),
        CheckpointError,
        [WEIGHTS, "cut off"],
    ),
    (
        "header of absurd length",
        lambda d: (d / WEIGHTS).write_bytes(struct.pack("<Q", 2**60) + b"{}"),
        CheckpointError,
        [WEIGHTS, "header should have 1152921504606846976 bytes"],
    ),
    (
        "a web page",
        lambda d: (d / WEIGHTS).write_text("<!DOCTYPE html><html></html>"),
        CheckpointError,
        [WEIGHTS, "web page", "'resolve'"],
    ),
    (
        "a pointer",
        lambda d: (d / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        CheckpointError,
        [WEIGHTS, "pointer", "git lfs pull"],
    ),
    (
        "a shape that does not fit its bytes",
        header(lambda entries: first_tensor(entries).update(shape=[3, 3])),
        CheckpointError,
        [WEIGHTS],
    ),
    (
        "a negative length",
        header(lambda entries: first_tensor(entries).update(shape=[-1])),
        CheckpointError,
        [WEIGHTS],
    ),
    (
        "an unknown dtype",
        header(lambda entries: first_tensor(entries).update(dtype="F7")),
        CheckpointError,
        [WEIGHTS],
    ),
    (
        "bytes outside the file",
        header(lambda entries: first_tensor(entries).update(data_offsets=[0, 10**12])),
        CheckpointError,
        [WEIGHTS],
    ),
    (
        "a weight missing",
        rewrite(lambda weights: {name: tensor for name, tensor in weights.items() if ".0." not in name}),
        CheckpointError,
        ["lacks", "cannot do without", "Is the file complete"],
    ),
    (
        "weights of something else",
        rewrite(lambda weights: {"conv1.weight": torch.zeros(3, 3)}),
        CheckpointError,
        ["has none of the weights of", "another architecture"],
    ),
    ("no weights in the file", rewrite(lambda weights: {}), CheckpointError, ["has none of the weights of"]),
    (
        "numbers of another kind",
        rewrite(lambda weights: {name: tensor.to(torch.int8) for name, tensor in weights.items()}),
        CheckpointError,
        ["is torch.int8", "float16, bfloat16, float32 or float64"],
    ),
    ("index no JSON", sharded(lambda d: (d / INDEX).write_text("{")), CheckpointError, [INDEX]),
    ("index without map", sharded(lambda d: (d / INDEX).write_text("{}")), CheckpointError, [INDEX, "weight_map"]),
    ("index a list", sharded(lambda d: (d / INDEX).write_text("[1]")), CheckpointError, [INDEX, "[1]"]),
    (
        "index with numbers",
        sharded(lambda d: change_json(d / INDEX, lambda index: index.update(weight_map={"a": 1}))),
        CheckpointError,
        [INDEX, "weight_map"],
    ),
    (
        "index that climbs out",
        sharded(lambda d: change_index(d / INDEX, "../outside.safetensors")),
        CheckpointError,
        [INDEX, "'../outside.safetensors'", "only files of its own directory"],
    ),
    (
        "index that points anywhere",
        sharded(lambda d: change_index(d / INDEX, "/etc/passwd")),
        CheckpointError,
        [INDEX, "'/etc/passwd'", "only files of its own directory"],
    ),
    (
        "index into another folder",
        sharded(lambda d: change_index(d / INDEX, "sub\\x.safetensors")),
        CheckpointError,
        [INDEX, "only files of its own directory"],
    ),
    (
        "shard missing",
        sharded(lambda d: (d / "model-00002-of-00002.safetensors").unlink()),
        MissingFileError,
        [INDEX, "'model-00002-of-00002.safetensors'", "is not there"],
    ),
    (
        "shard cut",
        sharded(lambda d: (d / "model-00002-of-00002.safetensors").write_bytes(b"\x10" + b"\0" * 40)),
        CheckpointError,
        ["model-00002-of-00002.safetensors", "damaged"],
    ),
    (
        "tensor in the other shard",
        sharded(lambda d: change_index(d / INDEX, "model-00002-of-00002.safetensors")),
        CheckpointError,
        [INDEX, "is in model-00002-of-00002.safetensors, but it is not"],
    ),
    (
        "pickle cut",
        pickled(lambda d: (d / PICKLED).write_bytes((d / PICKLED).read_bytes()[:1000])),
        CheckpointError,
        [PICKLED],
    ),
    ("pickle of text", pickled(lambda d: (d / PICKLED).write_text("Not Found")), CheckpointError, ["'Not Found'"]),
    (
        "pickle that runs code",
        pickled(lambda d: (d / PICKLED).write_bytes(pickle.dumps({"a": RunsCode()}, protocol=2))),
        CheckpointError,
        [PICKLED],
    ),
    (
        "pickle of torch that runs code",
        pickled(lambda d: torch.save({"a": RunsCode()}, d / PICKLED)),
        CheckpointError,
        [PICKLED, "can run any code", "safetensors.torch.save_file"],
    ),
    (
        "pickle of a whole model",
        pickled(lambda d: torch.save(torch.nn.Linear(2, 2), d / PICKLED)),
        CheckpointError,
        [PICKLED, "can run any code"],
    ),
    ("pickle of a list", pickled(lambda d: torch.save([torch.zeros(2)], d / PICKLED)), CheckpointError, ["one list"]),
    (
        "pickle of a training state",
        pickled(lambda d: torch.save({"model": {"a": torch.zeros(2)}, "step": 3}, d / PICKLED)),
        CheckpointError,
        [PICKLED, "'model'", "save that one alone"],
    ),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("damage", "kind", "parts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_damaged_checkpoint(
    name: str, damage: Damage, kind: type[Exception], parts: list[str], good: dict[str, Path], tmp_path: Path
) -> None:
    directory = copy_of(good[name], tmp_path)
    (tmp_path / "outside.safetensors").write_bytes((directory / WEIGHTS).read_bytes())
    damage(directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with tiny.nothing_computes(), pytest.raises(kind) as caught:
        getattr(minitransformers, name).from_pretrained(directory)
    assert isinstance(caught.value, MinitransformersError)
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, MissingFileError) or isinstance(caught.value, OSError)
    for part in parts:
        assert part in str(caught.value)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before, "nothing is changed"


@pytest.mark.parametrize("name", NAMES)
def test_the_undamaged_forms_load(name: str, good: dict[str, Path], tmp_path: Path) -> None:
    expected = tiny.model(name).hf_state_dict()
    for change in (lambda directory: None, as_shards, as_pickle):
        directory = copy_of(good[name], tmp_path)
        change(directory)
        weights = getattr(minitransformers, name).from_pretrained(directory).hf_state_dict()
        assert all(torch.equal(weights[key], tensor) for key, tensor in expected.items())
        del weights
        shutil.rmtree(directory)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_cut_anywhere(name: str, data: st.DataObject, good: dict[str, Path], tmp_path_factory: Any) -> None:
    """A download that ended early, at any byte."""
    directory = copy_of(good[name], tmp_path_factory.mktemp("cut"))
    content = (directory / WEIGHTS).read_bytes()
    end = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 4000))
    (directory / WEIGHTS).write_bytes(content[:end])
    with pytest.raises(CheckpointError) as caught:
        getattr(minitransformers, name).from_pretrained(directory)
    assert WEIGHTS in str(caught.value)
    shutil.rmtree(directory.parent)


@pytest.mark.parametrize("file", [WEIGHTS, "config.json"])
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_bytes_changed_anywhere(
    name: str, file: str, data: st.DataObject, good: dict[str, Path], tmp_path_factory: Any
) -> None:
    """Damage in header or config: a model that runs, or an error of ours."""
    directory = copy_of(good[name], tmp_path_factory.mktemp("changed"))
    content = bytearray((directory / file).read_bytes())
    span = struct.unpack("<Q", content[:8])[0] + 8 if file == WEIGHTS else len(content)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, span - 1))] = data.draw(
            st.integers(0, 255) | st.sampled_from(list(b'0129,"{}:'))
        )
    (directory / file).write_bytes(bytes(content))
    try:
        model = getattr(minitransformers, name).from_pretrained(directory)
    except MinitransformersError:
        pass
    else:
        assert sum(parameter.numel() for parameter in model.parameters()) > 0
    shutil.rmtree(directory.parent)


@pytest.mark.parametrize("loader", ["BertModel", "GPT2Model", "BertConfig", "AutoModel", "AutoConfig", "AutoTokenizer"])
def test_places_that_are_none(loader: str, good: dict[str, Path], tmp_path: Path) -> None:
    load = getattr(minitransformers, loader).from_pretrained
    for place, parts in [
        (str(tmp_path / "absent"), ["There is no directory", "absent"]),
        ("./absent", ["There is no directory './absent'"]),
        (str(good["BertForMaskedLM"] / "config.json"), ["is a file", "pass the directory that holds it"]),
        ("https://example.org/owner/name", ["is an address", "'owner/name'"]),
    ]:
        if place.endswith("config.json") and loader.endswith("Config"):
            assert load(place).model_type == "bert"
            continue
        with pytest.raises(MissingFileError) as caught:
            load(place)
        for part in parts:
            assert part in str(caught.value)
    directory = good["BertForMaskedLM"]
    with pytest.raises(MissingFileError, match=r"There is no directory.*Did you mean"):
        load(str(directory)[:-1] + "x")


def test_torchscript_is_refused(good: dict[str, Path], tmp_path: Path) -> None:
    directory = copy_of(good["BertForMaskedLM"], tmp_path)
    as_pickle(directory)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(directory / PICKLED))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is refused.*TorchScript"):
        minitransformers.BertModel.from_pretrained(directory)
