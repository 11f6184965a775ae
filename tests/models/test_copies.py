"""Copies of a model in every form that PyTorch has, other dtypes, and hooks."""

import copy
import io
import pickle
import re

import pytest
import torch
from small_models import BACKBONES, HEADS, SCORING_TOKENS, small_batch, small_model

from minitransformers.testing.comparing import assert_close

EVERY_CLASS = [*BACKBONES, *HEADS]
SEED_OF_OTHER_WEIGHTS = 5


def through_torch_save(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


def other_model(model):
    """Of the same class and configuration, with other weights."""
    torch.manual_seed(SEED_OF_OTHER_WEIGHTS)
    return type(model)(copy.deepcopy(model.config)).eval()


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), through_torch_save],
    ids=["deepcopy", "pickle", "torch.save"],
)
@pytest.mark.parametrize("name", EVERY_CLASS)
def test_a_copy_computes_the_same_and_shares_nothing(name, copied):
    model, batch = small_model(name), small_batch(name, labels=name in HEADS)
    expected = model(**batch)
    duplicate = copied(model)
    assert type(duplicate) is type(model)
    assert duplicate.config == model.config
    assert duplicate.config is not model.config
    assert not duplicate.training
    assert_close(duplicate(**batch), expected, tolerance=0.0)

    with torch.no_grad():
        for parameter in duplicate.parameters():
            parameter.add_(1.0)
    duplicate.config.pad_token_id = 3
    assert_close(model(**batch), expected, tolerance=0.0)
    assert model.config.pad_token_id == 0


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", EVERY_CLASS)
def test_state_dict_round_trip(name, assign):
    model, batch = small_model(name), small_batch(name, labels=name in HEADS)
    other = other_model(model)
    assert not torch.equal(other(**batch)[0], model(**batch)[0])
    result = other.load_state_dict(copy.deepcopy(model.state_dict()), strict=True, assign=assign)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert_close(other(**batch), model(**batch), tolerance=0.0)


def test_an_assigned_state_dict_is_the_models_memory():
    model = small_model("GPT2LMHeadModel")
    state = copy.deepcopy(model.state_dict())
    other = other_model(model)
    other.load_state_dict(state, assign=True)
    assert other.transformer.ln_f.weight.data_ptr() == state["transformer.ln_f.weight"].data_ptr()
    assert other.lm_head.weight is other.transformer.wte.weight


def test_a_strict_state_dict_refuses_what_is_missing_or_unexpected():
    model = small_model("BertForMaskedLM")
    state = model.state_dict()
    name = "cls.predictions.transform.LayerNorm.weight"
    state["surplus"] = state.pop(name)
    with pytest.raises(RuntimeError, match=rf"Missing key.*{re.escape(name)}[\s\S]*Unexpected key.*surplus"):
        model.load_state_dict(state)
    result = model.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == ([name], ["surplus"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", EVERY_CLASS)
def test_another_dtype_computes_nearly_the_same(name, dtype):
    model, batch = small_model(name, initializer_range=0.2), small_batch(name, labels=False)
    expected = model(**batch)
    changed = copy.deepcopy(model).to(dtype)
    assert changed.dtype == dtype
    assert {parameter.dtype for parameter in changed.parameters()} == {dtype}
    output = changed(**batch)
    # In units of the largest value: a few roundings of bfloat16 (2⁻⁹) and of float16 (2⁻¹²) per layer.
    tolerance = {torch.float64: 2e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}[dtype]
    for key in expected:
        if key != "past_key_values":
            assert output[key].dtype == dtype
            assert_close(output[key].float(), expected[key], tolerance=tolerance)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_half_is_float16_and_trains_in_it(name):
    model = small_model(name).half()
    assert model.dtype == torch.float16
    model.train()(**small_batch(name)).loss.backward()
    gradients = {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None}
    assert gradients == {torch.float16}


def blocks_of(model):
    base = model.base_model
    return base.h if hasattr(base, "h") else base.encoder.layer


@pytest.mark.parametrize("name", SCORING_TOKENS)
def test_hooks_see_every_block_and_the_whole_model(name):
    model, batch = small_model(name), small_batch(name, labels=False)
    hidden = (batch["input_ids"].shape[:-1].numel(), 7, 12)
    seen = []
    for index, block in enumerate(blocks_of(model)):
        block.register_forward_pre_hook(lambda _, args, index=index: seen.append((index, "in", args[0].shape)))
        block.register_forward_hook(lambda _, args, out, index=index: seen.append((index, "out", out.shape)))
        attention = block.attn if hasattr(block, "attn") else block.attention
        attention.register_forward_hook(lambda *_, index=index: seen.append((index, "attention")))
    model.base_model.register_forward_hook(lambda _, args, out: seen.append(("backbone", out[0].shape)))
    model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(("model", kwargs["input_ids"].shape)), with_kwargs=True
    )
    model(**batch)
    blocks = [((index, "in", hidden), (index, "attention"), (index, "out", hidden)) for index in (0, 1)]
    assert seen == [("model", batch["input_ids"].shape), *blocks[0], *blocks[1], ("backbone", hidden)]


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_what_a_hook_returns_is_what_goes_on(name):
    """A block whose output a hook replaces by its input is a block that is not there."""
    model, batch = small_model(name, initializer_range=0.2), small_batch(name, labels=False)
    shorter = small_model(name, initializer_range=0.2, num_hidden_layers=1)
    shorter.load_state_dict({key: value for key, value in model.state_dict().items() if ".1." not in key})
    before = model(**batch).logits
    handle = blocks_of(model)[1].register_forward_hook(lambda _, args, out: args[0])
    assert_close(model(**batch).logits, shorter(**batch).logits)
    handle.remove()
    assert_close(model(**batch).logits, before, tolerance=0.0)
    assert not torch.allclose(before, shorter(**batch).logits, atol=1e-3)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_backward_hooks_see_the_gradient_of_every_block(name):
    model = small_model(name)
    seen = []
    for block in blocks_of(model):
        block.register_full_backward_hook(lambda _, inputs, outputs: seen.append(outputs[0].shape))
    model(**small_batch(name)).loss.backward()
    assert seen == [(3, 7, 12), (3, 7, 12)]
