"""Judges exercise 3."""

import pieces

from minitransformers.testing import check_positions


def test_positions():
    check_positions(pieces.sinusoidal_positions)
