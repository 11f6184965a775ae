"""Judges exercise 16."""

import pieces

from minitransformers.testing import check_cache


def test_cache():
    check_cache(pieces.KVCache)
