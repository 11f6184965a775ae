"""`check_lora`: a linear layer plus α/r · B A, of which only A and B are trained."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.learning.judging import (
    CALLABLE,
    CheckError,
    call,
    check_repeatable,
    compare,
    evaluating,
    find_cause,
    judge,
    table,
    tensor_of,
)

EXPECTED = "LoRALinear(linear, rank, alpha) -> module; module(x) = linear(x) + alpha / rank · (x Aᵀ) Bᵀ"
INPUTS, OUTPUTS, RANK, ALPHA = 6, 5, 2, 8.0
MISTAKES = {
    "no scale": "the scale α/r is missing",
    "alpha": "the update is multiplied by α, not by α/r",
    "inverse": "the update is multiplied by r/α, not by α/r",
    "root": "the update is multiplied by α/√r, not by α/r",
    "over rank": "the update is divided by r, and α is missing",
    "no bias": "the bias of the layer is lost",
    "no base": "the layer itself is lost: only the update is left",
    "no update": "the update is not added",
    "subtracted": "the update is subtracted, not added",
    "activation": "there is an activation between A and B",
    "twice": "the update is added twice",
    "scaled base": "the scale multiplies the layer too, not only the update",
    "bias scaled": "the scale multiplies the bias too",
    "multiplied": "the update is multiplied with the layer's output, not added to it",
}


def lora(x: Tensor, linear: nn.Linear, a: Tensor, b: Tensor, wrong: frozenset[str] = frozenset()) -> Tensor:
    """A LoRA layer in plain steps (Hu et al., 2022, eq. 3), with the mistakes that `wrong` names."""
    scales = {
        "no scale": 1.0,
        "alpha": ALPHA,
        "inverse": RANK / ALPHA,
        "root": ALPHA / sqrt(RANK),
        "over rank": 1 / RANK,
    }
    scale = next((s for name, s in scales.items() if name in wrong), ALPHA / RANK)
    inner = x @ a.T
    update = (inner.relu() if "activation" in wrong else inner) @ b.T * scale
    update = update * {"no update": 0, "subtracted": -1, "twice": 2}.get(
        next(iter(wrong & {"no update", "subtracted", "twice"}), ""), 1
    )
    bias = torch.zeros(OUTPUTS) if "no bias" in wrong else linear.bias * (scale if "bias scaled" in wrong else 1)
    base = x @ linear.weight.T + bias
    if "no base" in wrong:
        return update
    if "multiplied" in wrong:
        return base * update
    return base * scale + update if "scaled base" in wrong else base + update


def check_lora(make: Callable[..., Any]) -> None:
    """Check a LoRA layer: its start, its parameters, its output, and `merge()` if it has one.

    Args:
        make: class or function `LoRALinear(linear, rank, alpha)` that wraps an `nn.Linear`. A is (rank, inputs) and B
            (outputs, rank), or both transposed; they are found by their shapes. `merge()` may return a linear layer,
            or change the module's own layer.

    Raises:
        CheckError: a law is broken.
    """
    torch.manual_seed(0)
    linear = nn.Linear(INPUTS, OUTPUTS)
    x = torch.randn(3, INPUTS)
    with torch.no_grad():
        base = linear(x)
    weight = linear.weight.detach().clone()
    module = call(make, {"linear": linear, "rank": RANK, "alpha": ALPHA}, EXPECTED)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {EXPECTED}")

    def run() -> Tensor:
        return tensor_of(call(module, {"x": x}, "module(x)"), EXPECTED)

    a, b, transposed = _find(module)
    trained = {name: tuple(p.shape) for name, p in module.named_parameters() if p.requires_grad}
    first = (a.detach().clone(), b.detach().clone())
    plain = nn.Linear(INPUTS, OUTPUTS)
    plain.load_state_dict({"weight": weight, "bias": linear.bias.detach().clone()})

    def frozen() -> str | None:
        size = RANK * (INPUTS + OUTPUTS)
        count = sum(p.numel() for p in module.parameters() if p.requires_grad)
        return (
            None
            if count == size
            else table(["shape"], {n: [s] for n, s in trained.items()})
            + f"\n{count} numbers are trained, expected {size}"
        )

    def frozen_cause() -> str:
        others = [n for n, p in module.named_parameters() if p.requires_grad and p is not a and p is not b]
        return (
            f"the layer is not frozen: {', '.join(others)} has requires_grad=True"
            if others
            else "A or B has requires_grad=False"
        )

    with evaluating(module):
        check_repeatable(run)
        started = run()

        def begin() -> str | None:
            return compare(started, base, "the output before training")

        def begin_cause() -> str:
            start = {"right": "B does not begin at 0", **MISTAKES}
            return find_cause([started], lambda wrong: [lora(x, plain, *_oriented(*first, transposed), wrong)], start)

        zero = "A and B both begin at 0: neither of them gets a gradient"
        judge([("Before training the layer's output is unchanged.", begin)], begin_cause)
        if bool((first[0] == 0).all()) and bool((first[1] == 0).all()):
            raise CheckError(
                "Training can start: the gradient is not 0.", zero, table(["largest"], {"A": [0.0], "B": [0.0]})
            )
        judge([("Only A and B are trained.", frozen)], frozen_cause)
        with torch.no_grad():
            a.normal_()
            b.normal_()
        check_repeatable(run)
        big_a, big_b = _oriented(a.detach(), b.detach(), transposed)
        expected = lora(x, plain, big_a, big_b)
        judge(
            [
                (
                    "The output is W x + b + α/r · B A x.",
                    lambda: compare(run(), expected, "the output with A and B drawn"),
                )
            ],
            lambda: find_cause([run()], lambda wrong: [lora(x, plain, big_a, big_b, wrong)], MISTAKES),
        )
        if hasattr(module, "merge"):
            merge: Any = module.merge
            result = merge()
            # What merge() returns is the layer; where it returns nothing, the module goes on with the merged weights.
            merged = (result(x) if isinstance(result, nn.Module) else run()).detach()
            doubled = {"merged twice": "after merge() the update is still added: it counts twice"} | MISTAKES

            def after(wrong: frozenset[str]) -> list[Tensor]:
                return [
                    lora(
                        x,
                        plain,
                        big_a,
                        big_b,
                        wrong - {"merged twice"} | ({"twice"} if "merged twice" in wrong else set()),
                    )
                ]

            judge(
                [("Merging changes no output.", lambda: compare(merged, expected, "the output after merge()"))],
                lambda: find_cause([merged], after, doubled),
            )


def _find(module: nn.Module) -> tuple[Tensor, Tensor, bool]:
    """A, B and whether they are transposed, by their shapes."""
    shapes = {tuple(p.shape): p for p in module.parameters()}
    a, b = shapes.get((RANK, INPUTS)), shapes.get((OUTPUTS, RANK))
    transposed = a is None and b is None
    if transposed:
        a, b = shapes.get((INPUTS, RANK)), shapes.get((RANK, OUTPUTS))
    if a is None or b is None:
        raise CheckError(
            "A maps the inputs to the rank, and B the rank to the outputs.",
            "A or B has another shape, or is no parameter of the module",
            table(["shape"], {name: [tuple(p.shape)] for name, p in module.named_parameters()}),
        )
    return a, b, transposed


def _oriented(a: Tensor, b: Tensor, transposed: bool) -> tuple[Tensor, Tensor]:
    return (a.T, b.T) if transposed else (a, b)
