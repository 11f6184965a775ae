"""`check_norm`: layer norm and RMS norm, over the features of each position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.learning.judging import (
    CALLABLE,
    CheckError,
    call,
    check_repeatable,
    evaluating,
    judge_outputs,
    table,
    tensor_of,
)
from minitransformers.testing.learning.weights import redraw

EXPECTED = "Norm(hidden_size, eps) -> module; module(x) -> output; both (batch, length, hidden)"
HIDDEN, EPS = 5, 1e-2
MISTAKES = {
    "over length": "the norm runs over the wrong dimension: over positions, not over features",
    "over batch": "the norm runs over the wrong dimension: over the batch, not over features",
    "over both": "the norm runs over the wrong dimension: over positions and features together",
    "no mean": "the mean is not subtracted",
    "mean": "the mean is subtracted: an RMS norm leaves it",
    "unbiased": "the variance divides by n − 1, not by n",
    "no eps": "eps is missing: a row of equal numbers gives NaN",
    "eps outside": "eps is added to the root, not to the variance under it",
    "default eps": "eps=… is ignored: it is always 1e-5",
    "tiny eps": "eps=… is ignored: it is always 1e-12",
    "no root": "the square root is missing: the division is by the variance",
    "no weight": "the weight is missing",
    "no bias": "the bias is missing",
    "bias first": "the bias is added before the weight multiplies",
    "weight added": "the weight is added, not multiplied",
    "no division": "the division by the standard deviation is missing",
}


def norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, rms: bool, wrong: frozenset[str] = frozenset(), eps: float = EPS
) -> Tensor:
    """Layer norm (Ba et al., 2016), or RMS norm, in plain steps, with the mistakes that `wrong` names."""
    dims = [1] if "over length" in wrong else [0] if "over batch" in wrong else [1, 2] if "over both" in wrong else [2]
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, unbiased="unbiased" in wrong)
    if rms and "mean" not in wrong:
        variance = x.square().mean(dims, keepdim=True)
    keeps_mean = (rms and "mean" not in wrong) or "no mean" in wrong
    eps = 0 if "no eps" in wrong else 1e-5 if "default eps" in wrong else 1e-12 if "tiny eps" in wrong else eps
    root = variance.sqrt() + eps if "eps outside" in wrong else (variance + eps).sqrt()
    root = variance + eps if "no root" in wrong else torch.ones_like(root) if "no division" in wrong else root
    found = (x if keeps_mean else x - mean) / root
    bias = torch.zeros_like(weight) if bias is None or "no bias" in wrong else bias
    if "no weight" in wrong:
        return found + bias
    if "weight added" in wrong:
        return found + weight + bias
    return (found + bias) * weight if "bias first" in wrong else found * weight + bias


def check_norm(make: Callable[..., Any], *, rms: bool = False) -> None:
    """Check layer norm: (x − mean) / √(variance + eps) · weight + bias, over the features of each position.

    Args:
        make: class or function `LayerNorm(hidden_size, eps)`. Without `eps` it must take 1e-5. Its weight is defined
            before its bias.
        rms: check the RMS norm instead: x / √(mean of x² + eps) · weight.

    Raises:
        CheckError: a law is broken.
    """
    module = call(make, {"hidden_size": HIDDEN, "eps": EPS}, EXPECTED)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {EXPECTED}")
    start = [p.detach().clone() for p in module.parameters()]
    expected = [torch.ones(HIDDEN)] if rms else [torch.ones(HIDDEN), torch.zeros(HIDDEN)]
    names = ["weight"] if rms else ["weight", "bias"]
    if [tuple(p.shape) for p in start] != [(HIDDEN,)] * len(expected):
        shown = table(["shape"], {n: [tuple(p.shape)] for n, p in module.named_parameters()} or {"none": ["-"]})
        cause = f"expected the parameters {' and '.join(names)}, each ({HIDDEN},)"
        raise CheckError("The parameters have one number for each feature.", cause, shown)
    for name, ours, right in zip(names, start, expected, strict=True):
        if not torch.equal(ours, right):
            shown = table([str(i) for i in range(HIDDEN)], {"yours": ours.tolist(), "expected": right.tolist()})
            cause = f"the {name} does not begin at {int(right[0])}"
            raise CheckError("At the start the weight is 1 and the bias 0.", cause, shown)
    redraw(module)
    parameters = [p.detach() for p in module.parameters()]
    weight, bias = parameters[0], None if rms else parameters[1]
    x = torch.randn(2, 3, HIDDEN, generator=torch.Generator().manual_seed(0)) * 2 + 1
    small = x[:1, :1] * 0.05

    def run(x: Tensor) -> Tensor:
        return tensor_of(call(module, {"x": x}, EXPECTED), EXPECTED)

    formula = "x / √(mean of x² + eps) · weight" if rms else "(x − mean) / √(variance + eps) · weight + bias"
    impossible = ("no mean", "no bias", "bias first") if rms else ("mean",)
    with evaluating(module):
        check_repeatable(lambda: run(x))
        inputs = (x[:1, :1], x, small)
        judge_outputs(
            [run(given) for given in inputs],
            lambda wrong: (norm(given, weight, bias, rms=rms, wrong=wrong) for given in inputs),
            {name: text for name, text in MISTAKES.items() if name not in impossible},
            [
                (f"The output is {formula}.", "one position"),
                ("Each position is normalized on its own.", "two texts of three positions"),
                ("eps is added to the variance.", f"small numbers, eps={EPS}"),
            ],
        )
