"""Relative positions: T5's buckets."""

from __future__ import annotations

import torch
from hypothesis import given, strategies as st
from transformers.models.t5.modeling_t5 import T5Attention

from minitransformers.nn import relative_buckets


@given(buckets=st.integers(4, 64), further=st.integers(1, 500), bidirectional=st.booleans())
def test_buckets_are_the_references(buckets: int, further: int, bidirectional: bool) -> None:
    """For every distance up to far beyond the largest: the edges too, where the rounding of a logarithm decides."""
    distances = torch.arange(-1500, 1501)[None]
    largest = buckets // 2 + further
    expected = T5Attention._relative_position_bucket(distances, bidirectional, buckets, largest)
    found = relative_buckets(distances, buckets, largest, bidirectional=bidirectional)
    assert torch.equal(found, expected)
    assert found.min() >= 0
    assert found.max() < buckets


def test_worked_example() -> None:
    """Eight buckets one way: four exact ones, then 4–5, 6–8, 9–12 and all beyond."""
    found = relative_buckets(-torch.arange(20)[None], 8, 16, bidirectional=False)
    assert found.tolist() == [[0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7]]
