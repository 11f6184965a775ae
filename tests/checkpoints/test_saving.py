"""Saving: into the directory that is mapped, in shards, of compiled and changed models, and nothing half done."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
import transformers
from torch import nn

import minitransformers
from minitransformers import BertConfig, BertForSequenceClassification, BertModel, BertPreTrainedModel, GPT2LMHeadModel
from minitransformers.errors import InputError

IDS = torch.tensor([[3, 4, 5, 6]])


def files(directory: Path) -> list[str]:
    """What a save leaves; models that generate leave their settings for that, too."""
    return sorted(path.name for path in directory.iterdir() if path.name != "generation_config.json")


@pytest.mark.parametrize("file", ["safetensors", "sharded safetensors", "bin"])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_into_the_directory_it_was_loaded_from(name: str, file: str, tmp_path: Path) -> None:
    """The weights are still mapped to the files that are replaced: they must not change, nor the process die."""
    theirs = tiny.reference_model(name)
    tiny.write(tmp_path, theirs.state_dict(), tiny.config_of(theirs), file=file)
    model = tiny.ours(name).from_pretrained(tmp_path)
    expected = model(IDS).logits
    for size in ("50GB", "2KB", "50GB"):
        model.save_pretrained(tmp_path, max_shard_size=size)
        assert torch.equal(model(IDS).logits, expected)
        again = tiny.ours(name).from_pretrained(tmp_path)
        tiny.assert_same_weights(again, theirs.state_dict())
        assert torch.equal(again(IDS).logits, expected)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no temporary file is left"


@pytest.mark.parametrize("file", ["safetensors", "bin"])
def test_training_changes_the_model_and_not_the_file(file: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model("GPT2LMHeadModel")
    tiny.write(tmp_path, theirs.state_dict(), tiny.config_of(theirs), file=file)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = GPT2LMHeadModel.from_pretrained(tmp_path).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(IDS, labels=IDS).loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    trained = {key: tensor.clone() for key, tensor in model.hf_state_dict().items()}
    model.save_pretrained(tmp_path)
    again = GPT2LMHeadModel.from_pretrained(tmp_path)
    tiny.assert_same_weights(again, trained)
    assert (again.transformer.ln_f.weight == 3).all()


@pytest.mark.parametrize("name", ["BertForPreTraining", "GPT2LMHeadModel"])
def test_in_shards(name: str, tmp_path: Path) -> None:
    model = tiny.our_model(name)
    model.save_pretrained(tmp_path, max_shard_size="2KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    assert {"config.json", "model.safetensors.index.json", *index["weight_map"].values()} == set(files(tmp_path))
    theirs, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(model, theirs.state_dict())
    again, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(again, theirs.state_dict())
    model.save_pretrained(tmp_path)
    assert files(tmp_path) == ["config.json", "model.safetensors"], "what one save leaves, the next one clears"


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_after_compiling_a_part(name: str, tmp_path: Path) -> None:
    model = tiny.our_model(name)
    expected = {key: tensor.clone() for key, tensor in model.hf_state_dict().items()}
    blocks = model.bert.encoder.layer if name.startswith("Bert") else model.transformer.h
    blocks[1] = torch.compile(blocks[1])
    assert any("_orig_mod" in key for key in model.state_dict())
    model.save_pretrained(tmp_path)
    again, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(again, expected)


def test_after_compiling_the_whole(tmp_path: Path) -> None:
    model = tiny.our_model("BertForMaskedLM")
    torch.compile(model).save_pretrained(tmp_path)
    tiny.assert_same_weights(minitransformers.BertForMaskedLM.from_pretrained(tmp_path), model.hf_state_dict())


@pytest.mark.parametrize("name", tiny.CLASSES)
def test_leaves_the_model_as_it_was(name: str, tmp_path: Path) -> None:
    model = tiny.our_model(name).train()
    before = {key: (tensor.data_ptr(), tensor.clone()) for key, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path)
    assert model.training
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(after[key].data_ptr() == place and torch.equal(after[key], old) for key, (place, old) in before.items())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("name", ["BertForPreTraining", "GPT2DoubleHeadsModel"])
def test_copies_are_saved_like_the_original(name: str, copied: Any, tmp_path: Path) -> None:
    model = tiny.our_model(name)
    model.save_pretrained(tmp_path / "model")
    copied(model).save_pretrained(tmp_path / "copy")
    copied(tiny.ours(name).from_pretrained(tmp_path / "model")).save_pretrained(tmp_path / "copy of a mapped one")
    for other in ("copy", "copy of a mapped one"):
        for file in ("config.json", "model.safetensors"):
            assert (tmp_path / other / file).read_bytes() == (tmp_path / "model" / file).read_bytes()


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    model = tiny.our_model("BertForMaskedLM")
    for directory in ("a", "b"):
        model.save_pretrained(tmp_path / directory)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtype_is_kept_and_noted(dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny.our_model("GPT2LMHeadModel").to(dtype)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    assert GPT2LMHeadModel.from_pretrained(tmp_path).dtype == dtype
    tiny.assert_same_weights(model, transformers.GPT2LMHeadModel.from_pretrained(tmp_path).state_dict())


def test_config_is_written_with_what_the_file_had(tmp_path: Path) -> None:
    theirs = tiny.reference_model("BertModel")
    content = {**tiny.config_of(theirs), "zz_own": {"a": 1}, "architectures": ["BertForMaskedLM"], "dtype": "float32"}
    tiny.write(tmp_path, theirs.state_dict(), content)
    model = BertModel.from_pretrained(tmp_path)
    model.config.hidden_dropout_prob = 0.3
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written == {**content, "architectures": ["BertModel"], "hidden_dropout_prob": 0.3}


def test_after_resizing_the_vocabulary(tmp_path: Path) -> None:
    for name in ("BertForMaskedLM", "GPT2LMHeadModel"):
        model = tiny.our_model(name)
        model.resize_token_embeddings(30)
        model.save_pretrained(tmp_path)
        theirs, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values())
        assert theirs.config.vocab_size == 30
        tiny.assert_same_weights(model, theirs.state_dict())


class _OwnClassifier(BertPreTrainedModel):
    """What a user writes: a backbone of the library under a head of one's own."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.middle = nn.Sequential(nn.Linear(config.hidden_size, 5), nn.Tanh())
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.full((2,), 7.0))
        self.register_buffer("scratch", torch.arange(3), persistent=False)
        self.post_init()

    def forward(self, input_ids: torch.Tensor) -> Any:
        return self.middle(self.bert(input_ids).last_hidden_state)


def test_a_model_of_ones_own(tmp_path: Path) -> None:
    tiny.our_model("BertModel").save_pretrained(tmp_path)
    model, info = _OwnClassifier.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == {"middle.0.weight", "middle.0.bias", "scale"}, "a buffer is computed, not missing"
    assert model.config.architectures == ["BertModel"]
    assert model.seen.tolist() == [7, 7]
    model.seen.fill_(4)
    model.save_pretrained(tmp_path)
    again, info = _OwnClassifier.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert again.config.architectures == ["_OwnClassifier"]
    assert torch.equal(again(IDS), model(IDS))
    assert again.seen.tolist() == [4, 4]
    assert not isinstance(again.seen, nn.Parameter)
    assert again.scratch.tolist() == [0, 1, 2], "what no file has comes from the constructor"


@pytest.mark.usefixtures("annotations_are_not_checked")
def test_impossible_places_and_sizes(tmp_path: Path) -> None:
    model = tiny.our_model("BertModel")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"save_directory='.*file' is a file; pass a directory"):
        model.save_pretrained(tmp_path / "file")
    for size in (0, -1, "lots", "5XB", 2.5):
        with pytest.raises(InputError, match="max_shard_size"):
            model.save_pretrained(tmp_path / "new", max_shard_size=size)
    assert files(tmp_path) == ["file"], "nothing was made"
    assert model.config.architectures is None


def test_makes_the_directories_that_are_missing(tmp_path: Path) -> None:
    tiny.our_model("BertModel").save_pretrained(str(tmp_path / "a" / "b"))
    assert files(tmp_path / "a" / "b") == ["config.json", "model.safetensors"]


def test_trained_head_survives(tmp_path: Path) -> None:
    """Load a backbone, train a new head, save, load: the trained numbers."""
    tiny.our_model("BertModel").save_pretrained(tmp_path / "base")
    model = BertForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    labels = torch.tensor([2])
    for _ in range(3):
        optimizer.zero_grad()
        model(IDS, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(tmp_path / "tuned")
    again = BertForSequenceClassification.from_pretrained(tmp_path / "tuned")
    assert again.config.num_labels == 3
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, model(IDS).logits)
        theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "tuned")
        assert torch.allclose(theirs(IDS).logits, model(IDS).logits, atol=1e-5)


# ---- the arguments that scripts for accelerate pass ------------------------------------------------------------------


@pytest.mark.parametrize("library", [minitransformers, transformers], ids=lambda library: library.__name__)
def test_as_accelerate_saves(library: Any, tmp_path: Path) -> None:
    """`save_function` is accepted and not called; only the main process writes."""
    model = library.BertModel(library.BertConfig(**tiny.config_of(tiny.reference_model("BertModel"))))
    model.save_pretrained(tmp_path / "other", is_main_process=False, save_function=pytest.fail)
    assert not (tmp_path / "other" / "model.safetensors").exists()
    weights = {name: torch.full_like(tensor, 3.0) for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, True, weights, save_function=pytest.fail, save_peft_format=True, token=None)
    again = library.BertModel.from_pretrained(tmp_path)
    assert all(bool((parameter == 3).all()) for parameter in again.parameters())


@pytest.mark.parametrize("library", [minitransformers, transformers], ids=lambda library: library.__name__)
@pytest.mark.parametrize("size", ["50GB", "2KB"])
def test_a_variant_beside_the_plain_weights(library: Any, size: str, tmp_path: Path) -> None:
    """Each save replaces its own variant, and the two libraries read each other's files."""
    theirs = tiny.reference_model("BertModel")
    model = library.BertModel(library.BertConfig(**tiny.config_of(theirs)))
    model.save_pretrained(tmp_path, max_shard_size=size)
    plain = {path.name for path in tmp_path.iterdir()}
    with torch.no_grad():
        model.pooler.dense.bias.fill_(0.5)
    model.save_pretrained(tmp_path, variant="fp16", max_shard_size=size)
    new = {path.name for path in tmp_path.iterdir()} - plain
    if size == "50GB":
        assert new == {"model.fp16.safetensors"}
    else:
        assert "model.safetensors.index.fp16.json" in new
        assert f"model.fp16-00001-of-{len(new) - 1:05}.safetensors" in new
    for reader in (minitransformers, transformers):
        for loader in (reader.BertModel, reader.AutoModel):
            assert bool((loader.from_pretrained(tmp_path, variant="fp16").pooler.dense.bias == 0.5).all())
            assert not (loader.from_pretrained(tmp_path).pooler.dense.bias == 0.5).any()
        with pytest.raises(OSError, match=r"model\.int8\.safetensors"):
            reader.BertModel.from_pretrained(tmp_path, variant="int8")
        assert reader.BertConfig.from_pretrained(tmp_path, variant="fp16").hidden_size == model.config.hidden_size


def test_a_later_save_of_a_variant_replaces_the_earlier_one(tmp_path: Path) -> None:
    model = tiny.ours("BertModel")(BertConfig(**tiny.config_of(tiny.reference_model("BertModel"))))
    model.save_pretrained(tmp_path)
    for size in ("2KB", "3KB", "50GB"):
        model.save_pretrained(tmp_path, variant="fp16", max_shard_size=size)
        BertModel.from_pretrained(tmp_path, variant="fp16")
    assert files(tmp_path) == ["config.json", "model.fp16.safetensors", "model.safetensors"]


@pytest.mark.parametrize("size", ["50GB", "2KB"])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_as_a_pickle(name: str, size: str, tmp_path: Path) -> None:
    """Plain tensors under the names and in the layout of transformers, which take the place of safetensors."""
    theirs = tiny.reference_model(name)
    tiny.write(tmp_path, theirs.state_dict(), tiny.config_of(theirs), file="sharded safetensors")
    model = tiny.ours(name).from_pretrained(tmp_path)
    model.save_pretrained(tmp_path, safe_serialization=False, max_shard_size=size)
    assert not [file for file in files(tmp_path) if "safetensors" in file or file.startswith(".")]
    pickles = sorted(tmp_path.glob("pytorch_model*.bin"))
    assert ([path.name for path in pickles] == ["pytorch_model.bin"]) == (size == "50GB")
    assert (tmp_path / "pytorch_model.bin.index.json").exists() == (size != "50GB")
    loaded: dict[str, Any] = {}
    for path in pickles:
        part = torch.load(path, weights_only=True)
        assert {type(tensor) for tensor in part.values()} == {torch.Tensor}
        stored = sum(tensor.untyped_storage().nbytes() for tensor in part.values())
        assert stored == sum(tensor.nbytes for tensor in part.values()), "no view carries the rest of its memory along"
        loaded |= part
    expected = theirs.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in loaded.items())
    tiny.assert_same_weights(tiny.ours(name).from_pretrained(tmp_path), expected)
    again = type(theirs).from_pretrained(tmp_path)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in again.state_dict().items())


def test_a_pickle_of_a_variant(tmp_path: Path) -> None:
    model = BertModel(BertConfig(**tiny.config_of(tiny.reference_model("BertModel"))))
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, safe_serialization=False, variant="old")
    first = (tmp_path / "pytorch_model.old.bin").read_bytes()
    model.save_pretrained(tmp_path, safe_serialization=False, variant="old")
    assert (tmp_path / "pytorch_model.old.bin").read_bytes() == first
    assert files(tmp_path) == ["config.json", "model.safetensors", "pytorch_model.old.bin"]
    for library in (minitransformers, transformers):
        again = library.BertModel.from_pretrained(tmp_path, variant="old")
        assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in again.state_dict().items())


def test_a_pickle_that_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = BertModel(BertConfig(**tiny.config_of(tiny.reference_model("BertModel"))))
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(tmp_path, safe_serialization=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_arguments_of_saving_that_ask_for_more(tmp_path: Path) -> None:
    model = BertModel(BertConfig(**tiny.config_of(tiny.reference_model("BertModel"))))
    with pytest.raises(InputError, match=r"variant='../fp16' must be a part of a file name"):
        model.save_pretrained(tmp_path, variant="../fp16")
    with pytest.raises(InputError, match=r"distributed_checkpoint=True is not covered: save with torch.distributed"):
        model.save_pretrained(tmp_path, distributed_checkpoint=True)
    with pytest.raises(TypeError, match=r"no argument 'variants'. Did you mean 'variant'"):
        model.save_pretrained(tmp_path, variants="fp16")
