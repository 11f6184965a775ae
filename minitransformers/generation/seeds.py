"""Where random numbers come from."""

from __future__ import annotations

import random

import numpy as np
import torch


def set_seed(seed: int, deterministic: bool = False) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers: the same seed gives the same samples.

    Args:
        seed: a whole number of at least 0.
        deterministic: also let PyTorch use only algorithms that give the same result each time.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # of all devices
    if deterministic:
        torch.use_deterministic_algorithms(True)


def as_generator(generator: torch.Generator | int | None, device: torch.device) -> torch.Generator | None:
    """A generator from its seed; what is one already, or None for PyTorch's own, stays as it is."""
    if isinstance(generator, int):
        return torch.Generator(device).manual_seed(generator)
    return generator
