"""Layer normalisation (Ba et al., 2016), and that by the root mean square alone (Zhang & Sennrich, 2019)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def layer_norm(
    hidden_states: Float[Tensor, "*batch hidden"],
    weight: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"],
    eps: float,
) -> Float[Tensor, "*batch hidden"]:
    """(x − mean) / √(variance + eps) · weight + bias over the last dimension (eq. 4): what `LayerNorm` computes.

    The variance divides by the number of features, not by one less.
    """
    mean = hidden_states.mean(dim=-1, keepdim=True)
    variance = ((hidden_states - mean) ** 2).mean(dim=-1, keepdim=True)
    return (hidden_states - mean) / (variance + eps).sqrt() * weight + bias


class LayerNorm(nn.LayerNorm):
    """`layer_norm` with learned weight and bias, in PyTorch's fused kernel.

    Args:
        hidden_size: width of the last dimension.
        eps: added to the variance; 1e-12 in BERT, 1e-5 in GPT-2.
        bias: whether there is one.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-5, *, bias: bool = True) -> None:
        super().__init__(hidden_size, eps=eps, bias=bias)


def rms_norm(
    hidden_states: Float[Tensor, "*batch hidden"], weight: Float[Tensor, " hidden"], eps: float
) -> Float[Tensor, "*batch hidden"]:
    """x / √(mean(x²) + eps) · weight over the last dimension (Zhang & Sennrich, 2019, eq. 4): what `RMSNorm` computes.

    Nothing is subtracted and nothing added: the mean, it was found, does not matter.
    """
    mean_square = (hidden_states**2).mean(dim=-1, keepdim=True)
    return hidden_states / (mean_square + eps).sqrt() * weight


class RMSNorm(nn.RMSNorm):
    """`rms_norm` with a learned weight, in PyTorch's fused kernel.

    Args:
        hidden_size: width of the last dimension.
        eps: added to the mean square; 1e-6 in T5 and Llama.
    """

    def __init__(self, hidden_size: int, eps: float = 1e-6) -> None:
        super().__init__(hidden_size, eps=eps)

    def forward(self, hidden_states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Norm the last dimension; in half precision the division is in float32, the weight's product is not."""
        dtype = hidden_states.dtype
        if dtype not in (torch.float16, torch.bfloat16):
            return super().forward(hidden_states)
        # In one step it would be rounded once less, and not as it was in training.
        normed = F.rms_norm(hidden_states.float(), self.normalized_shape, eps=self.eps)
        return self.weight * normed.to(dtype)
