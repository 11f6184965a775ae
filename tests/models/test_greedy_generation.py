"""Greedy generation of both families against a loop over forward passes that is written out here."""

import pytest
import torch

from minitransformers.models.bert import BertLMHeadModel
from minitransformers.models.gpt2 import GPT2LMHeadModel
from minitransformers.testing.examples import tiny_model

GREEDY = {"do_sample": False}
BOTH = pytest.mark.parametrize("model_class", [GPT2LMHeadModel, BertLMHeadModel], ids=lambda c: c.__name__)


def by_hand(model, prompt, steps, end=None):
    """The likeliest next token, again and again, with everything computed anew each time."""
    ids = list(prompt)
    for _ in range(steps):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == end:
            break
    return ids


def without_end(model):
    model.generation_config.eos_token_id = None
    return model


@BOTH
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_greedy_is_the_likeliest_token_again_and_again(model_class, use_cache, seed):
    model = without_end(tiny_model(model_class, seed=seed))
    text = model.generate(torch.tensor([[3, 1, 4]]), max_new_tokens=6, use_cache=use_cache, **GREEDY)
    assert text.tolist() == [by_hand(model, [3, 1, 4], 6)]


@BOTH
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_left_padded_batch_gives_each_prompt_what_it_gets_alone(model_class, use_cache):
    model = without_end(tiny_model(model_class))
    prompts = [[3, 1, 4, 1, 5], [9, 2], [6]]
    ids = torch.tensor([[0] * (5 - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (5 - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    text = model.generate(ids, attention_mask=mask, max_new_tokens=5, use_cache=use_cache, **GREEDY)
    for row, prompt in zip(text.tolist(), prompts, strict=True):
        assert row[5 - len(prompt) :] == by_hand(model, prompt, 5)


@BOTH
def test_a_text_ends_at_its_end_and_is_filled_up_with_padding(model_class):
    model = without_end(tiny_model(model_class))
    prompts = [[3, 1, 4], [9, 2, 6]]
    unbounded = [by_hand(model, prompt, 6) for prompt in prompts]
    end = unbounded[0][4]  # the second new token of the first text
    expected = [by_hand(model, prompt, 6, end) for prompt in prompts]
    text = model.generate(torch.tensor(prompts), max_new_tokens=6, eos_token_id=end, pad_token_id=0, **GREEDY).tolist()
    longest = max(map(len, expected))
    assert text == [row + [0] * (longest - len(row)) for row in expected]
    assert len(expected[0]) <= 5


@BOTH
def test_lengths_count_the_prompt_or_the_new_tokens(model_class):
    model, prompt = without_end(tiny_model(model_class)), torch.tensor([[3, 1, 4]])
    assert model.generate(prompt, max_length=7, **GREEDY).shape == (1, 7)
    assert model.generate(prompt, max_new_tokens=7, **GREEDY).shape == (1, 10)
