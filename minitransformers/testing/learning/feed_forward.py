"""`check_feed_forward`: two linear maps with an activation between them, for each position on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError
from minitransformers.testing.learning.judging import (
    UNKNOWN,
    call,
    check_repeatable,
    compare,
    evaluating,
    find_cause,
    judge,
    tensor_of,
)
from minitransformers.testing.learning.weights import Map, maps_of, redraw

EXPECTED = "feed_forward(x) -> output; both (batch, length, hidden)"
ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (F.gelu, F.relu, lambda x: F.gelu(x, approximate="tanh"))
MISTAKES = {
    "no activation": "the activation is missing: two linear maps in a row are one linear map",
    "activation last": "the activation comes after the second linear map, not between the two",
    "activation both": "there is a second activation, after the second linear map",
    "activation first": "the activation is applied to the input",
    "residual": "the residual is added inside: it belongs to the block",
    "no first bias": "the bias of the first linear map is missing",
    "no second bias": "the bias of the second linear map is missing",
    "softmax": "a softmax stands in place of the activation",
    "tanh": "a tanh stands in place of the activation",
    "sigmoid": "a sigmoid stands in place of the activation",
    "sigmoid 1.702": "the activation is x · sigmoid(1.702 x), the coarse form of GELU",
    "mixed": "positions are mixed: the first map's output is averaged over them",
    "first text": "every text gets the result of the first one",
}


def feed_forward(
    x: Tensor, up: Map, down: Map, activation: Callable[[Tensor], Tensor], wrong: frozenset[str] = frozenset()
) -> Tensor:
    """W₂ activation(W₁ x + b₁) + b₂ in plain steps, with the mistakes that `wrong` names."""
    other: dict[str, Callable[[Tensor], Tensor]] = {
        "softmax": lambda x: x.softmax(-1),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "sigmoid 1.702": lambda x: x * torch.sigmoid(1.702 * x),
    }
    activation = next((f for name, f in other.items() if name in wrong), activation)
    inner = up(activation(x) if "activation first" in wrong else x)
    if "no first bias" in wrong and up.bias is not None:
        inner = inner - up.bias
    if "mixed" in wrong:
        inner = inner.mean(1, keepdim=True).expand_as(inner)
    between = not {"no activation", "activation last", "activation first"} & wrong
    output = down(activation(inner) if between else inner)
    if "no second bias" in wrong and down.bias is not None:
        output = output - down.bias
    if "activation last" in wrong or "activation both" in wrong:
        output = activation(output)
    output = output[:1].expand_as(output) if "first text" in wrong else output
    return output + x if "residual" in wrong else output


def check_feed_forward(module: nn.Module) -> None:
    """Check a feed-forward layer. Any activation of gelu, tanh gelu and relu is right.

    The module's weights are drawn again: pass one that is not needed any more.

    Args:
        module: takes and gives (batch, length, hidden). Its two linear maps are found in the order of definition.

    Raises:
        CheckError: a law is broken.
        InputError: the module has no two linear maps.
    """
    redraw(module)
    maps = maps_of(module)
    if len(maps) != 2:
        raise InputError(f"A feed-forward layer has two linear maps; this module has {len(maps)}.")
    up, down = maps
    x = torch.randn(2, 3, up.weight.shape[1], generator=torch.Generator().manual_seed(0)).to(up.weight.dtype)
    inputs = (x[:1, :1], x)

    def run(x: Tensor) -> Tensor:
        return tensor_of(call(module, {"x": x}, EXPECTED), EXPECTED)

    with evaluating(module):
        check_repeatable(lambda: run(x))
        observed = [run(given) for given in inputs]

    def broken(index: int, place: str) -> str | None:
        found = [compare(observed[index], feed_forward(inputs[index], up, down, f), place) for f in ACTIVATIONS]
        return None if None in found else found[0]

    def cause() -> str:
        for count, f in product((1, 2), ACTIVATIONS):  # the simplest explanation first

            def outputs(wrong: frozenset[str], f: Callable[[Tensor], Tensor] = f) -> Iterable[Tensor]:
                return (feed_forward(given, up, down, f, wrong) for given in inputs)

            found = find_cause(observed, outputs, MISTAKES, counts=[count])
            if found != UNKNOWN:
                return found
        return UNKNOWN

    judge(
        [
            ("The output is W₂ activation(W₁ x + b₁) + b₂.", lambda: broken(0, "one position")),
            ("Each position gets its own result.", lambda: broken(1, "two texts of three positions")),
        ],
        cause,
    )
