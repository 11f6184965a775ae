"""Lenses, direct logit attribution and gradients, against computations by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from minitransformers.errors import InputError
from minitransformers.interpret import (
    TunedLens,
    direct_logit_attribution,
    gradient_times_input,
    logit_lens,
    patch,
    trace,
)
from minitransformers.models.albert import AlbertForMaskedLM
from minitransformers.models.bart import BartForConditionalGeneration
from minitransformers.models.bert import BertForMaskedLM, BertModel
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.models.gpt_neo import GPTNeoForCausalLM
from minitransformers.models.gpt_neox import GPTNeoXForCausalLM
from minitransformers.models.llama import LlamaForCausalLM
from minitransformers.models.mistral import MistralForCausalLM
from minitransformers.models.modernbert import ModernBertForMaskedLM
from minitransformers.models.openai_gpt import OpenAIGPTLMHeadModel
from minitransformers.models.qwen2 import Qwen2ForCausalLM
from minitransformers.models.t5 import T5ForConditionalGeneration
from minitransformers.models.vit import ViTModel
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import WITH_VOCABULARY_HEAD

IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
PRE_NORM = [
    GPT2LMHeadModel,
    GPTNeoForCausalLM,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    T5ForConditionalGeneration,
]


def test_the_lens_is_norm_and_head_of_the_residual_stream():
    model = tiny_model(GPT2LMHeadModel)
    states = model(IDS, output_hidden_states=True).hidden_states[:-1]  # the last of these is normed already
    lens = logit_lens(model, IDS)
    for logits, state in zip(lens[:-1], states, strict=True):
        assert_close(logits, model.lm_head(model.transformer.ln_f(state)))


def test_the_lens_of_bert_is_its_whole_head():
    model = tiny_model(BertForMaskedLM)
    states = model(IDS, output_hidden_states=True).hidden_states
    for logits, state in zip(logit_lens(model, {"input_ids": IDS}), states, strict=True):
        assert_close(logits, model.cls(state))


@pytest.mark.parametrize(
    "model_class",
    [each for each in WITH_VOCABULARY_HEAD if "PreTraining" not in each.__name__ and "Double" not in each.__name__],
    ids=lambda each: each.__name__,
)
def test_the_last_row_of_the_lens_is_the_model(model_class):
    model = tiny_model(model_class)
    batch = example_batch(model, labels=False)
    lens = logit_lens(model, batch)
    with torch.no_grad():
        assert torch.equal(lens[-1], model(**batch).logits)
    assert not torch.allclose(lens[0], lens[-1])


def test_a_tuned_lens_begins_as_the_logit_lens_and_comes_nearer_to_the_model():
    model = tiny_model(GPT2LMHeadModel, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randint(1, 13, (8, 6), generator=generator) for _ in range(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lens = TunedLens(model, train)
    assert_close(lens(train).detach(), logit_lens(model, train))

    def divergence():
        logits = lens(test).detach().log_softmax(-1)
        return (
            F.kl_div(logits[:-1], logits[-1:].expand_as(logits[:-1]), reduction="none", log_target=True).sum(-1).mean()
        )

    start = divergence()
    losses = lens.fit([train], steps=12, learning_rate=0.05)
    assert len(losses) == 12
    assert losses[-1] < losses[0] / 2
    assert divergence() < start
    with torch.no_grad():
        assert torch.equal(lens(test)[-1], model(test).logits)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    # By hand: h + A h + b in the place of h.
    with trace(model) as activations:
        model(test)
    x = activations.residual()[1]
    translated = x + x @ lens.translators[1].weight.T + lens.translators[1].bias
    assert_close(lens(test)[1], model.lm_head(model.transformer.ln_f(translated)))


@pytest.mark.parametrize("model_class", PRE_NORM, ids=lambda each: each.__name__)
def test_the_parts_of_a_logit_add_up_to_it(model_class):
    model = tiny_model(model_class)
    batch = example_batch(model, labels=False)
    for position in (-1, 1):
        found = direct_logit_attribution(model, batch, 3, position=position)
        assert_close(found.logit, model(**batch).logits[:, position, 3])
        assert_close(found.values.sum(0) + found.constant, found.logit, rtol=1e-9, atol=1e-9)
        assert len(found.parts) == len(set(found.parts)) == len(found.values)
        assert sum("head" in part for part in found.parts) == (12 if model_class is T5ForConditionalGeneration else 6)


def test_a_parts_value_is_its_output_through_the_frozen_norm_and_the_head():
    model = tiny_model(GPT2LMHeadModel)
    found = direct_logit_attribution(model, IDS, 3)
    with trace(model) as activations:
        model(IDS)
    norm, last = model.transformer.ln_f, activations.residual()[-1][:, -1]
    deviation = (last.var(-1, unbiased=False) + norm.eps).sqrt()

    def by_hand(part):
        centred = part - part.mean(-1, keepdim=True)
        return (centred / deviation[:, None] * norm.weight * model.lm_head.weight[3]).sum(-1)

    def value(part):
        return found.values[found.parts.index(part)]

    assert_close(value("h.0 feed-forward"), by_hand(activations["transformer.h.0.mlp"][:, -1]))
    projection = model.transformer.h[1].attn.c_proj
    width = projection.weight.shape[1] // 3
    head = activations.attentions[1].heads[:, 2, -1] @ projection.weight[:, 2 * width :].T
    assert_close(value("h.1 head 2"), by_hand(head))
    assert_close(value("embeddings"), by_hand(activations.residual()[0][:, -1]))
    assert_close(found.constant, (norm.bias * model.lm_head.weight[3]).sum().expand(2))
    largest = found.largest(2, row=1)
    assert [abs(each) for _, each in largest] == sorted(found.values[:, 1].abs().tolist(), reverse=True)[:2]


@pytest.mark.parametrize(
    ("model_class", "message"),
    [
        (BertForMaskedLM, "no final norm"),
        (AlbertForMaskedLM, "no final norm"),
        (OpenAIGPTLMHeadModel, "no final norm"),
        (BartForConditionalGeneration, "no final norm"),
        (ModernBertForMaskedLM, "not linear"),
        (BertModel, "no logits"),
    ],
)
def test_models_whose_logits_are_no_sums_are_refused(model_class, message):
    model = tiny_model(model_class)
    with pytest.raises(InputError, match=message):
        direct_logit_attribution(model, example_batch(model, labels=False), 3)


def test_a_model_in_training_is_refused():
    with pytest.raises(InputError, match=r"model\.eval"):
        direct_logit_attribution(tiny_model(GPT2LMHeadModel).train(), IDS, 3)


def test_gradient_times_input_is_the_products_sum():
    model = tiny_model(GPT2LMHeadModel)
    (found,) = gradient_times_input(model, IDS, lambda logits: logits[:, -1, 3].sum())
    leaf = model.transformer.wte(IDS).detach().requires_grad_()
    model(inputs_embeds=leaf).logits[:, -1, 3].sum().backward()
    assert_close(found, (leaf.detach() * leaf.grad).sum(-1))


@pytest.mark.parametrize("model_class", [T5ForConditionalGeneration, BartForConditionalGeneration, BertForMaskedLM])
def test_its_sum_is_the_derivative_with_respect_to_the_embeddings_scale(model_class):
    """Checked by differences: the score at embeddings times 1 ± h."""
    model = tiny_model(model_class)
    batch = example_batch(model, labels=False, padding=0)
    found = gradient_times_input(model, batch, lambda logits: logits[..., 3].sum())
    table = model.get_input_embeddings().weight
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Embedding) and m.weight is table]
    with trace(model) as activations:
        model(**batch)
    assert len(found) == sum(len(activations.outputs.get(name, [])) for name in names)
    names = [name for name in names if name in activations]

    def score(scale):
        with torch.no_grad(), patch(model, {name: lambda x: x * scale for name in names}):
            return model(**batch).logits[..., 3].sum()

    h = 1e-5
    assert_close(sum(each.sum() for each in found), (score(1 + h) - score(1 - h)) / (2 * h), rtol=1e-5, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_without_tokens_has_nothing_to_attribute_to():
    model = tiny_model(GPT2LMHeadModel)
    with pytest.raises(InputError, match="looked up no token"):
        gradient_times_input(
            model, {"inputs_embeds": torch.ones(1, 2, model.config.n_embd).double()}, lambda logits: logits.sum()
        )
    image_model = tiny_model(ViTModel)
    with pytest.raises(InputError, match="no logits"):
        logit_lens(image_model, example_batch(image_model, labels=False))


def test_attribution_works_where_gradients_are_switched_off():
    model = tiny_model(GPT2LMHeadModel)
    expected = direct_logit_attribution(model, IDS, 3)
    with torch.no_grad():
        found = direct_logit_attribution(model, IDS, 3)
    assert_close(found.values, expected.values)
    assert_close(found.values.sum(0) + found.constant, found.logit)
