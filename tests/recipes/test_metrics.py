"""Figures: against scikit-learn, by hand, and laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import accuracy_score, f1_score

from minitransformers.errors import InputError
from minitransformers.recipes import accuracy, entity_scores, exact_match, macro_f1, token_f1
from minitransformers.recipes.metrics import entities_of

LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=30)


@given(pairs=LABELS)
def test_classification_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    found, true = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert math.isclose(accuracy(found, true), accuracy_score(true, found))
    assert math.isclose(macro_f1(found, true), f1_score(true, found, average="macro", zero_division=0), abs_tol=1e-12)


def test_entities() -> None:
    """Kinds that meet, an I without a B, and entities at the end."""
    assert entities_of(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG"]) == {
        ("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5), ("ORG", 5, 6),
    }  # fmt: skip
    assert entities_of(["I-PER", "I-PER", "I-LOC", "O"]) == {("PER", 0, 2), ("LOC", 2, 3)}
    assert entities_of([]) == set()


def test_entity_scores_by_hand() -> None:
    """Of three entities two are found, one of them with a wrong end, and one more: 1 of 3 and 1 of 3."""
    true = [["B-PER", "I-PER", "O", "B-LOC", "O"], ["B-ORG", "O"]]
    found = [["B-PER", "O", "O", "B-LOC", "O"], ["O", "B-ORG"]]
    scores = entity_scores(found, true)
    assert scores == pytest.approx({"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3})
    assert entity_scores(true, true) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    nothing = [["O"] * len(tags) for tags in true]
    assert entity_scores(nothing, true) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_answers_as_squad_measures_them() -> None:
    assert exact_match("The Eiffel Tower!", ["eiffel tower"]) == 1.0
    assert exact_match("tower", ["the Eiffel tower"]) == 0.0
    assert token_f1("the big Eiffel tower", ["Eiffel tower", "iron"]) == pytest.approx(0.8)
    assert token_f1("", [""]) == exact_match("", [""]) == 1.0
    assert token_f1("something", [""]) == token_f1("", ["something"]) == 0.0
    assert token_f1("a a b", ["b b"]) == pytest.approx(2 * 1 / (1 + 2))  # the article is no word


def test_errors() -> None:
    with pytest.raises(InputError, match="no labels"):
        accuracy([], [])
    with pytest.raises(InputError, match="2 predictions for 1 labels"):
        macro_f1(["a", "b"], ["a"])
    with pytest.raises(InputError, match="1 labels and 2 predictions"):
        entity_scores([["O", "O"]], [["O"]])
