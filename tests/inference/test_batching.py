"""`generate_batch` gives each prompt the continuation that `generate` gives it alone, in every family."""

import pytest
import torch

import minitransformers as mt
from minitransformers.errors import InputError
from minitransformers.inference import linear
from minitransformers.inference.batching import can_be_packed
from minitransformers.testing.examples import tiny_model
from minitransformers.testing.families import CLASSES

GENERATING = [model_class for model_class in CLASSES if model_class.can_generate()]
PROMPTS = [[3, 4, 5, 6], [7], [8, 9, 3, 3, 4, 5, 6, 7], [5, 5]]
LIMITS = [5, 9, 2, 7]


def alone(model, **options):
    found = []
    for prompt, limit in zip(PROMPTS, LIMITS, strict=True):
        sequence = model.generate(torch.tensor([prompt]), max_new_tokens=limit, **options)[0]
        found.append(sequence[1 if model.config.is_encoder_decoder else len(prompt) :].tolist())
    return found


@pytest.mark.parametrize("model_class", GENERATING, ids=lambda model_class: model_class.__name__)
def test_each_text_is_that_of_generate(model_class):
    model = tiny_model(model_class)
    options = {"eos_token_id": 2, "pad_token_id": 0}
    found = model.generate_batch(PROMPTS, max_new_tokens=LIMITS, max_texts=2, **options)
    assert [output.prompt_ids for output in found.values()] == PROMPTS
    assert [output.generated_tokens for output in found.values()] == alone(model, **options)


@pytest.mark.parametrize("strategy", [{"do_sample": True}, {"repetition_penalty": 1.4}, {"min_new_tokens": 3}])
def test_settings_are_those_of_generate(strategy):
    model = tiny_model(mt.GPT2LMHeadModel)
    options = {"eos_token_id": 2, "pad_token_id": 0, **strategy}
    # A generator for each text: its draws do not depend on the other texts.
    found = model.generate_batch(PROMPTS, max_new_tokens=LIMITS, generator=3, **options)
    assert [output.generated_tokens for output in found.values()] == alone(model, generator=3, **options)


def test_texts_of_a_step_are_one_row_without_padding():
    model = tiny_model(mt.GPT2LMHeadModel)
    shapes = []
    model.transformer.register_forward_pre_hook(lambda module, arguments: shapes.append(tuple(arguments[0].shape)))
    model.generate_batch(PROMPTS, max_new_tokens=LIMITS, eos_token_id=None, max_texts=3)
    # The prompts of 4, 1 and 8 tokens; the third ends after two tokens, and the fourth, of 2 tokens, takes its place.
    assert shapes[:4] == [(1, 13), (1, 3), (1, 4), (1, 3)]
    assert sum(count for _, count in shapes) == sum(map(len, PROMPTS)) + sum(LIMITS) - len(LIMITS)


def test_which_families_are_packed():
    """The others, whose windows are smaller than the texts or whose scores have a bias, continue one by one."""
    packed = {model_class.__name__ for model_class in GENERATING if can_be_packed(tiny_model(model_class), longest=12)}
    assert packed >= {"GPT2LMHeadModel", "GPTNeoXForCausalLM", "LlamaForCausalLM", "BertLMHeadModel"}
    assert not packed & {
        "MistralForCausalLM",
        "GPTNeoForCausalLM",
        "T5ForConditionalGeneration",
        "OpenAIGPTLMHeadModel",
    }
    assert can_be_packed(tiny_model(mt.MistralForCausalLM), longest=3)


def test_an_optimized_model(monkeypatch):
    monkeypatch.setattr(linear, "SMALLEST", 0)
    model = tiny_model(mt.LlamaForCausalLM, dtype=torch.float32)
    expected = alone(model, eos_token_id=None)
    found = model.optimize().generate_batch(PROMPTS, max_new_tokens=LIMITS, eos_token_id=None)
    assert [output.generated_tokens for output in found.values()] == expected


def test_no_prompts():
    assert tiny_model(mt.GPT2LMHeadModel).generate_batch([], max_new_tokens=3) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": [[]]}, r"inputs\[0\] must be a list of at least one id"),
        ({"inputs": [[1], [2]], "max_new_tokens": [3]}, "max_new_tokens has 1 numbers, and there are 2 prompts"),
        ({"inputs": [[1]], "num_beams": 2}, "num_beams=2 is not for generate_batch"),
        ({"inputs": [[1]], "num_return_sequences": 2, "do_sample": True}, "num_return_sequences=2 is not for"),
        ({"inputs": [[1]], "record_timestamps": True}, "record_timestamps=True is not supported"),
        ({"inputs": [[1]], "progress_bar": True}, "progress_bar=True is not supported"),
        ({"inputs": [[1]], "continuous_batching_config": object()}, "pass max_texts"),
        ({"inputs": [[1]], "max_texts": 0}, "max_texts=0 must be a whole number"),
        ({"inputs": [[1]], "max_new_token": 3}, "max_new_tokens"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises((InputError, mt.errors.UnknownArgumentError), match=message):
        tiny_model(mt.GPT2LMHeadModel).generate_batch(**{"max_new_tokens": 3, **arguments})


def test_a_model_without_a_head_is_refused():
    with pytest.raises(InputError, match="BertModel cannot continue texts"):
        tiny_model(mt.BertModel).generate_batch([[1]])
