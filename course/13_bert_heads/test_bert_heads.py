"""Judges exercise 13."""

import pieces

from minitransformers.testing import check_masked_lm_head, check_pooler, check_pretraining_loss


def test_masked_lm_head():
    check_masked_lm_head(pieces.MaskedLMHead)


def test_pooler():
    check_pooler(pieces.Pooler)


def test_pretraining_loss():
    check_pretraining_loss(pieces.pretraining_loss)
