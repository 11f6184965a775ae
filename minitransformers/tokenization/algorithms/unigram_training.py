"""Learning a unigram language model's pieces and their probabilities (Kudo, 2018, §3.2), for unigram.py."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from minitransformers.tokenization.algorithms.unigram import Unigram, words


def train_unigram(texts: Iterable[str], size: int, special: Sequence[str] = ("<unk>",), longest: int = 16) -> Unigram:
    """Begin with all frequent substrings; estimate their probabilities; drop those that are missed least; repeat.

    Args:
        texts: what to learn from.
        size: number of pieces, special ones included. Single characters are always kept.
        special: pieces that come first, and are never cut out of a text.
        longest: number of characters of the longest piece.
    """
    counted = Counter(word for text in texts for word in words(text))
    seen: Counter[str] = Counter()
    for word, times in counted.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + longest, len(word)) + 1):
                seen[word[start:end]] += times
    frequent = sorted((p for p in seen if seen[p] > 1), key=lambda p: (-seen[p] * len(p), p))
    counts = {p: float(seen[p]) for p in [*frequent[: 20 * size], *(p for p in seen if len(p) == 1)]}
    while True:
        for _ in range(2):
            expected = expected_counts(maximized(counts, special), counted)
            counts = {p: expected[p] for p in counts if expected[p] > 0.5 or len(p) == 1}
        model = maximized(counts, special)
        room = size - len(special)
        if len(counts) <= room or all(len(p) == 1 for p in counts):
            return model
        room = max(int(0.75 * len(counts)), room)
        kept = sorted(counts, key=lambda p: (len(p) > 1, -loss_without(p, counts[p], model), p))
        counts = {p: counts[p] for p in kept[:room]}


def maximized(counts: dict[str, float], special: Sequence[str]) -> Unigram:
    """The probabilities that make these counts most probable (the M step)."""
    total = sum(counts.values())
    scored = [(piece, math.log(max(count, 1e-9) / total)) for piece, count in counts.items()]
    return Unigram([*((token, 0.0) for token in special), *sorted(scored, key=lambda item: (-item[1], item[0]))])


def expected_counts(model: Unigram, counted: Counter[str]) -> dict[str, float]:
    """How often each piece occurs, over all ways to cut the words, each as probable as `model` says (the E step)."""
    expected: defaultdict[str, float] = defaultdict(float)
    for word, times in counted.items():
        forward, backward = path_scores(model, word)
        for start in range(len(word)):
            for end, _, score in model.candidates(word, start):
                expected[word[start:end]] += times * math.exp(forward[start] + score + backward[end] - forward[-1])
    return expected


def path_scores(model: Unigram, word: str) -> tuple[list[float], list[float]]:
    """For each place, the log-probability of all ways to cut what is before it, and of what is after it."""
    forward, backward = [-math.inf] * (len(word) + 1), [-math.inf] * (len(word) + 1)
    forward[0] = backward[-1] = 0.0
    for start in range(len(word)):
        for end, _, score in model.candidates(word, start):
            forward[end] = add_logs(forward[end], forward[start] + score)
    for start in reversed(range(len(word))):
        for end, _, score in model.candidates(word, start):
            backward[start] = add_logs(backward[start], score + backward[end])
    return forward, backward


def log_likelihood(model: Unigram, texts: Iterable[str]) -> float:
    """The log-probability of all words of the texts, summed over all ways to cut each."""
    counted = Counter(word for text in texts for word in words(text))
    return sum(times * path_scores(model, word)[0][-1] for word, times in counted.items())


def loss_without(piece: str, count: float, model: Unigram) -> float:
    """By how much the log-likelihood falls if a piece is dropped, and its own best pieces take its place."""
    inside = {piece[a:b] for a in range(len(piece)) for b in range(a + 1, len(piece) + 1)} - {piece}
    scores = {part: model.pieces[model.ids[part]][1] for part in inside if part in model.ids}
    if not scores:  # a single character
        return math.inf
    replacement = sum(scores[part] for part, _ in Unigram([*scores.items()]).segment(piece))
    return count * (model.pieces[model.ids[piece]][1] - replacement)


def add_logs(first: float, second: float) -> float:
    """log(eᵃ + eᵇ), without leaving the logarithms."""
    larger, smaller = max(first, second), min(first, second)
    return larger if smaller == -math.inf else larger + math.log1p(math.exp(smaller - larger))
