"""The batches of an epoch as data: which examples each has, how they are cut and split, and what padding costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minitransformers.errors import InputError


@dataclass(frozen=True, eq=False)
class Plan(Sequence[list[int]]):
    """The batches of an epoch, in order: a sequence of lists of indices, kept in two arrays.

    Attributes:
        order: the indices of all batches, one batch behind the other.
        ends: where in `order` each batch ends.
    """

    order: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # counts from the end too, and refuses what is outside
        indices: list[int] = self.order[self.ends[index - 1] if index else 0 : self.ends[index]].tolist()
        return indices

    @property
    def sizes(self) -> np.ndarray:
        """How many examples each batch has."""
        return np.diff(self.ends, prepend=0)

    def after(self, used: int) -> Plan:
        """The plan without the first `used` examples; of a batch of which some are used, the rest is a batch."""
        return Plan(self.order[used:], self.ends[np.searchsorted(self.ends, used, side="right") :] - used)

    def select(self, batches: np.ndarray) -> Plan:
        """The plan of these batches, in this order."""
        sizes = self.sizes[batches]
        ends = np.cumsum(sizes)
        # For each place in the new order, where that example stands in the old one.
        places = np.arange(sizes.sum()) + np.repeat(self.ends[batches] - ends, sizes)
        return Plan(self.order[places], ends)


def cut(order: np.ndarray, batch_size: int, drop_last: bool) -> Plan:
    """Batches of one size, the last one smaller or left out."""
    ends = np.arange(batch_size, len(order) + 1, batch_size)
    if len(order) % batch_size and not drop_last:
        ends = np.append(ends, len(order))
    return Plan(order[: ends[-1] if len(ends) else 0], ends)


def join(plans: list[Plan]) -> Plan:
    """The batches of several plans, one plan behind the other."""
    starts = np.cumsum([0, *(len(plan.order) for plan in plans[:-1])])
    return Plan(
        np.concatenate([plan.order for plan in plans]),
        np.concatenate([plan.ends + start for plan, start in zip(plans, starts, strict=True)]),
    )


def split_largest(plan: Plan, missing: int) -> Plan:
    """The same examples in the same order, in so many batches more."""
    ends = plan.ends
    while missing:
        sizes = np.diff(ends, prepend=0)
        largest = np.argsort(-sizes, kind="stable")[:missing]
        largest = largest[sizes[largest] > 1]
        ends = np.sort(np.append(ends, ends[largest] - sizes[largest] // 2))
        missing -= len(largest)
    return Plan(plan.order, ends)


def evened(plan: Plan, replicas: int, uneven: str, *, is_rest: bool = False) -> Plan:
    """A plan whose number of batches is a multiple of the number of ranks; see `DistributedBatchSampler`.

    Args:
        plan: the batches of all ranks together.
        replicas: the number of ranks.
        uneven: "split", "repeat", "drop" or "keep".
        is_rest: whether it is the rest of an epoch, of which nothing may be left.

    Raises:
        InputError: "drop" would leave nothing of an epoch.
    """
    missing = -len(plan) % replicas
    if not missing or uneven == "keep":
        return plan
    if uneven == "drop":
        kept = len(plan) - len(plan) % replicas
        if not kept and not is_rest:
            raise InputError(
                f"uneven='drop' leaves nothing of {len(plan)} batches for {replicas} ranks: pass 'repeat'."
            )
        return plan.select(np.arange(kept))
    if uneven == "split" and len(plan) + missing <= len(plan.order):
        return split_largest(plan, missing)
    return plan.select(np.arange(len(plan) + missing) % len(plan))


def padding_waste(lengths: Any, batches: Iterable[Sequence[int]], *, pad_to_multiple_of: int = 1) -> float:
    """The portion of all positions that are padding where every batch is padded to its longest example: 0 is none.

    Args:
        lengths: of every example, in tokens.
        batches: lists of indices, such as `sampler.batches`.
        pad_to_multiple_of: what the collator rounds padded lengths up to.
    """
    lengths = checked_lengths(lengths)
    tokens = positions = 0
    for batch in batches:
        of_batch = lengths[np.asarray(batch, dtype=np.int64)]
        if len(of_batch):
            tokens += int(of_batch.sum())
            positions += len(of_batch) * int(rounded_up(of_batch.max(), pad_to_multiple_of))
    return 1 - tokens / positions if positions else 0.0


def rounded_up(length: Any, multiple: int) -> Any:
    """A length, or an array of lengths, rounded up to a multiple."""
    return -(-length // multiple) * multiple


def number_array(name: str, values: Any) -> np.ndarray:
    """One number for every example as an array, if it is that; else InputError."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a list of numbers ({error}).") from error
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iuf":
        raise InputError(
            f"{name} must be a list of numbers, one for every example and at least one; got {type(values).__name__} of "
            f"shape {array.shape} and type {array.dtype}."
        )
    return array


def checked_lengths(lengths: Any) -> np.ndarray:
    """The lengths of examples as an array, if they are whole numbers of at least 0; else InputError."""
    array = number_array("lengths", lengths)
    if array.dtype.kind == "f" or (array < 0).any():
        raise InputError("lengths must be whole numbers of at least 0: how many tokens each example has.")
    return array.astype(np.int64)
