"""Judges exercise 11."""

import pieces

from minitransformers.testing import check_mlm_masking


def test_masking():
    check_mlm_masking(pieces.mask_tokens)
