"""Laws of adapters, in every family: nothing changes at first, merging changes nothing, removing undoes it all."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from adapted import BOTTLENECKS, LINEAR, METHODS, ONE_OF_EACH_FAMILY, adapted, can_have, draw_adapter, outputs

import minitransformers as mt
from minitransformers.adapters import (
    add_adapter,
    load_adapter,
    merge_adapter,
    remove_adapter,
    save_adapter,
    unmerge_adapter,
)
from minitransformers.adapters.linear import AdaptedLinear
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import tiny_model

OF_EVERY_FAMILY = ("lora-all", "ia3", "houlsby", "prefix", "prompt")  # the others of BERT
CASES = [
    pytest.param(model, method, id=f"{model.__name__}-{method}")
    for model in ONE_OF_EACH_FAMILY
    for method in METHODS
    if can_have(model, method) and (method in OF_EVERY_FAMILY or model.config_class is mt.BertConfig)
]


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def difference(left: dict[str, Any], right: dict[str, Any]) -> float:
    return max(float((left[name] - right[name]).abs().max()) for name in left if left[name].shape == right[name].shape)


@pytest.mark.parametrize(("model_class", "method"), CASES)
def test_the_life_of_an_adapter(model_class: Any, method: str, tmp_path: Any) -> None:
    model = tiny_model(model_class)
    before, state = outputs(model), copy.deepcopy(model.state_dict())

    # Nothing changes at first, and the model's own names stay
    add_adapter(model, METHODS[method]())
    if method in LINEAR:
        assert same(outputs(model), before)
    elif method in BOTTLENECKS:  # near the identity
        assert 0 < difference(outputs(model), before) < 1e-2
    assert state.keys() <= model.state_dict().keys()
    draw_adapter(model, seed=1)
    changed = outputs(model)
    assert difference(changed, before) > 1e-3

    # The file has the adapter alone
    save_adapter(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    loaded = load_adapter(tiny_model(model_class), tmp_path)
    assert same(outputs(loaded), changed)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())

    # Merging changes weights and no outputs, and is undone to the last bit
    if method in LINEAR:
        unmerged = copy.deepcopy(model.state_dict())
        merge_adapter(model)
        assert not same(model.state_dict(), unmerged)
        assert_close(outputs(model), changed, tolerance=1e-12)
        unmerge_adapter(model)
        assert same(model.state_dict(), unmerged)
        remove_adapter(merge_adapter(loaded))
        assert loaded.state_dict().keys() == state.keys()
        assert not any(isinstance(module, AdaptedLinear) for module in loaded.modules())
        assert_close(outputs(loaded), changed, tolerance=1e-12)

    # Removing undoes everything
    remove_adapter(model)
    assert same(outputs(model), before)
    assert same(model.state_dict(), state)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_parameters_are_trained_from_a_file(method: str, tmp_path: Any) -> None:
    model = adapted(mt.BertForSequenceClassification, method)
    save_adapter(model, tmp_path)
    again = load_adapter(tiny_model(mt.BertForSequenceClassification), tmp_path, is_trainable=True)
    trained, expected = (
        {name for name, parameter in found.named_parameters() if parameter.requires_grad} for found in (again, model)
    )
    if method == "prefix-mlp":  # of which the file has the result
        expected = {name for name in expected if "transform" not in name}
    assert trained == expected


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
