"""`check_next_sentence_pairs`: half of the pairs are neighbours (label 0), half are from two documents (label 1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from minitransformers.testing.learning.judging import CALLABLE, CheckError, call, find_cause, judge, table
from minitransformers.testing.learning.mlm import near, same_shares

EXPECTED = "make_pairs(documents, generator=None) -> list of (first, second, label); label 0 = is next"
MISTAKES = {
    "labels swapped": "labels are swapped: 0 means that the second sentence is next",
    "neighbours": "negatives are neighbours: the second sentence is the next one, whatever the label",
    "own document": "negatives come from the same document",
    "any document": "negatives come from any document, their own included, and can be the true next sentence",
    "previous": "positives have the sentence before, not the next one",
    "same": "positives repeat the first sentence",
    "across": "the last sentence of a document is paired with the first of the next one, as if it were next",
    "all next": "there are no negatives",
    "none next": "there are no positives",
    "few negatives": "a quarter of the pairs are negatives, not half",
    "many negatives": "three quarters of the pairs are negatives, not half",
    "first": "negatives are always the first sentence of a document",
    "following document": "negatives always come from the following document",
    "alternating": "labels alternate instead of being drawn",
}
DOCUMENTS = [[f"document {d}, sentence {s}" for s in range(4 + d % 3)] for d in range(40)]
SEEDS = range(20)
Relations = dict[str, tuple[float, int]]


def make_pairs(
    documents: Sequence[Sequence[str]], draw: random.Random, wrong: frozenset[str]
) -> list[tuple[str, str, int]]:
    """BERT's sentence pairs in plain steps (Devlin et al., 2019, §3.1), with the mistakes that `wrong` names."""
    share = 0.25 if "few negatives" in wrong else 0.75 if "many negatives" in wrong else 0.5
    share = 0.0 if "all next" in wrong else 1.0 if "none next" in wrong else share
    pairs: list[tuple[str, str, int]] = []
    for number, document in enumerate(documents):
        for place in range(len(document) - (not ("across" in wrong and number + 1 < len(documents)))):
            negative = draw.random() < share if "alternating" not in wrong else len(pairs) % 2 == 1
            after = document[place + 1] if place + 1 < len(document) else documents[number + 1][0]
            second = after
            if "previous" in wrong:
                if place == 0:
                    continue
                second = document[place - 1]
            if "same" in wrong:
                second = document[place]
            if negative and "neighbours" not in wrong:
                other = draw.choice([i for i in range(len(documents)) if i != number])
                other = number if "own document" in wrong else other
                other = draw.randrange(len(documents)) if "any document" in wrong else other
                other = (number + 1) % len(documents) if "following document" in wrong else other
                second = documents[other][0] if "first" in wrong else draw.choice(documents[other])
            label = int(negative)
            pairs.append((document[place], second, 1 - label if "labels swapped" in wrong else label))
    return pairs


def relations(documents: Sequence[Sequence[str]], pairs: Sequence[tuple[str, str, int]]) -> Relations:
    """How the second sentence of a pair lies to the first one, as shares of the pairs with each label."""
    place = {sentence: (d, s) for d, document in enumerate(documents) for s, sentence in enumerate(document)}
    count = len(documents)
    found: Relations = {"pairs with label 1": (sum(label for *_, label in pairs) / len(pairs), len(pairs))}
    changes = sum(a[2] != b[2] for a, b in pairwise(pairs))
    found["label differs from that of the pair before"] = (changes / max(1, len(pairs) - 1), len(pairs) - 1)
    tests: dict[str, Callable[[int, int, int, int], bool]] = {
        "is next": lambda d, s, e, t: d == e and t == s + 1,
        "is before": lambda d, s, e, t: d == e and t == s - 1,
        "is the same": lambda d, s, e, t: (d, s) == (e, t),
        "of the same document": lambda d, s, e, t: d == e,
        "of the following document": lambda d, s, e, t: e == (d + 1) % count,
        "the first of a document": lambda d, s, e, t: t == 0,
        "across the end of a document": lambda d, s, e, t: s == len(documents[d]) - 1 and e == d + 1 and t == 0,
    }
    for label in (0, 1):
        chosen = [(*place[a], *place[b]) for a, b, given in pairs if given == label]
        for name, test in tests.items():
            share = sum(test(*four) for four in chosen) / max(1, len(chosen))
            found[f"label {label}: second {name}"] = (share, len(chosen))
    return found


@cache  # the same for every learner's function
def _plain_relations(wrong: frozenset[str]) -> Relations:
    pairs = [pair for seed in SEEDS for pair in make_pairs(DOCUMENTS, random.Random(seed + 99), wrong)]
    return relations(DOCUMENTS, pairs)


def check_next_sentence_pairs(function: Callable[..., Any]) -> None:
    """Check the sentence pairs of BERT's pre-training.

    Args:
        function: `make_pairs(documents, generator=None)`, from documents (lists of sentences) to a list of
            (first, second, label), with label 0 where the second sentence is the next one. `generator` may also be
            called `rng` (a `random.Random`) or `seed`.

    Raises:
        CheckError: a law is broken.
    """
    pairs: list[tuple[str, str, int]] = []
    for seed in SEEDS:
        random.seed(seed)
        torch.manual_seed(seed)
        values = {"documents": [list(d) for d in DOCUMENTS], "generator": random.Random(seed), "seed": seed}
        result = list(call(function, values, EXPECTED))
        known = {sentence for document in DOCUMENTS for sentence in document}
        for pair in result:
            if len(pair) != 3 or pair[0] not in known or pair[1] not in known or int(pair[2]) not in (0, 1):
                raise CheckError(
                    CALLABLE, "it returns something else than (first, second, label)", f"{pair!r}\nexpected: {EXPECTED}"
                )
        pairs += [(pair[0], pair[1], int(pair[2])) for pair in result]
    ours, right = relations(DOCUMENTS, pairs), _plain_relations(frozenset())

    def broken(*names: str) -> str | None:
        wrong = [name for name in names if not near(ours[name], right[name])]
        return (
            table(["yours", "expected"], {name: [ours[name][0], right[name][0]] for name in wrong}) if wrong else None
        )

    judge(
        [
            ("With label 0 the second sentence is the next one.", lambda: broken("label 0: second is next")),
            ("With label 1 the second sentence is not the next one.", lambda: broken("label 1: second is next")),
            (
                "With label 1 the second sentence is of another document.",
                lambda: broken("label 1: second of the same document"),
            ),
            ("Half of the pairs have label 1.", lambda: broken("pairs with label 1")),
            (
                "A negative is any sentence of any other document.",
                lambda: broken("label 1: second of the following document", "label 1: second the first of a document"),
            ),
            ("Each label is drawn on its own.", lambda: broken("label differs from that of the pair before")),
        ],
        lambda: find_cause([ours], lambda wrong: [_plain_relations(wrong)], MISTAKES, same_shares),
    )
