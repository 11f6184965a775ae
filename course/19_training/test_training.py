"""Judges exercise 19."""

import pieces

from minitransformers.testing import check_schedule, check_training_loop


def test_loop():
    check_training_loop(pieces.train)


def test_learning_rate():
    check_schedule(pieces.learning_rate)
