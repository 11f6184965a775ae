"""Mixtures: shares by formula, every example once where they follow the sizes.

That any number of processes can go on with an epoch is tested for all samplers in test_number_of_processes.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minitransformers import InputError
from minitransformers.data import MixtureBatchSampler, mixture_shares

sizes_of_parts = st.lists(st.integers(1, 20), min_size=1, max_size=4)


def test_shares():
    np.testing.assert_allclose(mixture_shares([1, 3]), [0.25, 0.75])
    np.testing.assert_allclose(mixture_shares([1, 9, 0], temperature=2), [0.25, 0.75, 0])  # 1 : sqrt(9)
    np.testing.assert_allclose(mixture_shares([1, 9], weights=[9, 1]), [0.5, 0.5])
    np.testing.assert_allclose(mixture_shares([1, 10**15, 10], temperature=math.inf), [1 / 3] * 3)
    sizes = np.array([5.0, 300.0, 20.0])  # XLM-R's exponent, by its formula: q_i = p_i^0.3 / sum of p_j^0.3
    by_hand = (sizes / sizes.sum()) ** 0.3
    np.testing.assert_allclose(mixture_shares(sizes, temperature=1 / 0.3), by_hand / by_hand.sum())


@given(sizes=sizes_of_parts, batch_size=st.integers(1, 9), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_example_once_an_epoch_where_shares_follow_sizes(sizes, batch_size, seed, epoch):
    plan = MixtureBatchSampler(sizes, batch_size, seed=seed).plan(epoch)
    assert sorted(plan.order.tolist()) == list(range(sum(sizes)))
    assert (plan.sizes[:-1] == batch_size).all()


@given(sizes=sizes_of_parts, temperature=st.floats(0.5, 20), number=st.integers(1, 70), epochs=st.integers(1, 4))
def test_counts_follow_shares_and_examples_of_a_part_take_turns(sizes, temperature, number, epochs):
    shares = mixture_shares(sizes, temperature=temperature)
    sampler = MixtureBatchSampler(sizes, 4, shares=shares, num_samples=number)
    assert sampler.counts.sum() == number
    assert (abs(sampler.counts - shares * number) < 1 + 1e-6).all()
    drawn = np.concatenate([sampler.plan(epoch).order for epoch in range(epochs)])
    times = np.bincount(drawn, minlength=sum(sizes))
    for part, end in enumerate(np.cumsum(sizes)):
        of_part = times[end - sizes[part] : end]
        assert of_part.sum() == sampler.counts[part] * epochs
        assert of_part.max() - of_part.min() <= 1  # without replacement, over epochs


def test_batches_are_mixed():
    """Of 4,000 draws each batch of 40 has 10 of part 0 by chance: hypergeometric, deviation at most 2.74."""
    sampler = MixtureBatchSampler([100, 900], 40, shares=[1, 3], num_samples=4000)
    of_first = np.array([sum(index < 100 for index in batch) for batch in sampler.plan(0)])
    assert of_first.sum() == 1000
    assert 1.8 < of_first.std() < 3.7
    assert not np.array_equal(sampler.plan(0).order, sampler.plan(1).order)


def test_a_state_of_other_shares_is_refused():
    state = MixtureBatchSampler([5, 5], 2).state_dict()
    with pytest.raises(InputError, match="The state was saved in epoch 0 of 5 other batches"):
        MixtureBatchSampler([5, 5], 2, shares=[1, 2]).load_state_dict(state)


BAD = {
    "no part": (lambda: MixtureBatchSampler([], 2), "num_samples=0 must be a whole number of at least 1"),
    "a share of an empty part": (lambda: MixtureBatchSampler([0, 3], 2, shares=[1, 1]), "Part 0 has no examples, but"),
    "shares of other parts": (lambda: MixtureBatchSampler([2, 3], 2, shares=[1]), "shares has 1 numbers for 2 parts"),
    "nothing left": (lambda: MixtureBatchSampler([2], 3, drop_last=True), "leaves no batch: an epoch has 2 examples"),
    "a negative size": (lambda: mixture_shares([1, -1]), r"sizes=\[1, -1\] must be finite numbers of at least 0"),
    "cold": (lambda: mixture_shares([1], temperature=0), "temperature=0 must be a number above 0"),
    "all zero": (lambda: mixture_shares([1, 0], weights=[0, 1]), "All parts have size or weight 0"),
    "too few weights": (lambda: mixture_shares([1, 2], weights=[1]), "weights has 1 numbers for 2 parts"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_mixtures(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call()
