"""Auto classes: for every family and task the class that the reference would choose, else words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minitransformers
from minitransformers import (
    AlbertConfig,
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    CheckpointError,
    ConfigError,
    DistilBertConfig,
    GPT2Config,
    RobertaConfig,
    XLMRobertaConfig,
)
from minitransformers.auto import CONFIG_MAPPING
from minitransformers.errors import MissingFileError, UnknownArgumentError, UnknownNameError

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

AUTO_CLASSES = sorted(name for name in minitransformers.__all__ if name.startswith("AutoModel"))
BERT = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
GPT2 = {
    "vocab_size": 11,
    "n_embd": 8,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 9,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DISTILBERT = {"vocab_size": 11, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8}
OPENAI_GPT = {"vocab_size": 11, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 9}
VIT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "image_size": 32}
DINOV2 = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}
BART = {
    "vocab_size": 11,
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "max_position_embeddings": 9,
}
GPT_NEO = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_layers": 1,
    "num_heads": 2,
    "attention_types": [[["global"], 1]],
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**BERT, "num_key_value_heads": 1}
T5 = {"vocab_size": 11, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
# BERT's for all others
FIELDS: dict[str, dict[str, Any]] = {
    "bart": BART,
    "dinov2": DINOV2,
    "distilbert": DISTILBERT,
    "gpt2": GPT2,
    "gpt_neo": GPT_NEO,
    "mistral": GROUPED,
    "modernbert": {
        **BERT,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "cls_token_id": 1,
        "sep_token_id": 2,
    },
    "openai-gpt": OPENAI_GPT,
    "qwen2": GROUPED,
    "t5": {**T5, "decoder_start_token_id": 0},
    "vit": VIT,
}
IDS = torch.tensor([[1, 2, 3]])


def config(model_type: str) -> Any:
    return AutoConfig.for_model(model_type, **FIELDS.get(model_type, BERT))


def reference_class(auto: str, model_type: str) -> str | None:
    """The class that transformers' auto class takes for the family; None where it has none."""
    mapping = getattr(transformers, auto)._model_mapping
    reference_config = transformers.AutoConfig.for_model(model_type)
    return mapping[type(reference_config)].__name__ if type(reference_config) in mapping else None


@pytest.mark.parametrize("model_type", list(CONFIG_MAPPING))
@pytest.mark.parametrize("auto", AUTO_CLASSES)
def test_same_class_as_in_the_reference(auto: str, model_type: str, tmp_path: Path) -> None:
    auto_class = getattr(minitransformers, auto)
    expected = reference_class(auto, model_type)
    AutoModel.from_config(config(model_type)).save_pretrained(tmp_path)
    if expected is None:
        for attempt in (
            lambda: auto_class.from_pretrained(tmp_path),
            lambda: auto_class.from_config(config(model_type)),
        ):
            with pytest.raises(CheckpointError, match=f"{auto} has no class for model_type '{model_type}'; it has "):
                attempt()
        return
    assert type(auto_class.from_config(config(model_type))).__name__ == expected
    model = auto_class.from_pretrained(tmp_path)
    assert type(model).__name__ == expected
    assert not model.training
    assert model.config.name_or_path == str(tmp_path)


@pytest.mark.parametrize("model_type", list(CONFIG_MAPPING))
def test_configurations(model_type: str, tmp_path: Path) -> None:
    made = config(model_type)
    assert made.model_type == model_type
    made.save_pretrained(tmp_path)
    read = AutoConfig.from_pretrained(tmp_path, num_labels=5, output_attentions=True)
    assert type(read) is type(made)
    assert (read.num_labels, read.output_attentions, read.name_or_path) == (5, True, str(tmp_path))
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert type(theirs).__name__ == type(made).__name__
    theirs.save_pretrained(tmp_path / "theirs")
    assert type(AutoConfig.from_pretrained(tmp_path / "theirs")) is type(made)


def test_options_reach_the_model(tmp_path: Path) -> None:
    BertModel(config("bert")).save_pretrained(tmp_path / "inner")
    model, info = minitransformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path,
        subfolder="inner",
        num_labels=3,
        dtype="float64",
        attn_implementation="eager",
        output_loading_info=True,
    )
    assert model.classifier.out_features == 3
    assert model.dtype == torch.float64
    assert model.config.attn_implementation == "eager"
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert AutoModel.from_pretrained(tmp_path / "inner", add_pooling_layer=False).pooler is None
    with pytest.raises(UnknownArgumentError, match=r"'num_label'.*Did you mean 'num_labels'\?"):
        AutoModel.from_pretrained(tmp_path / "inner", num_label=3)


def test_a_config_may_be_passed(tmp_path: Path) -> None:
    BertModel(config("bert")).save_pretrained(tmp_path / "model")
    changed = config("bert")
    changed.hidden_act = "relu"
    changed.save_pretrained(tmp_path / "config")
    for passed in (changed, tmp_path / "config", str(tmp_path / "config")):
        model = minitransformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model", config=passed)
        assert type(model).__name__ == "BertForMaskedLM"
        assert model.config.hidden_act == "relu"


def test_from_config_takes_the_attention_kernel() -> None:
    given = config("gpt2")
    model = minitransformers.AutoModelForCausalLM.from_config(given, attn_implementation="eager")
    assert model.config.attn_implementation == "eager"


def test_same_numbers_as_the_class_itself(tmp_path: Path) -> None:
    model = minitransformers.GPT2LMHeadModel(config("gpt2")).eval()
    model.save_pretrained(tmp_path)
    again = minitransformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.allclose(again(IDS).logits, model(IDS).logits, atol=1e-6)


@pytest.mark.parametrize("auto", ["AutoConfig", "AutoModel", "AutoModelForMaskedLM"])
def test_auto_classes_are_not_built(auto: str) -> None:
    with pytest.raises(TypeError, match=f"{auto} only chooses a class: call {auto}.from_pretrained"):
        getattr(minitransformers, auto)()


def test_unknown_families(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no model_type 'bertt' here; there are .*bert, .* Did you mean 'bert'"):
        AutoConfig.for_model("bertt")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    for auto in ("AutoConfig", "AutoModel", "AutoModelForCausalLM"):
        with pytest.raises(
            CheckpointError, match=r"is of model_type 'whisper', which is not covered; covered are .*bert, "
        ):
            getattr(minitransformers, auto).from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("folder", "architectures", "expected"),
    [
        ("bert-base-uncased", None, BertConfig),
        ("gpt2-medium", None, GPT2Config),
        ("x", ["BertForMaskedLM"], BertConfig),
        ("x", ["GPT2LMHeadModel"], GPT2Config),
        ("gpt2", ["BertForMaskedLM"], BertConfig),
        ("my_bert", [], BertConfig),
        ("x", None, None),
        ("roberta-base", None, RobertaConfig),
        ("x", ["RobertaForMaskedLM"], RobertaConfig),
        ("xlm-roberta-base", None, XLMRobertaConfig),
        ("x", ["DistilBertModel"], DistilBertConfig),
        ("albert-base", ["AlbertForMaskedLM"], AlbertConfig),
        ("bertweet", None, None),
    ],
)
def test_files_of_before_there_were_model_types(folder: str, architectures: Any, expected: Any, tmp_path: Path) -> None:
    """The architecture or the directory's name tells the family, where either is a word of its own."""
    directory = tmp_path / "bert of somebody" / folder
    directory.mkdir(parents=True)
    content = {} if architectures is None else {"architectures": architectures}
    (directory / "config.json").write_text(json.dumps(content))
    if expected is not None:
        assert type(AutoConfig.from_pretrained(directory)) is expected
    else:
        with pytest.raises(
            CheckpointError, match=r'has no model_type: use the classes of its family.*or add "model_type"'
        ):
            AutoConfig.from_pretrained(directory)


def test_old_checkpoint_without_model_type_loads(tmp_path: Path) -> None:
    model = minitransformers.BertForMaskedLM(config("bert"))
    model.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["model_type"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    again = minitransformers.AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(again.cls.predictions.decoder.weight, model.cls.predictions.decoder.weight)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"config\.json"):
        AutoModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        AutoModel.from_pretrained(tmp_path)
