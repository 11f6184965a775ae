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
