"""Laws that hold for every text."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.assets import fetch
from minitransformers.tokenization import AddedToken, BatchEncoding, BertTokenizer, GPT2Tokenizer

characters = st.characters(codec="utf-8")  # any character except halves of surrogate pairs
texts = st.text(characters, max_size=40)
lengths = st.integers(3, 12)


@cache
def bert() -> BertTokenizer:
    return BertTokenizer.from_pretrained(fetch("minilm"))


@cache
def gpt2() -> GPT2Tokenizer:
    tokenizer = GPT2Tokenizer.from_pretrained(fetch("gpt2-tokenizer"))
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@given(texts)
def test_gpt2_decodes_to_the_same_text(text: str) -> None:
    ids = gpt2()(text).input_ids
    assert gpt2().decode(ids) == text
    assert gpt2().convert_tokens_to_string(gpt2().tokenize(text)) == text
    assert gpt2().convert_tokens_to_ids(gpt2().tokenize(text)) == ids


@given(st.lists(texts, min_size=1, max_size=4))
def test_offsets_are_the_characters_of_the_tokens(batch: list[str]) -> None:
    """The offsets of a token in plain ASCII are exactly its characters, and control characters, which BERT removes."""
    encoded = bert()(batch, return_offsets_mapping=True)
    for row, text in enumerate(batch):
        for token, (start, end) in zip(encoded.tokens(row), encoded["offset_mapping"][row], strict=True):
            assert 0 <= start <= end <= len(text)
            if token.isascii() and not token.startswith("["):
                assert len(text[start:end]) >= 1
                if text[start:end].isascii():
                    characters = "".join(filter(str.isprintable, text[start:end]))
                    assert characters.lower() == token.removeprefix("##")


@given(st.lists(texts, min_size=1, max_size=4), st.sampled_from(["left", "right"]))
def test_a_batch_equals_its_single_texts(batch: list[str], side: str) -> None:
    """Padding only adds padding tokens, on one side."""
    padded = bert()(batch, padding=True, padding_side=side, return_special_tokens_mask=True)
    longest = max(len(bert()(text).input_ids) for text in batch)
    for row, text in enumerate(batch):
        alone = bert()(text, return_special_tokens_mask=True)
        pads = longest - len(alone.input_ids)
        real = slice(pads, None) if side == "left" else slice(0, longest - pads)
        for name, filler in (
            ("input_ids", 0),
            ("attention_mask", 0),
            ("token_type_ids", 0),
            ("special_tokens_mask", 1),
        ):
            assert padded[name][row][real] == alone[name]
            assert sorted(padded[name][row]) == sorted(alone[name] + [filler] * pads)
    for name, rows in bert().pad([bert()(text) for text in batch], padding_side=side).items():
        assert rows == padded[name]


@given(texts, texts, lengths, st.sampled_from([True, "only_first", "only_second"]))
def test_truncation_keeps_the_length(text: str, pair: str, max_length: int, strategy: Any) -> None:
    whole = bert()(text, pair or "x").input_ids
    try:
        cut = bert()(text, pair or "x", truncation=strategy, max_length=max_length).input_ids
    except ValueError:
        assert strategy is not True  # the text to be truncated is too short
        return
    assert len(cut) == min(len(whole), max_length)


@given(texts, lengths, st.integers(0, 3))
def test_pieces_cover_the_text(text: str, max_length: int, stride: int) -> None:
    stride = min(stride, max_length - 3)
    whole = bert()(text, add_special_tokens=False).input_ids
    pieces = bert()(text, truncation=True, max_length=max_length, stride=stride, return_overflowing_tokens=True)
    joined: list[int] = []
    for ids in pieces.input_ids:
        assert len(ids) <= max_length
        joined += ids[1:-1][stride if joined else 0 :]
    assert joined == whole
    assert pieces["overflow_to_sample_mapping"] == [0] * len(pieces.input_ids)


@given(texts, texts)
def test_masks_agree(text: str, pair: str) -> None:
    encoded = bert()(text, pair or "x", return_special_tokens_mask=True, split_special_tokens=True)
    special = [index in bert().all_special_ids and index != bert().unk_token_id for index in encoded.input_ids]
    assert [bool(flag) for flag in encoded["special_tokens_mask"]] == special
    assert [sequence is None for sequence in encoded.sequence_ids()] == special
    first_end = encoded.input_ids.index(bert().sep_token_id) + 1
    assert encoded.token_type_ids == [0] * first_end + [1] * (len(special) - first_end)
    assert len(special) - sum(special) == len(bert().tokenize(text, pair or "x", split_special_tokens=True))
    assert sum(special) == bert().num_special_tokens_to_add(pair=True)


@cache
def copies() -> list[tuple[Any, Any]]:
    return [
        (tokenizer, other)
        for tokenizer in (bert(), gpt2())
        for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)))
    ]


@given(st.lists(texts, min_size=1, max_size=3))
def test_copies_give_the_same_result(batch: list[str]) -> None:
    for tokenizer, other in copies():
        assert repr(other) == repr(tokenizer)
        assert dict(other(batch, padding=True)) == dict(tokenizer(batch, padding=True))


def test_copies_are_independent() -> None:
    other = copy.deepcopy(gpt2())
    other.add_tokens(["<new>"])
    other.pad_token = "<new>"
    assert len(other) == len(gpt2()) + 1
    assert gpt2().pad_token == gpt2().eos_token


@given(st.lists(texts, min_size=1, max_size=4), st.sampled_from(["pt", "np"]))
def test_tensors_equal_the_lists(batch: list[str], kind: str) -> None:
    lists, tensors = bert()(batch, padding=True), bert()(batch, padding=True, return_tensors=kind)
    wanted = {"pt": torch.Tensor, "np": np.ndarray}[kind]
    for name, rows in lists.items():
        assert isinstance(tensors[name], wanted)
        assert tensors[name].tolist() == rows
    assert bert().batch_decode(tensors) == bert().batch_decode(lists.input_ids) == bert().decode(tensors.input_ids)
    assert bert()(batch[0], return_tensors=kind).input_ids.shape[0] == 1


@given(texts)
def test_no_state_is_left_by_a_call(text: str) -> None:
    """Truncation, padding and split special tokens of one call do not change the next."""
    tokenizer = copies()[0][1]
    before = dict(tokenizer(text))
    tokenizer(
        ["[MASK]", text], truncation=True, max_length=4, padding=True, padding_side="left", split_special_tokens=True
    )
    assert dict(tokenizer(text)) == before


@pytest.mark.parametrize(
    ("flags", "text", "tokens"),
    [
        ({}, "a <X> b", ["a", "<X>", "b"]),
        ({"lstrip": True}, "a <X> b", ["a", " <X>", "b"]),
        ({"rstrip": True}, "a <X> b", ["a", "<X> ", "b"]),
        ({"single_word": True}, "a<X>b <X>", ["a", "<", "X", ">", "b", "<X>"]),
        ({"normalized": True}, "<x>", ["<x>"]),
        ({"normalized": False}, "<x>", ["<", "x", ">"]),
    ],
)
def test_how_added_tokens_match(flags: dict[str, bool], text: str, tokens: list[str]) -> None:
    tokenizer = copy.deepcopy(bert())
    tokenizer.add_tokens(AddedToken("<X>", **{"normalized": False, **flags}))
    encoded = tokenizer(text, add_special_tokens=False)
    # The token includes the spaces that it strips.
    assert [text[start:end] for start, end in encoded[0].offsets] == tokens


def test_batch_encoding_is_a_dictionary() -> None:
    fields = {"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]}
    encoded = BatchEncoding(fields)
    assert encoded == fields
    assert {**encoded} == fields
    assert repr(encoded) == repr(fields)
    assert encoded.labels == [0, 1]
    assert encoded[:1] == {"input_ids": [[1, 2]], "labels": [0]}
    assert not encoded.is_fast
    assert encoded.n_sequences is None
    assert BatchEncoding(encoded, tensor_type="pt").labels.tolist() == [0, 1]
    assert BatchEncoding({"labels": 1}, tensor_type="np", prepend_batch_axis=True).labels.shape == (1,)
    assert BatchEncoding({"x": []}, tensor_type="pt").x.dtype == torch.int64
    ragged = BatchEncoding({"x": [[1], [2, 3]]}, tensor_type="np").x
    assert ragged.dtype == object
    assert ragged[1].tolist() == [2, 3]
    arrays = BatchEncoding({"x": [np.array([1, 2]), np.array([3, 4])]}, tensor_type="pt").x
    assert arrays.tolist() == [[1, 2], [3, 4]]
    again = pickle.loads(pickle.dumps(bert()("a b")))
    assert again.word_ids() == bert()("a b").word_ids()
    assert copy.copy(encoded) == encoded
    moved = BatchEncoding(fields, tensor_type="pt").to(torch.device("cpu"))
    assert moved.labels.tolist() == [0, 1]


def test_negative_token_indices_count_from_the_end() -> None:
    encoded = bert()(["a", "some words"])
    assert encoded.token_to_word(1, -2) == encoded.token_to_word(1, 2) == 1
    assert encoded.token_to_chars(-1, -2) == (5, 10)
    assert encoded.token_to_sequence(1, -1) is None
