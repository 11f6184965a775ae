"""Mixtures of corpora: how often each one is drawn from (`mixture_shares`), and the batches (`MixtureBatchSampler`).

    parts = [english.blocks(512), german.blocks(512)]
    shares = mixture_shares([len(part) for part in parts], temperature=3.3)
    sampler = MixtureBatchSampler([len(part) for part in parts], batch_size=8, shares=shares, seed=0)
    loader = DataLoader(ConcatDataset(parts), batch_sampler=sampler)

The data set is torch's ConcatDataset: example i of part k has the index i + the sizes of the parts before k.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitransformers.configs.checks import check_count
from minitransformers.data.epoch_sampler import EpochBatchSampler
from minitransformers.data.plans import Plan, cut, number_array
from minitransformers.errors import InputError


def mixture_shares(sizes: Any, *, weights: Any = None, temperature: Any = 1.0) -> np.ndarray:
    """The share of each part in a mixture: p_i ∝ (w_i · n_i)^(1/T).

    T = 1 follows the sizes; a higher temperature draws more often from small parts; infinity draws as often from each
    (Raffel et al., 2020, §3.5.2). XLM-R takes 1/T = 0.3 (Conneau et al., 2020, §3.1), mT5 the same (Xue et al., 2021,
    §3.2).

    Args:
        sizes: of the parts, in examples or tokens.
        weights: a factor for each part, 1 unless given; 0 leaves a part out.
        temperature: T, above 0.

    Raises:
        InputError: sizes or weights that are negative, not finite, or 0 in all parts; a bad temperature.
    """
    amounts = _at_least_zero("sizes", sizes)
    if weights is not None:
        factors = _at_least_zero("weights", weights)
        if len(factors) != len(amounts):
            raise InputError(f"weights has {len(factors)} numbers for {len(amounts)} parts: pass one for each part.")
        amounts = amounts * factors
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not temperature > 0:
        raise InputError(f"temperature={temperature!r} must be a number above 0; 1 follows the sizes.")
    if not amounts.any():
        raise InputError("All parts have size or weight 0: nothing can be drawn.")
    present = amounts > 0
    shares = np.zeros(len(amounts))
    shares[present] = (amounts[present] / amounts.max()) ** (1 / temperature)  # at most 1: powers don't overflow
    normalized: np.ndarray = shares / shares.sum()
    return normalized


class MixtureBatchSampler(EpochBatchSampler):
    """Batches from several parts, mixed by given shares; every batch may hold examples of all parts.

    Within a part examples come without replacement: once all have been drawn, they are shuffled anew. Successive epochs
    go on where the one before stopped in each part, so the examples of a large part that an epoch has no room for come
    in later ones. With shares that follow the sizes and the default `num_samples`, every example is drawn exactly once
    an epoch. It resumes as all samplers here do: see epoch_sampler.py.

    Args:
        sizes: how many examples each part has.
        batch_size: how many examples go into a batch.
        shares: of the parts in an epoch, see `mixture_shares`; by default they follow the sizes. Counts are rounded to
            whole examples (the largest remainders are rounded up).
        num_samples: how many examples an epoch has; as many as all parts together unless given.
        drop_last: leave out the last batch where it would be smaller.
        seed: a whole number or a generator.

    Raises:
        InputError: a part without examples that has a share, or shares that are negative or all 0.
    """

    def __init__(
        self,
        sizes: Any,
        batch_size: Any,
        *,
        shares: Any = None,
        num_samples: Any = None,
        drop_last: bool = False,
        seed: Any = 0,
    ) -> None:
        super().__init__(seed)
        self.sizes = [check_count("sizes", size, least=0) for size in sizes]
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.num_samples = check_count("num_samples", sum(self.sizes) if num_samples is None else num_samples, least=1)
        self.drop_last = drop_last
        self.shares = mixture_shares(self.sizes if shares is None else shares)
        if len(self.shares) != len(self.sizes):
            raise InputError(f"shares has {len(self.shares)} numbers for {len(self.sizes)} parts: pass one for each.")
        for number, (size, share) in enumerate(zip(self.sizes, self.shares, strict=True)):
            if share > 0 and size == 0:
                raise InputError(f"Part {number} has no examples, but the share {share:.3g}: pass the share 0.")
        if drop_last and self.num_samples < self.batch_size:
            raise InputError(
                f"batch_size={batch_size} with drop_last=True leaves no batch: an epoch has {self.num_samples} "
                "examples."
            )
        self.counts = _rounded(self.shares * self.num_samples)

    def plan(self, epoch: int) -> Plan:
        """The batches of an epoch."""
        starts = np.cumsum([0, *self.sizes[:-1]])
        drawn = [
            start + self._of_part(part, epoch * count, (epoch + 1) * count)
            for part, (start, count) in enumerate(zip(starts, self.counts.tolist(), strict=True))
        ]
        order = np.concatenate(drawn)
        self._random(epoch).shuffle(order)
        return cut(order, self.batch_size, self.drop_last)

    def _of_part(self, part: int, first: int, last: int) -> np.ndarray:
        """Draws number `first` to before `last` of a part, counted from the first epoch on."""
        size = self.sizes[part]
        if first == last:
            return np.empty(0, dtype=np.int64)
        rounds = range(first // size, -(-last // size))  # in each round all its examples are drawn once
        draws = np.concatenate([np.random.default_rng([self.seed, part, turn]).permutation(size) for turn in rounds])
        return draws[first - rounds[0] * size : last - rounds[0] * size]


def _rounded(amounts: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to the same sum: those with the largest remainders are rounded up."""
    counts = np.floor(amounts + 1e-9).astype(np.int64)
    missing = round(float(amounts.sum())) - int(counts.sum())
    if missing > 0:
        counts[np.argsort(counts - amounts, kind="stable")[:missing]] += 1
    return counts


def _at_least_zero(name: str, values: Any) -> np.ndarray:
    array = number_array(name, values).astype(np.float64)
    if not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{name}={values!r} must be finite numbers of at least 0.")
    return array
