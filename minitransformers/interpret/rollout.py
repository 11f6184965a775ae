"""Attention rollout: attention through all layers, with the residual connections (Abnar & Zuidema, 2020, §3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from minitransformers.errors import InputError


def attention_rollout(
    attentions: Sequence[Float[Tensor, "batch heads query key"]], *, residual: float = 0.5
) -> list[Float[Tensor, "batch query query"]]:
    """How much of each input token is in each position after every layer, if heads count alike and information adds up.

    Ã = residual · I + (1 − residual) · mean of the heads, and the rollout of layer l is Ãₗ · Ãₗ₋₁ ⋯ Ã₁.

    Args:
        attentions: the weights of each layer's self-attention, first layer first: a model's `attentions`, or
            `[each.weights for each in activations.attentions]`.
        residual: the share of the residual connection; 0.5 in the paper.

    Returns:
        A matrix for each layer; its rows sum to 1 where those of the weights do.
    """
    if not attentions or any(each.dim() != 4 or each.shape[-1] != each.shape[-2] for each in attentions):
        raise InputError(
            "attentions must be weights of self-attention, (batch, heads, length, length) for each layer, not "
            f"{[tuple(each.shape) for each in attentions]}."
        )
    if not 0 <= residual <= 1:
        raise InputError(f"residual={residual} must lie between 0 and 1.")
    rolled: list[Tensor] = []
    for weights in attentions:
        identity = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
        mixed = residual * identity + (1 - residual) * weights.mean(dim=1)
        rolled.append(mixed if not rolled else mixed @ rolled[-1])
    return rolled
