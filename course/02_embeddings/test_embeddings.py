"""Judges exercise 2."""

import pieces

from minitransformers.testing import check_embeddings


def test_embedding():
    check_embeddings(pieces.Embedding)
