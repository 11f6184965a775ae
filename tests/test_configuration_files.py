"""Configurations and their files: config.json in and out unchanged, and the reference reading the same."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from configurations import family
from hypothesis import given, strategies as st

from minitransformers.assets import fetch
from minitransformers.configs.config import Config, read_config_file
from minitransformers.errors import ConfigError, MinitransformersError, MissingFileError
from minitransformers.models.bert import BertConfig, BertModel
from minitransformers.models.gpt2 import GPT2Config
from minitransformers.nn.feed_forward import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("annotations_are_not_checked")


# ---- what published checkpoints have in their config.json -----------------------------------------------------------

BERT_BASE = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
POOLER = {
    "directionality": "bidi",
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
}
GPT2_BASE = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}
ENTITIES = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
PUBLISHED: dict[str, dict[str, Any]] = {
    "bert-base-uncased": {
        "architectures": ["BertForMaskedLM"],
        **BERT_BASE,
        "gradient_checkpointing": False,
        "position_embedding_type": "absolute",
        "transformers_version": "4.6.0.dev0",
        "use_cache": True,
    },
    "bert-base-cased": {"architectures": ["BertForMaskedLM"], **BERT_BASE, "vocab_size": 28996},
    "bert-large-uncased-whole-word-masking": {
        "architectures": ["BertForMaskedLM"],
        **BERT_BASE,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
    },
    "bert-base-chinese": {"architectures": ["BertForMaskedLM"], **BERT_BASE, **POOLER, "vocab_size": 21128},
    "bert-base-multilingual-cased": {
        "architectures": ["BertForMaskedLM"],
        **BERT_BASE,
        **POOLER,
        "position_embedding_type": "absolute",
        "transformers_version": "4.0.0",
        "use_cache": True,
        "vocab_size": 119547,
    },
    "bert, fine-tuned for entities by transformers 4": {
        "_name_or_path": "bert-base-cased",
        "_num_labels": 9,
        "architectures": ["BertForTokenClassification"],
        **BERT_BASE,
        "classifier_dropout": None,
        "id2label": {str(index): label for index, label in enumerate(ENTITIES)},
        "label2id": {label: index for index, label in enumerate(ENTITIES)},
        "max_length": 512,
        "output_past": True,
        "torch_dtype": "float32",
        "transformers_version": "4.28.1",
    },
    "bert, fine-tuned for sentiment by transformers 5": {
        "add_cross_attention": False,
        "architectures": ["BertForSequenceClassification"],
        **BERT_BASE,
        "bos_token_id": None,
        "classifier_dropout": None,
        "dtype": "bfloat16",
        "eos_token_id": None,
        "id2label": {"0": "negative", "1": "neutral", "2": "positive"},
        "is_decoder": False,
        "label2id": {"negative": 0, "neutral": 1, "positive": 2},
        "problem_type": "single_label_classification",
        "tie_word_embeddings": True,
        "transformers_version": "5.0.0",
    },
    "bert with one output": {
        **BERT_BASE,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"},
    },
    "bert with names, but no table back": {**BERT_BASE, "id2label": {"0": "no", "1": "yes"}},
    "bert, of before there were model types": {
        **{key: value for key, value in BERT_BASE.items() if key not in ("model_type", "pad_token_id")},
        "finetuning_task": "mrpc",
        "num_labels": 3,
        "output_attentions": False,
        "output_hidden_states": False,
        "pruned_heads": {},
        "torchscript": False,
        "use_bfloat16": False,
    },
    "gpt2": GPT2_BASE,
    "gpt2-medium": {
        **GPT2_BASE,
        "n_embd": 1024,
        "n_head": 16,
        "n_layer": 24,
        "n_special": 0,
        "predict_special_tokens": True,
    },
    "gpt2-xl": {**GPT2_BASE, "n_embd": 1600, "n_head": 25, "n_layer": 48, "output_past": True},
    "distilgpt2": {
        **GPT2_BASE,
        "_num_labels": 1,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "n_layer": 6,
    },
    "gpt2, trained on by Mistral": {
        **GPT2_BASE,
        "_name_or_path": "checkpoint-400000",
        "gradient_checkpointing": False,
        "n_inner": None,
        "reorder_and_upcast_attn": True,
        "scale_attn_by_inverse_layer_idx": True,
        "scale_attn_weights": True,
        "torch_dtype": "float16",
        "transformers_version": "4.13.0",
        "use_cache": False,
    },
}
REAL = ["minilm", "rxnfp-pretrained", "rxnfp-ft", "rxnfp-ft-10k"]


def class_for(content: dict[str, Any]) -> type[Config]:
    return GPT2Config if content.get("model_type") == "gpt2" else BertConfig


def as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_config_goes_through_unchanged(name: str, tmp_path: Path) -> None:
    content = PUBLISHED[name]
    text = as_text(content)
    (tmp_path / "config.json").write_text(text)
    config = class_for(content).from_pretrained(tmp_path)
    config.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text() == text, "byte for byte"
    for key, value in content.items():
        if key not in ("id2label", "dtype", "torch_dtype", "_name_or_path"):
            assert getattr(config, key) == value


@pytest.mark.parametrize("name", REAL)
def test_real_config_goes_through_unchanged(name: str, tmp_path: Path) -> None:
    directory = fetch(name)
    config = BertConfig.from_pretrained(directory)
    config.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_text().strip() == (directory / "config.json").read_text().strip()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_config_means_what_it_means_to_the_reference(name: str) -> None:
    content = PUBLISHED[name]
    ours = class_for(content)
    theirs = transformers.GPT2Config if ours is GPT2Config else transformers.BertConfig
    assert_equal_fields(ours.from_dict(content), theirs.from_dict(copy.deepcopy(content)))


def assert_equal_fields(ours: Config, theirs: Any) -> None:
    for name in ours._fields.keys() - ({"classifier_dropout"} - vars(theirs).keys()):  # GPT-2's class has it or not
        expected = getattr(theirs, name)
        if name == "label2id" and expected is None:
            expected = {label: index for index, label in ours.id2label.items()}
        assert getattr(ours, name) == expected, name
    assert ours.num_labels == theirs.num_labels
    for alias in ours.attribute_map:
        assert getattr(ours, alias) == getattr(theirs, alias)


# ---- drawn values ---------------------------------------------------------------------------------------------------

TOKEN = st.integers(0, 30)
PROBABILITY = st.floats(0, 0.99) | st.just(0)
COMMON = {
    "dtype": st.sampled_from([None, torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    "architectures": st.none() | st.lists(st.text(max_size=5), max_size=2),
    "output_hidden_states": st.booleans(),
    "tie_word_embeddings": st.booleans(),
    "vocab_size": st.integers(31, 10**6),
    "initializer_range": st.floats(1e-6, 10),
    "bos_token_id": st.none() | TOKEN,
    "eos_token_id": st.none() | TOKEN | st.lists(TOKEN, max_size=3),
    "pad_token_id": st.none() | TOKEN,
    "use_cache": st.booleans(),
    "classifier_dropout": st.none() | PROBABILITY,
}
OWN = {
    BertConfig: {
        "num_hidden_layers": st.integers(0, 99),
        "intermediate_size": st.integers(1, 999),
        "hidden_act": st.sampled_from(sorted(ACTIVATIONS)),
        "hidden_dropout_prob": PROBABILITY,
        "attention_probs_dropout_prob": PROBABILITY,
        "max_position_embeddings": st.integers(1, 9999),
        "type_vocab_size": st.integers(1, 9),
        "layer_norm_eps": st.floats(1e-15, 0.1),
        "is_decoder": st.booleans(),
    },
    GPT2Config: {
        "n_positions": st.integers(1, 9999),
        "n_layer": st.integers(0, 99),
        "n_inner": st.none() | st.integers(1, 999),
        "activation_function": st.sampled_from(sorted(ACTIVATIONS)),
        "resid_pdrop": PROBABILITY,
        "embd_pdrop": PROBABILITY,
        "attn_pdrop": PROBABILITY,
        "layer_norm_epsilon": st.floats(1e-15, 0.1),
        "summary_type": st.sampled_from(["last", "first", "mean", "cls_index"]),
        "summary_use_proj": st.booleans(),
        "summary_activation": st.none() | st.sampled_from(sorted(ACTIVATIONS)),
        "summary_proj_to_labels": st.booleans(),
        "summary_first_dropout": PROBABILITY,
        "scale_attn_weights": st.booleans(),
        "scale_attn_by_inverse_layer_idx": st.booleans(),
        "reorder_and_upcast_attn": st.booleans(),
        "add_cross_attention": st.booleans(),
    },
}
WIDTH = {BertConfig: ("hidden_size", "num_attention_heads"), GPT2Config: ("n_embd", "n_head")}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)
FURTHER = st.dictionaries(st.from_regex(r"zz_[a-z]{1,6}", fullmatch=True), JSON_VALUES, max_size=2)


@st.composite
def fields(draw: st.DrawFn, ours: type[Config]) -> dict[str, Any]:
    """Keywords of a possible configuration; any of them may be absent."""
    values = draw(st.fixed_dictionaries({}, optional={**COMMON, **OWN[ours]}))
    width, heads = WIDTH[ours]
    if draw(st.booleans()):
        values[heads] = draw(st.integers(1, 20))
        values[width] = values[heads] * draw(st.integers(1, 20))
    labels = draw(st.none() | st.integers(1, 5) | st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True))
    if isinstance(labels, int):
        values["num_labels"] = labels
    elif labels is not None:
        values["id2label"] = dict(enumerate(labels))
        values["label2id"] = {label: index for index, label in enumerate(labels)}
    return values


@family
@given(data=st.data())
def test_saved_and_read_again_is_equal(ours: type[Config], theirs: Any, data: st.DataObject) -> None:
    config = ours(**data.draw(fields(ours)))
    again = ours.from_dict(json.loads(config.to_json_string()))
    assert again == config
    assert again.to_json_string() == config.to_json_string()
    for other in (copy.deepcopy(config), copy.copy(config), pickle.loads(pickle.dumps(config))):
        assert other == config
        assert repr(other) == repr(config)


@family
@given(data=st.data())
def test_any_file_is_written_back_unchanged(ours: type[Config], theirs: Any, data: st.DataObject) -> None:
    """Whatever keys a file has, in whatever order, known or not."""
    values = ours(**data.draw(fields(ours))).to_dict() | data.draw(FURTHER)
    keys = data.draw(st.lists(st.sampled_from(sorted(values)), unique=True))
    width = set(WIDTH[ours])
    if width & set(keys):
        keys += sorted(width - set(keys))
    content = {key: values[key] for key in keys}
    config = ours.from_dict(content)
    assert config.to_json_string() == as_text(content)
    for key in data.draw(st.just([key for key in keys if key.startswith("zz_")])):
        assert getattr(config, key) == content[key]


@family
@given(data=st.data())
def test_reference_reads_what_is_written_and_the_reverse(ours: type[Config], theirs: Any, data: st.DataObject) -> None:
    values = data.draw(fields(ours))
    config = ours(**values)
    assert_equal_fields(config, theirs.from_dict(json.loads(config.to_json_string())))
    reference = theirs(**copy.deepcopy(values))
    assert_equal_fields(ours.from_dict(json.loads(reference.to_json_string())), reference)
    complete = json.loads(reference.to_json_string(use_diff=False))
    assert_equal_fields(ours.from_dict(complete), reference)


@family
def test_defaults_are_the_reference_s(ours: type[Config], theirs: Any) -> None:
    assert_equal_fields(ours(), theirs())


@family
def test_files_pass_between_the_libraries_through_directories(ours: type[Config], theirs: Any, tmp_path: Path) -> None:
    ours(num_labels=3, dtype=torch.float16).save_pretrained(tmp_path / "ours")
    assert_equal_fields(ours.from_pretrained(tmp_path / "ours"), theirs.from_pretrained(tmp_path / "ours"))
    theirs(num_labels=4, dtype="bfloat16", pad_token_id=3).save_pretrained(tmp_path / "theirs")
    config = ours.from_pretrained(str(tmp_path / "theirs"))
    assert_equal_fields(config, theirs.from_pretrained(tmp_path / "theirs"))
    assert config.name_or_path == str(tmp_path / "theirs")


def test_only_what_changed_changes_in_the_file() -> None:
    content = {"vocab_size": 30522, "zz": [1], "layer_norm_eps": 1e-12, "model_type": "bert", "torch_dtype": "float16"}
    config = BertConfig.from_dict(content)
    config.vocab_size = 9
    config.hidden_act = "relu"
    config.zz = [2]
    written = json.loads(config.to_json_string())
    assert written == {**content, "vocab_size": 9, "zz": [2], "hidden_act": "relu"}
    assert list(written)[:5] == list(content), "in the file's order"
    assert content["zz"] == [1], "what was passed in is left alone"
    config.dtype = torch.float32
    assert json.loads(config.to_json_string())["torch_dtype"] == "float32", "under the name that the file has for it"


def test_further_keys_are_copies_and_are_kept() -> None:
    content = {"model_type": "bert", "zz_nested": {"a": [1]}}
    config = BertConfig.from_dict(content)
    config.zz_nested["a"].append(2)
    assert content["zz_nested"] == {"a": [1]}
    assert config.to_dict()["zz_nested"] == {"a": [1, 2]}
    assert config != BertConfig.from_dict(content), "further keys count in comparisons"
    assert copy.deepcopy(config).zz_nested == {"a": [1, 2]}


def test_nothing_is_shared_between_copies() -> None:
    config = BertConfig(id2label={0: "a", 1: "b"}, architectures=["X"])
    other = copy.deepcopy(config)
    other.id2label[0] = "changed"
    other.architectures.append("Y")
    other.hidden_size = 24
    assert (config.id2label, config.architectures, config.hidden_size) == ({0: "a", 1: "b"}, ["X"], 768)
    assert BertConfig().id2label is not BertConfig().id2label


def test_equality_repr_and_hash() -> None:
    assert BertConfig() == BertConfig()
    assert BertConfig() != BertConfig(vocab_size=3)
    assert BertConfig() != GPT2Config()
    assert BertConfig() != "BertConfig"
    assert repr(BertConfig(vocab_size=77)).startswith("BertConfig {")
    assert '"vocab_size": 77' in repr(BertConfig(vocab_size=77))
    with pytest.raises(TypeError, match="unhashable"):
        hash(BertConfig())


def test_signature_shows_the_fields() -> None:
    parameters = inspect.signature(BertConfig).parameters
    assert parameters["hidden_size"].default == 768
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())
    with pytest.raises(TypeError):
        BertConfig(30522)  # type: ignore[misc]


# ---- files ----------------------------------------------------------------------------------------------------------


@family
def test_overrides_win_over_the_file(ours: type[Config], theirs: Any, tmp_path: Path) -> None:
    ours(vocab_size=99, num_labels=2).save_pretrained(tmp_path)
    overrides = {"num_labels": 4, "output_attentions": True, "num_hidden_layers": 3, "dtype": torch.float16}
    config = ours.from_pretrained(tmp_path, **overrides)
    assert (config.num_labels, config.output_attentions, config.num_hidden_layers) == (4, True, 3)
    assert (config.vocab_size, config.dtype) == (99, torch.float16)
    assert_equal_fields(config, theirs.from_pretrained(tmp_path, **overrides))
    config.save_pretrained(tmp_path)
    assert ours.from_pretrained(tmp_path) == config


def test_an_override_repairs_a_bad_file() -> None:
    assert BertConfig.from_dict({"hidden_size": 10, "num_attention_heads": 4}, num_attention_heads=5).hidden_size == 10
    assert BertConfig.from_dict({"num_labels": 0}, num_labels=3).to_dict()["id2label"]["2"] == "LABEL_2"


def test_config_of_another_family_is_refused(tmp_path: Path) -> None:
    GPT2Config().save_pretrained(tmp_path)
    for attempt in (
        lambda: BertConfig.from_pretrained(tmp_path),
        lambda: BertConfig.from_json_file(tmp_path / "config.json"),
        lambda: BertConfig.from_dict({"model_type": "gpt2"}),
    ):
        with pytest.raises(ConfigError, match=r"model_type 'gpt2', and BertConfig is for 'bert'.*AutoConfig"):
            attempt()
    with pytest.raises(MinitransformersError, match="BertModel is built from a BertConfig, got GPT2Config"):
        BertModel(GPT2Config())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b'{"vocab_size": ', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[1, 2]", "holds a list; a configuration is an object"),
        (b"null", "holds a NoneType"),
        (b'"bert"', "holds a str"),
        (b"<!doctype html>", "is not JSON"),
    ],
)
def test_file_that_is_no_configuration(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        BertConfig.from_pretrained(tmp_path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError):
        read_config_file(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"config\.json") as caught:
        BertConfig.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert isinstance(caught.value, OSError)
    with pytest.raises(MissingFileError, match=r"config\.json"):
        BertConfig.from_json_file(tmp_path / "config.json")


def test_saving_makes_the_directory_and_leaves_nothing_else(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["config.json"]


def test_subfolder(tmp_path: Path) -> None:
    BertConfig(vocab_size=5).save_pretrained(tmp_path / "inner")
    assert BertConfig.from_pretrained(tmp_path, subfolder="inner").vocab_size == 5
