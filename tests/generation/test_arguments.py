"""`generate` refuses wrong arguments with clear errors, before the model computes anything."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from tiny import VOCABULARY, gpt2, left_padded

import minitransformers as mt
from minitransformers import DynamicCache, StaticCache, generation
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError

PROMPT = torch.tensor([[4, 5, 6]])
SAMPLING = {"do_sample": True}

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({**SAMPLING, "temperature": 0.0}, InputError, r"temperature=0\.0 must be a number above 0.*do_sample=False"),
    ({**SAMPLING, "temperature": -1}, InputError, "temperature=-1.0 must be"),
    ({"temperature": "hot"}, ConfigError, "temperature='hot' must be a number"),
    ({**SAMPLING, "top_p": 0.0}, InputError, r"top_p=0\.0 must be a number in \(0, 1\]"),
    ({**SAMPLING, "top_p": 1.1}, InputError, r"top_p=1\.1 must be"),
    ({**SAMPLING, "top_p": -0.5}, InputError, r"top_p=-0\.5 must be"),
    ({**SAMPLING, "top_k": -1}, InputError, "top_k=-1 must be a whole number of at least 1"),
    ({**SAMPLING, "min_p": 1.5}, InputError, r"min_p=1\.5 must be a number in \[0, 1\]"),
    ({**SAMPLING, "typical_p": 2.0}, InputError, r"typical_p=2\.0 must be a number in \(0, 1\)"),
    ({**SAMPLING, "epsilon_cutoff": -0.1}, InputError, "epsilon_cutoff=-0.1 must be"),
    ({**SAMPLING, "eta_cutoff": 1.5}, InputError, "eta_cutoff=1.5 must be"),
    ({**SAMPLING, "top_h": 0.0}, InputError, "top_h=0.0 must be"),
    ({"repetition_penalty": 0.0}, InputError, r"repetition_penalty=0\.0 must be a number above 0"),
    ({"no_repeat_ngram_size": -1}, ConfigError, "no_repeat_ngram_size=-1 must be a whole number of at least 0"),
    ({"bad_words_ids": [3]}, ConfigError, r"bad_words_ids=\[3\] must be lists of token ids"),
    ({"bad_words_ids": []}, InputError, r"bad_words_ids=\[\] must be lists of at least one token id"),
    ({"sequence_bias": {}}, InputError, "sequence_bias={} must have"),
    ({"num_return_sequences": 2}, ConfigError, "num_return_sequences=2 needs do_sample=True or num_beams"),
    (
        {"num_beams": 2, "num_return_sequences": 3},
        ConfigError,
        "num_return_sequences=3 must not be more than num_beams=2",
    ),
    ({"num_beams": 0}, ConfigError, "num_beams=0 must be a whole number of at least 1"),
    ({"early_stopping": "soon"}, ConfigError, "early_stopping='soon' must be True, False or 'never'"),
    ({"do_sample": "yes"}, ConfigError, "do_sample='yes' must be True or False"),
    ({"max_new_tokens": 0}, ConfigError, "max_new_tokens=0 must be a whole number of at least 1"),
    ({"max_length": 3}, InputError, "The prompt has 3 tokens, and max_length=3 leave no room .* pass max_new_tokens"),
    ({"max_length": 2}, InputError, "The prompt has 3 tokens, and max_length=2"),
    ({"max_new_tokens": 39}, InputError, "39 new tokens were asked for.*have room for 38: pass max_new_tokens=38"),
    ({"max_length": 50}, InputError, "47 new tokens were asked for"),
    (
        {"inputs": torch.ones(1, 41).long()},
        InputError,
        "The prompt has 41 tokens, and the model 40 positions: truncate",
    ),
    ({"inputs": torch.ones(1, 40).long()}, InputError, "The prompt has 40 tokens, and 40 positions .* no room"),
    ({"inputs": torch.ones(1, 0).long()}, InputError, "nothing to continue: pass at least one token"),
    ({"inputs": torch.ones(0, 3).long()}, InputError, "nothing to continue"),
    ({"inputs": torch.tensor([4, 5])}, InputError, r"input_ids\[None\]"),
    ({"inputs": torch.ones(1, 2)}, InputError, "must be a tensor of whole numbers, got a tensor of torch.float32"),
    ({"inputs": torch.tensor([[4, VOCABULARY]])}, InputError, f"input_ids holds {VOCABULARY}, outside"),
    ({"input_ids": PROMPT}, InputError, "inputs and input_ids are the same argument"),
    ({"attention_mask": torch.ones(1, 4).long()}, InputError, r"attention_mask has shape \(1, 4\); expected \(1, 3\)"),
    ({"attention_mask": [[1, 1, 1]]}, InputError, "attention_mask must be a tensor, got list"),
    ({"inputs_embeds": torch.ones(1, 2, 8)}, InputError, "inputs_embeds has shape"),
    (
        {"past_key_values": "cache"},
        InputError,
        r"past_key_values must be the cache that an earlier call returned .*, got str",
    ),
    ({"max_new_token": 5}, UnknownArgumentError, "takes no argument 'max_new_token'. Did you mean 'max_new_tokens'"),
    ({"stop_string": "a"}, UnknownArgumentError, "Did you mean 'stop_strings'"),
    ({"guidance_scale": "strong"}, ConfigError, "guidance_scale='strong' must be a number"),
    (
        {"guidance_scale": 2.0, "negative_prompt_ids": PROMPT.repeat(2, 1)},
        InputError,
        r"negative_prompt_ids has shape \(2, 3\); expected \(1, length\)",
    ),
    (
        {"guidance_scale": 2.0, "negative_prompt_ids": torch.ones(1, 30).long(), "max_new_tokens": 12},
        InputError,
        "are 41 tokens, and the model has 40 positions",
    ),
    ({"cache_implementation": "bad"}, ConfigError, "cache_implementation='bad' must be one of 'dynamic'"),
    ({"cache_implementation": "quantized"}, InputError, "'quantized' is not covered: take 'offloaded'"),
    ({"cache_implementation": "paged"}, InputError, "'paged' is not covered: call generate on batches"),
    ({"cache_implementation": "static", "past_key_values": DynamicCache()}, InputError, "asks for another: pass one"),
    (
        {"past_key_values": StaticCache(gpt2().config, 4)},
        InputError,
        "past_key_values has room for 4 tokens, and texts may have 22",
    ),
    ({"watermarking_config": {"bia": 1.0}}, ConfigError, r"watermarking_config has no setting \['bia'\]"),
    ({"watermarking_config": {"seeding_scheme": "x"}}, ConfigError, "seeding_scheme='x' must be 'lefthash'"),
    ({"watermarking_config": {"greenlist_ratio": 1.5}}, ConfigError, "greenlist_ratio=1.5 must be"),
    ({"watermarking_config": {"context_width": 0}}, ConfigError, "context_width=0 must be"),
    ({"watermarking_config": 3}, ConfigError, "watermarking_config=3 must be a WatermarkingConfig"),
    ({"compile_config": {}}, ConfigError, "compile_config={} must be a CompileConfig"),
    ({"assistant_early_exit": 9}, InputError, "assistant_early_exit=9 must be at least 1 and less than the"),
    ({"assistant_early_exit": 1, "num_beams": 2}, InputError, "assistant_early_exit: assisted decoding is for greedy"),
    ({"synced_gpus": True}, InputError, "synced_gpus=True is not supported"),
    ({"stop_strings": "a"}, InputError, "stop_strings needs the tokenizer"),
    ({"stop_strings": ""}, ConfigError, "stop_strings='' must be a text"),
    ({"suppress_tokens": [3], "forced_eos_token_id": 3}, ConfigError, "is also in suppress_tokens"),
    ({"inputs": PROMPT.repeat(2, 1), "pad_token_id": 99}, InputError, "pad_token_id=99 is outside the vocabulary"),
    (
        {"inputs": PROMPT.repeat(2, 1), "prompt_lookup_num_tokens": 2},
        InputError,
        "one prompt at a time, got a batch of 2",
    ),
    ({"prompt_lookup_num_tokens": 2, "num_beams": 2}, InputError, "for greedy decoding and sampling, got num_beams=2"),
    ({**SAMPLING, "prompt_lookup_num_tokens": 2, "num_return_sequences": 2}, InputError, "gives one result"),
    ({"prompt_lookup_num_tokens": 0}, ConfigError, "prompt_lookup_num_tokens=0 must be"),
    ({"assistant_model": gpt2(1, vocab_size=5)}, InputError, "a vocabulary of 5 tokens and the model one of 11"),
    ({"assistant_model": gpt2(1).transformer}, InputError, "must be a model that can generate, got GPT2Model"),
    ({"assistant_model": gpt2(1), "prompt_lookup_num_tokens": 2}, InputError, "both guess tokens: pass only one"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED, ids=[message[:40] for *_, message in REFUSED])
def test_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """A clear error of a kind that callers catch, and no block of the model has run."""
    model, ran = gpt2(), []
    hooks = [block.register_forward_hook(lambda *_: ran.append(True)) for block in model.transformer.h]
    try:
        with pytest.raises(error, match=message) as caught:
            model.generate(**{"inputs": PROMPT, **arguments})
    finally:
        for hook in hooks:
            hook.remove()
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) == (error is UnknownArgumentError)
    assert not ran


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED[:8])
def test_steps_are_refused_at_once(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """When the iterator is made, not at the first step: that may be in another place of the program."""
    with pytest.raises(error, match=message):
        gpt2().generate_steps(PROMPT, **arguments)


def test_streamers_refuse_beam_search() -> None:
    with pytest.raises(InputError, match="streamer needs num_beams=1"):
        gpt2().generate(PROMPT, num_beams=2, streamer=generation.BaseStreamer())


def test_models_that_cannot_generate_say_so() -> None:
    bert = mt.BertConfig(num_hidden_layers=1, hidden_size=4, num_attention_heads=1, intermediate_size=4, vocab_size=9)
    for model in (gpt2().transformer, mt.BertModel(bert), mt.BertForMaskedLM(bert)):
        assert not model.can_generate()
        assert not type(model).can_generate()
        assert not hasattr(model, "generate")
        with pytest.raises(AttributeError, match=f"{type(model).__name__} cannot continue a text.*AutoModelFor"):
            model.generate(PROMPT)
        with pytest.raises(AttributeError, match="no attribute 'generates'"):
            _ = model.generates
    assert mt.GPT2LMHeadModel.can_generate()


def test_no_token_to_draw() -> None:
    def forbid_all(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -torch.inf)

    with pytest.raises(InputError, match="There is no token to draw after 3 tokens"):
        gpt2().generate(PROMPT, do_sample=True, logits_processor=[forbid_all])


def test_a_whole_cache_leaves_nothing_to_compute() -> None:
    cache = gpt2()(PROMPT, use_cache=True).past_key_values
    with pytest.raises(InputError, match=r"nothing is left to compute.*crop\(-1\)"):
        gpt2().generate(PROMPT, past_key_values=cache)
    with pytest.raises(InputError, match="use_cache=False"):
        gpt2().generate(PROMPT, past_key_values=cache, use_cache=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, "temperature, top_p has no effect without do_sample=True"),
        ({"length_penalty": 2.0}, "length_penalty has no effect without num_beams"),
        ({"output_scores": True}, "output_scores has no effect without return_dict_in_generate=True"),
        ({"max_length": 9, "max_new_tokens": 2}, "max_new_tokens counts"),
        ({"min_new_tokens": 9, "max_new_tokens": 2}, "min_new_tokens=9 is more than"),
    ],
)
def test_arguments_without_effect_cause_a_warning(arguments: dict[str, Any], message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        gpt2().generate(PROMPT, **{"max_new_tokens": 2, **arguments})


def test_doubtful_padding_causes_a_warning() -> None:
    right = {"input_ids": torch.tensor([[4, 5], [6, 1]]), "attention_mask": torch.tensor([[1, 1], [1, 0]])}
    with pytest.warns(UserWarning, match="padded on the right"):
        gpt2().generate(**right, max_new_tokens=1)
    with pytest.warns(UserWarning, match="may be padding or not: pass the tokenizer's attention_mask"):
        gpt2().generate(torch.tensor([[1, 5], [6, 4]]), eos_token_id=1, max_new_tokens=1)


def test_usual_calls_cause_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gpt2().generate(PROMPT)
        gpt2().generate(**left_padded([[3], [4, 5]]), max_new_tokens=2, do_sample=True, top_k=3)
        gpt2().generate(PROMPT, num_beams=2, max_length=5, eos_token_id=1)


def test_the_limit_of_positions_counts_real_tokens() -> None:
    """Padding takes no position: 38 tokens can follow a text of 3, whatever the padding in front of it."""
    batch = left_padded([[4, 5, 6], [7, 8]])
    padded = {name: torch.nn.functional.pad(tensor, (5, 0)) for name, tensor in batch.items()}
    assert gpt2().generate(**padded, max_new_tokens=38).shape == (2, 46)
    with pytest.raises(InputError, match="room for 38"):
        gpt2().generate(**padded, max_new_tokens=39)
