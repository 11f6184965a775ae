"""Kernels: however attention is computed, it gives the same numbers and the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from minitransformers.nn.attention import AttentionOutput, eager_attention, fused_attention
from minitransformers.testing.comparing import assert_close, assert_gradients_close, named_tensors
from minitransformers.testing.laws.outputs import gradients_of, mixture


def assert_kernels_agree(
    query: Float[Tensor, "batch heads query dim"],
    key: Float[Tensor, "batch heads key dim"],
    value: Float[Tensor, "batch heads key value_dim"],
    *,
    mask: Bool[Tensor, "#batch #heads #query key"] | None = None,
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
    is_causal: bool = False,
    kernel: Callable[..., AttentionOutput] = fused_attention,
    reference: Callable[..., AttentionOutput] = eager_attention,
    tolerance: float | None = None,
    **options: Any,
) -> None:
    """`kernel` computes what `reference` does: outputs, and gradients of query, key, value and bias, all finite.

    A query that may attend to nothing gets exactly zeros from both, and sends back exactly zeros.

    Args:
        options: `scale`, `upcast`, passed to both.
    """
    results = []
    for attend in (kernel, reference):
        inputs = {"query": query, "key": key, "value": value} | ({} if bias is None else {"bias": bias})
        leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs.items()}
        with torch.enable_grad():
            output = attend(**leaves, mask=mask, is_causal=is_causal, **options).output
            gradients = torch.autograd.grad(mixture({"output": output}), list(leaves.values()))
        results.append((output.detach(), dict(zip(leaves, gradients, strict=True))))
    (ours, our_gradients), (theirs, their_gradients) = results
    for name, tensor in {"output": ours, **our_gradients, "expected": theirs, **their_gradients}.items():
        if not tensor.isfinite().all():
            raise AssertionError(f"{name} has numbers that are not finite")
    if mask is not None:
        allowed = mask
        if is_causal:
            query_length, key_length = query.shape[2], key.shape[2]
            positions = torch.arange(query_length)[:, None] + key_length - query_length
            allowed = mask & (torch.arange(key_length)[None] <= positions)
        nothing = ~allowed.any(dim=-1, keepdim=True)
        for name, tensor in (("output", ours), ("expected", theirs), ("gradient of query", our_gradients["query"])):
            if tensor.masked_select(nothing).any():
                raise AssertionError(f"{name} is not zero for a query that may attend to nothing")
    assert_close(ours, theirs, tolerance=tolerance)
    assert_gradients_close(our_gradients, their_gradients, tolerance=tolerance)


def assert_implementations_agree(model: Any, batch: Mapping[str, Tensor]) -> None:
    """A model computes the same with "eager" and with "sdpa" attention: outputs, loss and the gradient of each weight.

    Args:
        model: has `set_attn_implementation`; afterwards it is as before.
        batch: arguments of the model. The gradient is of its loss where there is one, else of a fixed random mixture
            of all its outputs.
    """
    before = model.config.attn_implementation
    results = []
    try:
        for name in ("eager", "sdpa"):
            model.set_attn_implementation(name)
            with torch.enable_grad():
                output = dict(named_tensors(model(**batch)))
                target = output.get("output.loss")
                results.append((output, gradients_of(model, mixture(output) if target is None else target)))
    finally:
        model.config.attn_implementation = before
    (eager, eager_gradients), (fused, fused_gradients) = results
    assert_close(fused, eager, name="of sdpa:")
    assert_gradients_close(fused_gradients, eager_gradients)
