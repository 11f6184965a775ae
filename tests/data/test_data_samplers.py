"""Batch samplers: every example once an epoch over all ranks, bounds kept, and a run that stops anywhere goes on."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch.utils.data import DataLoader

from minitransformers.data import (
    DistributedBatchSampler,
    LengthBucketBatchSampler,
    ShuffledBatchSampler,
    TokenBudgetBatchSampler,
    WeightedBatchSampler,
    padding_waste,
)
from minitransformers.errors import InputError, UnknownNameError
from minitransformers.training import Settings
from minitransformers.training.loop.batches import Batches
from minitransformers.training.loop.progress import Progress

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=60)
SEEDS = st.integers(0, 2**63)


@st.composite
def covering_samplers(draw):
    """A function that makes a sampler that uses every example once, and how many examples there are."""
    lengths, seed, shuffle = draw(LENGTHS), draw(SEEDS), draw(st.booleans())
    batch_size, most = draw(st.integers(1, 9)), draw(st.none() | st.integers(1, 5))
    boundaries = draw(st.none() | st.lists(st.integers(0, 40), unique=True, max_size=5).map(sorted))
    budget, multiple, pool = draw(st.integers(40, 200)), draw(st.sampled_from([1, 8])), draw(st.integers(1, 80))
    kinds = {
        "shuffled": lambda: ShuffledBatchSampler(len(lengths), batch_size, shuffle=shuffle, seed=seed),
        "bucket": lambda: LengthBucketBatchSampler(
            lengths, batch_size, boundaries=boundaries, shuffle=shuffle, seed=seed
        ),
        "budget": lambda: TokenBudgetBatchSampler(
            lengths, budget, max_examples=most, pad_to_multiple_of=multiple, pool_size=pool, shuffle=shuffle, seed=seed
        ),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))], len(lengths)


@st.composite
def any_samplers(draw):
    """As above, or drawn by weight, or one rank's share."""
    make, size = draw(covering_samplers())
    if draw(st.booleans()):
        seed, batch_size = draw(SEEDS), draw(st.integers(1, 9))
        make = lambda: WeightedBatchSampler(range(1, size + 1), batch_size, seed=seed)  # noqa: E731
    if draw(st.booleans()):
        ranks = draw(st.integers(1, 4))
        rank, uneven = draw(st.integers(0, ranks - 1)), draw(st.sampled_from(["split", "repeat", "keep"]))
        return lambda: DistributedBatchSampler(make(), ranks, rank, uneven=uneven)
    return make


def used(sampler):
    return [index for batch in sampler for index in batch]


# ---- every example once ----------------------------------------------------------------------------------------------


@given(covering_samplers(), st.integers(0, 3))
def test_every_example_once_an_epoch(made, epoch):
    make, size = made
    sampler = make()
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert all(batches)
    assert sorted(index for batch in batches for index in batch) == list(range(size))


@given(covering_samplers(), st.integers(1, 5), st.integers(0, 2))
def test_every_example_once_over_all_ranks(made, ranks, epoch):
    make, size = made
    shares = {}
    for uneven in ("split", "repeat", "keep"):
        samplers = [DistributedBatchSampler(make(), ranks, rank, uneven=uneven) for rank in range(ranks)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares[uneven] = [list(sampler) for sampler in samplers]
        assert [len(sampler) for sampler in samplers] == [len(share) for share in shares[uneven]]
        assert all(batch for share in shares[uneven] for batch in share)

    def counts(uneven):
        return Counter(index for share in shares[uneven] for batch in share for index in batch)

    once = Counter(range(size))
    assert counts("keep") == once
    assert {len(share) for share in shares["keep"]} <= {len(shares["keep"][-1]), len(shares["keep"][-1]) + 1}
    for uneven in ("split", "repeat"):
        assert len({len(share) for share in shares[uneven]}) == 1
        assert counts(uneven) >= once
    plain = len(make().plan(epoch))
    if plain + -plain % ranks <= size:
        assert counts("split") == once
    assert sum(len(share) for share in shares["repeat"]) == plain + -plain % ranks


@pytest.mark.parametrize(("size", "ranks"), [(10, 4), (12, 4), (5, 4), (3, 4), (1, 3)])
@pytest.mark.parametrize("drop_last", [False, True])
def test_repeated_and_dropped_batches_are_those_of_torch(size, ranks, drop_last):
    """With one example a batch our shares are those of DistributedSampler."""
    theirs = [
        list(torch.utils.data.DistributedSampler(range(size), ranks, rank, shuffle=False, drop_last=drop_last))
        for rank in range(ranks)
    ]
    inner = ShuffledBatchSampler(size, 1, shuffle=False)
    uneven = "drop" if drop_last else "repeat"
    if drop_last and size < ranks:
        with pytest.raises(InputError, match=f"leaves nothing of {size} batches for {ranks} ranks"):
            list(DistributedBatchSampler(inner, ranks, 0, uneven=uneven))
        return
    ours = [used(DistributedBatchSampler(inner, ranks, rank, uneven=uneven)) for rank in range(ranks)]
    assert ours == theirs


@given(LENGTHS, st.integers(1, 9), st.booleans())
def test_drop_last_leaves_out_the_small_batches_only(lengths, batch_size, buckets):
    def make(drop_last):
        if buckets:
            return LengthBucketBatchSampler(lengths, batch_size, num_buckets=2, drop_last=drop_last, seed=1)
        return ShuffledBatchSampler(len(lengths), batch_size, drop_last=drop_last, seed=1)

    full = [batch for batch in make(False) if len(batch) == batch_size]
    if full:
        assert sorted(make(True)) == sorted(full)
    else:
        with pytest.raises(InputError, match="leaves no batch"):
            make(True)


# ---- bounds ----------------------------------------------------------------------------------------------------------


@given(
    LENGTHS,
    st.integers(0, 120),
    st.none() | st.integers(1, 6),
    st.sampled_from([1, 8, 64]),
    st.integers(1, 5),
    st.integers(1, 70),
)
def test_the_budget_is_kept_and_used(lengths, spare, most, multiple, ranks, pool):
    def positions(examples):
        return len(examples) * (-(-max(lengths[index] for index in examples) // multiple) * multiple)

    longest = max(range(len(lengths)), key=lengths.__getitem__)
    budget = max(1, positions([longest])) + spare
    sampler = TokenBudgetBatchSampler(
        lengths, budget, max_examples=most, pad_to_multiple_of=multiple, pool_size=pool, seed=3
    )
    shares = [list(DistributedBatchSampler(sampler, ranks, rank)) for rank in range(ranks)]
    for batch in [*sampler, *(batch for share in shares for batch in share)]:
        assert positions(batch) <= budget
        assert most is None or len(batch) <= most
    # No batch but the last of each pool could have taken the next example too.
    unshuffled = list(
        TokenBudgetBatchSampler(
            lengths, budget, max_examples=most, pad_to_multiple_of=multiple, pool_size=len(lengths), shuffle=False
        )
    )
    for batch, following in itertools.pairwise(unshuffled):
        assert positions([*batch, following[0]]) > budget or len(batch) == most


@given(LENGTHS, st.integers(1, 9), st.lists(st.integers(0, 40), unique=True, max_size=5).map(sorted), SEEDS)
def test_batches_stay_in_their_bucket(lengths, batch_size, boundaries, seed):
    sampler = LengthBucketBatchSampler(lengths, batch_size, boundaries=boundaries, seed=seed)
    edges = [-1, *boundaries, 10**9]
    small = Counter()
    for batch in sampler:
        buckets = {sum(lengths[index] > edge for edge in edges) for index in batch}
        assert len(buckets) == 1
        assert len(batch) <= batch_size
        small[buckets.pop()] += len(batch) < batch_size
    assert all(count <= 1 for count in small.values())


def test_sorting_by_length_saves_padding():
    lengths = np.random.default_rng(0).lognormal(3, 1, 5000).astype(int) + 1
    plain = ShuffledBatchSampler(len(lengths), 16, seed=0)
    buckets = LengthBucketBatchSampler(lengths, 16, seed=0)
    budget = TokenBudgetBatchSampler(lengths, 2048, seed=0)
    assert padding_waste(lengths, plain.batches) > 0.6
    assert buckets.padding_waste < 0.35
    assert budget.padding_waste < 0.06
    assert padding_waste([3, 1, 4], [[0, 1], [2]]) == pytest.approx(1 - 8 / 10)
    assert padding_waste([3, 1, 4], [[0, 1], [2]], pad_to_multiple_of=8) == pytest.approx(1 - 8 / 24)
    assert padding_waste([3], []) == 0


# ---- seeds and epochs ------------------------------------------------------------------------------------------------


def big_samplers():
    lengths = [1 + index * 7 % 50 for index in range(200)]
    return {
        "shuffled": lambda seed: ShuffledBatchSampler(200, 8, seed=seed),
        "bucket": lambda seed: LengthBucketBatchSampler(lengths, 8, seed=seed),
        "budget": lambda seed: TokenBudgetBatchSampler(lengths, 200, pool_size=50, seed=seed),
        "weighted": lambda seed: WeightedBatchSampler(lengths, 8, seed=seed),
        "weighted without replacement": lambda seed: WeightedBatchSampler(lengths, 8, replacement=False, seed=seed),
        "distributed": lambda seed: DistributedBatchSampler(ShuffledBatchSampler(200, 8, seed=seed), 2, 1),
    }


@pytest.mark.parametrize("kind", big_samplers())
def test_same_seed_same_batches_other_epoch_or_seed_others(kind):
    make = big_samplers()[kind]
    epochs = []
    one, other = make(5), make(torch.Generator().manual_seed(0))
    assert used(other) == used(make(torch.Generator().manual_seed(0)))
    for epoch in range(3):
        one.set_epoch(epoch)
        same = make(5)
        same.set_epoch(epoch)
        epochs.append(list(one))
        assert epochs[-1] == list(same) == list(one) == list(one.batches)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert list(make(6)) != epochs[0] != list(other)


# ---- stopping and going on -------------------------------------------------------------------------------------------


@given(any_samplers(), st.integers(0, 2), st.data())
def test_a_resumed_run_is_one_that_never_stopped(make, epoch, data):
    """Also when it stops once more before it ends, and into the epochs after."""
    straight = make()
    expected = []
    for number in range(epoch, epoch + 2):
        straight.set_epoch(number)
        expected.append(list(straight))
    stops = sorted(data.draw(st.lists(st.integers(0, len(expected[0])), max_size=2), label="stops"))
    seen, state = [], None
    for stop in [*stops, None]:
        sampler = make()
        if state is None:
            sampler.set_epoch(epoch)
        else:
            sampler.load_state_dict(json.loads(json.dumps(state)))
            assert sampler.state_dict() == state
        sampler.set_epoch(sampler.epoch)  # as every loop begins, and changes nothing
        tracked = sampler.track(sampler)
        while len(seen) != stop:
            batch = next(tracked, None)
            if batch is None:
                break
            seen.append(batch)
        state = sampler.state_dict()
        assert state["consumed"] == len(seen)
    assert seen == expected[0]
    sampler.set_epoch(epoch + 1)
    assert list(sampler) == expected[1]


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return index, index**2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_fetches_ahead_counts_what_the_loop_has_used(workers):
    def make():
        sampler = DistributedBatchSampler(LengthBucketBatchSampler(range(40), 3, num_buckets=3, seed=4), 2, 1)
        return sampler, DataLoader(Squares(), batch_sampler=sampler, num_workers=workers)

    sampler, loader = make()
    straight = [batch[0].tolist() for batch in loader]
    assert straight == list(sampler.batches)
    with pytest.raises(InputError, match=r"Nobody has counted.*track\(loader\)"):
        sampler.state_dict()
    for stop in (1, 3, len(straight)):
        sampler, loader = make()
        before = []
        for batch in sampler.track(loader):
            before.append(batch[0].tolist())
            if len(before) == stop:
                state = sampler.state_dict()
                break
        assert state["consumed"] == stop
        sampler, loader = make()
        sampler.load_state_dict(state)
        after = [batch[0].tolist() for batch in sampler.track(loader)]
        assert before + after == straight
        assert sampler.state_dict()["consumed"] == len(straight) == len(loader)
        # The loop may also count by itself.
        sampler, loader = make()
        next(iter(loader))
        assert sampler.state_dict(consumed=stop) == state


def test_every_rank_can_load_the_state_of_any():
    states = []
    for rank in range(3):
        sampler = DistributedBatchSampler(ShuffledBatchSampler(50, 4), 3, rank)
        next(sampler.track(sampler))
        states.append(sampler.state_dict())
    assert states[0] == states[1] == states[2]


def test_workers_that_stay_see_every_epoch():
    sampler = TokenBudgetBatchSampler(range(1, 41), 100, seed=4)
    loader = DataLoader(Squares(), batch_sampler=sampler, num_workers=2, persistent_workers=True)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert [batch[0].tolist() for batch in sampler.track(loader)] == list(sampler.batches)
        assert sampler.state_dict()["consumed"] == len(sampler)


def test_ranks_are_those_of_torch_distributed_unless_given(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    inner = ShuffledBatchSampler(50, 4)
    assert list(DistributedBatchSampler(inner)) == list(DistributedBatchSampler(inner, 3, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_loop_reads_on_where_it_stopped(workers):
    """It counts by itself, starts every epoch in front, and leaves out what was used."""

    def make():
        sampler = DistributedBatchSampler(TokenBudgetBatchSampler(range(1, 41), 100, seed=4), 2, 1)
        return sampler, Batches(DataLoader(Squares(), batch_sampler=sampler, num_workers=workers))

    settings = Settings(epochs=1000)
    sampler, straight = make()
    epochs = []
    for epoch in range(2):
        epochs.append([step[0][0].tolist() for step in straight.epoch(Progress(epoch=epoch), settings)])
        assert epochs[-1] == list(sampler.batches)
    _, stopped = make()
    steps = stopped.epoch(Progress(epoch=1), settings)
    before = [next(steps)[0][0].tolist() for _ in range(3)]
    _, resumed = make()
    progress = Progress(epoch=1, batch=3)
    resumed.load_state_dict(stopped.state_dict(progress), progress)
    after = [step[0][0].tolist() for step in resumed.epoch(progress, settings)]
    assert before + after == epochs[1] != epochs[0]


def test_an_epoch_that_was_given_up_starts_in_front():
    sampler = ShuffledBatchSampler(20, 2)
    next(sampler.track(sampler))
    assert list(sampler) == list(sampler.batches)
    next(sampler.track(sampler))
    sampler.set_epoch(1)
    assert sampler.state_dict()["consumed"] == 0


def test_a_state_of_other_batches_is_refused():
    state = ShuffledBatchSampler(20, 2, seed=1).state_dict()
    for other in (
        ShuffledBatchSampler(20, 2, seed=2),
        ShuffledBatchSampler(20, 4, seed=1),
        ShuffledBatchSampler(21, 2, seed=1),
        DistributedBatchSampler(ShuffledBatchSampler(20, 2, seed=2), 2, 0),
    ):
        with pytest.raises(InputError, match=r"of 10 other batches than those of this .*same data, lengths, arguments"):
            other.load_state_dict(state)
        assert other.state_dict()["consumed"] == other.state_dict()["epoch"] == 0
    sampler = ShuffledBatchSampler(20, 2, seed=1)
    later = ShuffledBatchSampler(20, 2, seed=1)
    later.set_epoch(3)
    with pytest.raises(InputError, match="consumed=11, but epoch 3 has only 10 batches"):
        sampler.load_state_dict({**later.state_dict(), "consumed": 11})
    assert sampler.state_dict() == state  # a state that is refused changes nothing
    with pytest.raises(InputError, match="has no batches, checksum: was it made by"):
        sampler.load_state_dict({"epoch": 0, "consumed": 0})
    with pytest.raises(UnknownNameError, match=r"no entry 'consume'. Did you mean 'consumed'"):
        sampler.load_state_dict({"consume": 0})
    with pytest.raises(InputError, match="consumed=-1 must be a whole number of at least 0"):
        sampler.state_dict(consumed=-1)
    with pytest.raises(InputError, match=r"epoch=0\.5 must be a whole number"):
        sampler.load_state_dict({**state, "epoch": 0.5})


def test_a_loader_over_another_sampler_is_refused():
    sampler = ShuffledBatchSampler(40, 2)
    with pytest.raises(InputError, match="don't come from this ShuffledBatchSampler"):
        next(sampler.track(DataLoader(Squares(), batch_size=2)))


# ---- weights ---------------------------------------------------------------------------------------------------------


def chance(observed, expected):
    """The chance of counts as far from the expected as these or farther (Pearson's chi-square test)."""
    statistic = ((observed - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64)))


def test_examples_are_drawn_by_their_weight():
    weights = np.array([0, 1, 2, 0, 3, 10, 0.5, 4, 0])
    sampler = WeightedBatchSampler(weights, 64, num_samples=20_000, seed=1)
    counts = np.bincount(used(sampler), minlength=len(weights))
    heavy = weights > 0
    assert counts[~heavy].sum() == 0
    assert counts.sum() == 20_000
    assert chance(counts[heavy], 20_000 * weights[heavy] / weights.sum()) > 1e-3
    assert chance(counts[heavy], np.full(heavy.sum(), 20_000 / heavy.sum())) < 1e-9  # the test can fail


def test_without_replacement_the_first_is_drawn_by_weight_and_none_twice():
    weights = np.array([1.0, 2, 0, 3])
    sampler = WeightedBatchSampler(weights, 3, num_samples=3, replacement=False, seed=0)
    pairs = Counter()
    for epoch in range(3000):
        sampler.set_epoch(epoch)
        drawn = used(sampler)
        assert sorted(drawn) == [0, 1, 3]
        pairs[drawn[0], drawn[1]] += 1
    share = weights / weights.sum()
    order = [(a, b) for a in (0, 1, 3) for b in (0, 1, 3) if a != b]
    expected = np.array([share[a] * share[b] / (1 - share[a]) for a, b in order]) * 3000
    assert chance(np.array([pairs[pair] for pair in order]), expected) > 1e-3


# ---- bad arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShuffledBatchSampler(0, 2), "size=0 must be a whole number of at least 1"),
        (lambda: ShuffledBatchSampler(5, 2.0), "batch_size=2.0 must be a whole number of at least 1"),
        (lambda: ShuffledBatchSampler(5, True), "batch_size=.* must be a whole number"),
        (lambda: ShuffledBatchSampler(5, 2, seed=-1), "seed=-1 must be a whole number of at least 0"),
        (lambda: ShuffledBatchSampler(5, 2).set_epoch(-1), "epoch=.* must be a whole number of at least 0"),
        (lambda: LengthBucketBatchSampler([], 2), "lengths must be a list of numbers, one for every example"),
        (lambda: LengthBucketBatchSampler([[1]], 2), r"got list of shape \(1, 1\)"),
        (lambda: LengthBucketBatchSampler([[1], [1, 2]], 2), "lengths must be a list of numbers"),
        (lambda: LengthBucketBatchSampler(["a"], 2), "lengths must be a list of numbers"),
        (lambda: LengthBucketBatchSampler([1.5], 2), "lengths must be whole numbers"),
        (lambda: LengthBucketBatchSampler([-1], 2), "lengths must be whole numbers of at least 0"),
        (lambda: LengthBucketBatchSampler([1], 2, boundaries=[4, 4]), r"boundaries=\[4, 4\] must rise"),
        (lambda: TokenBudgetBatchSampler([3, 9, 2], 8), "max_tokens=8, but example 1 alone takes 9: truncate"),
        (lambda: TokenBudgetBatchSampler([3], 7, pad_to_multiple_of=8), "example 0 alone takes 8"),
        (lambda: WeightedBatchSampler([1, -1], 2), "weights must be finite numbers of at least 0"),
        (lambda: WeightedBatchSampler([0.0], 2), "not all of them 0"),
        (lambda: WeightedBatchSampler([float("nan")], 2), "weights must be finite"),
        (lambda: WeightedBatchSampler([1, 0], 2, replacement=False), "num_samples=2, but only 1 examples"),
        (lambda: DistributedBatchSampler(ShuffledBatchSampler(5, 2)), "torch.distributed is not initialised"),
        (lambda: DistributedBatchSampler(ShuffledBatchSampler(5, 2), 2, 2), "rank=2 must be below num_replicas=2"),
        (lambda: DistributedBatchSampler([[0]], 2, 0), "must be a batch sampler of minitransformers.data.*got a list"),
        (
            lambda: DistributedBatchSampler(ShuffledBatchSampler(5, 2), 2, 0, uneven="splt"),
            "uneven='splt' must be one of split, repeat, drop, keep. Did you mean 'split'",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
