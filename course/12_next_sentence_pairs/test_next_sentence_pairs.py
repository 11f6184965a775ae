"""Judges exercise 12."""

import pieces

from minitransformers.testing import check_next_sentence_pairs


def test_pairs():
    check_next_sentence_pairs(pieces.make_pairs)
