"""Windows: who sees whom in local attention, in whole sequences, in pieces, and when several rules meet."""

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.nn import AttentionMask, causal_mask, local_mask, padding_mask

LENGTHS = st.integers(1, 9)
REACHES = st.integers(0, 10)


def test_a_window_of_three_by_hand():
    """The query's own token and two before it; with two cached keys, queries are the last ones."""
    window = local_mask(4, before=2)[0, 0].int().tolist()
    assert window == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1]]
    assert local_mask(2, 4, before=1)[0, 0].int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert local_mask(3, before=1, after=1)[0, 0].int().tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]


@given(query=LENGTHS, cached=LENGTHS, before=REACHES, after=REACHES)
def test_it_is_a_rule_of_the_distance(query, cached, before, after):
    mask = local_mask(query, cached + query, before=before, after=after)
    for q in range(query):
        for k in range(cached + query):
            assert mask[0, 0, q, k] == (-after <= q + cached - k <= before)


@given(length=LENGTHS, before=REACHES)
def test_what_reaches_back_far_enough_is_causality(length, before):
    assert torch.equal(local_mask(length, before=before + length), causal_mask(length))
    assert local_mask(length, before=length, after=length).all()


@given(length=LENGTHS, before=REACHES, after=REACHES, data=st.data())
def test_pieces_are_rows_of_the_whole(length, before, after, data):
    """Lower-right alignment: what a piece sees is what its rows see in the whole sequence, up to its end."""
    stop = data.draw(st.integers(1, length))
    start = data.draw(st.integers(0, stop - 1))
    whole = local_mask(length, before=before, after=after)
    piece = local_mask(stop - start, stop, before=before, after=after)
    assert torch.equal(piece, whole[:, :, start:stop, :stop])


@given(length=LENGTHS, before=REACHES, after=REACHES)
def test_nobody_is_left_without_a_key_and_reaches_are_mirrored(length, before, after):
    mask = local_mask(length, before=before, after=after)
    assert mask.diagonal(dim1=-2, dim2=-1).all()
    assert torch.equal(mask, local_mask(length, before=after, after=before).mT)


@given(length=st.integers(2, 8), window=st.integers(1, 4), layers=st.integers(1, 4))
def test_layers_reach_further_than_one(length, window, layers):
    """What a token knows of after some layers: a window each."""
    step = local_mask(length, before=window - 1)[0, 0].double()
    reached = torch.linalg.matrix_power(step, layers) > 0
    assert torch.equal(reached, local_mask(length, before=layers * (window - 1))[0, 0])


@pytest.mark.parametrize("bias", [None, torch.randn(1, 1, 4, 4)])
def test_a_restriction_keeps_what_was_forbidden_and_what_is_added(bias):
    padding, window = padding_mask(torch.tensor([[1, 1, 1, 0]])), local_mask(4, before=1)
    both = AttentionMask(padding, bias).restricted_to(window)
    assert torch.equal(both.allowed, padding & window)
    assert both.bias is bias
    alone = AttentionMask(is_causal=True).restricted_to(window)
    assert torch.equal(alone.allowed, window)
    assert not alone.is_causal  # the window is
