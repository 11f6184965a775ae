"""The decode step gives what `forward` gives, and is taken only where it does."""

import pytest
import torch
from torch import nn

import minitransformers as mt
from minitransformers.adapters import LoraConfig, add_adapter
from minitransformers.inference import decoding, linear
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import tiny_model

FAMILIES = (mt.GPT2LMHeadModel, mt.LlamaForCausalLM, mt.MistralForCausalLM, mt.Qwen2ForCausalLM)
IDS = torch.tensor([[3, 4, 5, 6], [6, 7, 8, 9]])
PADDED = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])


@pytest.fixture(autouse=True)
def _small_layers_are_fast_too(monkeypatch):
    monkeypatch.setattr(linear, "SMALLEST", 0)


@pytest.fixture
def steps(monkeypatch):
    """The arguments of every step that is taken."""
    taken = []

    def recorded(make):
        def make_recorded(model):
            step = make(model)
            return step and (lambda *arguments: taken.append(arguments) or step(*arguments))

        return make_recorded

    monkeypatch.setattr(decoding, "STEPS", {name: recorded(make) for name, make in decoding.STEPS.items()})
    return taken


def a_model(model_class, **fields):
    if model_class in (mt.MistralForCausalLM, mt.Qwen2ForCausalLM):
        fields = {"sliding_window": 50, **fields}
    return tiny_model(model_class, dtype=torch.float32, **fields).eval()


def scores(model, ids=IDS, **options):
    settings = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, "generator": 1, "do_sample": False}
    found = model.generate(ids, **{**settings, **options}, return_dict_in_generate=True, output_logits=True)
    return {"sequences": found.sequences, "logits": torch.stack(found.logits)}


@pytest.mark.parametrize(
    "options",
    [{}, {"attention_mask": PADDED}, {"num_beams": 3}, {"num_beams": 2, "attention_mask": PADDED}, {"do_sample": True}],
    ids=["greedy", "padded", "beams", "padded beams", "sampling"],
)
@pytest.mark.parametrize("model_class", FAMILIES)
def test_logits_are_those_of_forward(model_class, options, steps):
    model = a_model(model_class)
    expected = scores(model, **options)
    assert not steps
    assert_close(scores(model.optimize(), **options), expected)
    assert len(steps) == 5  # all but the prompt


@pytest.mark.parametrize("field", ["scale_attn_weights", "scale_attn_by_inverse_layer_idx", "n_inner"])
def test_fields_of_gpt2_count(field, steps):
    model = a_model(mt.GPT2LMHeadModel, **{field: {"scale_attn_weights": False, "n_inner": 20}.get(field, True)})
    expected = scores(model)
    assert_close(scores(model.optimize()), expected)
    assert steps


def test_keys_are_shared_by_heads(steps):
    model = a_model(mt.LlamaForCausalLM, hidden_size=24, num_attention_heads=6, num_key_value_heads=2, head_dim=4)
    expected = scores(model, attention_mask=PADDED)
    assert_close(scores(model.optimize(), attention_mask=PADDED), expected)
    assert steps


def test_weights_that_change_between_tokens_are_used(steps):
    model = a_model(mt.GPT2LMHeadModel).optimize()
    plain = a_model(mt.GPT2LMHeadModel)
    plain.load_state_dict(model.state_dict())
    found = []
    for each in (model, plain):
        search = each.generate_steps(IDS, max_new_tokens=6, eos_token_id=None, pad_token_id=0, do_sample=False)
        logits = []
        for step in search:
            logits.append(step.logits)
            with torch.no_grad():
                for parameter in each.parameters():
                    parameter.mul_(1.1)
        found.append(torch.stack(logits))
    assert steps
    assert_close(found[0], found[1])


def hooked(model):
    model.transformer.h[0].register_forward_hook(lambda module, arguments, output: output * 1.5)


def replaced(model):
    model.transformer.h[0].mlp = nn.Identity()


def overridden(model):
    block = model.transformer.h[0]
    forward = block.forward
    block.forward = lambda *arguments, **options: forward(*arguments, **options) * 1.5


def with_a_class_of_its_own(model):
    class Doubled(type(model.transformer.h[0].mlp)):
        def forward(self, x):
            return 2 * super().forward(x)

    model.transformer.h[0].mlp.__class__ = Doubled


def trained(model):
    model.train()


def eager(model):
    model.set_attn_implementation("eager")


@pytest.mark.parametrize(
    "change",
    [hooked, replaced, overridden, with_a_class_of_its_own, eager, trained],
    ids=lambda change: change.__name__,
)
def test_changed_models_run_forward(change, steps):
    model = a_model(mt.GPT2LMHeadModel, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    change(model)
    expected = scores(model)
    assert_close(scores(model.optimize()), expected)
    assert not steps


def test_adapters_count(steps):
    model = a_model(mt.GPT2LMHeadModel)
    before = scores(model)
    add_adapter(model, LoraConfig(r=2, target_modules=["c_attn"]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(0.3)
    expected = scores(model)
    assert_close(scores(model.optimize()), expected)
    with pytest.raises(AssertionError):
        assert_close(before, expected)


def test_windows_that_a_text_outgrows_need_forward(steps):
    model = a_model(mt.MistralForCausalLM, sliding_window=3)
    expected = scores(model)
    assert_close(scores(model.optimize()), expected)
    assert not steps


def test_what_is_to_be_returned_is_computed_by_forward(steps):
    model = a_model(mt.GPT2LMHeadModel).optimize()
    found = model.generate(
        IDS,
        max_new_tokens=3,
        pad_token_id=0,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_hidden_states=True,
    )
    assert len(found.hidden_states) == 3
    assert not steps
