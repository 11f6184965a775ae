"""Judges exercise 1."""

import pieces

from minitransformers.testing import check_tokenizer

TEXTS = ["A man is eating food.", "Café, naïve!", "  two  spaces ", "don't", "", "3.14 is not 3"]


def test_bpe():
    check_tokenizer(pieces.bpe)


def test_wordpiece():
    check_tokenizer(pieces.wordpiece)


def test_words():
    words = [pieces.split_words(text) for text in TEXTS]
    assert words[0] == ["a", "man", "is", "eating", "food", "."]
    assert words[1] == ["cafe", ",", "naive", "!"]
    assert words[2] == ["two", "spaces"]
    assert words[3] == ["don", "'", "t"]
    assert words[4] == []
    assert words[5] == ["3", ".", "14", "is", "not", "3"]


def test_encode():
    vocabulary = {piece: index for index, piece in enumerate(["[UNK]", "[CLS]", "[SEP]", "eat", "##ing", "food", "."])}
    assert pieces.encode("Eating food.", vocabulary) == [1, 3, 4, 5, 6, 2]
    assert pieces.encode("Eating stones.", vocabulary) == [1, 3, 4, 0, 6, 2]
