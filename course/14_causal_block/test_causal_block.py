"""Judges exercise 14."""

import pieces
import torch

from minitransformers.testing import check_causal_block


def test_causal_block():
    torch.manual_seed(0)
    check_causal_block(pieces.CausalBlock(8, 2, 32), heads=2)
