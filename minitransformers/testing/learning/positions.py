"""`check_positions`: the sine and cosine waves that tell a position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minitransformers.testing.learning.judging import call, judge_outputs, tensor_of

EXPECTED = "sinusoidal_positions(length, hidden_size) -> (length, hidden_size)"
MISTAKES = {
    "halves": "all sines come before all cosines: they must take turns, sine at even features, cosine at odd ones",
    "cosine first": "sine and cosine are exchanged: the sine stands at the even features",
    "own exponent": "the cosine has a frequency of its own: features 2i and 2i + 1 share one",
    "half exponent": "the exponent is i/hidden, not 2i/hidden",
    "double exponent": "the exponent is 4i/hidden, not 2i/hidden",
    "base 1000": "the base is 1,000, not 10,000",
    "base e": "the factor 10,000 is missing: e is raised to the exponent",
    "from 1": "positions are off by one: the first position is 0",
    "multiplied": "positions are multiplied by 10000^(2i/hidden), not divided by it",
    "only sine": "there are only sines",
    "only cosine": "there are only cosines",
    "one frequency": "all features have the same frequency",
    "two pi": "positions are multiplied by 2π",
    "over half": "the exponent is divided by hidden − 2, not by hidden",
    "transposed": "the output is (hidden, length), not (length, hidden)",
}


def waves(length: int, hidden: int, wrong: frozenset[str] = frozenset()) -> Tensor:
    """Sinusoidal positions in plain steps (Vaswani et al., 2017, §3.5), with the mistakes that `wrong` names."""
    feature = torch.arange(hidden, dtype=torch.float64)
    pair = feature if "own exponent" in wrong else feature - feature % 2  # 2i
    if "halves" in wrong:
        pair = feature % (hidden // 2) * 2
    exponent = pair / (hidden - 2 if "over half" in wrong else hidden)
    exponent = exponent * (0.5 if "half exponent" in wrong else 2 if "double exponent" in wrong else 1)
    exponent = torch.zeros_like(exponent) if "one frequency" in wrong else exponent
    base = 1000.0 if "base 1000" in wrong else 2.718281828459045 if "base e" in wrong else 10000.0
    position = torch.arange(length, dtype=torch.float64)[:, None] + ("from 1" in wrong)
    position = position * (2 * torch.pi if "two pi" in wrong else 1)
    angle = position * base**exponent if "multiplied" in wrong else position / base**exponent
    is_sine = feature < hidden // 2 if "halves" in wrong else feature % 2 == 0
    if "cosine first" in wrong:
        is_sine = ~is_sine
    if "only sine" in wrong or "only cosine" in wrong:
        is_sine = torch.full_like(is_sine, "only sine" in wrong)
    found = torch.where(is_sine, angle.sin(), angle.cos())
    return found.T if "transposed" in wrong else found


def check_positions(function: Callable[..., Any]) -> None:
    """Check sinusoidal positions: sin(p / 10000^(2i/hidden)) at feature 2i, and the cosine of the same at 2i + 1.

    Args:
        function: `sinusoidal_positions(length, hidden_size)`, which gives (length, hidden_size), or with a first
            dimension of 1.

    Raises:
        CheckError: a law is broken.
    """

    def run(length: int, hidden: int) -> Tensor:
        found = tensor_of(call(function, {"length": length, "hidden_size": hidden}, EXPECTED), EXPECTED)
        return found[0] if found.ndim == 3 and len(found) == 1 else found

    sizes = [(1, 4), (2, 2), (3, 8), (40, 8)]
    judge_outputs(
        [run(*size) for size in sizes],
        lambda wrong: (waves(*size, wrong) for size in sizes),
        MISTAKES,
        [
            ("At position 0 sines are 0 and cosines 1, in turn.", "length 1, hidden size 4"),
            ("The first pair is the sine and cosine of the position.", "length 2, hidden size 2"),
            ("Each pair of features has a frequency of its own.", "length 3, hidden size 8"),
            ("The frequencies go from 1 down to 1/10000^((hidden − 2)/hidden).", "length 40, hidden size 8"),
        ],
    )
