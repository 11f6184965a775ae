"""WordPiece, BERT's tokenizer, in plain Python (Schuster and Nakajima, 2012; Wu et al., 2016, §4.1).

Text becomes words, and each word the longest pieces that the vocabulary has, from left to right. Pieces that continue a
word begin with ##: "playing" is "play", "##ing". `BertTokenizer` computes the same ids in Rust, many times faster.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

from minitransformers.tokenization.algorithms.characters import WHITE_SPACE, is_chinese, is_control, is_punctuation
from minitransformers.tokenization.algorithms.merges import learn_merges


class WordPiece:
    """A vocabulary with its two directions.

    Args:
        vocabulary: the tokens; a token's place is its id.
        lowercase: as in the "uncased" models: lower case, and no accents.
        unknown: the token of a word that has no pieces.
        max_characters: longer words are unknown.
    """

    def __init__(
        self, vocabulary: list[str], lowercase: bool = True, unknown: str = "[UNK]", max_characters: int = 100
    ) -> None:
        self.vocabulary = vocabulary
        self.ids = {token: index for index, token in enumerate(vocabulary)}
        self.lowercase, self.unknown, self.max_characters = lowercase, unknown, max_characters

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without [CLS] and [SEP]."""
        return [self.ids[piece] for word in self.words(text) for piece in self.pieces(word)]

    def words(self, text: str) -> Iterator[str]:
        """The words of a text; each punctuation mark and each Chinese character is a word of its own."""
        text = "".join(char for char in text if char not in "\0\ufffd" and not is_control(char))
        text = "".join(f" {char} " if is_chinese(char) else char for char in text)
        if self.lowercase:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
            text = "".join(char.lower() for char in text)  # each by itself: the last sigma of a word is no exception
        word = ""
        for char in text + " ":
            if char in WHITE_SPACE or is_punctuation(char):
                yield from (part for part in (word, char) if part and part not in WHITE_SPACE)
                word = ""
            else:
                word += char

    def pieces(self, word: str) -> list[str]:
        """The longest piece that the word begins with, then the longest that the rest begins with, and so on."""
        if len(word) > self.max_characters:
            return [self.unknown]
        pieces: list[str] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self.ids)
            end = next(ends, None)
            if end is None:
                return [self.unknown]  # the whole word: it has no mixture of known and unknown parts
            pieces.append(prefix + word[start:end])
            start = end
        return pieces

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids: words are joined by spaces, so that the original spacing is lost."""
        return " ".join(self.vocabulary[index] for index in ids).replace(" ##", "")

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, special: Iterable[str] = ("[UNK]",), min_frequency: int = 2
    ) -> WordPiece:
        """Learn a vocabulary: characters first, then joined pairs, the most frequent first (see merges.py)."""
        counts = Counter(word for text in texts for word in cls([]).words(text))
        words = {(word[0], *("##" + char for char in word[1:])): number for word, number in counts.items()}
        alphabet = {char for word in counts for char in word} | {piece for word in words for piece in word}
        vocabulary = [*special, *sorted(alphabet, key=lambda piece: (len(piece), piece))]
        learn_merges(words, vocabulary, size, min_frequency, join=lambda first, second: first + second[2:])
        return cls(vocabulary)
