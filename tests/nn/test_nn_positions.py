"""Positions: counted, read from a mask, learned, and as waves."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.nn.positions import (
    SinusoidalPositions,
    count_positions,
    positions_from_mask,
    sinusoidal_positions,
)


def test_positions_are_counted_from_where_the_cache_ends():
    assert count_positions(4).tolist() == [[0, 1, 2, 3]]
    assert count_positions(2, 5).tolist() == [[5, 6]]


@pytest.mark.parametrize(
    ("mask", "positions"),
    [
        ([1, 1, 1], [0, 1, 2]),
        ([0, 0, 1, 1], [0, 0, 0, 1]),  # a left-padded prompt starts at 0 like any other
        ([1, 1, 0, 0], [0, 1, 1, 1]),
        ([0, 1, 0, 1], [0, 0, 0, 1]),
        ([0, 0], [0, 0]),
    ],
)
def test_positions_from_a_mask_count_real_tokens(mask, positions):
    assert positions_from_mask(torch.tensor([mask])).tolist() == [positions]


def test_the_first_waves():
    """Width 4: wavelengths 2π and 2π·100, sine beside cosine (Vaswani et al., 2017, §3.5)."""
    table = sinusoidal_positions(torch.arange(3), 4)
    assert table.shape == (3, 4)
    assert table[0].tolist() == [0.0, 1.0, 0.0, 1.0]
    expected = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    assert table[2].tolist() == pytest.approx(expected, abs=1e-7)


@given(width=st.integers(1, 17), position=st.integers(0, 5000))
def test_the_closed_form_for_any_width_odd_ones_too(width, position):
    """sin(p / 10000^(2i/width)) at feature 2i, the cosine of the same at 2i + 1."""
    table = sinusoidal_positions(torch.tensor([[position]]), width)
    assert table.shape == (1, 1, width)
    for feature in range(width):
        angle = position / 10000 ** (feature // 2 * 2 / width)
        expected = math.cos(angle) if feature % 2 else math.sin(angle)
        assert table[0, 0, feature].item() == pytest.approx(expected, abs=1e-6)


@given(shift=st.integers(0, 50), position=st.integers(0, 50))
def test_a_shift_is_a_rotation(shift, position):
    """What the waves were chosen for: the position p + k is a linear function of p, the same for every p."""
    now, later = (sinusoidal_positions(torch.tensor([p]), 6).double().view(3, 2) for p in (position, position + shift))
    for i in range(3):
        angle = shift / 10000 ** (2 * i / 6)
        rotation = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]).double()
        torch.testing.assert_close(rotation @ now[i], later[i], atol=1e-5, rtol=0)


def test_sinusoidal_positions_as_a_layer_have_nothing_to_train():
    layer = SinusoidalPositions(5)
    position_ids = torch.tensor([[0, 1], [7, 100_000]])
    assert torch.equal(layer(position_ids), sinusoidal_positions(position_ids, 5))
    assert not list(layer.parameters())
    assert not layer.state_dict()


def test_the_waves_have_the_default_dtype():
    assert sinusoidal_positions(torch.arange(2), 4).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert sinusoidal_positions(torch.arange(2), 4).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
