"""Judges exercise 21."""

import pieces

from minitransformers.testing import check_image_embeddings, check_patches


def test_patches():
    check_patches(pieces.patchify)


def test_image_embeddings():
    check_image_embeddings(pieces.ImageEmbeddings)
