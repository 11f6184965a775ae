"""Comparing two tokenizers, or two calls."""

from __future__ import annotations

import itertools
from typing import Any

from minitransformers.errors import MinitransformersError


def result_of(function: Any, refusals: type[BaseException] | tuple[type[BaseException], ...]) -> Any:
    """The result of a call, or a mark for an error of an expected type."""
    try:
        return function()
    except refusals:
        return "refused"
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # an error of the Rust library, only in the reference
            return "refused"
        raise


def assert_same_encoding(mine: Any, reference: Any) -> None:
    assert list(mine.keys()) == list(reference.keys())
    assert dict(mine) == dict(reference)
    assert repr(mine) == repr(reference)
    assert mine.n_sequences == reference.n_sequences
    assert len(mine.encodings) == len(reference.encodings)
    for row in range(min(len(mine.encodings), 40)):  # of hundreds with overflow, all compared above
        assert mine.tokens(row) == reference.tokens(row)
        assert mine.word_ids(row) == reference.word_ids(row)
        assert mine.sequence_ids(row) == reference.sequence_ids(row)
        assert mine[row].offsets == reference[row].offsets
        assert mine[row].special_tokens_mask == reference[row].special_tokens_mask


def assert_same_call(mine: Any, reference: Any, *args: Any, **call: Any) -> None:
    """Both return the same fields, or both raise an error; and both decode the ids to the same texts."""
    got = result_of(lambda: mine(*args, **call), MinitransformersError)
    expected = result_of(lambda: reference(*args, **call), Exception)
    if isinstance(got, str) or isinstance(expected, str):
        assert isinstance(got, str), f"only the reference refuses {call}"
        assert isinstance(expected, str), f"only we refuse {call}"
        return
    assert_same_encoding(got, expected)
    rows = [encoding.ids for encoding in got.encodings[:40]]
    for skip, clean in itertools.product((False, True), (None, False, True)):
        options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
        assert mine.batch_decode(rows, **options) == reference.batch_decode(rows, **options)
    for ids in rows[:3]:
        assert mine.decode(ids) == reference.decode(ids)
        assert mine.convert_ids_to_tokens(ids, skip_special_tokens=True) == reference.convert_ids_to_tokens(
            ids, skip_special_tokens=True
        )
        assert mine.convert_tokens_to_string(mine.convert_ids_to_tokens(ids)) == reference.convert_tokens_to_string(
            reference.convert_ids_to_tokens(ids)
        )


def assert_same_tokenizer(mine: Any, reference: Any) -> None:
    """Everything except calls."""
    assert len(mine) == len(reference)
    assert mine.vocab_size == reference.vocab_size
    assert mine.get_added_vocab() == reference.get_added_vocab()
    assert mine.special_tokens_map == reference.special_tokens_map
    assert mine.extra_special_tokens == reference.extra_special_tokens
    assert mine.all_special_tokens == reference.all_special_tokens
    assert mine.all_special_ids == reference.all_special_ids
    assert repr(mine.added_tokens_decoder) == repr(reference.added_tokens_decoder)
    for name in ("model_max_length", "padding_side", "truncation_side", "model_input_names", "split_special_tokens"):
        assert getattr(mine, name) == getattr(reference, name), name
    for name in reference.SPECIAL_TOKENS_ATTRIBUTES:
        assert getattr(mine, name) == getattr(reference, name), name
        assert getattr(mine, name + "_id") == getattr(reference, name + "_id"), name
    for pair in (False, True):
        assert mine.num_special_tokens_to_add(pair) == reference.num_special_tokens_to_add(pair)
