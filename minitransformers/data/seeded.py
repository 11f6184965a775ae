"""Where the draws of collators and data sets come from: a seed, a generator, or PyTorch's own generator."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from minitransformers.errors import InputError


def check_seed(name: str, value: Any) -> None:
    """Refuse what is neither a seed, nor a generator, nor None.

    Raises:
        InputError: naming `name`.
    """
    if value is None or isinstance(value, torch.Generator):
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
        raise InputError(
            f"{name}={value!r} must be a whole number from 0 to 2**63 - 1, a torch.Generator, or None for PyTorch's "
            f"own generator, which torch.manual_seed sets."
        )


def generator_from(seed: int, *indices: int) -> torch.Generator:
    """A generator for one thing among many (an example in an epoch, a worker): other indices, unrelated draws."""
    mixed = np.random.SeedSequence((int(seed), *indices)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]) >> 1)


def spare_generator(generator: torch.Generator | None) -> torch.Generator:
    """A generator that follows from the state of `generator` (None: PyTorch's own) and leaves that as it is."""
    spare = torch.Generator()
    spare.set_state((torch.default_generator if generator is None else generator).get_state())
    return spare.manual_seed(_draw_seed(spare))


def python_random(seed: Any) -> random.Random:
    """Python's generator, where single numbers are drawn many times: from a seed, or seeded by a generator's draw."""
    check_seed("seed", seed)
    return random.Random(_draw_seed(seed) if seed is None or isinstance(seed, torch.Generator) else int(seed))


def _draw_seed(generator: torch.Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=generator))


class Seeded:
    """The base of what draws: `seed` is an int, a torch.Generator, or None for PyTorch's own generator.

    A generator is made at the first draw, in the process that draws: worker `i` of a DataLoader starts from `seed + i`
    in epoch 0, as in transformers, so no two workers draw the same. Workers that a DataLoader starts afresh for each
    epoch would begin with the same draws each time: call `set_epoch` before an epoch and they do not. Pass another seed
    on each rank of a distributed run.
    """

    seed: Any
    _epoch = 0
    _worker: int | None = None
    _generator: torch.Generator | None = None

    def set_epoch(self, epoch: int) -> None:
        """Start the draws of an epoch: they depend on the seed and `epoch` alone (a torch.Generator just goes on)."""
        self._epoch = epoch
        self._generator = None

    @property
    def generator(self) -> torch.Generator | None:
        """What the next draw is taken from; None is PyTorch's own. Assigning one replaces it, in this process."""
        info = get_worker_info()
        worker = None if info is None else info.id
        if self.seed is None:  # a DataLoader seeds PyTorch's own in every worker, other in every epoch
            return self._generator if worker == self._worker else None
        # What was made before the workers were started would draw the same in all of them.
        if self._generator is None or worker != self._worker:
            self._generator, self._worker = self._make(worker), worker
        return self._generator

    @generator.setter
    def generator(self, generator: torch.Generator) -> None:
        info = get_worker_info()
        self._generator, self._worker = generator, None if info is None else info.id

    def _make(self, worker: int | None) -> torch.Generator:
        seed = self.seed
        if isinstance(seed, torch.Generator):
            if worker is None:
                return seed
            seed = _draw_seed(seed)  # from the worker's own copy
        elif self._epoch == 0:
            return torch.Generator().manual_seed(int(seed) + (worker or 0))
        return generator_from(seed, self._epoch, worker or 0)
