"""Damaged and hostile files, in a short run. `--hypothesis-profile=thorough` makes a longer one, mutate_files.py any.

Each case runs in a process that may compute 5 seconds, take 1 GiB and write nowhere else: it loads, or is refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from file_kinds import KINDS
from hypothesis import given, settings, strategies as st
from limited import run_limited
from mutate_files import results

import minitransformers as mt
from minitransformers.errors import InputError, MinitransformersError
from minitransformers.files.json_text import parse_json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and the watch are those of Linux")

CASES = max(settings.default.max_examples // 5, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_load_or_are_refused(kind: str, tmp_path: Path, annotations_are_not_checked: None) -> None:
    bad = [result for result in results(kind, range(CASES), tmp_path) if result.is_bad]
    assert not bad


# ---- the net itself --------------------------------------------------------------------------------------------------


def test_every_bad_end_is_seen(tmp_path: Path) -> None:
    def misbehave(how: str) -> None:
        if how == "hang":
            while True:
                pass
        elif how == "death":
            import ctypes

            ctypes.string_at(0)
        elif how == "memory":
            bytes(2**31)
        elif how == "outside":
            (tmp_path.parent / "outside").write_text("")
        elif how == "code":
            import subprocess

            subprocess.run(["true"], check=False)
        elif how == "raw":
            json.loads("{")
        elif how == "refused":
            raise InputError("in words")

    kinds = ["loaded", "refused", "raw", "memory", "outside", "code", "death", "hang", "loaded"]
    ends = [(result.kind, result.detail) for result in run_limited(misbehave, kinds, allowed=[tmp_path], seconds=0.3)]
    expected = ["loaded", "refused", "raw", "raw", "outside", "outside", "death", "hang", "loaded"]
    assert [kind for kind, _ in ends] == expected
    for (_, detail), words in zip(ends, ("", "in words", "JSONDecodeError", "MemoryError"), strict=False):
        assert words in detail


# ---- values ----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=10,
)


@given(JSON, st.booleans())
def test_json_is_read_as_json(value: Any, ascii_only: bool) -> None:
    try:
        text = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    assert parse_json(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "the name 'a' occurs twice"),
        ("[" * 200 + "]" * 200, "more than 100 levels"),
        ("[" * 200_000 + "]" * 200_000, "more than 100 levels"),
        ("9" * 5000, "a number has 5,000 digits"),
        ('"\\ud800"', "half of a character"),
        ("[1", "Expecting"),
    ],
)
def test_json_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    assert parse_json("[" * 99 + "]" * 99)
    assert parse_json("9" * 300) == int("9" * 300)


@given(st.sampled_from(sorted(mt.BertConfig._fields)), JSON)
def test_any_value_of_any_field(name: str, value: Any) -> None:
    """A configuration keeps a value, and gives it back, or refuses it."""
    try:
        config = mt.BertConfig.from_dict({"model_type": "bert", name: value})
    except MinitransformersError:
        return
    assert mt.BertConfig.from_dict(json.loads(config.to_json_string())) == config
