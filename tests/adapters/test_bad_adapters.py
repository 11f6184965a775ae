"""What cannot be meant is refused, in words, before the model is changed."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from adapted import adapted
from torch import nn

import minitransformers as mt
from minitransformers.adapters import (
    AdapterConfig,
    BottleneckConfig,
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    add_adapter,
    load_adapter,
    merge_adapter,
    remove_adapter,
    save_adapter,
    unmerge_adapter,
)
from minitransformers.testing.examples import tiny_model

pytestmark = pytest.mark.usefixtures("annotations_are_not_checked")


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (LoraConfig, {"r": 0}, "r=0 must be a whole number of at least 1"),
        (LoraConfig, {"r": 2.5}, "r=2.5"),
        (LoraConfig, {"lora_alpha": 0}, "lora_alpha=0 must be a number above 0"),
        (LoraConfig, {"lora_dropout": 1.0}, "lora_dropout=1.0"),
        (LoraConfig, {"init_lora_weights": "pissa"}, "init_lora_weights='pissa'"),
        (LoraConfig, {"target_modules": [1]}, "target_modules"),
        (BottleneckConfig, {"placement": "parallel"}, "'houlsby', 'pfeiffer'"),
        (BottleneckConfig, {"bottleneck_size": 0}, "bottleneck_size=0"),
        (PrefixTuningConfig, {"num_virtual_tokens": 0}, "num_virtual_tokens=0"),
    ],
)
def test_values_of_settings(config: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(mt.ConfigError, match=message):
        config(**options)


def test_names_of_settings() -> None:
    with pytest.raises(mt.UnknownArgumentError, match="Did you mean 'lora_alpha'"):
        LoraConfig(lora_alfa=3)
    with pytest.raises(mt.UnknownArgumentError, match="rank"):
        LoraConfig(rank=3)
    assert LoraConfig(target_modules=("b", "a")).target_modules == ["b", "a"]
    assert LoraConfig(target_modules={"b", "a"}).target_modules == ["a", "b"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LoraConfig(target_modules=["qurey"]), "'qurey' matches no layer of Bert.*Did you mean 'query'"),
        (LoraConfig(target_modules=["query", "c_attn"]), "'c_attn' matches no layer"),
        (LoraConfig(target_modules=r".*\.c_attn"), "matches no layer"),
        (LoraConfig(target_modules=["query"], exclude_modules=["query"]), "'query' matches no layer"),
        (LoraConfig(target_modules=["LayerNorm"]), "of the class LayerNorm; only layers of the class nn.Linear"),
        (LoraConfig(modules_to_save=["clasifier"]), "modules_to_save: 'clasifier'.*Did you mean 'classifier'"),
        (IA3Config(target_modules=["keys"]), "'keys' matches no layer"),
        (AdapterConfig(), "only the base"),
        (peft.LoraConfig(), "config must be a LoraConfig"),
    ],
)
def test_names_that_match_nothing(config: Any, message: str) -> None:
    model = tiny_model(mt.BertForSequenceClassification)
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(mt.InputError, match=message):
        add_adapter(model, config)
    assert model.state_dict().keys() == state.keys()
    assert all(parameter.requires_grad for parameter in model.parameters())
    add_adapter(model, LoraConfig())  # as if nothing had happened


def test_a_second_adapter() -> None:
    model = adapted(mt.GPT2LMHeadModel, "lora")
    for again in (lambda: add_adapter(model, IA3Config()), lambda: add_adapter(model, LoraConfig())):
        with pytest.raises(mt.InputError, match=r"already has an adapter \(LoraConfig\)"):
            again()
    add_adapter(remove_adapter(merge_adapter(model)), IA3Config())
    other = tiny_model(mt.GPT2LMHeadModel)
    other.add_adapter(peft.LoraConfig(target_modules=["c_attn"]))
    with pytest.raises(mt.InputError, match="has an adapter of peft"):
        add_adapter(other, LoraConfig())


def test_what_there_is_nothing_to_do_with(tmp_path: Any) -> None:
    model = tiny_model(mt.GPT2LMHeadModel)
    for function in (remove_adapter, merge_adapter, unmerge_adapter):
        with pytest.raises(mt.InputError, match="has no adapter"):
            function(model)
    with pytest.raises(mt.InputError, match="has no adapter"):
        save_adapter(model, tmp_path)
    with pytest.raises(mt.InputError, match="must be a model of minitransformers"):
        add_adapter(nn.Linear(2, 2), LoraConfig())
    lora = adapted(mt.GPT2LMHeadModel, "lora")
    with pytest.raises(mt.InputError, match="not merged"):
        unmerge_adapter(lora)
    merge_adapter(lora)
    with pytest.raises(mt.InputError, match="merged already"):
        merge_adapter(lora)
    for method, reason in (
        ("houlsby", "not linear"),
        ("prefix", "changes no weights"),
        ("prompt", "changes no weights"),
    ):
        with pytest.raises(mt.InputError, match=reason):
            merge_adapter(adapted(mt.GPT2LMHeadModel, method))
    (tmp_path / "file").write_text("")
    with pytest.raises(mt.InputError, match="is a file"):
        save_adapter(lora, tmp_path / "file")


def test_a_tied_head_is_not_trained_by_itself() -> None:
    with pytest.raises(mt.InputError, match=r"tied to .*wte.weight|tied to .*lm_head.weight"):
        add_adapter(tiny_model(mt.GPT2LMHeadModel), LoraConfig(modules_to_save=["lm_head"]))
    add_adapter(tiny_model(mt.GPT2LMHeadModel, tie_word_embeddings=False), LoraConfig(modules_to_save=["lm_head"]))


def test_a_family_without_default_targets() -> None:
    class OwnConfig(mt.BertConfig):
        model_type = "own"

    class OwnModel(mt.BertModel):
        config_class = OwnConfig

    config = OwnConfig(hidden_size=6, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    with pytest.raises(mt.InputError, match="no default target_modules for the family 'own'"):
        add_adapter(OwnModel(config), LoraConfig())
    model = add_adapter(OwnModel(config), LoraConfig(target_modules="all-linear"))
    assert "encoder.layer.0.attention.self.query.lora_A.weight" in model.state_dict()


def test_an_adapter_of_another_task(tmp_path: Any) -> None:
    save_adapter(adapted(mt.BertForSequenceClassification, "lora"), tmp_path)
    load_adapter(tiny_model(mt.BertForSequenceClassification), tmp_path)
    with pytest.raises(mt.CheckpointError, match=r"has no 'base_model\.model\.qa_outputs"):
        load_adapter(tiny_model(mt.BertForQuestionAnswering), tmp_path)
    with pytest.raises(mt.CheckpointError, match=r"classifier.*has shape \(2,|has no place"):
        load_adapter(tiny_model(mt.BertForSequenceClassification, num_labels=5), tmp_path)
    with pytest.raises(mt.CheckpointError, match="is the adapter of another model"):
        load_adapter(tiny_model(mt.BertModel), tmp_path)


def test_prefixes_of_other_sizes(tmp_path: Any) -> None:
    save_adapter(adapted(mt.GPT2LMHeadModel, "prefix"), tmp_path)
    with pytest.raises(mt.CheckpointError, match="'prompt_embeddings' has shape"):
        load_adapter(tiny_model(mt.GPT2LMHeadModel, n_layer=3), tmp_path)
    model = load_adapter(tiny_model(mt.GPT2LMHeadModel), tmp_path)
    assert torch.is_tensor(model(input_ids=torch.tensor([[3, 4]])).logits)
