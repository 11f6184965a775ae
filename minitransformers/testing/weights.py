"""Weights that make a test see something: none of them at a value where a mistake would not show."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def draw_weights(module: Module, seed: int, scale: float = 0.2) -> Module:
    """Give every parameter a random value, in place: N(0, scale²), for the weights of norms around 1.

    New models have biases of 0, norms of 1 and matrices near 0, with which a forgotten bias, a norm at the wrong place
    or attention to the wrong token change next to nothing.

    Args:
        seed: same seed, same weights, whatever the dtype.
        scale: 0.02 is a new model's; at 1 the attention is nearly all on one token.

    Returns:
        The module itself.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
    for norm in module.modules():
        if isinstance(norm, (nn.LayerNorm, nn.RMSNorm)):
            norm.weight.add_(1.0)
    return module


def without_dropout(model: Module) -> Module:
    """The model itself, all rates 0, also those that no field of its configuration sets, as in Llama's classifiers."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model
