"""Judges exercise 20."""

import pieces

from minitransformers.testing import check_lora


def test_lora():
    check_lora(pieces.LoRALinear)
