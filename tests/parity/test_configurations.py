"""Configurations against the reference's: fields, defaults, files."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path

import pytest
import transformers
from cases import Family
from families import FAMILIES
from hypothesis import given, strategies as st

import minitransformers as mt

# Bookkeeping of the reference, and which layers
# of a DINOv2 a detector is built on.
NOT_COVERED = {"transformers_version", "_out_features", "_out_indices"}

EACH = pytest.mark.parametrize("family", FAMILIES, ids=repr)


@EACH
def test_fields_and_defaults(family: Family) -> None:
    ours, theirs = getattr(mt, family.config_class)(), getattr(transformers, family.config_class)()
    for field in dataclasses.fields(theirs):
        if field.name not in NOT_COVERED:
            assert getattr(ours, field.name) == getattr(theirs, field.name), field.name
    for alias in (*theirs.attribute_map, "num_labels"):
        assert getattr(ours, alias) == getattr(theirs, alias)


@EACH
@given(data=st.data())
def test_each_reads_the_others_file(family: Family, data: st.DataObject) -> None:
    chosen = family.config(data.draw, num_labels=data.draw(st.integers(1, 4)))
    ours, theirs = getattr(mt, family.config_class)(**chosen), getattr(transformers, family.config_class)(**chosen)
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


@EACH
def test_keywords_are_the_references(family: Family) -> None:
    """Whatever field the reference's constructor takes, ours takes too."""
    theirs = {field.name for field in dataclasses.fields(getattr(transformers, family.config_class))} - NOT_COVERED
    assert theirs <= set(inspect.signature(getattr(mt, family.config_class)).parameters)
