"""set_seed: seed the random numbers of Python, NumPy and PyTorch."""

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
