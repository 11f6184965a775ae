"""Exercise 1: from a text to ids."""

import unicodedata
from itertools import pairwise


def bpe(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Cut a word into pieces by byte-pair merges.

    Begin with the letters. Of all pairs of neighbours that are in `merges`, take the one that was learnt first (it
    stands first in the list) and join it everywhere in the word, from left to right. Go on until no pair is left.

    Args:
        word: for example "lower".
        merges: pairs, the one that was learnt first at the front, for example [("l", "o"), ("lo", "w")].

    Returns:
        The pieces, for example ["low", "e", "r"].
    """
    ...  # write this


def wordpiece(word: str, vocabulary: dict[str, int]) -> list[str]:
    """Cut a word into the longest pieces that the vocabulary has, from left to right.

    A piece that continues a word is looked up, and returned, with "##" in front.

    Args:
        word: for example "playing".
        vocabulary: the id of each piece.

    Returns:
        The pieces, for example ["play", "##ing"]; ["[UNK]"] if the word cannot be cut completely.
    """
    ...  # write this


def split_words(text: str) -> list[str]:
    """Cut a text into lower-case words without accents; each punctuation mark is a word of its own.

    Args:
        text: for example "A café!"

    Returns:
        The words, for example ["a", "cafe", "!"].
    """
    ...  # write this


def encode(text: str, vocabulary: dict[str, int]) -> list[int]:
    """The ids of a text as BERT reads it: [CLS], the pieces of its words, [SEP].

    Args:
        text: one sentence.
        vocabulary: the id of each piece, "[CLS]", "[SEP]" and "[UNK]" among them.

    Returns:
        The ids.
    """
    ...  # write this
