"""Random draws of collators and data sets: from a seed, a generator, or PyTorch's default generator."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from minitransformers.errors import InputError


def check_seed(name: str, value: Any) -> None:
    """Raise InputError for a `value` that is neither a seed, nor a generator, nor None."""
    if value is None or isinstance(value, torch.Generator):
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
        raise InputError(
            f"{name}={value!r} must be a whole number from 0 to 2**63 - 1, a torch.Generator, or None for PyTorch's "
            f"default generator, which torch.manual_seed seeds."
        )


def generator_from(seed: int, *indices: int) -> torch.Generator:
    """A generator for one of many parts (an example in an epoch, a worker). Different indices give unrelated draws."""
    mixed = np.random.SeedSequence((int(seed), *indices)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]) >> 1)


def spare_generator(generator: torch.Generator | None) -> torch.Generator:
    """A generator seeded by the state of `generator` (None: PyTorch's default), which is not changed."""
    spare = torch.Generator()
    spare.set_state((torch.default_generator if generator is None else generator).get_state())
    return spare.manual_seed(_draw_seed(spare))


def python_random(seed: Any) -> random.Random:
    """Python's generator, which is faster for single numbers, from a seed or seeded by a draw of a generator."""
    check_seed("seed", seed)
    return random.Random(_draw_seed(seed) if seed is None or isinstance(seed, torch.Generator) else int(seed))


def _draw_seed(generator: torch.Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=generator))


class Seeded:
    """Base of classes that draw: `seed` is an int, a torch.Generator, or None for PyTorch's default generator.

    The generator is made at the first draw, in the process that draws. Worker `i` of a DataLoader starts from
    `seed + i` in epoch 0, as in transformers, so workers draw different numbers. A DataLoader that starts new workers
    in each epoch would repeat these draws: call `set_epoch` before an epoch. In a distributed run pass a different seed
    on each rank.
    """

    seed: Any
    _epoch = 0
    _worker: int | None = None
    _generator: torch.Generator | None = None

    def set_epoch(self, epoch: int) -> None:
        """Start the draws of an epoch. They depend only on the seed and `epoch`; a torch.Generator just continues."""
        self._epoch = epoch
        self._generator = None

    @property
    def generator(self) -> torch.Generator | None:
        """The generator of the next draw; None is PyTorch's default. Assigning replaces it in this process."""
        info = get_worker_info()
        worker = None if info is None else info.id
        if self._generator is not None and worker == self._worker:
            return self._generator
        # A generator that was made before the workers started would draw the same numbers in all of them.
        if self.seed is None:  # a DataLoader seeds the default generator of each worker, differently in each epoch
            return None
        self._worker = worker
        if isinstance(self.seed, torch.Generator):
            # A worker has a copy of the generator.
            self._generator = (
                self.seed if worker is None else generator_from(_draw_seed(self.seed), self._epoch, worker)
            )
        elif self._epoch == 0:
            self._generator = torch.Generator().manual_seed(int(self.seed) + (worker or 0))
        else:
            self._generator = generator_from(self.seed, self._epoch, worker or 0)
        return self._generator

    @generator.setter
    def generator(self, generator: torch.Generator) -> None:
        info = get_worker_info()
        self._generator, self._worker = generator, None if info is None else info.id
