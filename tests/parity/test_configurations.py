"""Configurations against the reference's: fields, defaults, files; and the published parameter counts."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import Any

import bert_cases
import gpt2_cases
import pytest
import torch
import transformers
from hypothesis import given, strategies as st

import minitransformers as mt

# Bookkeeping of the reference; and computing the feed-forward network in pieces, which changes no number.
NOT_COVERED = {"transformers_version", "chunk_size_feed_forward"}

FAMILIES = pytest.mark.parametrize(
    ("name", "strategy"), [("BertConfig", bert_cases.config), ("GPT2Config", gpt2_cases.config)]
)


@FAMILIES
def test_fields_and_defaults(name: str, strategy: Any) -> None:
    ours, theirs = getattr(mt, name)(), getattr(transformers, name)()
    for field in dataclasses.fields(theirs):
        if field.name not in NOT_COVERED:
            assert getattr(ours, field.name) == getattr(theirs, field.name), field.name
    for alias in (*theirs.attribute_map, "num_labels"):
        assert getattr(ours, alias) == getattr(theirs, alias)


@FAMILIES
@given(data=st.data())
def test_each_reads_the_others_file(name: str, strategy: Any, data: st.DataObject) -> None:
    chosen = strategy(data.draw, num_labels=data.draw(st.integers(1, 4)))
    ours, theirs = getattr(mt, name)(**chosen), getattr(transformers, name)(**chosen)
    with tempfile.TemporaryDirectory() as directory:
        ours.save_pretrained(Path(directory, "ours"))
        theirs.save_pretrained(Path(directory, "theirs"))
        they_read = type(theirs).from_pretrained(Path(directory, "ours"))
        we_read = type(ours).from_pretrained(Path(directory, "theirs"))
    for field in dataclasses.fields(theirs):
        if field.name not in NOT_COVERED:
            expected = getattr(theirs, field.name)
            assert getattr(they_read, field.name) == expected, field.name
            assert getattr(we_read, field.name) == expected, field.name


@FAMILIES
def test_keywords_are_the_references(name: str, strategy: Any) -> None:
    """Whatever field the reference's constructor takes, ours takes too."""
    theirs = {field.name for field in dataclasses.fields(getattr(transformers, name))} - NOT_COVERED
    assert theirs <= set(inspect.signature(getattr(mt, name)).parameters)


@pytest.mark.parametrize(
    ("model", "config", "count"),
    [("BertModel", "BertConfig", 109_482_240), ("GPT2LMHeadModel", "GPT2Config", 124_439_808)],
)
def test_parameter_counts(model: str, config: str, count: int) -> None:
    """BERT-base and the smallest GPT-2, made on the meta device, which holds no numbers."""
    for library in (mt, transformers):
        with torch.device("meta"):
            made = getattr(library, model)(getattr(library, config)())
        assert sum(parameter.numel() for parameter in made.parameters()) == count
        assert made.num_parameters() == count
