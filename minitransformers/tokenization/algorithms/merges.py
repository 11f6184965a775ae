"""Learning which pairs of pieces to join: byte pair encoding (Sennrich et al., 2016, §3.2, algorithm 1)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise

Pair = tuple[str, str]


def learn_merges(
    words: Mapping[tuple[str, ...], int],
    vocabulary: list[str],
    size: int,
    min_frequency: int = 2,
    join: Callable[[str, str], str] = str.__add__,
) -> list[Pair]:
    """Join the most frequent pair of neighbours, again and again, until the vocabulary is full.

    Args:
        words: each word as its pieces, with the number of times that it occurs. Pairs don't cross words.
        vocabulary: the tokens that exist; each joined pair is added to it.
        size: number of tokens at which learning ends.
        min_frequency: pairs that occur less often are not joined.
        join: the token of a pair.

    Returns:
        The pairs in the order in which they were joined. Of pairs that occur equally often, the one comes first whose
        tokens are older.
    """
    ids = {token: index for index, token in enumerate(vocabulary)}
    pieces, times = [list(word) for word in words], list(words.values())
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # the words in which a pair was seen

    def count(index: int, sign: int) -> None:
        for pair in pairwise(pieces[index]):
            counts[pair] += sign * times[index]
            where[pair].add(index)

    for index in range(len(pieces)):
        count(index, +1)
    merges: list[Pair] = []
    while len(ids) < size and counts:
        best = max(counts, key=lambda pair: (counts[pair], -ids[pair[0]], -ids[pair[1]]))
        if counts[best] < max(min_frequency, 1):
            break
        token = join(*best)
        if token not in ids:
            ids[token] = len(ids)
            vocabulary.append(token)
        merges.append(best)
        for index in where.pop(best):
            count(index, -1)
            pieces[index] = merge(pieces[index], best, token)
            count(index, +1)
        del counts[best]
    return merges


def merge(pieces: list[str], pair: Pair, token: str) -> list[str]:
    """`pieces` with `token` in place of every occurrence of `pair`, from left to right."""
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] = token
        else:
            merged.append(piece)
    return merged
