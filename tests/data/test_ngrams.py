"""The Kneser-Ney baseline: distributions, a case computed by hand, the formulas written out a second time, errors."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minitransformers.data import KneserNey
from minitransformers.errors import InputError

VOCABULARY = 4
texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=4, max_size=60)


@given(text=texts, order=st.integers(1, 4), context=st.lists(st.integers(0, VOCABULARY - 1), max_size=5))
def test_probabilities_sum_to_1(text: list[int], order: int, context: list[int]) -> None:
    found = KneserNey(text, VOCABULARY, order).probabilities(np.array(context, dtype=int))
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)


def formula(text: list[int], order: int, context: tuple[int, ...], token: int) -> Fraction:
    """p(token | context) as the module's docstring has it, from dictionaries, with exact fractions."""
    size = len(context) + 1
    ngrams = [tuple(text[i : i + size]) for i in range(len(text) - size + 1)]
    counts = Counter(ngrams)
    if size < order:
        counts = Counter(longer[1:] for longer in {tuple(text[i : i + size + 1]) for i in range(len(text) - size)})
        counts.update(dict.fromkeys(set(ngrams) - counts.keys(), 0))
    n = Counter(counts.values())
    share = Fraction(n[1], n[1] + 2 * n[2]) if n[1] else Fraction(1, 2)
    discounts = [share] * 3
    if n[1] and n[2] and n[3]:
        modified = [k - (k + 1) * share * n[k + 1] / n[k] for k in (1, 2, 3)]
        discounts = modified if min(modified) > 0 else discounts

    def discount(count: int) -> Fraction:
        return min(Fraction(count), discounts[min(count, 3) - 1]) if count else Fraction(0)

    shorter = formula(text, order, context[1:], token) if context else Fraction(1, VOCABULARY)
    following = [count for ngram, count in counts.items() if ngram[:-1] == context]
    if not sum(following):
        return shorter
    count = counts[(*context, token)]
    return (count - discount(count) + sum(map(discount, following)) * shorter) / sum(following)


@given(text=texts, order=st.integers(1, 4), row=st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=7))
def test_each_token_of_a_row_has_the_probability_of_the_formula(text: list[int], order: int, row: list[int]) -> None:
    found = np.exp(KneserNey(text, VOCABULARY, order).log_probabilities([row, row[::-1]]))
    for tokens, values in zip((row, row[::-1]), found, strict=True):
        expected = [
            float(formula(text, order, tuple(tokens[max(0, i - order + 1) : i]), tokens[i])) for i in range(1, len(row))
        ]
        np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_a_case_by_hand() -> None:
    """Text 0 1 0 1 2, bigrams 01 ×2, 10, 12: n1 = 2, n2 = 1, so D = 2 / (2 + 2) = 1/2.

    Single tokens: 0 stands after {1}, 1 after {0}, 2 after {1}: counts 1, 1, 1, so D = 3 / 3 = 1 and every p(w) = 1/4.
    """
    model = KneserNey([0, 1, 0, 1, 2], vocab_size=4, order=2)
    np.testing.assert_allclose(model.probabilities([]), [1 / 4] * 4)
    # After 1: 10 and 12 once each. (1 - 1/2) / 2 + (1/2 + 1/2) / 2 * 1/4
    np.testing.assert_allclose(model.probabilities([1]), [3 / 8, 1 / 8, 3 / 8, 1 / 8])
    # After 0: 01 twice. (2 - 1/2) / 2 + (1/2) / 2 * 1/4
    np.testing.assert_allclose(model.probabilities([0]), [1 / 16, 13 / 16, 1 / 16, 1 / 16])
    np.testing.assert_allclose(model.probabilities([2]), [1 / 4] * 4)  # nothing was seen after 2


def test_it_predicts_what_repeats() -> None:
    text = np.tile(np.arange(10), 100)
    assert KneserNey(text, 10, 3).log_probabilities(np.arange(10)).mean() > np.log(0.5)


@pytest.mark.parametrize(
    ("tokens", "order", "message"),
    [([0, 1], 3, "at least order=3 ids"), ([0, 9, 1], 2, "and 0 to 9"), ([0.5, 1.0], 1, "whole numbers")],
)
def test_errors(tokens: list[float], order: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KneserNey(tokens, 5, order)
