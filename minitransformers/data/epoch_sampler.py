"""A batch sampler for torch's DataLoader that can stop anywhere in an epoch and go on: `EpochBatchSampler`.

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

Which examples go into which batch, subclasses decide: see samplers.py.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Sampler

from minitransformers.configs.checks import check_count
from minitransformers.data.plans import Plan, evened
from minitransformers.errors import InputError, UnknownNameError, nearest

T = TypeVar("T")


class EpochBatchSampler(Sampler[list[int]], ABC):
    """A batch sampler that plans whole epochs, and whose place in one can be saved: the base of those in samplers.py.

    A subclass says in `plan` which batches an epoch has.

    Args:
        seed: a whole number, or a generator to draw one from. Every rank needs the same.
    """

    num_replicas = 1
    uneven = "keep"

    def __init__(self, seed: Any = 0) -> None:
        self.seed = _seed(seed)
        self._epoch = 0
        self._origin = 0  # examples of the epoch that were used before its batches were shared among the present ranks
        self._start = 0  # the batch that the next iteration begins with
        self._is_resumed = False
        self._consumed: int | None = 0  # by the loop; None: nobody counts
        self._iterations = self._longest = 0
        self._planned: tuple[tuple[int, int], Plan, int] | None = None

    @abstractmethod
    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch, of all ranks together."""

    def _whole_epoch(self, epoch: int) -> Plan:
        """The batches of an epoch before they are shared among ranks."""
        return self.plan(epoch)

    def _share(self, plan: Plan) -> Plan:
        """This rank's batches of a plan."""
        return plan

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0."""
        return self._epoch

    def set_epoch(self, epoch: Any) -> None:
        """Choose the epoch that the next iteration goes through. A new one starts at its first batch."""
        epoch = check_count("epoch", epoch, least=0)
        if epoch != self._epoch:
            self._epoch, self._origin, self._start, self._consumed, self._is_resumed = epoch, 0, 0, 0, False

    @property
    def batches(self) -> Plan:
        """The batches of this epoch, on this rank. To look at them is not to use them: the place in the epoch stays."""
        return self._batches_of(self._epoch)[0]

    def __len__(self) -> int:
        """How many batches the whole epoch has on this rank, wherever the iteration began."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        # A generator, so nothing happens before the first batch is asked for: a DataLoader with workers makes two
        # iterators and uses one.
        first, self._start = self._start, 0
        if not self._is_resumed:
            self._origin = 0  # a second iteration goes through the whole epoch
        self._consumed, self._is_resumed = None, False
        self._iterations += 1
        plan = self.batches
        for index in range(first, len(plan)):
            yield plan[index]

    def track(self, loader: Iterable[T]) -> Iterator[T]:
        """The batches of `loader`, each counted as used when the loop gets it: save the state after the training step.

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

    def state_dict(self, consumed: Any = None) -> dict[str, Any]:
        """The place in the epoch, the same on every rank: numbers and a word, for any file.

        Any number of ranks can go on from it.

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
            "origin": self._origin,
            "replicas": self.num_replicas,
            "uneven": self.uneven,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was saved: the next iteration begins with the first batch that was not used then.

        If the state is of another number of ranks, what is left of the epoch is shared among the present ones.

        Raises:
            InputError: a state of other data or arguments, which would give other batches.
            UnknownNameError: an entry that a state does not have.
        """
        fields = ("epoch", "consumed", "batches", "checksum")
        further = {"origin": 0, "replicas": self.num_replicas, "uneven": self.uneven}
        for name in state:
            if name not in (*fields, *further):
                raise UnknownNameError(f"A sampler's state has no entry {name!r}.{nearest(name, (*fields, *further))}")
        if missing := [name for name in fields if name not in state]:
            raise InputError(f"The state has no {', '.join(missing)}: was it made by a sampler's state_dict()?")
        epoch = check_count("epoch", state["epoch"], least=0)
        further = {name: state.get(name, value) for name, value in further.items()}
        origin = check_count("origin", further["origin"], least=0)
        replicas, uneven = check_count("replicas", further["replicas"], least=1), str(further["uneven"])
        whole = self._whole_epoch(epoch)
        plan = evened(whole.after(min(origin, len(whole.order))), replicas, uneven, is_rest=origin > 0)
        if _checksum(plan, replicas) != state["checksum"]:
            raise InputError(
                f"The state was saved in epoch {epoch} of {state['batches']} other batches than those of this "
                f"{type(self).__name__}. Make it with the same data, lengths, arguments and seed."
            )
        place, batches = check_count("consumed", state["consumed"], least=0), -(-len(plan) // replicas)
        if place > batches:
            raise InputError(f"consumed={place}, but epoch {epoch} has only {batches} batches.")
        if (replicas, uneven) != (self.num_replicas, self.uneven):
            num_used = min(place * replicas, len(plan))
            # The batches that were repeated at the end of the epoch are no further examples.
            origin = min(origin + int(plan.ends[num_used - 1] if num_used else 0), len(whole.order))
            place = 0
        self._epoch, self._origin, self._start, self._consumed, self._is_resumed = epoch, origin, place, place, True

    @property
    def batches_since(self) -> int:
        """How many batches of this rank were used since the epoch was divided, after a state was loaded."""
        return self._start

    @property
    def batches_before(self) -> int:
        """How many batches of a rank are about as many examples as were used before the epoch was divided anew."""
        whole = self._whole_epoch(self._epoch)
        return -(-self._origin * len(whole) // (len(whole.order) * self.num_replicas))

    def _checked_place(self, consumed: Any, epoch: int) -> int:
        self._batches_of(epoch)
        place, batches = check_count("consumed", consumed, least=0), self._longest
        if place > batches:
            raise InputError(f"consumed={place}, but epoch {epoch} has only {batches} batches.")
        return place

    def _batches_of(self, epoch: int) -> tuple[Plan, int]:
        """This rank's batches, and a checksum of all ranks' batches, which tells whether a state belongs to them."""
        origin = self._origin if epoch == self._epoch else 0
        if self._planned is None or self._planned[0] != (epoch, origin):
            whole = self._whole_epoch(epoch)
            plan = evened(whole.after(origin), self.num_replicas, self.uneven, is_rest=origin > 0)
            self._planned = (epoch, origin), self._share(plan), _checksum(plan, self.num_replicas)
            self._longest = -(-len(plan) // self.num_replicas)  # batches of the rank that has most
        return self._planned[1:]

    def _random(self, epoch: int) -> np.random.Generator:
        """What an epoch is drawn with: the same seed and epoch give the same batches."""
        return np.random.default_rng([self.seed, epoch])


def _checksum(plan: Plan, replicas: int) -> int:
    """A number that differs for other batches."""
    return zlib.crc32(plan.ends.astype("<i8").data, zlib.crc32(plan.order.astype("<i8").data, replicas))


def _seed(seed: Any) -> int:
    """A whole number to start from, drawn where a generator was given."""
    if isinstance(seed, torch.Generator):
        return int(torch.randint(2**63 - 1, (), generator=seed, device=seed.device))
    return check_count("seed", seed, least=0)
