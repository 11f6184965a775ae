"""Blocks that grow: every token once an epoch, the same number in each batch, and an epoch that goes on anywhere."""

from __future__ import annotations

import json

import pytest
import torch
from corpora import SENTENCES, joined, make
from hypothesis import given, strategies as st
from torch.utils.data import DataLoader

from minitransformers import InputError
from minitransformers.data import GrowingBlocks, LengthWarmupBatchSampler


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make(SENTENCES * 12, tmp_path_factory.mktemp("corpus"), shard_tokens=200)


@given(
    lengths=st.sampled_from([[16], [4, 16], [2, 4, 8, 16], [1, 16]]),
    batch_size=st.integers(1, 7),
    warmup=st.integers(0, 40),
    seed=st.integers(0, 5),
)
def test_every_token_once_an_epoch(corpus, lengths, batch_size, warmup, seed):
    blocks = GrowingBlocks(corpus, lengths)
    sampler = LengthWarmupBatchSampler(blocks, batch_size, warmup_batches=warmup, seed=seed)
    number = len(corpus) // 16
    every = sorted(tuple(block["input_ids"].tolist()) for block in corpus.blocks(16))
    for epoch in range(2):
        plan = sampler.plan(epoch)
        found = []
        for place, batch in enumerate(plan):
            rows = torch.stack([blocks[index]["input_ids"] for index in batch])
            assert rows.shape[1] == sampler.length_of(epoch * len(plan) + place)
            assert rows.numel() == 16 * min(batch_size, number - place * batch_size)
            found += [tuple(row) for row in rows.view(-1, 16).tolist()]  # pieces of a block stand side by side
        assert sorted(found) == every


def test_lengths_grow_in_equal_stages(corpus):
    sampler = LengthWarmupBatchSampler(GrowingBlocks(corpus, [4, 8, 16]), 2, warmup_batches=6)
    assert [sampler.length_of(batch) for batch in range(8)] == [4, 4, 4, 8, 8, 8, 16, 16]


def test_it_goes_on_where_it_stopped(corpus):
    blocks = GrowingBlocks(corpus, [4, 8, 16], document_mask=True)

    def fresh():
        return LengthWarmupBatchSampler(blocks, 3, warmup_batches=8, seed=2)

    whole, stopped, resumed = fresh(), fresh(), fresh()
    loader = DataLoader(blocks, batch_sampler=stopped)
    shapes = [tuple(batch["position_ids"].shape) for _, batch in zip(range(5), stopped.track(loader), strict=False)]
    assert shapes == [(12, 4)] * 4 + [(6, 8)]
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert list(resumed) == list(whole)[5:]
    other = LengthWarmupBatchSampler(blocks, 3, warmup_batches=9, seed=2)
    with pytest.raises(InputError, match="other batches than those of this LengthWarmupBatchSampler"):
        other.load_state_dict(stopped.state_dict())
    assert len(set(joined(whole))) == len(joined(whole))


BAD = {
    "nothing": (lambda corpus: GrowingBlocks(corpus, []), "lengths is empty"),
    "falling": (lambda corpus: GrowingBlocks(corpus, [8, 4]), r"lengths=\[8, 4\] must rise, and each must divide"),
    "no divisor": (lambda corpus: GrowingBlocks(corpus, [3, 8]), r"lengths=\[3, 8\] must rise, and each must divide"),
    "blocks": (
        lambda corpus: LengthWarmupBatchSampler(corpus.blocks(4), 2, warmup_batches=1),
        "blocks must be GrowingBlocks.*got a TokenBlocks",
    ),
    "warm-up": (
        lambda corpus: LengthWarmupBatchSampler(GrowingBlocks(corpus, [4]), 2, warmup_batches=-1),
        "warmup_batches=-1 must be a whole number of at least 0",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_lengths(corpus, case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call(corpus)
