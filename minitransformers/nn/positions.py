"""Where a token stands.

Learned (Devlin et al., 2018), sinusoidal (Vaswani et al., 2017, §3.5), rotary (Su et al., 2021) and relative (Raffel et
al., 2020) positions.
"""

from __future__ import annotations

import math
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


class SinusoidalPositions(nn.Module):
    """`sinusoidal_positions` as a layer: nothing to train, and no longest sequence."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    def forward(self, position_ids: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length hidden"]:
        """The waves at the given positions."""
        return sinusoidal_positions(position_ids, self.hidden_size)


class Rotary(NamedTuple):
    """The rotation of every position, which `rotate` applies to queries and keys: cos and sin of its angles."""

    cos: Float[Tensor, "#batch length rotated"]
    sin: Float[Tensor, "#batch length rotated"]


def rotary_positions(
    position_ids: Int[Tensor, "#batch length"],
    frequencies: Float[Tensor, " half"],
    *,
    dtype: torch.dtype,
    scale: float = 1.0,
) -> Rotary:
    """The rotation of each position: angle = position · frequency for each pair of features (Su et al., 2021, §3.2.2).

    Args:
        frequencies: of the pairs; see `rotary_frequencies`.
        dtype: of the result. Angles are computed in float32, in which large positions would be lost in narrower types.
        scale: factor by which rotated vectors become longer.
    """
    angle = position_ids[..., None].float() * frequencies.float()
    angle = torch.cat([angle, angle], dim=-1)  # feature i is paired with feature i + half
    return Rotary((angle.cos() * scale).to(dtype), (angle.sin() * scale).to(dtype))


def rotary_frequencies(
    rotated: int, *, base: float | Float[Tensor, ""] = 10_000.0, device: torch.device | None = None
) -> Float[Tensor, " half"]:
    """1 / base^(2i/rotated) for each of the rotated/2 pairs of features."""
    exponent = torch.arange(0, rotated, 2, dtype=torch.float32, device=device) / rotated
    return 1.0 / base**exponent


# Texts longer than those a model was trained on need lower frequencies: five ways to get them.


def linear_frequencies(frequencies: Float[Tensor, " half"], factor: float) -> Float[Tensor, " half"]:
    """All lower by `factor`: a text of `factor` times the length has the same angles (Chen et al., 2023, eq. 4)."""
    return frequencies / factor


def dynamic_base(
    base: float, rotated: int, longest: Int[Tensor, ""], trained_length: int, factor: float
) -> Float[Tensor, ""]:
    """A base that grows with the text, by which only low frequencies become lower (NTK: Peng et al., 2023, §3.1).

    Args:
        longest: number of positions that the text reaches; up to `trained_length` the base stays.
        factor: how fast it grows from there.
    """
    stretch = factor * longest.clamp(min=trained_length) / trained_length - (factor - 1)
    return base * stretch ** (rotated / (rotated - 2))


def llama3_frequencies(
    frequencies: Float[Tensor, " half"],
    *,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    trained_length: int,
) -> Float[Tensor, " half"]:
    """Low ones lower by `factor`, high ones unchanged, a ramp in between: Llama 3.1 (Grattafiori et al., 2024).

    A frequency is low if it makes less than `low_freq_factor` full rotations in the length of the training, and high if
    it makes more than `high_freq_factor`.
    """
    wavelength = 2 * math.pi / frequencies
    rounds = trained_length / wavelength
    kept = ((rounds - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0, 1)
    return (1 - kept) * frequencies / factor + kept * frequencies


def yarn_frequencies(
    rotated: int,
    *,
    base: float,
    factor: float,
    trained_length: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
    device: torch.device | None = None,
) -> Float[Tensor, " half"]:
    """As `llama3_frequencies`, with a ramp that is even in the number of the pair (Peng et al., 2023, §3.2).

    Args:
        beta_fast, beta_slow: frequencies that make more than `beta_fast` full rotations in `trained_length` are
            unchanged, those that make less than `beta_slow` become lower by `factor`.
        truncate: whether the ramp starts and ends at whole numbers of pairs.
    """

    def pair_with(rounds: float) -> float:
        return rotated * math.log(trained_length / (rounds * 2 * math.pi)) / (2 * math.log(base))

    low, high = pair_with(beta_fast), pair_with(beta_slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotated - 1)
    high = high + 0.001 if low == high else high
    growth = base ** (torch.arange(0, rotated, 2, dtype=torch.float32, device=device) / rotated)
    pair = torch.arange(len(growth), dtype=torch.float32, device=device)
    kept = 1 - ((pair - low) / (high - low)).clamp(0, 1)
    return 1 / (factor * growth) * (1 - kept) + 1 / growth * kept


def longrope_frequencies(rotated: int, *, base: float, factors: Float[Tensor, " half"]) -> Float[Tensor, " half"]:
    """Each pair's lower by a factor of its own, found by a search: LongRoPE (Ding et al., 2024, §3)."""
    exponent = torch.arange(0, rotated, 2, dtype=torch.float32, device=factors.device) / rotated
    return 1.0 / (factors * base**exponent)


def rotate(
    per_head: Float[Tensor, "batch heads length dim"], rotary: Rotary
) -> Float[Tensor, "batch heads length dim"]:
    """Rotate each pair of features (i, i + half) by the angle of its position (Su et al., 2021, eq. 34).

    The product of a rotated query and a rotated key depends on their distance alone. Features beyond the first
    `rotated` are unchanged. Where `rotary` is of a wider type, products are computed in it; the result keeps its type.
    """
    cos, sin = (wave[:, None] for wave in rotary)  # alike for all heads
    turned, kept = per_head[..., : cos.shape[-1]], per_head[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    turned = (turned * cos + torch.cat([-second, first], dim=-1) * sin).to(per_head.dtype)
    return torch.cat([turned, kept], dim=-1) if kept.shape[-1] else turned


def relative_buckets(
    distances: Int[Tensor, "query key"], num_buckets: int, max_distance: int, *, bidirectional: bool
) -> Int[Tensor, "query key"]:
    """Which of `num_buckets` buckets each distance, key − query, belongs to (Raffel et al., 2020, §2.1; released code).

    Half of the buckets hold one distance each: 0, 1, 2 … The others grow, up to `max_distance`, as logarithms do; the
    last one holds all that is farther away. Keys that come after the query have a second set of buckets where
    attention is `bidirectional`, and count as distance 0 where it is not.
    """
    if bidirectional:
        num_buckets //= 2
        start = (distances > 0).long() * num_buckets
        distances = distances.abs()
    else:
        start = torch.zeros_like(distances)
        distances = (-distances).clamp(min=0)
    exact = num_buckets // 2
    # In float32, like the code that checkpoints were trained with: at a bucket's edge the rounding decides.
    growth = torch.log(distances.to(torch.float32) / exact) / math.log(max_distance / exact)
    far = exact + (growth.clamp(min=0) * (num_buckets - exact)).long()
    return start + torch.where(distances < exact, distances, far.clamp(max=num_buckets - 1))
