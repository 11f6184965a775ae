"""An epoch that is continued by other numbers of processes: every example is used once, in the order of the epoch.

Processes are played one after the other here: each has its own sampler, loader and checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from minitransformers import CheckpointError, TrainingArguments
from minitransformers.data import (
    DistributedBatchSampler,
    LengthBucketBatchSampler,
    MixtureBatchSampler,
    ShuffledBatchSampler,
    TokenBudgetBatchSampler,
    WeightedBatchSampler,
)
from minitransformers.training import Settings
from minitransformers.training.loop import places
from minitransformers.training.loop.batches import Batches
from minitransformers.training.loop.progress import Progress
from minitransformers.training.trainer import data_loaders, samplers
from minitransformers.training.trainer.data_loaders import make_loader, share_batches
from minitransformers.training.trainer.samplers import LengthGroupedSampler, SeededOrder

OWN = "token budget"
NUMBER, SETTINGS = 53, Settings(steps=10**6)
LENGTHS = [1 + (7 * index) % 12 for index in range(NUMBER)]
SAMPLERS = {
    "shuffled": lambda: ShuffledBatchSampler(NUMBER, 3, seed=1),
    "length buckets": lambda: LengthBucketBatchSampler(LENGTHS, 3, num_buckets=4, seed=1),
    "token budget": lambda: TokenBudgetBatchSampler(LENGTHS, 24, pool_size=20, seed=1),
    "weighted": lambda: WeightedBatchSampler([1.0] * NUMBER, 3, replacement=False, seed=1),
    "mixture": lambda: MixtureBatchSampler([10, NUMBER - 10], 3, seed=1),
}


def collate(rows: list[int]) -> dict[str, Any]:
    return {"ids": torch.tensor(rows)}


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(NUMBER))


def of_train(kind: str) -> Any:
    def make(world: int, rank: int) -> Any:
        sampler = SAMPLERS[kind]()
        sampler = DistributedBatchSampler(sampler, world, rank) if world > 1 else sampler
        return DataLoader(range(NUMBER), batch_sampler=sampler, collate_fn=collate)

    return make


def of_trainer(kind: str) -> Any:
    args = TrainingArguments("unused", use_cpu=True, data_seed=3, per_device_train_batch_size=3, report_to="none")

    def make(world: int, rank: int) -> Any:
        if kind == "stream":
            return make_loader(Stream(), collate, 3, args, is_training=True)
        if kind == OWN:
            own = DataLoader(range(NUMBER), batch_sampler=SAMPLERS["token budget"](), collate_fn=collate)
            return share_batches(own, args)
        sampler: Any = SeededOrder(NUMBER, 3)
        if kind == "grouped by length":
            sampler = LengthGroupedSampler(6, lengths=LENGTHS, generator=torch.Generator().manual_seed(1))
        return make_loader(range(NUMBER), collate, 3, args, sampler=sampler, is_training=True)

    return make


SOURCES = {
    **{kind: of_train(kind) for kind in SAMPLERS},
    **{f"Trainer: {kind}": of_trainer(kind) for kind in ("shuffled", "grouped by length", "stream", OWN)},
}


class Played:
    """An epoch that several numbers of processes go through in turn."""

    def __init__(self, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.make, self.monkeypatch = make, monkeypatch
        self.seen: list[int] = []
        self.states: list[Any] = [None]
        self.progress = Progress()

    def go(self, world: int, steps: int) -> None:
        """Let so many processes take so many steps, or all that are left."""
        before, states, number = self.progress, [], 0
        for rank in range(world):
            for module in (places, samplers, data_loaders):
                self.monkeypatch.setattr(module, "world_size", lambda: world)
            for module in (samplers, data_loaders):
                self.monkeypatch.setattr(module, "rank", lambda rank=rank: rank)
            progress = replace(before)
            batches = Batches(self.make(world, rank))
            if self.states[0] is not None:
                batches.load_state_dict(self.states[rank % len(self.states)], progress)
            epoch = batches.epoch(progress, SETTINGS)
            for _ in range(steps):
                group = next(epoch, None)
                if group is None:
                    break
                own = [int(number) for batch in group for number in batch["ids"]]
                self.seen += own
                number += len(own)
                progress.batch += len(group)
            epoch.close()
            states.append((progress, batches))
        # Processes with fewer batches repeat one, and count it as a batch.
        furthest = max(progress.batch for progress, _ in states)
        self.progress = replace(before, batch=furthest, rows=before.rows + number)
        self.states = [each.state_dict(replace(self.progress)) for _, each in states]


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=6)
@given(
    parts=st.lists(st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, 4)), min_size=1, max_size=4),
    last=st.sampled_from([1, 2, 3]),
)
def test_every_example_once_an_epoch(source: str, parts: list[tuple[int, int]], last: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        played = Played(SOURCES[source], monkeypatch)
        for world, steps in [*parts, (last, NUMBER)]:
            played.go(world, steps)
    assert sorted(played.seen) == list(range(NUMBER))


@pytest.mark.parametrize("source", SOURCES)
def test_from_1_to_2_to_3_to_1(source: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        played = Played(SOURCES[source], monkeypatch)
        for world, steps in ((1, 5), (2, 2), (3, 1), (1, NUMBER)):
            played.go(world, steps)
            assert len(set(played.seen)) == len(played.seen) == played.progress.rows
    assert len(played.seen) == NUMBER


def of_torch(world: int, rank: int) -> Any:
    order = DistributedSampler(range(NUMBER + 1), world, rank, seed=2)
    return DataLoader(range(NUMBER + 1), 3, sampler=order, collate_fn=collate)


def test_the_shares_of_a_distributed_sampler() -> None:
    """54 examples in batches of 3: six batches of one process are three of two processes, and two of three."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        played = Played(of_torch, monkeypatch)
        played.go(1, 6)
        monkeypatch.setattr(places, "sum_over_ranks", lambda numbers, device: {"rows": 2 * numbers[0]["rows"]})
        played.go(2, 3)
        monkeypatch.setattr(places, "sum_over_ranks", lambda numbers, device: {"rows": 3 * numbers[0]["rows"]})
        played.go(3, NUMBER)
    assert sorted(played.seen) == list(range(NUMBER + 1))


def test_a_number_of_examples_that_no_number_of_batches_has() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        played = Played(of_torch, monkeypatch)
        played.go(1, 5)
        monkeypatch.setattr(places, "sum_over_ranks", lambda numbers, device: {"rows": 2 * numbers[0]["rows"]})
        with pytest.raises(CheckpointError, match=r"1 processes have read 15 examples.*2 processes read 12"):
            played.go(2, 1)


def test_sources_of_which_nobody_knows_what_is_used() -> None:
    """A loader that each process shuffles for itself, a stream that a script divides, or another order."""

    def shuffled(world: int, rank: int) -> Any:
        return DataLoader(range(NUMBER), 3, shuffle=True, collate_fn=collate)

    def divided(world: int, rank: int) -> Any:
        return DataLoader(Stream(), 3, collate_fn=collate)

    def other(world: int, rank: int) -> Any:
        return of_torch(world, rank) if world > 1 else shuffled(world, rank)

    for make in (shuffled, divided, other):
        for first, second in ((1, 2), (2, 1)):
            with pytest.MonkeyPatch.context() as monkeypatch:
                played = Played(make, monkeypatch)
                played.go(first, 2)
                with pytest.raises(CheckpointError, match=rf"{first} processes .* not known to {second} proc"):
                    played.go(second, 1)
                assert played.progress.batch == 2


def test_a_state_of_another_number_of_ranks_in_a_sampler() -> None:
    """Also without the training loop: what is left is divided anew, and the next epoch as a whole."""
    one = SAMPLERS["token budget"]()
    first = [one.batches[index] for index in range(5)]
    state = one.state_dict(consumed=5)
    ranks = [DistributedBatchSampler(SAMPLERS["token budget"](), 2, rank) for rank in range(2)]
    for each in ranks:
        each.load_state_dict(state)
    rest = [batch for each in ranks for batch in each]
    assert sorted(index for batch in first + rest for index in batch) == list(range(NUMBER))
    assert len({len(each) for each in ranks}) == 1
    again = [batch for each in ranks for batch in each]
    assert sorted(index for batch in again for index in batch) == list(range(NUMBER))
