"""Patches: the fast convolution is the linear layer over cut patches, and positions of one grid fit another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn import functional as F

from minitransformers.nn import PatchEmbedding, cut_into_patches, resize_positions

sides = st.integers(1, 4)


@given(batch=sides, channels=sides, grid=st.tuples(sides, sides), patch=st.tuples(sides, sides), hidden=sides)
def test_the_convolution_is_a_linear_layer_over_the_patches(
    batch: int, channels: int, grid: tuple[int, int], patch: tuple[int, int], hidden: int
) -> None:
    pixels = torch.randn(batch, channels, grid[0] * patch[0], grid[1] * patch[1], dtype=torch.float64)
    layer = PatchEmbedding(channels, hidden, patch).double()
    by_hand = F.linear(cut_into_patches(pixels, patch), layer.projection.weight.flatten(1), layer.projection.bias)
    assert by_hand.shape == (batch, grid[0] * grid[1], hidden)
    torch.testing.assert_close(layer(pixels), by_hand, rtol=0, atol=1e-12)


@given(channels=sides, grid=st.tuples(sides, sides), patch=st.tuples(sides, sides))
def test_patches_are_the_image_row_by_row(channels: int, grid: tuple[int, int], patch: tuple[int, int]) -> None:
    pixels = torch.randn(2, channels, grid[0] * patch[0], grid[1] * patch[1])
    patches = cut_into_patches(pixels, patch)
    for number in range(grid[0] * grid[1]):
        top, left = number // grid[1] * patch[0], number % grid[1] * patch[1]
        window = pixels[:, :, top : top + patch[0], left : left + patch[1]]
        assert torch.equal(patches[:, number], window.flatten(1))


def test_resized_positions() -> None:
    positions = torch.randn(1, 6, 3)
    assert resize_positions(positions, (2, 3), (2, 3)) is positions
    constant = torch.full((1, 6, 3), 2.5)
    torch.testing.assert_close(resize_positions(constant, (2, 3), (5, 4)), torch.full((1, 20, 3), 2.5))
    # What falls from left to right does so afterwards, and rows stay alike.
    slope = torch.arange(4.0).repeat(4)[None, :, None]
    resized = resize_positions(slope, (4, 4), (2, 8)).reshape(2, 8)
    assert torch.equal(resized[0], resized[1])
    assert (resized.diff(dim=1) > 0).all()


def test_an_image_that_patches_do_not_divide() -> None:
    with pytest.raises(Exception, match=r"(?i)shape mismatch|divi"):
        cut_into_patches(torch.zeros(1, 3, 5, 4), (2, 2))
