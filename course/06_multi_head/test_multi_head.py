"""Judges exercise 6."""

import pieces
import torch

from minitransformers.testing import check_attention


def test_multi_head_attention():
    torch.manual_seed(0)
    check_attention(pieces.MultiHeadAttention(8, 2), heads=2)
