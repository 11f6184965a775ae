"""Patches, ablated heads and maps of restored answers, against computations by hand."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from minitransformers.errors import InputError
from minitransformers.interpret import ablate_heads, activation_patching, patch, trace
from minitransformers.models.albert import AlbertForMaskedLM
from minitransformers.models.bert import BertForMaskedLM
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.models.t5 import T5ForConditionalGeneration
from minitransformers.testing.examples import example_batch, tiny_model

IDS = torch.tensor([[1, 2, 3, 4]])
OTHER = torch.tensor([[1, 7, 3, 4]])


def finished_by_hand(model, x, *, first):
    """The logits of a GPT-2 from the residual stream before block `first`."""
    for block in model.transformer.h[first:]:
        x = block(x, torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()[None, None])
    return model.lm_head(model.transformer.ln_f(x))


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_a_replaced_output_is_what_later_modules_read(kernel):
    model = tiny_model(GPT2LMHeadModel, attn_implementation=kernel)
    new = torch.randn(1, 4, model.config.n_embd, dtype=torch.float64)
    with patch(model, {"transformer.h.0": new}):
        patched = model(IDS).logits
    assert_close(patched, finished_by_hand(model, new, first=1))
    with patch(model, {("transformer.h.1", "input"): lambda x: 2 * new}):
        patched = model(IDS).logits
    assert_close(patched, finished_by_hand(model, 2 * new, first=1))


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_replaced_weights_average_the_values(kernel):
    model = tiny_model(GPT2LMHeadModel, attn_implementation=kernel)
    uniform = torch.full((1, 3, 4, 4), 0.25, dtype=torch.float64)
    name = "transformer.h.0.attn"
    with patch(model, {(name, "weights"): uniform}), trace(model) as activations:
        model(IDS)
    call = activations.attentions[0]
    assert_close(call.heads, call.value.mean(2, keepdim=True).expand_as(call.heads))
    merged = call.heads.transpose(1, 2).flatten(2)
    assert_close(activations[name], model.transformer.h[0].attn.c_proj(merged))


@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_replaced_vectors_enter_the_kernel(part):
    model = tiny_model(GPT2LMHeadModel)
    with patch(model, {("transformer.h.0.attn", part): torch.zeros_like}), trace(model) as activations:
        model(IDS)
    call = activations.attentions[0]
    assert not getattr(call, part).any()
    if part == "value":
        assert not call.heads.any()
    else:
        triangle = torch.ones(4, 4, dtype=torch.float64).tril()
        assert_close(call.weights[0, 0], triangle / triangle.sum(-1, keepdim=True))


def test_an_ablated_head_is_one_whose_output_projection_is_zero():
    for model_class, name, projection in (
        (GPT2LMHeadModel, "transformer.h.1", "attn.c_proj"),
        (BertForMaskedLM, "bert.encoder.layer.1", "attention.output.dense"),
    ):
        model = tiny_model(model_class)
        with ablate_heads(model, {1: [0, 2]}):
            ablated = model(IDS).logits
        with ablate_heads(model, {name: [0, 2]}):
            assert torch.equal(model(IDS).logits, ablated)
        before = model(IDS).logits
        weight = model.get_submodule(f"{name}.{projection}").weight
        width = weight.shape[1] // 3
        with torch.no_grad():
            weight[:, :width] = 0
            weight[:, 2 * width :] = 0
        assert_close(model(IDS).logits, ablated)
        assert not torch.allclose(before, ablated)


def test_mean_ablation_takes_the_mean_over_batch_and_positions():
    model = tiny_model(GPT2LMHeadModel)
    both = torch.cat([IDS, OTHER])
    with trace(model) as before:
        model(both)
    with ablate_heads(model, {0: [1]}, by="mean"), trace(model) as after:
        model(both)
    expected = before.attentions[0].heads.clone()
    expected[:, 1] = expected[:, 1].mean((0, 1))
    # A trace inside the ablation sees the values that replace a head's.
    assert_close(after.attentions[0].heads, expected)


def test_activation_patching_restores_by_position_and_by_head():
    model = tiny_model(GPT2LMHeadModel)

    def metric(logits):
        return logits[0, -1, 5] - logits[0, -1, 6]

    with trace(model) as clean:
        best = metric(model(IDS).logits)
    with trace(model) as corrupted:
        worst = metric(model(OTHER).logits)
    restored = activation_patching(model, IDS, OTHER, metric)
    assert restored.shape == (2, 4)
    for layer in range(2):
        for position in range(4):
            x = corrupted.residual()[layer + 1].clone()
            x[:, position] = clean.residual()[layer + 1][:, position]
            by_hand = (metric(finished_by_hand(model, x, first=layer + 1)) - worst) / (best - worst)
            assert_close(restored[layer, position].double(), by_hand, rtol=1e-5, atol=1e-5)
    assert restored[0, 0] == 0  # the same token stands first in both, and sees no other
    assert_close(restored[1, 3], torch.tensor(1.0))  # the last block's output at the last position decides
    assert activation_patching(model, {"input_ids": IDS}, OTHER, metric, part="heads").shape == (2, 3)


def test_restored_heads_are_those_of_the_clean_run():
    model = tiny_model(GPT2LMHeadModel)

    def metric(logits):
        return logits[0, -1, 5]

    restored = activation_patching(model, IDS, OTHER, metric, part="heads")
    with trace(model) as clean:
        best = metric(model(IDS).logits)
    worst = metric(model(OTHER).logits)

    def with_head_of_clean(value):
        value = value.clone()
        value[:, 2] = clean.attentions[1].heads[:, 2]
        return value

    with patch(model, {("transformer.h.1.attn", "heads"): with_head_of_clean}):
        by_hand = (metric(model(OTHER).logits) - worst) / (best - worst)
    assert_close(restored[1, 2].double(), by_hand, rtol=1e-5, atol=1e-6)


def patch_nothing(values):
    model = tiny_model(GPT2LMHeadModel)
    with patch(model, values):
        model(IDS)


def ablate_nothing(model, heads, **options):
    with ablate_heads(model, heads, **options):
        model(**example_batch(model, labels=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_nothing({"transformer.h.7": IDS}), "no module named 'transformer.h.7'"),
        (lambda: patch_nothing({("transformer.h.0", "wieghts"): IDS}), "Did you mean 'weights'"),
        (lambda: patch_nothing({("transformer.h.0.mlp", "weights"): IDS}), "computed none of"),
        (lambda: patch_nothing({"transformer.h.0": torch.zeros(2)}), r"shape \(1, 4, \d+\)"),
        (lambda: patch_nothing({"": torch.zeros(1, 4, 13)}), "Replace that of a module inside"),
        (lambda: ablate_nothing(tiny_model(GPT2LMHeadModel), {2: [0]}), "There is no block 2"),
        (lambda: ablate_nothing(tiny_model(GPT2LMHeadModel), {0: [3]}), "has no head 3"),
        (lambda: ablate_nothing(tiny_model(GPT2LMHeadModel), {0: [0]}, by="one"), "'zero' or 'mean'"),
        (lambda: ablate_nothing(tiny_model(GPT2LMHeadModel), {"transformer.h.0.mlp": [0]}), "Nothing attended"),
        (lambda: ablate_nothing(tiny_model(T5ForConditionalGeneration), {0: [0]}), "name the block"),
        (lambda: activation_patching(tiny_model(GPT2LMHeadModel), IDS, IDS, lambda x: x.sum()), "nothing to restore"),
        (
            lambda: activation_patching(tiny_model(GPT2LMHeadModel), IDS, IDS[:, :2], lambda x: x.sum()),
            "differ in shape",
        ),
        (lambda: activation_patching(tiny_model(GPT2LMHeadModel), IDS, OTHER, lambda x: x.sum(), part="q"), "part='q'"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_shared_blocks_are_patched_at_each_call():
    model = tiny_model(AlbertForMaskedLM, num_hidden_layers=3)
    with ablate_heads(model, {0: [0]}), trace(model) as activations:
        model(IDS)
    assert len(activations.attentions) == 3
    assert all(not each.heads[:, 0].any() and each.heads[:, 1].any() for each in activations.attentions)
