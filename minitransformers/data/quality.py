"""Rules that tell prose from lists, boilerplate and damaged text: those of Gopher's and of T5's training data.

Both are made for English; their numbers are arguments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
ELLIPSES = ("...", "…")
BULLETS = ("•", "●", "▪", "‣", "-", "*")
SENTENCE_ENDS = (".", "!", "?", '"', "”")


@dataclass(frozen=True)
class GopherRules:
    """Drops texts by the quality rules of MassiveText (Rae et al., 2021, appendix A.1.1).

    Args:
        words: the fewest and the most words.
        word_length: the smallest and the largest mean length of words, in characters.
        symbols: the most hash signs, and the most ellipses, for each word.
        bullet_lines: the largest share of lines that begin with a bullet point.
        ellipsis_lines: the largest share of lines that end with an ellipsis.
        alphabetic_words: the smallest share of words with at least one letter.
        stop_words, least_stop_words: how many different ones of these words a text needs.
    """

    words: tuple[int, int] = (50, 100_000)
    word_length: tuple[float | int, float | int] = (3.0, 10.0)
    symbols: float | int = 0.1
    bullet_lines: float | int = 0.9
    ellipsis_lines: float | int = 0.3
    alphabetic_words: float | int = 0.8
    stop_words: Sequence[str] = STOP_WORDS
    least_stop_words: int = 2

    def __call__(self, text: str) -> str | None:
        """The reason to drop a text, or None."""
        words = text.split()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        count = len(words)
        if not count or not self.words[0] <= count <= self.words[1]:
            return f"words not from {self.words[0]} to {self.words[1]}"
        if not self.word_length[0] <= sum(map(len, words)) / count <= self.word_length[1]:
            return f"mean word length not from {self.word_length[0]} to {self.word_length[1]}"
        if max(text.count("#"), sum(map(text.count, ELLIPSES))) / count > self.symbols:
            return f"more than {self.symbols} symbols a word"
        if sum(line.startswith(BULLETS) for line in lines) / len(lines) > self.bullet_lines:
            return f"more than {self.bullet_lines:.0%} bullet points"
        if sum(line.endswith(ELLIPSES) for line in lines) / len(lines) > self.ellipsis_lines:
            return f"more than {self.ellipsis_lines:.0%} lines end with an ellipsis"
        if sum(any(map(str.isalpha, word)) for word in words) / count < self.alphabetic_words:
            return f"fewer than {self.alphabetic_words:.0%} words with a letter"
        if len({word.lower() for word in words} & set(self.stop_words)) < self.least_stop_words:
            return f"fewer than {self.least_stop_words} stop words"
        return None


@dataclass(frozen=True)
class RepetitionRules:
    """Drops texts that repeat themselves (Rae et al., 2021, table A1).

    Args:
        lines, line_characters: the largest share of lines that occurred before, in lines and in characters.
        paragraphs, paragraph_characters: the same of paragraphs, which blank lines part.
        top_ngrams: for n words in a row, the largest share of characters in the most frequent such sequence.
        repeated_ngrams: for n words in a row, the largest share of characters in sequences that occur more than once,
            each character counted once.
    """

    lines: float | int = 0.30
    line_characters: float | int = 0.20
    paragraphs: float | int = 0.30
    paragraph_characters: float | int = 0.20
    top_ngrams: dict[int, float | int] = field(default_factory=lambda: {2: 0.20, 3: 0.18, 4: 0.16})
    repeated_ngrams: dict[int, float | int] = field(
        default_factory=lambda: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )

    def __call__(self, text: str) -> str | None:
        """The reason to drop a text, or None."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
        for name, parts, most, most_characters in (
            ("lines", lines, self.lines, self.line_characters),
            ("paragraphs", paragraphs, self.paragraphs, self.paragraph_characters),
        ):
            if not parts:
                continue
            again = [part for number, part in _repeated(parts) if number]
            if len(again) / len(parts) > most:
                return f"more than {most:.0%} repeated {name}"
            if sum(map(len, again)) / sum(map(len, parts)) > most_characters:
                return f"more than {most_characters:.0%} characters in repeated {name}"
        words = text.split()
        characters = sum(map(len, words))
        for n, most in self.top_ngrams.items():
            counts = Counter(zip(*(words[start:] for start in range(n)), strict=False))
            sequence, times = counts.most_common(1)[0] if counts else ((), 0)
            if times > 1 and times * sum(map(len, sequence)) > most * characters:
                return f"more than {most:.0%} characters in one sequence of {n} words"
        for n, most in self.repeated_ngrams.items():
            if _characters_in_repeated(words, n) > most * characters:
                return f"more than {most:.0%} characters in repeated sequences of {n} words"
        return None


def c4_lines(text: str) -> str:
    """The lines that C4 keeps (Raffel et al., 2020, §2.2): a sentence's end, at least 5 words, no "javascript"."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(
        line
        for line in lines
        if line.endswith(SENTENCE_ENDS) and len(line.split()) >= 5 and "javascript" not in line.lower()
    )


@dataclass(frozen=True)
class C4Rules:
    """Drops pages as C4 does (Raffel et al., 2020, §2.2), but for its list of words; after `c4_lines`, as there.

    Args:
        sentences: the fewest.
    """

    sentences: int = 3

    def __call__(self, text: str) -> str | None:
        """The reason to drop a text, or None."""
        if "lorem ipsum" in text.lower():
            return "lorem ipsum"
        if "{" in text:
            return "curly bracket"
        if len(re.findall(r"[.!?]+[\"”']?(?=\s|$)", text)) < self.sentences:
            return f"fewer than {self.sentences} sentences"
        return None


def _repeated(parts: list[str]) -> list[tuple[int, str]]:
    """Each part with how often it occurred before."""
    counts: Counter[str] = Counter()
    result = []
    for part in parts:
        result.append((counts[part], part))
        counts[part] += 1
    return result


def _characters_in_repeated(words: list[str], n: int) -> int:
    """How many characters are in sequences of n words that occur more than once."""
    sequences = list(zip(*(words[start:] for start in range(n)), strict=False))
    counts = Counter(sequences)
    covered = [False] * len(words)
    for start, sequence in enumerate(sequences):
        if counts[sequence] > 1:
            covered[start : start + n] = [True] * n
    return sum(len(word) for word, inside in zip(words, covered, strict=True) if inside)
