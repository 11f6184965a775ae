"""Tokenizers against transformers: the same directory, the same call, the same result.

Directories, texts and calls are drawn here; scripts as books have them, and chats, are in test_tokenizer_scripts.py.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizer_cases as cases
import torch
import transformers
from fewer import fewer
from hypothesis import HealthCheck, given, settings, strategies as st
from tokenizer_comparing import assert_same_call, assert_same_tokenizer, result_of
from tokenizer_directories import CLASSES, both, real, real_directory, scratch
from tokenizers import AddedToken
from transformers.utils import logging as transformers_logging

import minitransformers.tokenization as ours
from minitransformers.errors import MinitransformersError

transformers_logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SPECIAL = {
    "bert": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    "gpt2": {"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
}
FIRST_NEW_ID = {"bert": 30522, "gpt2": 5001}


# ---- drawn directories and texts -------------------------------------------------------------------------------------


AGES = ["before 4.34", "4.34 and later", "4.34 and later, tokenizer.json", "5"]


@st.composite
def directories(draw: st.DrawFn, family: str) -> tuple[str, dict[str, Any]]:
    """A directory of a tokenizer: the version of transformers, and the files besides the vocabulary."""
    config = draw({"bert": cases.bert_configs(), "gpt2": cases.gpt2_configs()}[family])
    age = draw(st.sampled_from(AGES))
    files = {}
    if age == "before 4.34":
        files = draw(cases.old_files(SPECIAL[family], FIRST_NEW_ID[family]))
    elif age.startswith("4.34"):
        config["added_tokens_decoder"] = draw(cases.added_tokens(FIRST_NEW_ID[family]))
    if draw(st.booleans()):
        config |= {name: token for name, token in SPECIAL[family].items() if name not in config}
    files["tokenizer_config.json"] = config | {"tokenizer_class": CLASSES[family]}
    return age, files


def write_drawn(family: str, age: str, files: dict[str, Any]) -> Path:
    vocabulary = cases.start_of_vocabulary(family, scratch())
    if age.endswith("tokenizer.json") or age == "5":
        vocabulary = {"tokenizer.json": tokenizer_json(family, added=age == "5")}
    return cases.write_directory(scratch() / f"{family}-{next(_numbers)}", vocabulary, files)


_numbers = itertools.count()


@cache
def tokenizer_json(family: str, *, added: bool) -> Path:
    """A tokenizer.json as the reference saves it, with a pipeline that differs from the directory's configuration."""
    plain = cases.write_directory(
        scratch() / f"{family}-source-{added}", cases.start_of_vocabulary(family, scratch()), {}
    )
    options = {"bert": {"do_lower_case": False}, "gpt2": {"add_bos_token": True, "add_prefix_space": True}}[family]
    tokenizer = getattr(transformers, CLASSES[family]).from_pretrained(plain, **options)
    if added:
        tokenizer.add_tokens([AddedToken("<ent>", lstrip=True), AddedToken("wörd", single_word=True), "NEWtok"])
        tokenizer.add_special_tokens({"extra_special_tokens": ["[mask]"]})
    tokenizer.save_pretrained(plain)
    return plain / "tokenizer.json"


THOROUGH = settings.get_current_profile_name() == "thorough"
many_texts = settings(max_examples=230 if THOROUGH else 75, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("family", CLASSES)
def test_many_texts_and_drawn_options(family: str) -> None:
    """Drawn directories, texts in many scripts, single or in pairs, and drawn calls."""
    seen: set[str] = set()

    @many_texts
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        directory = write_drawn(family, *data.draw(directories(family), label="directory"))
        mine, reference = both(family, directory)
        assert_same_tokenizer(mine, reference)
        batch = data.draw(st.lists(cases.texts, min_size=36, max_size=36, unique=True), label="texts")
        seen.update(batch)
        can_pad = reference.pad_token is not None
        half = len(batch) // 2
        single = data.draw(cases.calls(pairs=False, can_pad=can_pad), label="call")
        pairs = data.draw(cases.calls(pairs=True, can_pad=can_pad), label="call with pairs")
        assert_same_call(mine, reference, batch, **single)
        assert_same_call(mine, reference, batch[:half], batch[half:], **pairs)
        assert_same_call(mine, reference, batch[0], **single)
        assert_same_call(mine, reference, batch[0], batch[1], **pairs)
        assert mine.tokenize(batch[0], batch[1]) == reference.tokenize(batch[0], batch[1])
        shutil.rmtree(directory)

    compare()
    assert len(seen) >= (2000 if THOROUGH else 650), len(seen)


@pytest.mark.parametrize("family", CLASSES)
@given(st.data())
def test_real_vocabulary(family: str, data: st.DataObject) -> None:
    mine, reference = real(family)
    batch = data.draw(st.lists(cases.texts, min_size=8, max_size=8, unique=True))
    assert_same_call(mine, reference, batch, return_offsets_mapping=True, return_special_tokens_mask=True)
    assert_same_call(mine, reference, list(zip(batch[:4], batch[4:], strict=True)), max_length=20, truncation=True)
    for text in batch:
        assert mine.tokenize(text) == reference.tokenize(text)
        assert mine.encode(text, add_special_tokens=False) == reference.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("family", CLASSES)
@given(st.data())
def test_texts_split_into_words(family: str, data: st.DataObject) -> None:
    mine, reference = real(family)
    if family == "gpt2":
        mine, reference = with_prefix_space()
    batch = data.draw(st.lists(cases.words, min_size=4, max_size=4))
    call = data.draw(cases.calls(pairs=True, can_pad=family == "bert")) | {"is_split_into_words": True}
    assert_same_call(mine, reference, batch, batch[::-1], **call)
    assert_same_call(mine, reference, [tuple(batch[:2]), tuple(batch[2:])], **call)
    call.pop("truncation", None)
    assert_same_call(mine, reference, batch, **call)
    assert_same_call(mine, reference, batch[0], **call)
    assert_same_call(mine, reference, batch[0], batch[1], **call)
    assert mine.tokenize(batch[0], is_split_into_words=True) == reference.tokenize(batch[0], is_split_into_words=True)


@cache
def with_prefix_space() -> tuple[Any, Any]:
    return both("gpt2", scratch() / "gpt2-real", add_prefix_space=True)


@given(cases.texts, cases.texts)
def test_tokens_words_and_characters(text: str, other: str) -> None:
    """Every method of a BatchEncoding, at every index."""
    mine, reference = (tokenizer([text, text], [other, other]) for tokenizer in real("bert"))
    tokens = len(mine.tokens(1))
    for name, indices, of_sequence in (
        ("token_to_sequence", range(tokens), False),
        ("token_to_word", range(tokens), False),
        ("token_to_chars", range(tokens), False),
        ("word_to_tokens", range(len(text) + 1), True),
        ("char_to_token", range(len(text) + 1), True),
        ("char_to_word", range(len(text) + 1), True),
    ):
        for index, sequence in itertools.product(indices, (0, 1) if of_sequence else (None,)):
            options = {} if sequence is None else {"sequence_index": sequence}
            expected = getattr(reference, name)(1, index, **options)
            assert getattr(mine, name)(1, index, **options) == expected
            assert getattr(mine, name)(index, **options) == expected
    for word in {word for word in mine.word_ids() if word is not None}:
        for sequence in (0, 1):
            if reference.word_to_tokens(word, sequence_index=sequence) is not None:
                assert mine.word_to_chars(word, None, sequence) == reference.word_to_chars(word, None, sequence)


@st.composite
def examples(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Examples for a collator: encoded texts with a label, in lists, arrays or tensors."""
    kind = draw(st.sampled_from([list, np.array, torch.tensor]))
    optional = [name for name in ("attention_mask", "token_type_ids", "special_tokens_mask") if draw(st.booleans())]
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    return [
        {name: kind([length] * length) for name in ("input_ids", *optional)} | {"labels": kind([length])}
        for length in lengths
    ]


@given(examples(), st.data())
def test_pad(batch: list[dict[str, Any]], data: st.DataObject) -> None:
    mine, reference = real("bert")
    call = {
        "padding": data.draw(st.sampled_from([True, "longest", "max_length", False])),
        "max_length": data.draw(st.sampled_from([None, 4, 12])),
        "pad_to_multiple_of": data.draw(st.sampled_from([None, 8])),
        "padding_side": data.draw(st.sampled_from([None, "left", "right"])),
        "return_attention_mask": data.draw(st.sampled_from([None, True, False])),
        "return_tensors": data.draw(st.sampled_from([None, "pt"])),
    }
    if call["padding"] == "max_length":
        call["max_length"] = call["max_length"] or 12  # this tokenizer has no model_max_length
    columns = {name: [row[name] for row in batch] for name in batch[0]}
    # The reference does not accept one sequence as an array.
    for inputs in (batch, columns, *([] if isinstance(batch[0]["input_ids"], np.ndarray) else [batch[0]])):
        copies = (copy.deepcopy(inputs), copy.deepcopy(inputs))
        got = result_of(lambda: mine.pad(copies[0], **call), MinitransformersError)  # noqa: B023
        expected = result_of(lambda: reference.pad(copies[1], **call), ValueError)  # noqa: B023
        assert repr(got) == repr(expected)
        assert repr(copies[0]) == repr(inputs)  # ours does not change its argument


# ---- changing a tokenizer, saving and loading ------------------------------------------------------------------------


@st.composite
def additions(draw: st.DrawFn) -> list[str | AddedToken]:
    flags = st.fixed_dictionaries(
        {name: st.booleans() for name in ("single_word", "lstrip", "rstrip", "normalized", "special")}
    )
    contents = draw(st.lists(st.sampled_from(["<ent>", "NEWtok", "wörd", "世界", "can't", " x ", "👍"]), unique=True))
    return [AddedToken(content, **draw(flags)) if draw(st.booleans()) else content for content in contents]


@pytest.mark.parametrize("family", CLASSES)
@fewer(3)  # eight tokenizers are read from files in each
@given(st.data())
def test_added_tokens_and_saved_files(family: str, data: st.DataObject) -> None:
    """Tokens are added in every way; then each library loads the other's files."""
    plain = scratch() / f"{family}-plain"
    if not plain.exists():
        cases.write_directory(plain, cases.start_of_vocabulary(family, scratch()), {})
    mine, reference = both(family, plain, model_max_length=64)
    added, special = data.draw(additions()), data.draw(st.booleans())
    named = data.draw(st.sampled_from([{}, {"pad_token": "<p>"}, {"mask_token": AddedToken("<m>", lstrip=True)}]))
    extra = data.draw(st.sampled_from([[], ["<a>", "<b>"]]))
    for tokenizer in (mine, reference):
        tokenizer.padding_side = "left" if special else "right"
        tokenizer.chat_template = "{{ messages }}"
    counts = [
        (
            tokenizer.add_tokens(added, special_tokens=special),
            tokenizer.add_special_tokens(named | ({"extra_special_tokens": extra} if extra else {})),
            tokenizer.add_special_tokens({"extra_special_tokens": ["<b>", "<c>"]}, replace_extra_special_tokens=False),
        )
        for tokenizer in (mine, reference)
    ]
    assert counts[0] == counts[1]
    assert_same_tokenizer(mine, reference)
    batch = data.draw(st.lists(cases.texts, min_size=4, max_size=4))
    batch += [f"a {token} b{token}c  {token} " for token in [*added, "<m>", "<a>"]]
    assert_same_call(mine, reference, batch, padding=mine.pad_token is not None, return_offsets_mapping=True)

    with tempfile.TemporaryDirectory() as folder:
        here, there = Path(folder, "here"), Path(folder, "there")
        mine.save_pretrained(here)
        reference.init_kwargs["padding_side"] = reference.padding_side  # otherwise the reference does not save it
        reference.save_pretrained(there)
        loaded = [
            getattr(library, name).from_pretrained(directory)
            for directory in (here, there)
            for library in (ours, transformers)
            for name in (CLASSES[family], "AutoTokenizer")
        ]
    for tokenizer in loaded:
        assert type(tokenizer).__name__ == CLASSES[family]
        assert tokenizer.chat_template == "{{ messages }}"
        assert_same_tokenizer(tokenizer, mine)
        assert dict(tokenizer(batch)) == dict(mine(batch))
        assert tokenizer.batch_decode(mine(batch)["input_ids"]) == mine.batch_decode(mine(batch)["input_ids"])


def test_any_tokenizer_json() -> None:
    """A pipeline of another kind, with truncation and padding stored in the file."""
    generic = scratch() / "generic"
    generic.mkdir()
    backend = transformers.AutoTokenizer.from_pretrained(real_directory("bert")).backend_tokenizer
    backend.enable_truncation(5, direction="left")
    backend.enable_padding(direction="left", pad_token="[PAD]", length=9)
    backend.save(str(generic / "tokenizer.json"))
    mine = ours.AutoTokenizer.from_pretrained(generic, unk_token="[UNK]")
    reference = transformers.PreTrainedTokenizerFast.from_pretrained(generic, unk_token="[UNK]")
    assert_same_tokenizer(mine, reference)
    assert (mine.padding_side, mine.truncation_side, mine.pad_token) == ("left", "left", "[PAD]")
    batch = ["one two three four five six seven", "one"]
    for call in ({}, {"padding": True}, {"truncation": True, "max_length": 4}, {"return_token_type_ids": True}):
        assert_same_call(mine, reference, batch, **call)
        assert_same_call(ours.PreTrainedTokenizerFast(tokenizer_object=backend), reference, batch, **call)
    assert ours.PreTrainedTokenizerFast(tokenizer_file=generic / "tokenizer.json").add_bos_token is False
    saved = mine.save_pretrained(scratch() / "generic-saved")
    assert [Path(path).name for path in saved] == ["tokenizer_config.json", "tokenizer.json"]
    again = transformers.AutoTokenizer.from_pretrained(scratch() / "generic-saved")
    assert_same_tokenizer(mine, again)
    assert_same_call(mine, again, batch, padding=True)


# ---- mutations -------------------------------------------------------------------------------------------------------

MUTATIONS = {
    "lower case": ("bert", {"do_lower_case": False}, "Ab"),
    "accents": ("bert", {"strip_accents": False}, "é"),
    "Chinese characters": ("bert", {"tokenize_chinese_chars": False}, "世界"),
    "special tokens": ("bert", {"cls_token": "[MASK]"}, "a"),
    "split special tokens": ("bert", {"split_special_tokens": True}, "[MASK]"),
    "truncation side": ("bert", {"truncation_side": "left"}, "a b c d e"),
    "padding side": ("bert", {"padding_side": "left"}, "a"),
    "prefix space": ("gpt2", {"add_prefix_space": True}, "a"),
    "begin of text": ("gpt2", {"add_bos_token": True}, "a"),
    "cleaning up": ("bert", {"clean_up_tokenization_spaces": True}, "it's"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_is_detected(mutation: str) -> None:
    family, options, text = MUTATIONS[mutation]
    mine = both(family, real_directory(family), **options)[0]
    reference = real(family)[1]
    call = {"padding": "max_length", "max_length": 5, "truncation": True} if family == "bert" else {}
    with pytest.raises(AssertionError):
        assert_same_call(mine, reference, [text], **call)
