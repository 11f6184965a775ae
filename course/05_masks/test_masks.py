"""Judges exercise 5."""

import pieces

from minitransformers.testing import check_masks


def test_causal_mask():
    check_masks(causal=pieces.causal_mask)


def test_padding_mask():
    check_masks(padding=pieces.padding_mask)
