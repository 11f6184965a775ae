"""Masks, drawn out: rows are queries, columns are keys, 1 may attend."""

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.nn.masks import (
    causal_mask,
    document_mask,
    documents_from_positions,
    padding_mask,
)


def drawing(mask):
    """A mask as text books draw it."""
    return [[int(may) for may in row] for row in mask]


def test_causal_is_the_lower_triangle():
    mask = causal_mask(4)
    assert mask.shape == (1, 1, 4, 4)
    assert mask.dtype == torch.bool
    assert drawing(mask[0, 0]) == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]


@pytest.mark.parametrize(
    ("queries", "keys", "expected"),
    [
        (1, 6, [[1, 1, 1, 1, 1, 1]]),  # five are cached: the new one sees all six
        (2, 5, [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),  # a piece of two after three
        (3, 3, [[1, 0, 0], [1, 1, 0], [1, 1, 1]]),
        (3, 2, [[0, 0], [1, 0], [1, 1]]),  # the first query stands before all keys
    ],
)
def test_causal_is_aligned_to_the_lower_right(queries, keys, expected):
    assert drawing(causal_mask(queries, keys)[0, 0]) == expected


@given(st.integers(1, 8), st.data())
def test_a_piece_of_the_causal_mask_is_the_causal_mask_of_the_piece(length, data):
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    assert torch.equal(causal_mask(end - start, end), causal_mask(length)[:, :, start:end, :end])


@pytest.mark.parametrize("dtype", [torch.long, torch.int32, torch.bool, torch.float32])
def test_padding_hides_a_key_from_every_query(dtype):
    mask = padding_mask(torch.tensor([[1, 1, 0], [1, 0, 0]]).to(dtype))
    assert mask.shape == (2, 1, 1, 3)
    assert drawing(mask[0, 0].expand(3, 3)) == [[1, 1, 0], [1, 1, 0], [1, 1, 0]]
    assert drawing(mask[1, 0].expand(3, 3)) == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_padding_and_causality_are_joined_by_and():
    mask = padding_mask(torch.tensor([[0, 1, 1]])) & causal_mask(3)
    assert drawing(mask[0, 0]) == [
        [0, 0, 0],  # padding on the left has nothing to attend to
        [0, 1, 0],
        [0, 1, 1],
    ]


def test_documents_are_blocks_on_the_diagonal():
    mask = document_mask(torch.tensor([[0, 0, 1, 1, 1]]))
    assert mask.shape == (1, 1, 5, 5)
    assert drawing(mask[0, 0]) == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
    ]
    assert drawing((mask & causal_mask(5))[0, 0]) == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


@pytest.mark.parametrize(
    ("positions", "documents"),
    [
        ([0, 1, 2, 3], [0, 0, 0, 0]),
        ([0, 1, 0, 1, 2], [0, 0, 1, 1, 1]),
        ([0, 0, 0], [0, 1, 2]),
        ([5, 6, 7, 0], [0, 0, 0, 1]),
        ([2], [0]),
    ],
)
def test_documents_begin_where_positions_do_not_count_on(positions, documents):
    assert documents_from_positions(torch.tensor([positions])).tolist() == [documents]


# ---- read_attention_mask: every form in which users pass one ---------------------------------------------------------
