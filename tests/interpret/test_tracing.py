"""A trace changes nothing, and holds what the model computed."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from minitransformers.errors import InputError
from minitransformers.interpret import attention_rollout, patch, trace
from minitransformers.interpret.watching import blocks
from minitransformers.models.albert import AlbertModel
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.models.t5 import T5ForConditionalGeneration
from minitransformers.nn.attention import KERNELS, MultiHeadAttention
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import BACKBONES

IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])


def values_of(output):
    return {name: value for name, value in output.items() if isinstance(value, torch.Tensor)}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("model_class", BACKBONES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_a_trace_changes_no_bit(model_class, kernel):
    model = tiny_model(model_class, dtype=torch.float32, dropout=True, attn_implementation=kernel)
    assert model.config._attn_implementation == kernel
    batch = example_batch(model)
    for training in (False, True):
        model.train(training)
        torch.manual_seed(0)
        with torch.set_grad_enabled(training):
            expected = values_of(model(**batch))
        torch.manual_seed(0)
        with trace(model) as activations, torch.set_grad_enabled(training):
            traced = values_of(model(**batch))
        assert_same_bits(expected, traced)
        assert activations.attentions
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("model_class", BACKBONES, ids=lambda each: each.__name__)
def test_weights_and_residual_stream_are_those_that_the_model_returns(model_class):
    eager = tiny_model(model_class, dtype=torch.float64, attn_implementation="eager")
    fused = tiny_model(model_class, dtype=torch.float64, attn_implementation="sdpa")
    batch = example_batch(eager, labels=False)
    expected = eager(**batch, output_attentions=True, output_hidden_states=True)
    by_kind = {
        "self": expected.get("attentions"),
        "encoder": expected.get("encoder_attentions"),
        "decoder": expected.get("decoder_attentions"),
        "cross": expected.get("cross_attentions"),
    }
    for model in (eager, fused):
        with trace(model) as activations:
            model(**batch)
        for kind in {each.kind for each in activations.attentions}:
            found = [each for each in activations.attentions if each.kind == kind]
            assert len(found) == len(by_kind[kind])
            for each, weights in zip(found, by_kind[kind], strict=True):
                assert_close(each.weights, weights, rtol=1e-9, atol=1e-12)
                assert_close(each.heads, each.weights @ each.value, rtol=1e-9, atol=1e-12)
        states = expected[
            "decoder_hidden_states" if "cross" in {e.kind for e in activations.attentions} else "hidden_states"
        ]
        stream = activations.residual()
        assert len(stream) == len(states)
        for number, (one, other) in enumerate(zip(stream[:-1], states[:-1], strict=True)):
            assert_close(one, other, rtol=1e-9, atol=1e-12, msg=lambda text, number=number: f"{number}: {text}")


def test_names_are_the_modules_and_their_values_the_arguments_and_results():
    model = tiny_model(GPT2LMHeadModel)
    with trace(model) as activations:
        logits = model(IDS).logits
    mlp = model.transformer.h[1].mlp
    assert torch.equal(mlp(activations.input("transformer.h.1.mlp")), activations["transformer.h.1.mlp"])
    assert torch.equal(activations[""], logits)
    assert set(activations.outputs) <= {name for name, _ in model.named_modules()}
    assert "transformer.h.1.mlp" in activations
    attention = activations.attention("transformer.h.1")
    heads, length = model.config.n_head, IDS.shape[1]
    query = activations["transformer.h.1.attn.c_attn"].chunk(3, -1)[0].view(2, length, heads, -1).transpose(1, 2)
    assert torch.equal(attention.query, query)
    assert attention.projection == "transformer.h.1.attn.c_proj"
    scores = query @ attention.key.transpose(-1, -2) * query.shape[-1] ** -0.5
    causal = torch.full((length, length), -torch.inf, dtype=scores.dtype).triu(1)
    assert_close(attention.weights, (scores + causal).softmax(-1))


def test_modules_that_run_twice_have_a_value_for_each_call():
    model = tiny_model(AlbertModel, num_hidden_layers=3)
    with trace(model) as activations:
        model(IDS)
    assert [len(activations.outputs[name]) for name in blocks(model)["encoder.albert_layer_groups"]] == [3]
    assert len(activations.residual()) == 4
    with pytest.raises(InputError, match="ran 3 times"):
        activations["encoder.albert_layer_groups.0.albert_layers.0"]


def test_a_shared_module_answers_to_all_its_names():
    shared = torch.nn.Linear(2, 2)
    model = torch.nn.ModuleDict({"one": shared, "other": shared, "whole": torch.nn.Sequential(shared)})["whole"]
    model.alias = shared
    with trace(model) as activations:
        output = shared(model[0](torch.ones(1, 2)))
    assert len(activations.outputs["0"]) == 2
    assert torch.equal(activations.outputs["0"][1], output)
    with pytest.raises(InputError, match="ran 2 times"):
        activations["alias"]


def test_an_encoder_decoder_has_two_stacks():
    model = tiny_model(T5ForConditionalGeneration)
    with trace(model) as activations:
        model(**example_batch(model))
    assert activations.stacks == ["encoder.block", "decoder.block"]
    assert {each.kind for each in activations.attentions} == {"encoder", "decoder", "cross"}


def test_the_last_call_remains_and_static_copies_are_kept():
    model = tiny_model(GPT2LMHeadModel)
    with trace(model) as activations:
        first = model(IDS, use_cache=True)
        keys = activations.attentions[0].key
        copy = keys.clone()
        model(IDS[:, :1], past_key_values=first.past_key_values)
    assert torch.equal(keys, copy)
    assert activations.attentions[0].weights.shape[-2:] == (1, 5)
    assert len(activations.attentions) == model.config.n_layer


def test_gradients_reach_values_that_are_not_detached():
    model = tiny_model(GPT2LMHeadModel)
    with trace(model, detach=False) as activations:
        logits = model(IDS).logits
    (gradient,) = torch.autograd.grad(logits.sum(), activations.residual()[1])
    assert gradient.abs().sum() > 0
    with trace(model) as activations:
        model(IDS)
    assert not activations.residual()[1].requires_grad


def test_an_own_module_can_be_traced_and_a_failed_call_leaves_nothing_behind():
    kernels = dict(KERNELS)
    attention = MultiHeadAttention(6, 2)
    with pytest.raises(RuntimeError), trace(attention):
        attention(torch.ones(1, 3, 7))
    assert kernels == KERNELS
    assert not any(module._forward_hooks for module in attention.modules())
    model = tiny_model(GPT2LMHeadModel)
    with trace(model) as activations:
        with pytest.raises(InputError):
            model(torch.tensor([[99]]))
        model(IDS)
    assert len(activations.attentions) == model.config.n_layer


def test_two_models_and_two_traces_do_not_mix():
    one, other = tiny_model(GPT2LMHeadModel), tiny_model(GPT2LMHeadModel, seed=1)
    with trace(one) as first, trace(other) as second, trace(one) as third:
        one(IDS)
        other(IDS)
    assert len(first.attentions) == len(second.attentions) == len(third.attentions) == one.config.n_layer
    assert torch.equal(first.attentions[0].weights, third.attentions[0].weights)
    assert not torch.equal(first.attentions[0].weights, second.attentions[0].weights)


def test_a_trace_inside_a_patch_sees_what_it_leads_to():
    model = tiny_model(GPT2LMHeadModel)
    with patch(model, {"transformer.h.0": torch.zeros_like}), trace(model) as activations:
        model(IDS)
    assert not activations.residual()[1].any()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda a: a["transformer.h.1.mpl"], "Did you mean.*mlp"),
        (lambda a: a["transformer.h"], "did not run"),
        (lambda a: a.residual("transformer.g"), "transformer.h"),
        (lambda a: a.attention("transformer"), "attends 2 times"),
    ],
)
def test_names_that_match_nothing_are_errors(ask, message):
    model = tiny_model(GPT2LMHeadModel)
    with trace(model) as activations:
        model(IDS)
    with pytest.raises(InputError, match=message):
        ask(activations)
    with trace(model) as nothing:
        pass
    with pytest.raises(InputError, match="No block has run"):
        nothing.residual()


def test_rollout_is_the_papers_product():
    """Two layers by hand: Ã = (A + I) / 2, and the second times the first."""
    first, second = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    weights = [torch.stack([first, first])[None], torch.stack([second - 0.1, second + 0.1])[None]]
    rolled = attention_rollout(weights)
    assert_close(rolled[0][0], torch.tensor([[1.0, 0.0], [0.25, 0.75]]))
    assert_close(rolled[1][0], torch.tensor([[0.6 + 0.1, 0.3], [0.3 + 0.7 * 0.25, 0.7 * 0.75]]))
    assert_close(attention_rollout(weights, residual=1.0)[1][0], torch.eye(2))
    with pytest.raises(InputError, match="residual"):
        attention_rollout(weights, residual=2.0)
    with pytest.raises(InputError, match="self-attention"):
        attention_rollout([torch.ones(1, 2, 3, 4)])
