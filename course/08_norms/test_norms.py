"""Judges exercise 8."""

import pieces

from minitransformers.testing import check_norm


def test_layer_norm():
    check_norm(pieces.LayerNorm)


def test_rms_norm():
    check_norm(pieces.RMSNorm, rms=True)
