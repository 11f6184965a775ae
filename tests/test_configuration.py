"""Configurations in a program: aliases, labels, validation, unknown names, and classes of one's own.

What they do with files is in test_configuration_files.py.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import logging
import math
from typing import Any

import pytest
import torch
import transformers
from configurations import family

from minitransformers.configs.config import Config
from minitransformers.configs.fields import choice, count, positive, probability, size
from minitransformers.errors import ConfigError, UnknownArgumentError
from minitransformers.models.bert import BertConfig, BertForSequenceClassification, BertModel
from minitransformers.models.gpt2 import GPT2Config, GPT2DoubleHeadsModel

pytestmark = pytest.mark.usefixtures("annotations_are_not_checked")


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
    (BertConfig, "id2label", [["a"], {"x": "a"}, {0: 1.5}, 3], "dict[int, str | int] or None"),
    (BertConfig, "label2id", [["a"], {"a": "0"}, {1.5: 1}, 3], "dict[str | int, int] or None"),
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
