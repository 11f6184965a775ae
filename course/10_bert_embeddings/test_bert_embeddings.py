"""Judges exercise 10."""

import pieces

from minitransformers.testing import check_bert_embeddings


def test_bert_embeddings():
    check_bert_embeddings(pieces.BertEmbeddings)
