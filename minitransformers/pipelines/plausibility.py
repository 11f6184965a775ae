"""Plausibility of an extracted answer: reasons to doubt it, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_CLOSE = 0.5  # another answer is close if it is at least half as likely


def reasons_for_doubt(
    answer: Mapping[str, Any],
    question: str,
    context: str,
    answers: Sequence[tuple[int, int, float]],
    found: tuple[int, bool],
    max_answer_len: int,
) -> list[str]:
    """Why an answer may be wrong; an empty list if nothing speaks against it.

    Args:
        answer: with "score", "start", "end" and "answer".
        question, context: the texts.
        answers: start, end and probability of every answer.
        found: the answer's length in tokens, and whether the most likely start of its window comes after the most
            likely end.
        max_answer_len: the longest answer that was considered, in tokens.

    Returns:
        Sentences that begin with "empty", "too long", "repeats the question", "low margin" or "start after end".
    """
    reasons = []
    length, start_after_end = found
    words = _words(answer["answer"])
    if not words:
        reasons.append("empty: the answer has no letters or digits.")
    if length >= max_answer_len > 1:
        reasons.append(f"too long: the answer has max_answer_len={max_answer_len} tokens, and may go on.")
    if words and set(words) <= set(_words(question)):
        reasons.append("repeats the question: all words of the answer are in the question.")
    apart = [(score, start, end) for start, end, score in answers if not _overlap(answer, start, end)]
    score, start, end = max(apart, default=(0.0, 0, 0))
    if score > _CLOSE * answer["score"]:
        other = context[start:end]
        reasons.append(f"low margin: {other!r} is about as likely ({score:.3g}, and {answer['score']:.3g}).")
    if start_after_end:
        reasons.append("start after end: the most likely start comes after the most likely end.")
    return reasons


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _overlap(answer: Mapping[str, Any], start: int, end: int) -> bool:
    return bool(answer["start"] < end and start < answer["end"])
