"""Files, stop strings, streams and names, as scripts and checkpoints of the reference use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from generating import VOCABULARY, pair
from hypothesis import given, strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import minitransformers as mt
from minitransformers import generation

TEXTS = [
    "the cat sat on the mat. ",
    "stop, he said: stop it!\n",
    "topper and stopper, né à Zürich ",
    "中文字。 ok ",
] * 4


def backend() -> Tokenizer:
    """A byte-level BPE whose tokens are pieces of words, and of characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet))
    return tokenizer


OURS = mt.PreTrainedTokenizerFast(tokenizer_object=backend())
THEIRS = transformers.PreTrainedTokenizerFast(tokenizer_object=backend())
some_text = st.text(st.sampled_from("stoper,. néà中\n"), min_size=1, max_size=12)


@given(
    text=some_text,
    stops=st.lists(st.text("stop. né中", min_size=1, max_size=4), min_size=1, max_size=3),
    data=st.data(),
)
def test_stop_strings(text: str, stops: list[str], data: st.DataObject) -> None:
    ids = OURS(text)["input_ids"]
    ids = ids + data.draw(st.lists(st.sampled_from(ids), max_size=5))
    ours = generation.StopStringCriteria(OURS, stops)
    theirs = transformers.StopStringCriteria(THEIRS, stops)
    for end in range(1, len(ids) + 1):
        prefix = torch.tensor([ids[:end]])
        assert torch.equal(ours(prefix, None), theirs(prefix, None)), (OURS.decode(ids[:end]), stops)


@given(text=some_text)
def test_streams(text: str) -> None:
    """The pieces may differ from the reference's; joined they are equal, and equal to the text."""
    shown = []
    for library, tokenizer in ((generation, OURS), (transformers, THEIRS)):
        streamer = library.TextIteratorStreamer(tokenizer, timeout=60)
        streamer.put(torch.tensor([tokenizer(text)["input_ids"]]))
        for token in tokenizer(text + " stop")["input_ids"]:
            streamer.put(torch.tensor([token]))
        streamer.end()
        shown.append("".join(streamer))
    assert shown[0] == shown[1] == text + text + " stop"


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 5, "do_sample": True, "temperature": 0.7, "top_k": 11},
        {"num_beams": 3, "length_penalty": 0.5, "early_stopping": "never", "no_repeat_ngram_size": 2, "max_length": 9},
        {"eos_token_id": [3, 4], "pad_token_id": 0, "bad_words_ids": [[5], [6, 7]], "repetition_penalty": 1.2},
    ],
)
def test_files_of_either_library_are_read_by_the_other(settings: dict[str, Any], tmp_path: Path) -> None:
    generation.GenerationConfig(**settings).save_pretrained(tmp_path / "ours")
    transformers.GenerationConfig(**settings).save_pretrained(tmp_path / "theirs")
    for place in ("ours", "theirs"):
        here = generation.GenerationConfig.from_pretrained(tmp_path / place)
        there = transformers.GenerationConfig.from_pretrained(tmp_path / place)
        for name in generation.GenerationConfig._fields:
            assert getattr(here, name) == getattr(there, name) == settings.get(name), name


def test_settings_of_a_checkpoint(tmp_path: Path) -> None:
    """Saved by either library, with a generation_config.json, and with settings in an old config.json."""
    ours, theirs = pair("GPT2LMHeadModel", 3)
    prompt = torch.tensor([[6, 7, 8], [9, 9, 10]])
    settings = {"num_beams": 3, "max_length": 9, "eos_token_id": [11, 12, 13], "pad_token_id": 2, "length_penalty": 0.3}
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    for place in ("ours", "theirs"):
        transformers.GenerationConfig(**settings).save_pretrained(tmp_path / place)
    old = tmp_path / "old"
    ours.save_pretrained(old)
    (old / "generation_config.json").unlink()
    content = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**content, **settings}))
    results = [
        library.GPT2LMHeadModel.from_pretrained(tmp_path / place).generate(prompt)
        for place in ("ours", "theirs", "old")
        for library in (mt, transformers)
    ]
    for result in results[1:]:
        assert torch.equal(result, results[0])


@given(data=st.data())
def test_generation_mode(data: st.DataObject) -> None:
    options = {"do_sample": [True, False, None], "num_beams": [1, 3, None], "prompt_lookup_num_tokens": [2, None, None]}
    values = {name: data.draw(st.sampled_from(choices)) for name, choices in options.items()}
    if (values["num_beams"] or 1) > 1:  # then the reference ignores it with a warning, and `generate` here refuses it
        values["prompt_lookup_num_tokens"] = None
    theirs = transformers.GenerationConfig(**values).get_generation_mode()
    assert generation.GenerationConfig(**values).get_generation_mode() == theirs.value


def test_defaults_are_the_references() -> None:
    theirs = transformers.GenerationConfig()
    defaults = theirs._get_default_generation_params()
    for name in generation.GenerationConfig._fields:
        assert hasattr(theirs, name), f"{name} is no field of the reference's"
        assert getattr(generation.GenerationConfig(), name) == getattr(theirs, name)
    for name, value in generation.config.DEFAULTS.items():
        assert value == defaults.get(name, False), name
    ours, theirs = pair("GPT2LMHeadModel", 0)
    assert ours.generation_config.values == {
        name: value
        for name, value in theirs.generation_config.to_dict().items()
        if name in ours.generation_config.values
    }


def test_names_and_order_of_arguments() -> None:
    """What scripts import from the reference is here under the same name, and takes positional arguments alike."""
    import inspect

    for name in generation.__all__:
        if name in ("GenerationMixin", "GenerationMode", "Search", "Step", "set_seed"):
            continue
        theirs = (
            getattr(transformers.generation, name, None)
            or getattr(transformers.generation.logits_process, name, None)
            or getattr(transformers.generation.streamers, name)
        )
        assert theirs.__name__ == name
    ours = list(inspect.signature(mt.GPT2LMHeadModel.generate).parameters)
    reference = list(inspect.signature(transformers.GPT2LMHeadModel.generate).parameters)
    assert ours[:-1] == reference[: len(ours) - 1]


@given(seed=st.integers(0, 1000))
def test_set_seed(seed: int) -> None:
    ours, theirs = pair("GPT2LMHeadModel", 1)
    prompt = torch.tensor([[6, 7], [8, 9]])
    results = []
    for library, model in ((generation, ours), (transformers, theirs)):
        library.set_seed(seed)
        results.append(model.generate(prompt, do_sample=True, max_new_tokens=6, top_k=VOCABULARY))
    assert torch.equal(*results)


@given(data=st.data())
def test_transition_scores(data: st.DataObject) -> None:
    ours, theirs = pair("GPT2LMHeadModel", data.draw(st.integers(0, 9)))
    beams = data.draw(st.integers(1, 3))
    how = {"num_beams": beams, "max_new_tokens": 5, "eos_token_id": [9, 10, 11], "pad_token_id": 2}
    keep = {"return_dict_in_generate": True, "output_scores": True}
    results = []
    for model in (ours, theirs):
        result = model.generate(torch.tensor([[6, 7], [8, 9]]), **how, **keep)
        arguments = (result.sequences, result.scores, result.get("beam_indices"))
        results.append(model.compute_transition_scores(*arguments, normalize_logits=data.draw(st.just(beams == 1))))
    assert torch.allclose(*results, atol=1e-9)
