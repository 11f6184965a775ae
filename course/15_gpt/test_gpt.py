"""Judges exercise 15."""

import pieces

from minitransformers.testing import check_causal_loss, check_gpt


def test_gpt():
    check_gpt(pieces.GPT)


def test_causal_loss():
    check_causal_loss(pieces.causal_loss)
