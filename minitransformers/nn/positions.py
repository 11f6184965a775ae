"""Where a token stands.

Learned (Devlin et al., 2018), sinusoidal (Vaswani et al., 2017, §3.5) and rotary (Su et al., 2021) positions.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Rotary(NamedTuple):
    """The turn of every position, as `rotate` applies it to queries and keys: cos and sin of its angles."""

    cos: Float[Tensor, "#batch length rotated"]
    sin: Float[Tensor, "#batch length rotated"]


def rotary_positions(
    position_ids: Int[Tensor, "#batch length"], frequencies: Float[Tensor, " half"], *, dtype: torch.dtype
) -> Rotary:
    """The turn of each position: position · frequency, one angle for every pair of features (Su et al., 2021, §3.2.2).

    Args:
        frequencies: of the pairs; see `rotary_frequencies`.
        dtype: of the result. Angles are computed in float32, in which large positions would be lost in narrower types.
    """
    angle = position_ids[..., None].float() * frequencies.float()
    angle = torch.cat([angle, angle], dim=-1)  # feature i is paired with feature i + half
    return Rotary(angle.cos().to(dtype), angle.sin().to(dtype))


def rotary_frequencies(
    rotated: int, *, base: float = 10_000.0, device: torch.device | None = None
) -> Float[Tensor, " half"]:
    """1 / base^(2i/rotated) for each of the rotated/2 pairs of features."""
    exponent = torch.arange(0, rotated, 2, dtype=torch.float32, device=device) / rotated
    return 1.0 / base**exponent


def rotate(
    per_head: Float[Tensor, "batch heads length dim"], rotary: Rotary
) -> Float[Tensor, "batch heads length dim"]:
    """Turn each pair of features (i, i + half) by the angle of its position (Su et al., 2021, eq. 34).

    The product of a turned query and a turned key depends on their distance alone. Features beyond the first `rotated`
    stay as they are.
    """
    cos, sin = (wave[:, None] for wave in rotary)  # alike for all heads
    turned, kept = per_head[..., : cos.shape[-1]], per_head[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([turned, kept], dim=-1) if kept.shape[-1] else turned
