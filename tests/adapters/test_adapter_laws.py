"""Laws of adapters, in every family: nothing changes at first, merging changes nothing, removing undoes it all."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from adapted import BOTTLENECKS, LINEAR, METHODS, ONE_OF_EACH_FAMILY, adapted, can_have, outputs

import minitransformers as mt
from minitransformers.adapters import (
    add_adapter,
    load_adapter,
    merge_adapter,
    remove_adapter,
    save_adapter,
    unmerge_adapter,
)
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import tiny_model


def cases(*methods: str) -> Any:
    """These methods in every family, and all in BERT."""
    return pytest.mark.parametrize(
        ("model_class", "method"),
        [
            pytest.param(model, method, id=f"{model.__name__}-{method}")
            for model in ONE_OF_EACH_FAMILY
            for method in METHODS
            if can_have(model, method) and (method in methods or model.config_class is mt.BertConfig)
        ],
    )


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def difference(left: dict[str, Any], right: dict[str, Any]) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left if left[name].shape == right[name].shape)


@cases("lora-all", "dora", "ia3", "houlsby", "prefix", "prompt")
def test_adding_changes_nothing_at_first_and_removing_undoes_it(model_class: Any, method: str) -> None:
    model = tiny_model(model_class)
    before, state = outputs(model), copy.deepcopy(model.state_dict())
    add_adapter(model, METHODS[method]())
    if method in LINEAR:
        assert same(outputs(model), before)
    elif method in BOTTLENECKS:  # near the identity
        assert 0 < difference(outputs(model), before) < 1e-2
    assert state.keys() <= model.state_dict().keys()  # the model's own names stay
    changed = adapted(model_class, method)
    assert difference(outputs(changed), before) > 1e-3
    for adapter in (model, changed):
        remove_adapter(adapter)
        assert same(outputs(adapter), before)
        assert same(adapter.state_dict(), state)
        assert all(parameter.requires_grad for parameter in adapter.parameters())


@cases("lora", "houlsby", "prefix", "prompt")
def test_files_keep_the_adapter_alone(model_class: Any, method: str, tmp_path: Any) -> None:
    model = adapted(model_class, method)
    save_adapter(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    again = load_adapter(tiny_model(model_class), tmp_path)
    assert same(outputs(again), outputs(model))
    assert not any(parameter.requires_grad for parameter in again.parameters())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    again = load_adapter(tiny_model(model_class), tmp_path, is_trainable=True)
    if method != "prefix-mlp":  # of which the file has the result
        assert {name for name, parameter in again.named_parameters() if parameter.requires_grad} == trained


@cases("lora-all", "dora", "ia3")
def test_merged_is_unmerged(model_class: Any, method: str) -> None:
    if method not in LINEAR:
        pytest.skip("changes no weight")
    model = adapted(model_class, method)
    expected, state = outputs(model), copy.deepcopy(model.state_dict())
    merge_adapter(model)
    assert not same(model.state_dict(), state)
    assert_close(outputs(model), expected, tolerance=1e-12)
    unmerge_adapter(model)
    assert same(model.state_dict(), state)
    assert same(outputs(model), expected)
    remove_adapter(merge_adapter(model))
    assert type(model) is model_class
    assert model.state_dict().keys() == tiny_model(model_class).state_dict().keys()
    assert_close(outputs(model), expected, tolerance=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_copies_are_whole_and_apart(method: str) -> None:
    model_class = mt.T5ForConditionalGeneration if method in ("prefix", "prompt") else mt.GPT2LMHeadModel
    model = adapted(model_class, method)
    expected = outputs(model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(outputs(copied), expected)
        other = adapted(model_class, method, seed=2)
        assert not same(outputs(other), expected)
        copied.load_state_dict(other.state_dict())
        assert same(outputs(copied), outputs(other))
        assert same(outputs(model), expected)
        remove_adapter(copied)
        assert same(outputs(model), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_half_precision_has_adapters_in_float32(method: str, dtype: torch.dtype) -> None:
    model = tiny_model(mt.LlamaForCausalLM, dtype=dtype)
    before = outputs(model)
    add_adapter(model, METHODS[method]())
    if method in LINEAR:
        assert same(outputs(model), before)
    trained = [parameter for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trained if parameter.ndim > 1} == {torch.float32}
    assert outputs(model)["logits"].dtype == dtype
    model.train()(input_ids=torch.tensor([[1, 5, 2]]), labels=torch.tensor([[1, 5, 2]])).loss.backward()
    assert all(parameter.grad is not None for parameter in trained)


@torch.no_grad()
def test_hooks_and_references_of_a_layer_stay() -> None:
    model = tiny_model(mt.BertForSequenceClassification)
    query, seen = model.bert.encoder.layer[0].attention.self.query, []
    query.register_forward_hook(lambda module, args, output: seen.append(output))
    add_adapter(model, METHODS["lora"]())
    assert model.bert.encoder.layer[0].attention.self.query is query
    outputs(model)
    assert len(seen) == 1
