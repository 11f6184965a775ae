"""Finding the weights inside a learner's module, so that a plain implementation can use the same ones."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError


class Map(NamedTuple):
    """A linear map x ↦ x Wᵀ + b, with the name of its module."""

    name: str
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """The map applied to the last dimension of x."""
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


class Norm(NamedTuple):
    """A layer norm's weight, bias and epsilon."""

    weight: Tensor
    bias: Tensor
    eps: float


def redraw(module: nn.Module, seed: int = 0) -> None:
    """Draw every parameter, so that nothing that is initialized with 0 or 1 is overlooked."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.7 + (0.5 if parameter.ndim == 1 else 0))


_HEADS = ("num_heads", "n_heads", "heads", "n_head", "num_attention_heads", "nhead", "h", "num_head")
# The last or the second last part of a name, as in `attention.self.query`, `w_q`, `q_proj`, `to_q`, `q_lin`.
_ROLES = {
    "query": r"(query|queries|q|w_?q|q_proj|q_lin|to_q|q_linear|linear_q)(_proj)?",
    "key": r"(key|keys|k|w_?k|k_proj|k_lin|to_k|k_linear|linear_k)(_proj)?",
    "value": r"(value|values|v|w_?v|v_proj|v_lin|to_v|v_linear|linear_v)(_proj)?",
}


def heads_of(module: nn.Module) -> int | None:
    """The number of heads that a module, or a module inside it, states in an attribute."""
    for part in module.modules():
        for name in _HEADS:
            value = getattr(part, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None


def maps_of(module: nn.Module) -> list[Map]:
    """The linear maps of a module in the order of definition; a fused one is cut into queries, keys and values."""
    found: list[Map] = []
    part: Any
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            found += _thirds(name, part.in_proj_weight.detach(), part.in_proj_bias)
        elif isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D":
            weight = part.weight.detach() if isinstance(part, nn.Linear) else part.weight.detach().T
            bias = part.bias
            if weight.shape[0] == 3 * weight.shape[1] and not re.search(r"ff|mlp|fc|up|intermediate|linear1", name):
                found += _thirds(name, weight, bias)
            else:
                found.append(Map(name, weight, None if bias is None else bias.detach()))
        else:
            for own, parameter in part.named_parameters(recurse=False):
                if parameter.ndim == 2:  # x @ W
                    found.append(Map(f"{name}.{own}".lstrip("."), parameter.detach().T, None))
    return found


def _thirds(name: str, weight: Tensor, bias: Any) -> list[Map]:
    biases = [None] * 3 if bias is None else list(bias.detach().chunk(3))
    roles = ("query", "key", "value")
    return [Map(f"{name}.{r}", w, b) for r, w, b in zip(roles, weight.chunk(3), biases, strict=True)]


def norms_of(module: nn.Module) -> list[Norm]:
    """The layer norms in the order of their definition: any module that has vectors of its own and no matrix."""
    found = []
    for part in module.modules():
        own = [p.detach() for p in part.parameters(recurse=False)]
        if own and all(p.ndim == 1 for p in own) and not isinstance(part, nn.MultiheadAttention):
            eps = next(
                (float(getattr(part, n)) for n in ("eps", "epsilon", "variance_epsilon") if hasattr(part, n)), 1e-5
            )
            found.append(Norm(own[0], own[1] if len(own) > 1 else torch.zeros_like(own[0]), eps))
    return found


def attention_maps(maps: list[Map]) -> tuple[Map, Map, Map, Map | None, list[Map]]:
    """The maps of queries, keys, values and of the output (None: there is none), and those that are left.

    Raises:
        InputError: there are fewer than three maps.
    """
    left, found = list(maps), []
    for pattern in _ROLES.values():
        named = [m for m in left if re.fullmatch(pattern, m.name.lower().rsplit(".", 1)[-1])]
        if named:
            found.append(named[0])
            left.remove(named[0])
    if len(found) < 3:
        left, found = list(maps[3:]), list(maps[:3])
    if len(found) < 3:
        raise InputError("The module has no three linear maps for queries, keys and values.")
    query, key, value = found
    square = [
        m for m in left if m.weight.shape[1] == value.weight.shape[0] and m.weight.shape[0] == query.weight.shape[1]
    ]
    output = square[0] if square else None
    return query, key, value, output, [m for m in left if m is not output]
