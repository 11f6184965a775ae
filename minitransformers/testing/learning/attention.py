"""`check_attention`: softmax(QKᵀ/√d)V, as a function or as a module with heads and weights of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.testing.laws import assert_causal, assert_permutation_equivariant
from minitransformers.testing.learning.judging import (
    call,
    check_repeatable,
    compare,
    evaluating,
    find_cause,
    is_required,
    judge,
    takes,
    tensor_of,
)
from minitransformers.testing.learning.weights import Map, attention_maps, heads_of, maps_of

FUNCTION = (
    "attention(query, key, value, mask=None) -> output or (output, weights); (batch, length, dim), True = may attend"
)
MODULE = (
    "attention(x, mask=None) -> output; x (batch, length, hidden), mask (batch, 1, queries, keys), True = may attend"
)

MISTAKES = {
    "no scale": "the division by √d is missing",
    "scale by d": "the scores are divided by d, not by √d",
    "scale by length": "the scores are divided by the root of the number of keys, not of d",
    "sigmoid": "a sigmoid stands in place of the softmax",
    "scale up": "the scores are multiplied by √d, not divided by it",
    "scale after": "the division by √d comes after the softmax",
    "over queries": "the softmax runs over queries, not over keys",
    "over batch": "the softmax runs over the batch, not over keys",
    "no softmax": "the softmax is missing",
    "mask after": "the mask is applied after the softmax",
    "mask ignored": "the mask is ignored",
    "mask inverted": "the mask is inverted: True is taken for hidden",
    "mask multiplied": "the mask sets hidden scores to 0, not to −inf",
    "mask added": "the mask is added to the scores as 0 and 1",
    "mask transposed": "the mask is transposed: queries and keys are exchanged",
    "mask sees next": "the mask is off by one: a query sees one key too many",
    "keys as values": "the keys are averaged, not the values",
    "swapped": "queries and keys are exchanged",
}
HEADS = {
    "merged": "heads are merged without transposing them back",
    "split": "heads are split without a transpose: a head gets a part of the positions",
    "one head": "there is only one head, of the full width",
    "scale hidden": "the scores are divided by the root of the hidden size, not of a head's size",
    "no output": "the output projection is missing",
}


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, wrong: frozenset[str] = frozenset()) -> Tensor:
    """softmax(QKᵀ/√d)V in plain steps, with the mistakes that `wrong` names."""
    if "swapped" in wrong:
        q, k = k, q
    root = sqrt(q.shape[-1])
    factor = {"no scale": 1.0, "scale by d": 1 / root**2, "scale up": root, "scale after": 1.0}
    factor["scale by length"] = 1 / sqrt(k.shape[-2])
    scores = q @ k.transpose(-1, -2) * next((f for name, f in factor.items() if name in wrong), 1 / root)
    if mask is None or "mask ignored" in wrong:
        mask = torch.ones(1, dtype=torch.bool)
    if "mask inverted" in wrong:
        mask = ~mask if mask.ndim > 1 else mask
    if "mask transposed" in wrong and mask.ndim > 1:
        mask = mask.transpose(-1, -2)
    if "mask sees next" in wrong and mask.ndim > 1:
        mask = mask | torch.cat([mask[..., :1], mask[..., :-1]], -1)
    if "mask multiplied" in wrong:
        scores = scores * mask
    elif "mask added" in wrong:
        scores = scores + (mask if mask.ndim > 1 else 0)
    elif "mask after" not in wrong:
        scores = scores.masked_fill(~mask, -torch.inf)
    if "sigmoid" in wrong:
        scores = scores.sigmoid()
    elif "no softmax" not in wrong:
        scores = scores.softmax(-2 if "over queries" in wrong else 0 if "over batch" in wrong else -1)
    if "mask after" in wrong:
        scores = scores * mask
    if "scale after" in wrong:
        scores = scores / root
    return scores @ (k if "keys as values" in wrong else v)


def multi_head(
    x: Tensor,
    mask: Tensor | None,
    maps: tuple[Map, Map, Map, Map | None],
    heads: int,
    wrong: frozenset[str] = frozenset(),
) -> Tensor:
    """Multi-head self-attention in plain steps; mask (batch, 1, queries, keys)."""
    query, key, value, output = maps
    batch, length = x.shape[:2]
    heads = 1 if "one head" in wrong else heads

    def split(y: Tensor) -> Tensor:
        if "split" in wrong:
            return y.reshape(batch, heads, length, -1)
        return y.reshape(batch, length, heads, -1).transpose(1, 2)

    q, k, v = split(query(x)), split(key(x)), split(value(x))
    if "scale hidden" in wrong:
        q = q / sqrt(heads)
    mixed = attention(q, k, v, mask, wrong)
    merged = (mixed if "merged" in wrong else mixed.transpose(1, 2)).reshape(batch, length, -1)
    return merged if output is None or "no output" in wrong else output(merged)


def check_attention(function: Callable[..., Any], *, heads: int | None = None) -> None:
    """Check scaled dot-product attention, and multi-head self-attention if `function` is a module with weights.

    Args:
        function: `attention(query, key, value, mask=None)` on (batch, length, dim), or a module
            `attention(x, mask=None)`, or with query, key and value, on (batch, length, hidden). It returns the output
            or a tuple that begins with it. The mask is bool, True = may attend: (queries, keys) for a function,
            (batch, 1, queries, keys) for a module.
        heads: number of heads of a module; by default its attribute `num_heads`, `heads` …

    Raises:
        CheckError: a law is broken; `law`, `cause` and `counterexample` say which and why.
        InputError: the module's linear maps cannot be found.
    """
    with evaluating(function):
        if isinstance(function, nn.Module) and any(True for _ in function.parameters()):
            _check_module(function, heads)
        else:
            _check_function(function)


def _check_function(function: Callable[..., Any]) -> None:
    draw = torch.Generator().manual_seed(0)
    square = [torch.randn(2, 3, 4, generator=draw) for _ in range(3)]
    oblong = [torch.randn(2, n, 4, generator=draw) for n in (2, 3, 3)]
    causal = torch.ones(3, 3, dtype=torch.bool).tril()
    holes = torch.tensor([[True, False, True], [True, True, False], [False, True, True]])
    masked = takes(function, "mask")

    def run(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None and is_required(function, "mask"):
            mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool)
        values = {"query": q, "key": k, "value": v} | ({} if mask is None else {"mask": mask})
        return tensor_of(call(function, values, FUNCTION), FUNCTION)

    probes: list[tuple[Any, ...]] = [tuple(square)]
    if masked:
        probes += [(*square, causal), (*square, holes)]

    def cause() -> str:
        def reference(wrong: frozenset[str]) -> Iterable[Tensor]:
            return (attention(p[0], p[1], p[2], p[3] if len(p) > 3 else None, wrong) for p in probes)

        return find_cause([run(*p) for p in probes], reference, MISTAKES)

    check_repeatable(lambda: run(*square))
    q, k, v = square
    ones = torch.ones(1, 2, 1)
    laws = [
        ("The weights of a query sum to 1: values that are all 1 give 1.",
         lambda: compare(run(q[:1, :2], k[:1, :2], ones), ones, "the output for values of 1")),
        ("The output is softmax(QKᵀ/√d)V.", lambda: compare(run(q, k, v), attention(q, k, v, None), "the output")),
        ("Queries and keys may differ in number.",
         lambda: compare(run(*oblong), attention(oblong[0], oblong[1], oblong[2], None), "2 queries, 3 keys")),
    ]  # fmt: skip
    if masked:
        laws += [
            ("A query gives all its weight to the keys that it may attend to.",
             lambda: compare(run(q, k, torch.ones_like(v), holes), torch.ones_like(v), "the output for values of 1")),
            ("No query sees a later key, under a causal mask.",
             lambda: assert_causal(lambda x: run(x, x, x, causal), q, 0)),
            ("Hidden keys get no weight.",
             lambda: compare(run(q, k, v, holes), attention(q, k, v, holes), "the output under a mask")),
            ("A query sees itself and all that comes before, under a causal mask.",
             lambda: compare(run(q, k, v, causal), attention(q, k, v, causal), "the output under a causal mask")),
        ]  # fmt: skip
    judge(laws, cause)


def _check_module(module: nn.Module, heads: int | None) -> None:
    heads = heads_of(module) if heads is None else heads
    if heads is None:
        raise InputError("The module has no attribute num_heads; pass heads=….")
    maps = attention_maps(maps_of(module))[:4]
    width = maps[0].weight.shape[1]
    x = torch.randn(2, 3, width, generator=torch.Generator().manual_seed(0)).to(maps[0].weight.dtype)
    causal = torch.ones(3, 3, dtype=torch.bool).tril()[None, None]
    padding = torch.tensor([[True, True, False], [True, True, True]])[:, None, None].expand(2, 1, 3, 3)
    masked = takes(module, "mask")

    def run(x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None and is_required(module, "mask"):
            mask = torch.ones(len(x), 1, x.shape[1], x.shape[1], dtype=torch.bool)
        values = {"query": x, "key": x, "value": x} if takes(module, "key") else {"x": x}
        return tensor_of(call(module, values | ({} if mask is None else {"mask": mask}), MODULE), MODULE)

    probes: list[tuple[Any, ...]] = [(x, None)] + ([(x, causal), (x, padding)] if masked else [])

    def cause() -> str:
        def reference(wrong: frozenset[str]) -> Iterable[Tensor]:
            return (multi_head(x, mask, maps, heads, wrong) for x, mask in probes)

        return find_cause([run(*p) for p in probes], reference, {**MISTAKES, **HEADS})

    def causal_mask(x: Tensor) -> Tensor:
        return run(x, causal)

    check_repeatable(lambda: run(x))
    laws: list[tuple[str, Any]] = [
        ("Every position gets a vector of the model's width.",
         lambda: None if run(x).shape == x.shape else compare(run(x), x, "")),
        ("Permuted tokens get their own results, permuted.",
         lambda: assert_permutation_equivariant(run, x, [2, 0, 1])),
        ("The output is the heads' softmax(QKᵀ/√d)V, side by side.",
         lambda: compare(run(x), multi_head(x, None, maps, heads), "the output")),
    ]  # fmt: skip
    if masked:
        laws += [
            ("No query sees a later key, under a causal mask.", lambda: assert_causal(causal_mask, x, 0)),
            ("Under a causal mask a query sees itself and all before.",
             lambda: compare(run(x, causal), multi_head(x, causal, maps, heads), "under a causal mask")),
            ("Padding keys get no weight.",
             lambda: compare(run(x, padding), multi_head(x, padding, maps, heads), "with padding")),
        ]  # fmt: skip
    judge(laws, cause)
