"""The cross-entropy of a vocabulary head without all of its logits in memory.

A language model's logits are its largest tensor: 1,024 tokens times GPT-2's vocabulary are 200 MB, and the loss and its
gradient need several tensors of that size. Here the logits of some tokens at a time are computed, scored, turned into
their gradient, and forgotten (Wijmans et al., 2024, "Cut your losses"; Hsu et al., 2024, "Liger kernel", §3.2).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from minitransformers.errors import InputError

CHUNK = 2**23  # logits at a time


def linear_cross_entropy(
    hidden_states: Float[Tensor, "tokens hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"] | None,
    labels: Int[Tensor, " tokens"],
) -> Float[Tensor, ""]:
    """The sum of −log softmax(hidden_states · weightᵀ + bias)[label] over the tokens.

    The gradients are computed in the forward pass, one chunk of tokens after the other, and scaled in the backward
    pass, of which there can be one: there is no second derivative. Half-precision logits are scored in float32, as they
    are in the models.
    """
    kind = hidden_states.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        hidden_states, weight = hidden_states.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    with torch.autocast(kind, enabled=False):
        total: Tensor = _LinearCrossEntropy.apply(hidden_states, weight, bias, labels)  # type: ignore[no-untyped-call]
    return total


def fits_in_a_chunk(tokens: int, weight: Float[Tensor, "vocab hidden"]) -> bool:
    """Whether the logits of so many tokens are so few that chunks would save nothing."""
    return tokens * weight.shape[0] <= CHUNK


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        wide = torch.promote_types(x.dtype, torch.float32)  # sums over all tokens
        total = x.new_zeros((), dtype=wide)
        grad_x = torch.empty_like(x) if needs_x else None
        grad_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=wide) if needs_bias and bias is not None else None
        step = max(1, CHUNK // weight.shape[0])
        for start in range(0, len(x), step):
            part, label = x[start : start + step], labels[start : start + step, None]
            log_p = F.linear(part, weight, bias).to(wide).log_softmax(dim=-1)
            total -= log_p.gather(1, label).sum()
            if grad_x is None and grad_weight is None and grad_bias is None:
                continue
            grad = log_p.exp_().scatter_add_(1, label, log_p.new_full(label.shape, -1.0))  # p − (1 at the label)
            if grad_bias is not None:
                grad_bias += grad.sum(dim=0)
            grad = grad.to(x.dtype)
            if grad_x is not None:
                torch.mm(grad, weight, out=grad_x[start : start + step])
            if grad_weight is not None:
                _add_product(grad_weight, grad.T, part)
        ctx.gradients = grad_x, grad_weight, grad_bias
        ctx.dtypes = x.dtype, weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise InputError("linear_cross_entropy has one backward pass: for another one, compute the loss again.")
        gradients, ctx.gradients = ctx.gradients, None  # scaled in place: they may be as large as the model's weights
        scaled = [
            None if gradient is None else gradient.mul_(factor.to(gradient.dtype)).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return *scaled, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, in the precision of the total."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
