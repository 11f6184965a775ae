"""Exercise 3: where a token stands."""

import torch
from torch import Tensor


def sinusoidal_positions(length: int, hidden_size: int) -> Tensor:
    """A vector for each position 0, 1, …, length − 1.

    Feature 2i is sin(position / 10000^(2i / hidden_size)); feature 2i + 1 is the cosine of the same number.

    Args:
        length: how many positions.
        hidden_size: how many features, an even number.

    Returns:
        (length, hidden_size).
    """
    even = torch.arange(0, hidden_size, 2)
    angle = torch.arange(length)[:, None] / 10000 ** (even / hidden_size)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
