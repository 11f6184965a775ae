"""The commands `train` and `convert`, and commands for tasks on what `train` has written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import minitransformers as mt
from minitransformers.cli import main
from minitransformers.pipelines.adapted import load_adapted


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_train_by_options_by_a_file_and_by_both(run: Any, bert: str, reviews: Path, tmp_path: Path) -> None:
    """The options count more; what is saved classifies."""
    file = tmp_path / "recipe.yaml"
    file.write_text(f"task: classify\ndata: {reviews}\nmodel: {bert}\nepochs: 9\nlearning-rate: 0.01\n", "utf-8")
    status, out, _ = run("train", file, "--output", tmp_path / "a", "--epochs", "2", "--json")
    assert status == 0
    figures = json.loads(out)
    assert len(figures["losses"]) == 2
    options = ("--task", "classify", "--data", reviews, "--model", bert, "--epochs", "2", "--learning-rate", "0.01")
    status, out, _ = run("train", *options, "--output", tmp_path / "b")
    assert status == 0
    assert f"accuracy {figures['validation']['accuracy']:.3f}" in out
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    status, out, err = run("classify", "--model", tmp_path / "a", "the film is good", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["labels"][0]["label"] in ("good", "bad")


def test_an_adapter_takes_part_in_the_commands(run: Any, bert: str, reviews: Path, tmp_path: Path) -> None:
    options = ("--task", "classify", "--data", reviews, "--model", bert, "--method", "bottleneck", "--size", "4")
    assert run("train", *options, "--epochs", "3", "--learning-rate", "0.01", "--output", tmp_path / "out")[0] == 0
    assert not (tmp_path / "out" / "model.safetensors").exists()
    adapted = load_adapted("text-classification", tmp_path / "out")
    expected = mt.pipeline("text-classification", adapted, tokenizer=bert)("the film is good", top_k=1)
    status, out, err = run("classify", "--model", tmp_path / "out", "the film is good", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["labels"] == expected
    plain = mt.AutoModelForSequenceClassification.from_pretrained(bert)
    assert (
        mt.pipeline("text-classification", plain, tokenizer=bert)("the film is good")[0]["score"]
        != expected[0]["score"]
    )
    status, _, err = run("tag", "--model", tmp_path / "out", "the film")
    assert status == 1
    assert "error:" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "classify"), "has no 'data': pass --data"),
        (("--task", "clasify", "--data", "a.csv", "--output", "b"), "task='clasify'"),
        (("none.yaml",), "There is no recipe none.yaml"),
        (("--task", "tag", "--data", "a.csv", "--output", "b", "--method", "lore"), "method='lore'"),
    ],
)
def test_errors_of_train(run: Any, arguments: tuple[str, ...], message: str) -> None:
    status, out, err = run("train", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err


def old_checkpoint(directory: Path) -> Any:
    """A BERT as files of 2019 have it: a pickle, gamma and beta, no class and no family in config.json."""
    config = mt.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    model = mt.BertForMaskedLM(config).eval()
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in model.state_dict().items()
    }
    directory.mkdir()
    torch.save(state, directory / "pytorch_model.bin")
    fields = {name: value for name, value in config.to_dict().items() if name not in ("model_type", "architectures")}
    (directory / "config.json").write_text(json.dumps(fields), "utf-8")
    return model


def test_convert_an_old_checkpoint(run: Any, tmp_path: Path) -> None:
    model = old_checkpoint(tmp_path / "old")
    status, _, err = run("convert", tmp_path / "old", tmp_path / "new")
    assert status == 1
    assert "model_type" in err
    status, out, _ = run("convert", tmp_path / "old", tmp_path / "new", "--family", "bert", "--json")
    assert status == 0
    about = json.loads(out)
    assert about["architecture"] == "BertForMaskedLM"
    assert about["tokenizer"] is None
    assert any(name.endswith("gamma") for name in about["old_names"])
    assert not any(name.endswith("gamma") for name in about["new_names"])
    again = mt.AutoModelForMaskedLM.from_pretrained(tmp_path / "new")
    ids = torch.arange(10)[None]
    torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=0)
    assert (tmp_path / "new" / "model.safetensors").is_file()
    assert mt.AutoConfig.from_pretrained(tmp_path / "new").architectures == ["BertForMaskedLM"]


def test_convert_keeps_the_tokenizer_and_changes_the_type(run: Any, bert: str, tmp_path: Path) -> None:
    status, out, _ = run("convert", bert, tmp_path / "new", "--dtype", "bfloat16")
    assert status == 0
    assert out.startswith("BertModel: ")
    assert "tokenizer: Bert" in out
    assert mt.AutoModel.from_pretrained(tmp_path / "new", dtype="auto").dtype == torch.bfloat16
    status, _, err = run("convert", bert, tmp_path / "new")
    assert status == 1
    assert "is not empty" in err


def test_errors_of_convert(run: Any, bert: str, tmp_path: Path) -> None:
    assert (
        "Did you mean 'bert'"
        in run("convert", bert, tmp_path / "a", "--family", "bart_")[2]
        + run("convert", bert, tmp_path / "a", "--family", "brt")[2]
    )
    shutil.copytree(bert, tmp_path / "cut")
    state = mt.AutoModel.from_pretrained(bert).state_dict()
    state.pop("encoder.layer.0.output.dense.weight")
    (tmp_path / "cut" / "model.safetensors").unlink()
    torch.save(dict(state), tmp_path / "cut" / "pytorch_model.bin")
    status, _, err = run("convert", tmp_path / "cut", tmp_path / "b")
    assert status == 1
    assert "encoder.layer.0.output.dense.weight" in err
    assert not (tmp_path / "b").exists()
