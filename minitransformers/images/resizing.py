"""Resizing of images: bilinear and bicubic resampling, bit for bit as PIL computes them.

The image processor calls `resize`. The formulas follow, from the whole image down to the weight of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

# PIL's numbers for resampling methods, which the files have, and PyTorch's names of the covered ones
RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}


def resize(pixels: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize (channels, height, width) pixels to `size`, (height, width).

    8-bit pixels are resized as PIL resizes them and stay 8-bit; others become float and are not rounded.

    Args:
        mode: one of the values of `RESAMPLING`.
    """
    if pixels.shape[1:] == size:
        return pixels
    if pixels.dtype == torch.uint8 and mode in _FILTERS:
        return resize_as_pil(pixels, size, mode)
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
    return F.interpolate(pixels[None].contiguous(), size=size, mode=mode, antialias=mode in _FILTERS)[0]


def resize_as_pil(pixels: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize 8-bit (channels, height, width) pixels to `size`, (height, width), with PIL's arithmetic.

    Each new pixel is a weighted mean of the old pixels near its place; in a smaller image, of all that it covers. Rows
    are resized first, then columns, each rounded to 8 bits. The result is PIL's bit for bit, except at sizes at which
    PIL resizes columns first: there it differs by one level (bilinear). PyTorch's kernel for 8 bits is not used,
    because it fails at a width of 1.
    """
    height, width = size
    wide = _resampled(pixels.double(), width, mode)
    return _resampled(wide.mT, height, mode).mT.to(torch.uint8)


def _resampled(lines: Tensor, length: int, mode: str) -> Tensor:
    """Resize the last dimension of `lines` to `length`, rounded to whole levels from 0 to 255."""
    if lines.shape[-1] == length:
        return lines
    windows = _windows(lines.shape[-1], length, mode)
    sums = torch.stack([lines[..., start : start + len(weights)] @ weights for start, weights in windows], dim=-1)
    return (sums + 0.5).floor().clamp(0, 255)


@lru_cache(maxsize=16)
def _windows(old: int, new: int, mode: str) -> list[tuple[int, Tensor]]:
    """For each new pixel: the index of the first old pixel in its window, and the weights of the window."""
    weigh, reach = _FILTERS[mode]
    scale = old / new
    stretch = max(scale, 1.0)
    windows = []
    for index in range(new):
        centre = (index + 0.5) * scale
        start = max(0, int(centre - reach * stretch + 0.5))
        stop = min(old, int(centre + reach * stretch + 0.5))
        weights = [weigh(abs(place + 0.5 - centre) / stretch) for place in range(start, stop)]
        total = sum(weights)
        # Whole multiples of 2⁻²², as in PIL: products with 8-bit numbers, and their sums, are exact.
        fixed = [math.copysign(math.floor(abs(weight / total) * 2**22 + 0.5), weight) / 2**22 for weight in weights]
        windows.append((start, torch.tensor(fixed, dtype=torch.float64)))
    return windows


def _triangle(distance: float) -> float:
    """Linear interpolation: 1 at distance 0, 0 from distance 1 on."""
    return max(0.0, 1.0 - distance)


def _cubic(distance: float) -> float:
    """The piecewise cubic with a = −1/2 (Keys, 1981, eq. 15)."""
    if distance < 1:
        return (1.5 * distance - 2.5) * distance * distance + 1
    return -0.5 * (((distance - 5) * distance + 8) * distance - 4) if distance < 2 else 0.0


# Method -> the weight of a pixel by its distance, and the distance at which the weight becomes 0
_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
