"""Images in another size: bilinear and bicubic resampling, bit for bit as PIL computes them.

`resize` is what image_processing.py calls. Below it stand the formulas, from the whole image to the weight of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

# The numbers that PIL, and so the files, have for ways to resize, and PyTorch's names of the ones that are covered.
RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}


def resize(pixels: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(channels, height, width) pixels in another (height, width).

    8-bit pixels as PIL does it, and as 8-bit pixels again; all others as numbers, by PyTorch and without rounding.

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
    """8-bit (channels, height, width) pixels in another (height, width), computed as PIL does it.

    Each new pixel is a weighted mean of those near its place; where the image gets smaller, of all those that it
    covers. Rows are resized first, then columns, each rounded to 8 bits: bit for bit PIL's result, except that PIL
    takes columns first for some sizes, which makes one level of difference (bilinear). (PyTorch's own kernel for 8 bits
    fails at a width of 1.)
    """
    height, width = size
    wide = _resampled(pixels.double(), width, mode)
    return _resampled(wide.mT, height, mode).mT.to(torch.uint8)


def _resampled(lines: Tensor, length: int, mode: str) -> Tensor:
    """(…, old length) pixels as (…, `length`), rounded to whole levels from 0 to 255."""
    if lines.shape[-1] == length:
        return lines
    windows = _windows(lines.shape[-1], length, mode)
    sums = torch.stack([lines[..., start : start + len(weights)] @ weights for start, weights in windows], dim=-1)
    return (sums + 0.5).floor().clamp(0, 255)


@lru_cache(maxsize=16)
def _windows(old: int, new: int, mode: str) -> list[tuple[int, Tensor]]:
    """For each new pixel where its window of old ones begins, and their weights."""
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
        # Whole multiples of 2⁻²², as PIL has them: products with 8-bit numbers, and their sums, are then exact.
        fixed = [math.copysign(math.floor(abs(weight / total) * 2**22 + 0.5), weight) / 2**22 for weight in weights]
        windows.append((start, torch.tensor(fixed, dtype=torch.float64)))
    return windows


def _triangle(distance: float) -> float:
    """Linear interpolation: 1 at the pixel itself, 0 from its neighbour on."""
    return max(0.0, 1.0 - distance)


def _cubic(distance: float) -> float:
    """The piecewise cubic with a = −1/2 (Keys, 1981, eq. 15)."""
    if distance < 1:
        return (1.5 * distance - 2.5) * distance * distance + 1
    return -0.5 * (((distance - 5) * distance + 8) * distance - 4) if distance < 2 else 0.0


# For each way to resize: the weight of a pixel by its distance, and the distance at which it ends.
_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (_triangle, 1.0), "bicubic": (_cubic, 2.0)}
