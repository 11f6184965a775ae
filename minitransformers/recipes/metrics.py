"""The figures of classification, of named entities and of answers, each a few lines."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Hashable, Sequence

from minitransformers.errors import InputError


def accuracy(predictions: Sequence[Hashable], labels: Sequence[Hashable]) -> float:
    """The share of predictions that are the label.

    Raises:
        InputError: no labels, or another number of them than of predictions.
    """
    _check(predictions, labels)
    return sum(a == b for a, b in zip(predictions, labels, strict=True)) / len(labels)


def macro_f1(predictions: Sequence[Hashable], labels: Sequence[Hashable]) -> float:
    """The mean over the classes of F₁ = 2PR/(P + R), each class as important as the others.

    Classes are those that occur in predictions or labels; one that is never predicted right has 0.

    Raises:
        InputError: see `accuracy`.
    """
    _check(predictions, labels)
    right = Counter(a for a, b in zip(predictions, labels, strict=True) if a == b)
    predicted, present = Counter(predictions), Counter(labels)
    classes = predicted.keys() | present.keys()
    return sum(2 * right[each] / (predicted[each] + present[each]) for each in classes) / len(classes)


def entity_scores(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F₁ of whole entities (Tjong Kim Sang and De Meulder, 2003, §2.3).

    An entity is right if its kind, its first word and its last word are. Sequences are tags of one sentence each, as
    "B-PER", "I-PER", "O"; an I without a B before it begins an entity (IOB1).

    Raises:
        InputError: no sentences, or other numbers of sentences or tags.
    """
    _check(predictions, labels)
    counts = Counter[str]()
    for predicted, true in zip(predictions, labels, strict=True):
        if len(predicted) != len(true):
            raise InputError(f"A sentence has {len(true)} labels and {len(predicted)} predictions.")
        found, present = entities_of(predicted), entities_of(true)
        counts += Counter(found=len(found), present=len(present), right=len(found & present))
    precision = counts["right"] / counts["found"] if counts["found"] else 0.0
    recall = counts["right"] / counts["present"] if counts["present"] else 0.0
    both = counts["found"] + counts["present"]
    return {"precision": precision, "recall": recall, "f1": 2 * counts["right"] / both if both else 0.0}


def entities_of(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The entities of a sentence: kind, position of the first word, and position behind the last."""
    found: set[tuple[str, int, int]] = set()
    kind, start = "", 0
    for position, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.add((kind, start, position))
            kind = ""
        if prefix in ("B", "I") and not kind:
            kind, start = name, position
    return found


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 if the prediction is one of the right answers, by their words (Rajpurkar et al., 2016, §6.1), else 0.

    Case, punctuation and the articles a, an and the do not count.
    """
    return float(any(_words(prediction) == _words(answer) for answer in answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """The F₁ of the words that prediction and answer share; the best of the answers counts (§6.1 there)."""
    return max((_overlap(_words(prediction), _words(answer)) for answer in answers), default=0.0)


def _overlap(predicted: list[str], true: list[str]) -> float:
    if not predicted or not true:
        return float(predicted == true)
    shared = sum((Counter(predicted) & Counter(true)).values())
    return 2 * shared / (len(predicted) + len(true))


def _words(text: str) -> list[str]:
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def _check(predictions: Sequence[object], labels: Sequence[object]) -> None:
    if not labels:
        raise InputError("There are no labels to compare with.")
    if len(predictions) != len(labels):
        raise InputError(f"There are {len(predictions)} predictions for {len(labels)} labels.")
