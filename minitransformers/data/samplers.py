"""Which examples go into which batch: batch samplers for torch's DataLoader that can stop anywhere and go on.

    sampler = TokenBudgetBatchSampler(lengths, max_tokens=4096, seed=0)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collator, num_workers=2)
    for epoch in range(sampler.epoch, 3):
        sampler.set_epoch(epoch)
        for batch in sampler.track(loader):
            …                                    # train; then at any time:
            state = sampler.state_dict()         # and in another run: sampler.load_state_dict(state)

All batches of an epoch are planned at its start, from the seed and the number of the epoch alone. So a place in the
epoch is one number: how many batches the training loop has had. The sampler itself can't know that number: the workers
of a DataLoader fetch batches ahead, and what they were handed is not yet what the loop has used. `track` stands
between the loader and the loop and counts there.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed
from torch.utils.data import Sampler

from minitransformers.data.checks import check_count
from minitransformers.data.plans import (
    Plan,
    checked_lengths,
    cut,
    join,
    number_array,
    padding_waste,
    rounded_up,
    split_largest,
)
from minitransformers.errors import InputError, UnknownNameError, nearest

T = TypeVar("T")


class EpochBatchSampler(Sampler[list[int]], ABC):
    """A batch sampler that plans whole epochs, and whose place in one can be saved: the base of those below.

    A subclass says in `plan` which batches an epoch has.

    Args:
        seed: a whole number, or a generator to draw one from. Every rank needs the same.
    """

    num_replicas = 1

    def __init__(self, seed: Any = 0) -> None:
        self.seed = _seed(seed)
        self._epoch = 0
        self._start = 0  # the batch that the next iteration begins with
        self._consumed: int | None = 0  # by the loop; None: nobody counts
        self._iterations = 0
        self._planned: tuple[int, Plan, int] | None = None

    @abstractmethod
    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch, of all ranks together."""

    def _share(self, plan: Plan) -> Plan:
        """This rank's batches of a plan."""
        return plan

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0."""
        return self._epoch

    def set_epoch(self, epoch: Any) -> None:
        """Choose the epoch that the next iteration goes through. In another than the present one it starts in front."""
        epoch = check_count("epoch", epoch, least=0)
        if epoch != self._epoch:
            self._epoch, self._start, self._consumed = epoch, 0, 0

    @property
    def batches(self) -> Plan:
        """The batches of this epoch, on this rank; looking at them counts as nothing."""
        return self._batches_of(self._epoch)[0]

    def __len__(self) -> int:
        """How many batches the whole epoch has on this rank, wherever the iteration began."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        # A generator, so nothing happens before the first batch is asked for: a DataLoader with workers makes two
        # iterators and uses one.
        first, self._start = self._start, 0
        self._consumed = None
        self._iterations += 1
        plan = self.batches
        for index in range(first, len(plan)):
            yield plan[index]

    def track(self, loader: Iterable[T]) -> Iterator[T]:
        """What `loader` gives, each counted as used when the loop gets it: save the state behind the training step.

        Args:
            loader: a DataLoader with this batch sampler, or the sampler itself.

        Raises:
            InputError: `loader` does not go through this sampler.
        """
        used, iterations = self._start, self._iterations
        for batch in loader:
            if self._iterations == iterations:
                raise InputError(
                    f"track got a loader whose batches don't come from this {type(self).__name__}: make it with "
                    "DataLoader(…, batch_sampler=sampler)."
                )
            used += 1
            self._consumed = used
            yield batch
        self._consumed = used  # also where a saved place was the end, and there was no batch

    def state_dict(self, consumed: Any = None) -> dict[str, int]:
        """The place in the epoch, the same on every rank: whole numbers, for any file.

        Args:
            consumed: how many batches of this epoch the loop has used, those before an earlier stop among them; as
                `track` has counted unless given.

        Raises:
            InputError: nobody has counted, or more batches than there are.
        """
        consumed = self._consumed if consumed is None else consumed
        if consumed is None:
            raise InputError(
                "Nobody has counted how many batches the loop has used: a DataLoader fetches some ahead. Go through "
                "sampler.track(loader) in place of loader, or pass state_dict(consumed=…)."
            )
        return {
            "epoch": self._epoch,
            "consumed": self._checked_place(consumed, self._epoch),
            "batches": len(self),
            "checksum": self._batches_of(self._epoch)[1],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was saved: the next iteration begins with the first batch that was not used then.

        Raises:
            InputError: a state of other data or arguments, which would give other batches.
            UnknownNameError: an entry that a state does not have.
        """
        fields = ("epoch", "consumed", "batches", "checksum")
        for name in state:
            if name not in fields:
                raise UnknownNameError(f"A sampler's state has no entry {name!r}.{nearest(name, fields)}")
        if missing := [name for name in fields if name not in state]:
            raise InputError(f"The state has no {', '.join(missing)}: was it made by a sampler's state_dict()?")
        epoch = check_count("epoch", state["epoch"], least=0)
        if self._batches_of(epoch)[1] != state["checksum"]:
            raise InputError(
                f"The state was saved in epoch {epoch} of {state['batches']} other batches than those of this "
                f"{type(self).__name__}. Make it with the same data, lengths, arguments, seed and number of ranks."
            )
        place = self._checked_place(state["consumed"], epoch)
        self._epoch, self._start, self._consumed = epoch, place, place

    def _checked_place(self, consumed: Any, epoch: int) -> int:
        place, batches = check_count("consumed", consumed, least=0), len(self._batches_of(epoch)[0])
        if place > batches:
            raise InputError(f"consumed={place}, but epoch {epoch} has only {batches} batches.")
        return place

    def _batches_of(self, epoch: int) -> tuple[Plan, int]:
        """This rank's batches, and a CRC-32 of those of all ranks: what two samplers share that have the same plan."""
        if self._planned is None or self._planned[0] != epoch:
            plan = self.plan(epoch)
            checksum = zlib.crc32(
                plan.ends.astype("<i8").data, zlib.crc32(plan.order.astype("<i8").data, self.num_replicas)
            )
            self._planned = epoch, self._share(plan), checksum
        return self._planned[1:]

    def _random(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch])


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
        num_buckets: how many, where `boundaries` is not given.
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
        num_buckets: Any = 8,
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
            drawn = np.searchsorted(upper, random.random(self.num_samples) * upper[-1], side="right")
            # A product that is rounded up to the sum itself lies behind the last example that has a weight.
            order = np.minimum(drawn, np.flatnonzero(self.weights)[-1])
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
        """The batches of all ranks, as many as each can have the same number of (but for "keep")."""
        plan = self.sampler.plan(epoch)
        missing = -len(plan) % self.num_replicas
        if not missing or self.uneven == "keep":
            return plan
        if self.uneven == "drop":
            kept = len(plan) - len(plan) % self.num_replicas
            if not kept:
                raise InputError(
                    f"uneven='drop' leaves nothing of {len(plan)} batches for {self.num_replicas} ranks: pass 'repeat'."
                )
            return plan.select(np.arange(kept))
        if self.uneven == "split" and len(plan) + missing <= len(plan.order):
            return split_largest(plan, missing)
        return plan.select(np.arange(len(plan) + missing) % len(plan))

    def _share(self, plan: Plan) -> Plan:
        return plan.select(np.arange(self.rank, len(plan), self.num_replicas))


def _seed(seed: Any) -> int:
    if isinstance(seed, torch.Generator):
        return int(torch.randint(2**63 - 1, (), generator=seed, device=seed.device))
    return check_count("seed", seed, least=0)


def _refuse_nothing_left(enough: Any, batch_size: int) -> None:
    if not enough:
        raise InputError(f"batch_size={batch_size} with drop_last=True leaves no batch: there are too few examples.")
