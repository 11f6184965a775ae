"""Judges exercise 17."""

import pieces

from minitransformers.testing import check_sampler


def test_filters():
    check_sampler(pieces.filter_logits)
