"""Configurations: config.json in and out unchanged, aliases, labels, validation, and the reference reading the same."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import logging
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
import transformers
from hypothesis import given, strategies as st

from minitransformers.assets import fetch
from minitransformers.configuration import Config, read_config_file
from minitransformers.errors import ConfigError, MinitransformersError, MissingFileError, UnknownArgumentError
from minitransformers.fields import choice, count, positive, probability, size
from minitransformers.models.bert import BertConfig, BertForSequenceClassification, BertModel
from minitransformers.models.gpt2 import GPT2Config, GPT2DoubleHeadsModel
from minitransformers.nn.feed_forward import ACTIVATIONS

FAMILIES = [(BertConfig, transformers.BertConfig), (GPT2Config, transformers.GPT2Config)]
family = pytest.mark.parametrize(("ours", "theirs"), FAMILIES, ids=["bert", "gpt2"])


@pytest.fixture(autouse=True)
def annotations_are_not_checked() -> Iterator[None]:
    """Wrong types must meet the library's own checks, as in a user's program, and not those of the test run."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


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
        if key not in ("id2label", "dtype", "torch_dtype"):
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


# ---- aliases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alias", "name"), GPT2Config.attribute_map.items())
def test_alias_is_the_field(alias: str, name: str) -> None:
    config = GPT2Config(**{alias: 24})
    assert getattr(config, alias) == getattr(config, name) == 24
    setattr(config, alias, 48)
    assert getattr(config, name) == 48
    setattr(config, name, 36)
    assert getattr(config, alias) == 36
    assert name in config.to_dict()
    assert alias not in config.to_dict()
    config = GPT2Config.from_dict({alias: 24})
    assert getattr(config, name) == 24
    assert json.loads(config.to_json_string()) == {alias: 24}, "written under the name it was read under"
    with pytest.raises(ConfigError, match=f"{name}=-1 "):
        setattr(config, alias, -1)


def test_former_names_of_common_fields() -> None:
    """Old scripts say `torch_dtype`, `use_return_dict`, and `_attn_implementation`."""
    config = BertConfig(torch_dtype="float16")
    assert config.dtype == config.torch_dtype == torch.float16
    config.torch_dtype = torch.float64
    assert config.dtype == torch.float64
    assert config.use_return_dict is True
    config._attn_implementation = "eager"
    assert config.attn_implementation == config._attn_implementation == "eager"
    with pytest.raises(ConfigError, match="attn_implementation='flash'"):
        config._attn_implementation = "flash"


def test_present_name_counts_where_a_file_has_both() -> None:
    for content in ({"torch_dtype": "float16", "dtype": "float32"}, {"dtype": "float32", "torch_dtype": "float16"}):
        assert BertConfig.from_dict(content).dtype == torch.float32
        assert transformers.BertConfig.from_dict(dict(content)).dtype == torch.float32


# ---- labels ---------------------------------------------------------------------------------------------------------

LABEL_COMBINATIONS = [
    {key: value for key, value in zip(("num_labels", "id2label", "label2id"), values, strict=True) if value is not None}
    for values in itertools.product(
        [None, 1, 2, 3],
        [None, {0: "a", 1: "b"}, {"0": "a", "1": "b", "2": "c"}],
        [None, {"a": 0, "b": 1}, {"x": 5}],
    )
]


def inverse(id2label: dict[int, str]) -> dict[str, int]:
    return {label: index for index, label in id2label.items()}


@pytest.mark.parametrize("how", ["keywords", "file", "assignment"])
@pytest.mark.parametrize("labels", LABEL_COMBINATIONS, ids=str)
def test_labels_are_combined_as_in_the_reference(how: str, labels: dict[str, Any]) -> None:
    def build(config_class: Any) -> Any:
        given = copy.deepcopy(labels)
        if how == "keywords":
            return config_class(**given)
        if how == "file":
            return config_class.from_dict({"model_type": "bert", **given})
        config = config_class()
        for name, value in given.items():
            setattr(config, name, value)
        return config

    ours, theirs = build(BertConfig), build(transformers.BertConfig)
    assert ours.num_labels == theirs.num_labels == len(ours.id2label)
    assert ours.id2label == {int(index): label for index, label in theirs.id2label.items()}  # assigned text stays text
    assert ours.label2id == (inverse(ours.id2label) if theirs.label2id is None else theirs.label2id)


@pytest.mark.parametrize(
    "labels",
    [
        {"num_labels": 2},
        {"num_labels": 3},
        {"num_labels": 5},
        {"id2label": {0: "a", 1: "b"}},
        {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}},
        {"num_labels": 2, "id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}},
        {"num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
        {"label2id": {"P": 0, "Q": 1, "R": 2}},
    ],
    ids=str,
)
@pytest.mark.parametrize("file", [{}, {"num_labels": 4}, {"id2label": {"0": "p", "1": "q", "2": "r"}}], ids=str)
def test_labels_override_those_of_a_file_as_in_the_reference(file: dict[str, Any], labels: dict[str, Any]) -> None:
    if "id2label" in file:
        file = {**file, "label2id": inverse({int(index): label for index, label in file["id2label"].items()})}
    ours = BertConfig.from_dict({"model_type": "bert", **file}, **copy.deepcopy(labels))
    theirs = transformers.BertConfig.from_dict({"model_type": "bert", **file}, **copy.deepcopy(labels))
    assert ours.num_labels == theirs.num_labels
    assert ours.id2label == {int(index): label for index, label in theirs.id2label.items()}
    if "id2label" in labels and "label2id" not in labels:  # theirs keeps the file's, which are of other labels
        assert ours.label2id == {"a": 0, "b": 1}
    elif "label2id" in labels and "id2label" in {**file, **labels}:
        assert ours.label2id == theirs.label2id


def test_contradicting_labels_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = BertConfig(num_labels=3, id2label={0: "a", 1: "b"})
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    (record,) = caplog.records
    assert "num_labels=3 contradicts id2label, which has 2 entries" in record.getMessage()


def test_quiet_where_labels_agree(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        BertConfig(num_labels=2, id2label={0: "a", 1: "b"})
        BertConfig.from_dict({"id2label": {"0": "a", "1": "b"}}, num_labels=5)
    assert not caplog.records


def test_changed_labels_are_written() -> None:
    config = BertConfig.from_dict({"model_type": "bert", "num_labels": 5})
    assert config.num_labels == 5
    assert json.loads(config.to_json_string()) == {"model_type": "bert", "num_labels": 5}
    config.num_labels = 3
    written = json.loads(config.to_json_string())
    assert written["num_labels"] == 3
    assert BertConfig.from_dict(written) == config
    config.id2label = {0: "x", 1: "y"}
    config.label2id = {"x": 0, "y": 1}
    written = json.loads(config.to_json_string())
    assert (written["num_labels"], written["id2label"]) == (2, {"0": "x", "1": "y"})
    assert BertConfig.from_dict(written).id2label == {0: "x", 1: "y"}
    config = BertConfig.from_dict({"id2label": {"0": "no", "1": "yes"}})
    config.id2label[1] = "YES"  # in place
    assert json.loads(config.to_json_string())["id2label"] == {"0": "no", "1": "YES"}


def test_default_labels_are_not_written() -> None:
    assert "id2label" not in BertConfig().to_diff_dict()
    assert BertConfig(num_labels=3).to_diff_dict()["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}


@pytest.mark.parametrize("number", [0, -1, 2.0, "3", True])
def test_impossible_number_of_labels(number: Any) -> None:
    with pytest.raises(ConfigError, match=r"num_labels=.* must be a whole number of at least 1"):
        BertConfig(num_labels=number)
    config = BertConfig()
    with pytest.raises(ConfigError, match="num_labels="):
        config.num_labels = number
    with pytest.raises(ConfigError, match="num_labels="):
        BertConfig.from_dict({"model_type": "bert", "num_labels": number})


# ---- validation -----------------------------------------------------------------------------------------------------

KINDS = {
    size: ([0, -1, 1.5, "7", None, True, [1]], "a whole number of at least 1"),
    count: ([-1, 1.5, "7", None, False], "a whole number of at least 0"),
    probability: ([-0.1, 1, 1.0, 1.5, "0.1", True, math.nan], "a number from 0 up to, but not, 1"),
    positive: ([0, -1e-5, "1e-12", None, math.nan, math.inf], "a number above 0"),
}
BAD_VALUES = [
    *[(BertConfig, name, *KINDS[size]) for name in ("vocab_size", "hidden_size", "num_attention_heads")],
    *[(BertConfig, name, *KINDS[size]) for name in ("intermediate_size", "max_position_embeddings", "type_vocab_size")],
    (BertConfig, "num_hidden_layers", *KINDS[count]),
    *[(BertConfig, name, *KINDS[probability]) for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")],
    (BertConfig, "classifier_dropout", *KINDS[probability]),
    *[(BertConfig, name, *KINDS[positive]) for name in ("initializer_range", "layer_norm_eps")],
    (BertConfig, "hidden_act", ["geluu", 3, None, ""], "one of 'gelu', "),
    (BertConfig, "pad_token_id", ["0", 1.0, True], "int or None"),
    (BertConfig, "eos_token_id", ["0", [1, "2"], 1.0], "int or list[int] or None"),
    (BertConfig, "use_cache", [1, "true", None], "bool"),
    (BertConfig, "is_decoder", [0, "no", None], "bool"),
    (BertConfig, "dtype", ["float17", "nn", 16, "int", torch.int8], "a floating-point torch.dtype or its name"),
    (BertConfig, "architectures", ["BertModel", [1], {}], "list[str] or None"),
    (BertConfig, "id2label", [["a"], {"x": "a"}, {0: 1}, 3], "dict[int, str] or None"),
    (BertConfig, "label2id", [["a"], {"a": "0"}, {0: 1}, 3], "dict[str, int] or None"),
    (BertConfig, "problem_type", ["regresion", 1, ""], "one of 'regression', 'single_label_classification'"),
    *[(GPT2Config, name, *KINDS[size]) for name in ("vocab_size", "n_positions", "n_embd", "n_head")],
    (GPT2Config, "n_inner", [0, -1, 1.5, "7"], "a whole number of at least 1"),
    (GPT2Config, "n_layer", *KINDS[count]),
    *[(GPT2Config, name, *KINDS[probability]) for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop")],
    (GPT2Config, "summary_first_dropout", *KINDS[probability]),
    (GPT2Config, "layer_norm_epsilon", *KINDS[positive]),
    (GPT2Config, "activation_function", ["geluu", None], "one of 'gelu', "),
    (GPT2Config, "summary_type", ["attn", "lastt", None], "one of 'last', 'first', 'mean', 'cls_index'"),
    (GPT2Config, "scale_attn_weights", [1, "true"], "bool"),
]


@pytest.mark.parametrize(
    ("config_class", "name", "value", "expected"),
    [(owner, name, value, expected) for owner, name, values, expected in BAD_VALUES for value in values],
    ids=lambda part: part.__name__ if isinstance(part, type) else repr(part)[:30],
)
def test_impossible_value_is_refused_everywhere(config_class: Any, name: str, value: Any, expected: str) -> None:
    """As keyword, on assignment, and in a file; the message names field, value, and what was expected."""
    attempts = [
        lambda: config_class(**{name: value}),
        lambda: setattr(config_class(), name, value),
        lambda: config_class.from_dict({name: value}),
        lambda: config_class.from_dict({}, **{name: value}),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigError) as caught:
            attempt()
        message = str(caught.value)
        assert f"{config_class.__name__}: {name}={value!r} must be " in message
        assert expected in message
        assert isinstance(caught.value, ValueError)


def test_refused_assignment_changes_nothing() -> None:
    config = BertConfig()
    with pytest.raises(ConfigError):
        config.vocab_size = -1
    assert config.vocab_size == 30522


@pytest.mark.parametrize(
    ("config_class", "values", "names"),
    [
        (BertConfig, {"hidden_size": 30, "num_attention_heads": 4}, ["hidden_size=30", "num_attention_heads=4"]),
        (BertConfig, {"vocab_size": 10, "pad_token_id": 10}, ["pad_token_id=10", "vocab_size=10"]),
        (BertConfig, {"vocab_size": 10, "pad_token_id": -11}, ["pad_token_id=-11", "vocab_size=10"]),
        (BertConfig, {"add_cross_attention": True}, ["add_cross_attention=True", "is_decoder=True"]),
        (GPT2Config, {"n_embd": 30, "n_head": 4}, ["n_embd=30", "n_head=4"]),
        (
            BertConfig,
            {"num_labels": 1, "problem_type": "single_label_classification"},
            ["problem_type='single_label_classification'", "num_labels", "'regression'"],
        ),
    ],
)
def test_values_that_do_not_fit_each_other(config_class: Any, values: dict[str, Any], names: list[str]) -> None:
    for build in (lambda: config_class(**values), lambda: config_class.from_dict(values)):
        with pytest.raises(ConfigError) as caught:
            build()
        for name in names:
            assert name in str(caught.value)


def test_fields_may_be_assigned_one_after_the_other() -> None:
    """In between they need not fit each other; a model is not built from ones that do not."""
    config = BertConfig(hidden_size=24, num_attention_heads=3)
    config.hidden_size = 32
    with pytest.raises(ConfigError, match="hidden_size=32 must be a multiple of num_attention_heads=3"):
        BertModel(config)
    config.num_attention_heads = 4
    config.validate()


def test_other_kinds_of_positions_are_refused() -> None:
    with pytest.raises(ConfigError, match="position_embedding_type='relative_key' must be 'absolute'"):
        BertConfig.from_dict({"model_type": "bert", "position_embedding_type": "relative_key"})
    assert BertConfig.from_dict({"position_embedding_type": "absolute"}).position_embedding_type == "absolute"


@family
@pytest.mark.parametrize("kernel", ["eager", "sdpa", None])
def test_attention_kernels_by_name(ours: type[Config], theirs: Any, kernel: str | None) -> None:
    config = ours(attn_implementation=kernel)
    assert config.attn_implementation == kernel
    assert "attn" not in "".join(key for key in config.to_diff_dict() if key.startswith("attn_impl"))
    for attempt in (lambda: ours(attn_implementation="flash"), lambda: setattr(config, "attn_implementation", "flash")):
        with pytest.raises(ConfigError, match="attn_implementation='flash' must be 'eager' or 'sdpa'"):
            attempt()


def test_values_of_other_types_that_mean_the_same() -> None:
    assert BertConfig(hidden_dropout_prob=0).hidden_dropout_prob == 0
    assert BertConfig(dtype="torch.bfloat16").dtype == BertConfig(dtype="bfloat16").dtype == torch.bfloat16
    assert GPT2Config(eos_token_id=[1, 2]).eos_token_id == [1, 2]


# ---- unknown names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config_class", "name", "near"),
    [
        (BertConfig, "hiden_size", "'hidden_size'"),
        (BertConfig, "num_lables", "'num_labels'"),
        (BertConfig, "attn_implementatio", "'attn_implementation'"),
        (GPT2Config, "nlayer", "'n_layer'"),
        (GPT2Config, "num_hidden_layer", "'num_hidden_layers'"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(config_class: Any, name: str, near: str) -> None:
    attempts = [
        lambda: config_class(**{name: 2}),
        lambda: setattr(config_class(), name, 2),
        lambda: config_class.from_dict({}, **{name: 2}),
        lambda: config_class().update({name: 2}),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownArgumentError) as caught:
            attempt()
        assert f"has no field {name!r}" in str(caught.value)
        assert f"Did you mean {near}?" in str(caught.value)
        assert isinstance(caught.value, TypeError)
    with pytest.raises(AttributeError, match=f"has no field {name!r}. Did you mean {near}"):
        getattr(config_class(), name)
    assert not hasattr(config_class(), name)


def test_unknown_keys_of_a_file_may_be_assigned() -> None:
    config = BertConfig.from_dict({"zz_beams": 4})
    config.zz_beams = 5
    assert config.zz_beams == 5
    assert json.loads(config.to_json_string()) == {"zz_beams": 5}


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


# ---- own configurations ---------------------------------------------------------------------------------------------


class _OwnConfig(Config):
    model_type = "own"
    attribute_map = {"hidden_size": "width"}

    width: int = size(8)
    sizes: tuple[int, ...] = (1, 2)
    maybe: float | None = probability(None)
    kind: str = choice("a", ("a", "b"))
    anything: Any = None


def test_a_configuration_of_ones_own() -> None:
    config = _OwnConfig(hidden_size=3, sizes=[4, 5], anything={"x": object})
    assert (config.width, config.sizes, config.num_labels) == (3, (4, 5), 2)
    assert list(inspect.signature(_OwnConfig).parameters)[-5:] == ["width", "sizes", "maybe", "kind", "anything"]
    config = _OwnConfig(sizes=(7,), kind="b")
    assert _OwnConfig.from_dict(json.loads(config.to_json_string())) == config
    with pytest.raises(ConfigError, match=r"_OwnConfig: sizes=\['x'\] must be tuple\[int, \.\.\.\]"):
        _OwnConfig(sizes=["x"])
    with pytest.raises(ConfigError, match="kind='c' must be one of 'a', 'b'"):
        config.kind = "c"


def test_a_model_s_config_is_the_one_it_was_built_from() -> None:
    config = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = BertForSequenceClassification(config)
    model.config.pad_token_id = 3
    assert config.pad_token_id == 3
    with pytest.raises(ConfigError, match="pad_token_id='x'"):
        model.config.pad_token_id = "x"


def test_double_heads_model_has_one_label() -> None:
    """One score for each choice, as the reference says in the config."""
    values = {"vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 9}
    config, reference = GPT2Config(**values), transformers.GPT2Config(**values)
    GPT2DoubleHeadsModel(config)
    transformers.GPT2DoubleHeadsModel(reference)
    assert config.num_labels == reference.num_labels == 1
