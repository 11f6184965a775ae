"""Where a token stands: learned (Devlin et al., 2018) and sinusoidal (Vaswani et al., 2017, §3.5) positions."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def count_positions(length: int, start: int = 0, *, device: torch.device | None = None) -> Int[Tensor, "1 {length}"]:
    """start, start + 1, …: the positions of `length` tokens that follow `start` others."""
    return torch.arange(start, start + length, device=device)[None]


def positions_from_mask(attention_mask: Int[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
    """Positions that count real tokens only, so that a left-padded prompt starts at 0 like any other; 0 at padding."""
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)


def sinusoidal_positions(
    position_ids: Int[Tensor, "*batch length"], hidden_size: int
) -> Float[Tensor, "*batch length {hidden_size}"]:
    """sin(p / 10000^(2i/hidden)) at the even features 2i and cos of the same at the odd ones, p being the position.

    For an odd `hidden_size` the last cosine is left out. Computed in float64, given in the default dtype.
    """
    even = torch.arange(0, hidden_size, 2, dtype=torch.float64, device=position_ids.device)
    angle = position_ids[..., None] / 10000 ** (even / hidden_size)
    waves = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)
    return waves[..., :hidden_size].to(torch.get_default_dtype())


class LearnedPositions(nn.Embedding):
    """A trained vector for each position up to a maximum. Indexed by position ids: (batch, length) of whole numbers."""


class SinusoidalPositions(nn.Module):
    """`sinusoidal_positions` as a layer: nothing to train, and no longest sequence."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    def forward(self, position_ids: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length hidden"]:
        """The waves at the given positions."""
        return sinusoidal_positions(position_ids, self.hidden_size)
