"""Judges exercise 9."""

import pieces
import torch

from minitransformers.testing import check_encoder_block


def test_encoder_block():
    torch.manual_seed(0)
    check_encoder_block(pieces.EncoderBlock(8, 2, 16), heads=2)
