"""Judges exercise 18."""

import pieces

from minitransformers.testing import check_beam_search


def test_beam_search():
    check_beam_search(pieces.beam_search)
