"""Prefix tuning is a cache, prompt tuning is embeddings in front; both work in every call that the model has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from adapted import VIRTUAL, adapted, can_have, draw_adapter
from torch import Tensor

import minitransformers as mt
from minitransformers.adapters import PrefixTuningConfig, PromptTuningConfig, add_adapter, remove_adapter
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import example_batch, tiny_model

COUNT = 3
IDS = torch.tensor([[5, 9, 12, 3], [7, 4, 8, 6]])
DECODERS = [mt.GPT2LMHeadModel, mt.LlamaForCausalLM, mt.GPTNeoXForCausalLM, mt.BartForCausalLM, mt.BertLMHeadModel]


@pytest.mark.parametrize("model_class", [*DECODERS, mt.MistralForCausalLM, mt.RobertaForTokenClassification])
@torch.no_grad()
def test_a_prefix_is_a_cache(model_class: Any) -> None:
    """The outputs are those of the bare model with the keys and values as `past_key_values`."""
    model = adapted(model_class, "prefix")
    bare = tiny_model(model_class)
    batch = example_batch(bare, labels=False)
    actual = model(**batch).logits
    prefix = model.prompt_encoder.keys_and_values(2, torch.float64)
    mask = torch.nn.functional.pad(batch.pop("attention_mask"), (COUNT, 0), value=1)
    backbone = bare if "past_key_values" in bare._forward_arguments else bare.base_model
    expected = backbone(**batch, attention_mask=mask, past_key_values=mt.DynamicCache(prefix))
    logits = expected.logits if backbone is bare else model.classifier(expected.last_hidden_state)
    assert_close(actual, logits)


@pytest.mark.parametrize("model_class", [mt.T5ForConditionalGeneration, mt.BartForConditionalGeneration])
@pytest.mark.parametrize("submodules", [None, 1])
@torch.no_grad()
def test_a_prefix_of_an_encoder_decoder_is_the_decoders(model_class: Any, submodules: int | None) -> None:
    config = PrefixTuningConfig(num_virtual_tokens=COUNT, num_transformer_submodules=submodules)
    model, bare = draw_adapter(add_adapter(tiny_model(model_class), config), seed=1), tiny_model(model_class)
    batch = example_batch(bare, labels=False, padding=0)
    prefix = model.prompt_encoder.keys_and_values(2, torch.float64)
    assert torch.equal(prefix[0][0], prefix[1][0]) is (submodules is None)  # of two blocks, as peft's
    cache = mt.EncoderDecoderCache(mt.DynamicCache(prefix), mt.DynamicCache())
    batch.pop("decoder_attention_mask")
    assert_close(model(**batch).logits, bare(**batch, past_key_values=cache).logits)


@pytest.mark.parametrize(
    "model_class", [*DECODERS, mt.OpenAIGPTLMHeadModel, mt.AlbertForMaskedLM, mt.ModernBertForMaskedLM]
)
@torch.no_grad()
def test_a_prompt_is_embeddings_in_front(model_class: Any) -> None:
    model, bare = adapted(model_class, "prompt"), tiny_model(model_class)
    batch = example_batch(bare, labels=False)
    vectors = bare.get_input_embeddings()(batch["input_ids"])
    together = torch.cat([model.prompt_encoder().expand(2, -1, -1), vectors], dim=1)
    mask = torch.nn.functional.pad(batch["attention_mask"], (COUNT, 0), value=1)
    expected = bare(inputs_embeds=together, attention_mask=mask).logits[:, COUNT:]
    assert_close(model(**batch).logits, expected)
    vectors = model.get_input_embeddings()(batch["input_ids"])
    assert_close(model(inputs_embeds=vectors, attention_mask=batch["attention_mask"]).logits, expected)


def test_labels_learn_from_the_prompt_too() -> None:
    """The first token is predicted from the prompt: the loss has one term more than that of the text alone."""
    model, bare = adapted(mt.GPT2LMHeadModel, "prompt"), tiny_model(mt.GPT2LMHeadModel)
    together = torch.cat([model.prompt_encoder().expand(2, -1, -1), bare.get_input_embeddings()(IDS)], dim=1)
    logits = bare(inputs_embeds=together).logits[:, COUNT - 1 : -1]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), IDS.flatten())
    assert_close(model(input_ids=IDS, labels=IDS).loss, expected)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize(
    "model_class",
    [
        *(mt.BertForQuestionAnswering, mt.BertForMultipleChoice, mt.GPT2DoubleHeadsModel, mt.BertForPreTraining),
        *(mt.T5ForQuestionAnswering, mt.BartForSequenceClassification, mt.GPT2ForSequenceClassification),
    ],
)
def test_every_head_has_outputs_of_the_texts_sizes(model_class: Any, method: str) -> None:
    model = adapted(model_class, method)
    batch = example_batch(model)
    expected, actual = tiny_model(model_class)(**batch), model(**batch)
    assert actual.loss.isfinite()
    for name, value in expected.items():
        if isinstance(value, Tensor) and name != "encoder_last_hidden_state":
            assert actual[name].shape == value.shape, name
    actual.loss.backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if parameter.requires_grad)


@torch.no_grad()
def test_padding_changes_nothing_in_a_classifier_that_reads_the_last_token() -> None:
    """With embeddings alone the head would read the padding, as peft's does."""
    model = adapted(mt.GPT2ForSequenceClassification, "prompt")
    padded = torch.tensor([[5, 9, 12, 0, 0], [7, 4, 8, 6, 3]])
    together = model(input_ids=padded, attention_mask=(padded != 0).long()).logits
    assert_close(together[:1], model(input_ids=padded[:1, :3]).logits)


def continued(model: Any, ids: Tensor, steps: int) -> Tensor:
    """Greedy decoding without a cache of `generate`: every step is a forward pass over the whole text."""
    for _ in range(steps):
        ids = torch.cat([ids, model(input_ids=ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@pytest.mark.parametrize("model_class", DECODERS)
@torch.no_grad()
def test_generate_continues_as_forward_does(model_class: Any, method: str) -> None:
    options = {"eos_token_id": None, "forced_eos_token_id": None}
    model = adapted(model_class, method, **options)
    expected = continued(model, IDS, steps=5)
    for strategy in ({}, {"use_cache": False}, {"num_return_sequences": 2, "num_beams": 2}):
        actual = model.generate(IDS, max_new_tokens=5, do_sample=False, pad_token_id=0, **strategy)
        if not strategy.get("num_beams"):
            assert torch.equal(actual, expected)
        assert actual.shape[1] == IDS.shape[1] + 5
    without = tiny_model(model_class, **options).generate(IDS, max_new_tokens=5, pad_token_id=0)
    assert not torch.equal(without, expected) or model_class in (mt.BertLMHeadModel, mt.GPTNeoXForCausalLM)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@torch.no_grad()
def test_assisted_decoding_writes_the_same(method: str) -> None:
    model = adapted(mt.LlamaForCausalLM, method, eos_token_id=None)
    prompt = torch.tensor([[5, 9, 5, 9, 5]])
    expected = model.generate(prompt, max_new_tokens=6, pad_token_id=0)
    assert torch.equal(model.generate(prompt, max_new_tokens=6, pad_token_id=0, prompt_lookup_num_tokens=2), expected)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
@torch.no_grad()
def test_prompts_that_are_padded_on_the_left(method: str) -> None:
    model = adapted(mt.LlamaForCausalLM, method, eos_token_id=None)
    padded = torch.tensor([[0, 0, 5, 9], [7, 4, 8, 6]])
    actual = model.generate(padded, attention_mask=(padded != 0).long(), max_new_tokens=5, pad_token_id=0)
    alone = model.generate(padded[:1, 2:], max_new_tokens=5, pad_token_id=0)
    assert torch.equal(actual[:1, 2:], alone)


@pytest.mark.parametrize("method", VIRTUAL)
@pytest.mark.parametrize("model_class", [mt.T5ForConditionalGeneration, mt.BartForConditionalGeneration])
@torch.no_grad()
def test_encoder_decoders_generate_as_forward_does(model_class: Any, method: str) -> None:
    model = adapted(model_class, method, eos_token_id=None, forced_eos_token_id=None)
    mask, target = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]), torch.tensor([[1], [1]])
    actual = model.generate(IDS, attention_mask=mask, max_new_tokens=5, do_sample=False)
    for _ in range(5):
        logits = model(input_ids=IDS, attention_mask=mask, decoder_input_ids=target).logits
        target = torch.cat([target, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(actual, target)


@pytest.mark.parametrize("method", VIRTUAL)
@pytest.mark.parametrize(
    "model_class",
    [
        mt.GPT2LMHeadModel,
        mt.BertForSequenceClassification,
        mt.T5ForConditionalGeneration,
        mt.BartForConditionalGeneration,
    ],
)
def test_checkpointing_changes_no_gradient(model_class: Any, method: str) -> None:
    gradients = []
    for is_checkpointed in (False, True):
        model = adapted(model_class, method).train()
        if is_checkpointed:
            model.gradient_checkpointing_enable()
        model(**example_batch(model)).loss.backward()
        gradients.append({n: parameter.grad for n, parameter in model.named_parameters() if parameter.requires_grad})
    assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("init", ["SAMPLE_VOCAB", "TEXT"])
def test_a_prompt_can_start_as_tokens(init: str, tmp_path: Any) -> None:
    model = tiny_model(mt.GPT2LMHeadModel)
    table = model.get_input_embeddings().weight.detach()
    options = {}
    if init == "TEXT":
        mt.BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4}).save_pretrained(tmp_path)
        options = {"prompt_tuning_init_text": "good good", "tokenizer_name_or_path": str(tmp_path)}
    add_adapter(model, PromptTuningConfig(num_virtual_tokens=6, prompt_tuning_init=init, **options))
    rows = (model.prompt_encoder()[:, None] == table).all(dim=-1)
    assert rows.any(dim=1).all()
    if init == "TEXT":
        assert rows.long().argmax(dim=1).tolist() == [2, 4, 4, 3, 2, 4]


def test_what_cannot_have_virtual_tokens() -> None:
    for model_class in (mt.DistilBertModel, mt.T5ForTokenClassification, mt.ModernBertForMaskedLM, mt.ViTModel):
        with pytest.raises(mt.InputError, match="takes no past_key_values"):
            add_adapter(tiny_model(model_class), PrefixTuningConfig())
        assert not can_have(model_class, "prefix")
    with pytest.raises(mt.InputError, match="reads no tokens"):
        add_adapter(tiny_model(mt.ViTModel), PromptTuningConfig())
    with pytest.raises(mt.InputError, match="no label for virtual ones"):
        add_adapter(tiny_model(mt.ElectraForPreTraining), PromptTuningConfig())
    with pytest.raises(mt.InputError, match="needs the text, prompt_tuning_init_text"):
        add_adapter(tiny_model(mt.GPT2Model), PromptTuningConfig(prompt_tuning_init="TEXT"))
    for method in ("prefix", "prompt"):
        with pytest.raises(mt.InputError, match="first text only"):
            adapted(mt.LlamaForCausalLM, method)(input_ids=IDS, position_ids=torch.tensor([[0, 1, 0, 1]] * 2))
    model = adapted(mt.GPT2LMHeadModel, "prompt")
    with pytest.raises(mt.InputError, match="3 virtual tokens"):
        model(input_ids=IDS, attention_mask=torch.ones(2, 1, 4, 4, dtype=torch.bool))
    assert_close(
        remove_adapter(model)(input_ids=IDS, attention_mask=torch.ones(2, 1, 4, 4, dtype=torch.bool).tril()).logits,
        tiny_model(mt.GPT2LMHeadModel)(input_ids=IDS).logits,
    )
