"""Which examples go into which batch: at random, by length, by number of tokens, by weight, and on which rank.

Each sampler says only how it plans the batches of an epoch. That it can stop in the middle of one and go on is the work
of its base: see epoch_sampler.py, also for how to use a sampler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import distributed

from minitransformers.configs.checks import check_count
from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.data.plans import (
    Plan,
    checked_lengths,
    cut,
    evened,
    join,
    number_array,
    padding_waste,
    rounded_up,
)
from minitransformers.errors import InputError, nearest


class ShuffledBatchSampler(EpochBatchSampler):
    """Batches of one size, shuffled anew every epoch: what DataLoader's batch_size and shuffle do.

    Args:
        size: how many examples there are: len(dataset).
        batch_size: how many go into a batch.
        shuffle: False takes them in order.
        drop_last: leave out the last batch where it would be smaller.
        seed: a whole number or a generator.
    """

    def __init__(
        self, size: Any, batch_size: Any, *, shuffle: bool = True, drop_last: bool = False, seed: Any = 0
    ) -> None:
        super().__init__(seed)
        self.size = check_count("size", size, least=1)
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.shuffle, self.drop_last = shuffle, drop_last
        if drop_last:
            _refuse_nothing_left(self.size >= self.batch_size, self.batch_size)

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        order = self._random(epoch).permutation(self.size) if self.shuffle else np.arange(self.size)
        return cut(order, self.batch_size, self.drop_last)


class LengthBucketBatchSampler(EpochBatchSampler):
    """Batches of examples of similar length: those of a batch all come from one bucket of lengths.

    Examples are shuffled, put into buckets, and cut into batches there; the batches are shuffled. The last batch of a
    bucket may be smaller. (Khomenko et al., 2016, "Accelerating recurrent neural network training using sequence
    bucketing".)

    Args:
        lengths: of every example, in tokens.
        batch_size: how many examples go into a batch.
        boundaries: the longest length of each bucket, rising; a further bucket takes what is longer. Unless given,
            `num_buckets` buckets with about the same number of tokens each, which wastes less than as many examples
            each: the few longest examples differ most in length.
        num_buckets: how many, where `boundaries` is not given. Of 20,000 lengths from 5 to 512 (log-normal, median 90),
            in batches of 32, 8 buckets fill 16 % of all positions with padding, 32 buckets 5 %.
        shuffle: False keeps the examples of a bucket, and the buckets, in order.
        drop_last: leave out the last batch of a bucket where it would be smaller.
        seed: a whole number or a generator.
    """

    def __init__(
        self,
        lengths: Any,
        batch_size: Any,
        *,
        boundaries: Any = None,
        num_buckets: Any = 32,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: Any = 0,
    ) -> None:
        super().__init__(seed)
        self.lengths = checked_lengths(lengths)
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.shuffle, self.drop_last = shuffle, drop_last
        if boundaries is None:
            num_buckets = check_count("num_buckets", num_buckets, least=1)
            rising = np.sort(self.lengths)
            tokens = np.cumsum(rising)
            ends = np.searchsorted(tokens, tokens[-1] * np.arange(1, num_buckets) / num_buckets)
            self.boundaries = sorted(set(rising[ends].tolist()))
        else:
            self.boundaries = [check_count("boundaries", boundary, least=0) for boundary in boundaries]
            if any(left >= right for left, right in zip(self.boundaries, self.boundaries[1:], strict=False)):
                raise InputError(f"boundaries={list(boundaries)} must rise from one to the next.")
        self._buckets = np.searchsorted(self.boundaries, self.lengths)
        if drop_last:
            _refuse_nothing_left(np.bincount(self._buckets).max() >= self.batch_size, self.batch_size)

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        random = self._random(epoch)
        order = random.permutation(len(self.lengths)) if self.shuffle else np.arange(len(self.lengths))
        buckets = [order[self._buckets[order] == bucket] for bucket in range(len(self.boundaries) + 1)]
        plan = join([cut(bucket, self.batch_size, self.drop_last) for bucket in buckets])
        return plan.select(random.permutation(len(plan))) if self.shuffle else plan

    @property
    def padding_waste(self) -> float:
        """The portion of this epoch's positions that are padding: see `padding_waste`."""
        return padding_waste(self.lengths, self.batches)


class TokenBudgetBatchSampler(EpochBatchSampler):
    """Batches of about the same number of tokens: many short examples or few long ones.

    A batch, padded to its longest example, has at most `max_tokens` positions. Examples are shuffled and taken in pools
    of `pool_size`. In a pool they are sorted by length and taken into batches as long as the budget lasts; then all
    batches are shuffled. The number of batches can differ a little from epoch to epoch. (Ott et al., 2019, "fairseq",
    §3; there the pool is the whole data.)

    Args:
        lengths: of every example, in tokens.
        max_tokens: how many positions a batch may have, padding included.
        max_examples: how many examples a batch may have besides.
        pad_to_multiple_of: what the collator rounds padded lengths up to.
        pool_size: the larger, the less padding; the smaller, the more do the batches of one epoch differ from those of
            the next.
        shuffle: False keeps everything in order but for the sorting inside a pool.
        seed: a whole number or a generator.

    Raises:
        InputError: an example that is longer than the budget.
    """

    def __init__(
        self,
        lengths: Any,
        max_tokens: Any,
        *,
        max_examples: Any = None,
        pad_to_multiple_of: Any = 1,
        pool_size: Any = 10_000,
        shuffle: bool = True,
        seed: Any = 0,
    ) -> None:
        super().__init__(seed)
        self.lengths = checked_lengths(lengths)
        self.max_tokens = check_count("max_tokens", max_tokens, least=1)
        self.max_examples = None if max_examples is None else check_count("max_examples", max_examples, least=1)
        self.pad_to_multiple_of = check_count("pad_to_multiple_of", pad_to_multiple_of, least=1)
        self.pool_size = check_count("pool_size", pool_size, least=1)
        self.shuffle = shuffle
        longest = int(self.lengths.argmax())
        if (padded := int(rounded_up(self.lengths[longest], self.pad_to_multiple_of))) > self.max_tokens:
            raise InputError(
                f"max_tokens={self.max_tokens}, but example {longest} alone takes {padded}: truncate the examples, or "
                "raise max_tokens."
            )

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        random = self._random(epoch)
        order = random.permutation(len(self.lengths)) if self.shuffle else np.arange(len(self.lengths))
        pools = [order[start : start + self.pool_size] for start in range(0, len(order), self.pool_size)]
        plan = join([self._fill(pool) for pool in pools])
        return plan.select(random.permutation(len(plan))) if self.shuffle else plan

    def _fill(self, pool: np.ndarray) -> Plan:
        """The batches of a pool."""
        # From long to short the first example of a batch is its longest, and says how many have room.
        pool = pool[np.argsort(-self.lengths[pool], kind="stable")]
        room = self.max_tokens // np.maximum(1, rounded_up(self.lengths[pool], self.pad_to_multiple_of))
        if self.max_examples is not None:
            room = np.minimum(room, self.max_examples)
        ends, end = [], 0
        while end < len(pool):
            end = min(end + int(room[end]), len(pool))
            ends.append(end)
        return Plan(pool, np.array(ends, dtype=np.int64))

    @property
    def padding_waste(self) -> float:
        """The portion of this epoch's positions that are padding: see `padding_waste`."""
        return padding_waste(self.lengths, self.batches, pad_to_multiple_of=self.pad_to_multiple_of)


class WeightedBatchSampler(EpochBatchSampler):
    """Batches of examples drawn by weight: rare classes more often, say.

    Unlike torch's WeightedRandomSampler it takes any number of examples (that one 2²⁴), and can go on where it stopped.
    Without replacement an example is drawn by its share in the weights that are left (Efraimidis & Spirakis, 2006).

    Args:
        weights: of every example, at least 0; they need not add up to 1.
        batch_size: how many examples go into a batch.
        num_samples: how many are drawn in an epoch; as many as there are weights unless given.
        replacement: whether an example can be drawn more than once in an epoch.
        drop_last: leave out the last batch where it would be smaller.
        seed: a whole number or a generator.
    """

    def __init__(
        self,
        weights: Any,
        batch_size: Any,
        *,
        num_samples: Any = None,
        replacement: bool = True,
        drop_last: bool = False,
        seed: Any = 0,
    ) -> None:
        super().__init__(seed)
        self.weights = number_array("weights", weights).astype(np.float64)
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all() and self.weights.any()):
            raise InputError("weights must be finite numbers of at least 0, and not all of them 0.")
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.num_samples = (
            len(self.weights) if num_samples is None else check_count("num_samples", num_samples, least=1)
        )
        self.replacement, self.drop_last = replacement, drop_last
        possible = np.count_nonzero(self.weights)
        if not replacement and self.num_samples > possible:
            raise InputError(
                f"num_samples={self.num_samples}, but only {possible} examples have a weight above 0: pass "
                "replacement=True, or draw fewer."
            )
        if drop_last:
            _refuse_nothing_left(self.num_samples >= self.batch_size, self.batch_size)

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        random = self._random(epoch)
        if self.replacement:
            upper = np.cumsum(self.weights / self.weights.max())
            # Uniform draws in rising order, from exponential gaps (Devroye, 1986, §V.3): they are found in one pass
            # over `upper`, many times as fast as draws in any order. The examples are shuffled afterwards.
            rising = np.cumsum(random.standard_exponential(self.num_samples + 1))
            drawn = np.searchsorted(upper, rising[:-1] * (upper[-1] / rising[-1]), side="right")
            # A product that is rounded up to the sum itself lies behind the last example that has a weight.
            order = np.minimum(drawn, np.flatnonzero(self.weights)[-1])
            random.shuffle(order)
        else:
            possible = np.flatnonzero(self.weights)
            waiting = random.exponential(size=len(possible)) / self.weights[possible]
            order = possible[np.argsort(waiting, kind="stable")[: self.num_samples]]
        return cut(order, self.batch_size, self.drop_last)


class DistributedBatchSampler(EpochBatchSampler):
    """One rank's batches of another sampler: rank r of n takes batches r, r + n, r + 2n … of its plan.

    Every rank makes the same sampler, with the same seed, and wraps it. Ranks that work in step need the same number of
    batches; `uneven` says what happens where the plan has another number than a multiple of `num_replicas`:
    "split": the largest batches are halved until it has, so that every example is used exactly once. Where the batches
        hold too few examples for that, as "repeat". (For batches of exactly one size take "drop".)
    "repeat": the first batches are used again, as torch's DistributedSampler does with drop_last=False.
    "drop": the last ones are left out, as there with drop_last=True.
    "keep": some ranks have one batch less, every example is used exactly once: for evaluation, or torch's Join.

    Args:
        sampler: what to share.
        num_replicas, rank: how many there are, and which this is; as torch.distributed says unless given.
        uneven: one of the four.
    """

    def __init__(self, sampler: Any, num_replicas: Any = None, rank: Any = None, *, uneven: Any = "split") -> None:
        if not isinstance(sampler, EpochBatchSampler):
            raise InputError(
                f"sampler must be a batch sampler of minitransformers.data, such as ShuffledBatchSampler; got a "
                f"{type(sampler).__name__}."
            )
        super().__init__(sampler.seed)
        if (num_replicas is None or rank is None) and not (distributed.is_available() and distributed.is_initialized()):
            raise InputError(
                "num_replicas and rank are needed, since torch.distributed is not initialised: pass both, or call "
                "torch.distributed.init_process_group before."
            )
        world = distributed.get_world_size() if num_replicas is None else num_replicas
        self.num_replicas = check_count("num_replicas", world, least=1)
        self.rank = check_count("rank", distributed.get_rank() if rank is None else rank, least=0)
        if self.rank >= self.num_replicas:
            raise InputError(f"rank={self.rank} must be below num_replicas={self.num_replicas}: ranks count from 0.")
        if uneven not in (choices := ("split", "repeat", "drop", "keep")):
            raise InputError(f"uneven={uneven!r} must be one of {', '.join(choices)}.{nearest(str(uneven), choices)}")
        self.sampler, self.uneven = sampler, uneven

    def plan(self, epoch: int) -> Plan:
        """The batches of all ranks together: a multiple of the number of ranks, except with "keep"."""
        return evened(self.sampler.plan(epoch), self.num_replicas, self.uneven)

    def _whole_epoch(self, epoch: int) -> Plan:
        return self.sampler.plan(epoch)

    def _share(self, plan: Plan) -> Plan:
        return plan.select(np.arange(self.rank, len(plan), self.num_replicas))


def _refuse_nothing_left(enough: Any, batch_size: int) -> None:
    if not enough:
        raise InputError(f"batch_size={batch_size} with drop_last=True leaves no batch: there are too few examples.")
