"""Text generation as the reference's pipeline does it; text to text, which it no longer has, as `generate` does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
import transformers

from minitransformers import GenerationConfig, InputError, pipeline
from minitransformers.pipelines import ReturnType

Saved = Callable[..., str]
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
CHAT = [{"role": "user", "content": "Who wrote it?"}]
PREFILLED = [*CHAT, {"role": "assistant", "content": "Ada"}]


@pytest.fixture(scope="module")
def both(saved: Saved) -> tuple[Any, Any]:
    directory = saved("GPT2LMHeadModel")
    ours, theirs = (each("text-generation", directory, device=-1) for each in (pipeline, transformers.pipeline))
    ours.tokenizer.chat_template = theirs.tokenizer.chat_template = TEMPLATE
    return ours, theirs


def prompts() -> list[str]:
    return [text for text in tiny.texts(7, 230) if text.strip() and len(text) < 120][:200]


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": False, "max_new_tokens": 4},
        {"do_sample": True, "max_new_tokens": 4, "top_k": 20, "temperature": 1.3, "num_return_sequences": 2},
    ],
)
def test_continuations(both: tuple[Any, Any], options: dict[str, Any]) -> None:
    drawn = [text[:24] for text in prompts()]
    found = []
    for each in both:
        torch.manual_seed(0)
        found.append(each(drawn, batch_size=50, **options))
    assert len(drawn) == 200
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_full_text": False},
        {"return_tensors": True},
        {"num_beams": 3, "num_return_sequences": 2},
        {"prefix": "Ada: "},
        {"stop_sequence": "e"},
        {"skip_special_tokens": False},
        {"handle_long_generation": "hole", "max_new_tokens": 40},
        {"add_special_tokens": False},
        {"return_dict_in_generate": True, "output_scores": True, "num_beams": 2},
        {"tokenizer_encode_kwargs": {"truncation": True, "max_length": 3}},
        {"truncation": True, "max_new_tokens": None, "max_length": 20},
    ],
)
def test_options(both: tuple[Any, Any], options: dict[str, Any]) -> None:
    ours, theirs = both
    options = {"do_sample": False, "max_new_tokens": 6, **options}
    tiny.assert_same(ours("Ada Lovelace wrote", **options), theirs("Ada Lovelace wrote", **options))
    tiny.assert_same(ours(["Ada", "Where"], **options), theirs(["Ada", "Where"], **options))


@pytest.mark.parametrize("chat", [CHAT, PREFILLED, [CHAT, CHAT]])
@pytest.mark.parametrize("options", [{}, {"return_full_text": False}, {"num_return_sequences": 2, "num_beams": 2}])
def test_chats(both: tuple[Any, Any], chat: Any, options: dict[str, Any]) -> None:
    ours, theirs = both
    options = {"do_sample": False, "max_new_tokens": 4, **options}
    tiny.assert_same(ours(chat, **options), theirs(chat, **options))


def test_settings_of_the_constructor_the_call_and_a_config(saved: Saved) -> None:
    directory = saved("GPT2LMHeadModel")
    given = {"max_new_tokens": 3, "do_sample": False, "device": -1}
    ours, theirs = (each("text-generation", directory, **given) for each in (pipeline, transformers.pipeline))
    assert ours("Ada") == theirs("Ada")
    assert ours("Ada", max_new_tokens=5) == theirs("Ada", max_new_tokens=5)
    config = {"max_new_tokens": 7, "do_sample": False}
    both = (
        ours("Ada", generation_config=GenerationConfig(**config)),
        theirs("Ada", generation_config=transformers.GenerationConfig(**config)),
    )
    assert both[0] == both[1]


def test_defaults_are_the_references(saved: Saved) -> None:
    """Without settings, tokens are drawn at a temperature of 0.7; the room of 48 positions is used here."""
    directory = saved("GPT2LMHeadModel")
    found = []
    for each in (pipeline, transformers.pipeline):
        torch.manual_seed(1)
        found.append(each("text-generation", directory, device=-1)("Ada wrote", max_new_tokens=20))
    assert found[0] == found[1]


def test_an_empty_prompt_begins_with_bos(both: tuple[Any, Any]) -> None:
    options = {"do_sample": False, "max_new_tokens": 4}
    assert both[0]("", **options) == both[1]("", **options)


# ---- text to text ----------------------------------------------------------------------------------------------------

SETTINGS = {
    "summarization": {"prefix": "summarize: ", "num_beams": 2, "max_length": 12, "min_length": 3},
    "translation_en_to_fr": {"prefix": "translate English to French: ", "max_length": 8},
    "translation_en_to_de": {"prefix": "translate English to German: ", "max_length": 8},
}


@pytest.mark.parametrize("architecture", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
@pytest.mark.parametrize(
    ("task", "name", "prefix"),
    [
        ("text2text-generation", "generated", ""),
        ("summarization", "summary", "summarize: "),
        ("translation_en_to_fr", "translation", "translate English to French: "),
    ],
)
def test_text_to_text(saved: Saved, architecture: str, task: str, name: str, prefix: str) -> None:
    """The prefix, the settings of the task in the config, and those of the call reach the reference's `generate`."""
    directory = saved(architecture, task_specific_params=SETTINGS)
    ours = pipeline(task, directory, device=-1, **({} if prefix else {"max_new_tokens": 6}))
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    settings = {key: value for key, value in SETTINGS.get(task, {"max_new_tokens": 6}).items() if key != "prefix"}
    drawn = [text[:8] for text in prompts()[:8]]
    expected = []
    for text in drawn:
        inputs = tokenizer(prefix + text, return_tensors="pt")
        inputs = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        ids = model.generate(**inputs, **{"num_beams": 4, **settings})
        expected.append({f"{name}_text": tokenizer.decode(ids[0], skip_special_tokens=True)})
    assert ours(drawn, batch_size=4) == expected
    assert ours(drawn[0]) == [expected[0]]
    ids = ours(drawn[0], return_tensors=True)[0][f"{name}_token_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == expected[0][f"{name}_text"]
    assert len(ours(drawn[0], num_beams=3, num_return_sequences=3)) == 3
    assert (
        len(ours(drawn[0], num_beams=1, max_new_tokens=2, return_type=ReturnType.TENSORS)[0][f"{name}_token_ids"]) <= 3
    )


def test_languages_of_a_translation(saved: Saved) -> None:
    directory = saved("T5ForConditionalGeneration", task_specific_params=SETTINGS)
    by_task = pipeline("translation_en_to_de", directory)("Who is Ada?")
    assert pipeline("translation", directory, src_lang="en", tgt_lang="de", max_length=8)("Who is Ada?") == by_task
    assert pipeline("translation_en_to_fr", directory)("Who is Ada?", tgt_lang="de") == by_task
    with pytest.raises(InputError, match="does not translate 'en' to 'ja'; its configuration has translation_en_to_de"):
        pipeline("translation_en_to_ja", directory)("Who is Ada?")
