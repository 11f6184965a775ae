"""Sequence-length warm-up: training begins with short blocks, which grow to the full length (Li et al., 2022).

    blocks = GrowingBlocks(corpus, [128, 256, 512, 1024])
    sampler = LengthWarmupBatchSampler(blocks, batch_size=8, warmup_batches=3000, seed=0)
    loader = DataLoader(blocks, batch_sampler=sampler)

Short blocks make early steps more stable at high learning rates and cheaper. Every batch has the same number of tokens:
at length 128 it holds 64 blocks in place of 8 of 1024. (Li et al. cut batches off instead, and lose the rest.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset

from minitransformers.configs.checks import check_count
from minitransformers.data.corpus_views import TokenSequence
from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.data.plans import Plan, cut
from minitransformers.errors import InputError


class GrowingBlocks(ConcatDataset[Any]):
    """The blocks of a corpus in several lengths, one length behind the other: for `LengthWarmupBatchSampler`.

    Args:
        corpus: a TokenCorpus, or a part of one.
        lengths: rising; each a divisor of the last, so that blocks of that length are cut into shorter ones.
        document_mask: see `TokenBlocks`.

    Raises:
        InputError: no lengths, lengths that do not rise or do not divide the last, a corpus shorter than one block.
    """

    def __init__(self, corpus: TokenSequence, lengths: Sequence[Any], *, document_mask: bool = False) -> None:
        self.lengths = [check_count("lengths", length, least=1) for length in lengths]
        if not self.lengths:
            raise InputError("lengths is empty: pass rising lengths of blocks, such as [128, 512].")
        rises = all(one < other for one, other in zip(self.lengths, self.lengths[1:], strict=False))
        if not rises or any(self.lengths[-1] % length for length in self.lengths):
            raise InputError(
                f"lengths={list(lengths)} must rise, and each must divide the last, such as [128, 256, 512]."
            )
        super().__init__([corpus.blocks(length, document_mask=document_mask) for length in self.lengths])


class LengthWarmupBatchSampler(EpochBatchSampler):
    """Shuffled batches of `GrowingBlocks`, whose length grows with the number of batches since the first epoch.

    The first `warmup_batches` batches are shared equally among all lengths but the last; all later ones have the last.
    A batch is drawn as `batch_size` blocks of the full length and cut into blocks of its own length, so every token is
    read once an epoch. Batches are counted over all ranks. It resumes as all samplers here do: see epoch_sampler.py.

    Args:
        blocks: the blocks.
        batch_size: how many blocks of the full length a batch amounts to.
        warmup_batches: how many batches are shorter; 0 is none.
        drop_last: leave out the last batch of an epoch where it would be smaller.
        seed: a whole number or a generator.

    Raises:
        InputError: another data set, or a number that is none.
    """

    def __init__(
        self, blocks: Any, batch_size: Any, *, warmup_batches: Any, drop_last: bool = False, seed: Any = 0
    ) -> None:
        super().__init__(seed)
        if not isinstance(blocks, GrowingBlocks):
            raise InputError(f"blocks must be GrowingBlocks(corpus, lengths), got a {type(blocks).__name__}.")
        self.lengths = blocks.lengths
        self.starts = [0, *blocks.cumulative_sizes[:-1]]  # of the blocks of each length, in the data set
        self.size = blocks.cumulative_sizes[-1] - self.starts[-1]  # blocks of the full length
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.warmup_batches = check_count("warmup_batches", warmup_batches, least=0)
        self.drop_last = drop_last
        if drop_last and self.size < self.batch_size:
            raise InputError(f"batch_size={batch_size} with drop_last=True leaves no batch of {self.size} blocks.")

    def length_of(self, batch: int) -> int:
        """The length of blocks in a batch, counted from the first of epoch 0."""
        return self.lengths[self._stage(batch)]

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        whole = cut(self._random(epoch).permutation(self.size), self.batch_size, self.drop_last)
        batches = []
        for number, full_blocks in enumerate(whole):
            stage = self._stage(epoch * len(whole) + number)
            pieces = self.lengths[-1] // self.lengths[stage]
            first = self.starts[stage] + np.array(full_blocks)[:, None] * pieces
            batches.append((first + np.arange(pieces)).ravel())
        return Plan(np.concatenate(batches), np.cumsum([len(batch) for batch in batches]))

    def _stage(self, batch: int) -> int:
        if batch >= self.warmup_batches:
            return len(self.lengths) - 1
        return batch * (len(self.lengths) - 1) // self.warmup_batches
