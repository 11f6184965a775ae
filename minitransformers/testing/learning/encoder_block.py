"""`check_encoder_block`: attention and feed-forward, each with a residual and a norm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError
from minitransformers.testing.laws import assert_permutation_equivariant, assert_rows_independent
from minitransformers.testing.learning.attention import HEADS, MISTAKES, multi_head
from minitransformers.testing.learning.judging import (
    UNKNOWN,
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
from minitransformers.testing.learning.weights import Map, Norm, attention_maps, heads_of, maps_of, norms_of

EXPECTED = "block(x, mask=None) -> output; x (batch, length, hidden), mask (batch, 1, 1, keys), True = may attend"
BLOCK = {
    "other order": "the norms are at the other place: before each part, not after its residual, or vice versa",
    "no residual 1": "the residual around the attention is missing",
    "no residual 2": "the residual around the feed-forward is missing",
    "residual after norm": "the norm is applied before the residual is added, not to the sum",
    "same norm": "the same norm is used twice",
    "no norm 1": "the norm of the attention is missing",
    "no norm 2": "the norm of the feed-forward is missing",
    "norm over length": "the norm runs over the wrong dimension: over positions, not over features",
    "norm over both": "the norm runs over the wrong dimension: over positions and features together",
    "norm over batch": "the norm runs over the wrong dimension: over the batch, not over features",
    "no mean": "the norm does not subtract the mean",
    "unbiased": "the norm's variance divides by n − 1, not by n",
    "no activation": "the activation of the feed-forward is missing",
    "activation last": "the activation comes after the second linear map, not between the two",
    "parallel": "the feed-forward gets the block's input, not the attention's output",
}


def norm(x: Tensor, by: Norm, wrong: frozenset[str] = frozenset()) -> Tensor:
    """Layer norm in plain steps, with the mistakes that `wrong` names."""
    dims = [0] if "norm over batch" in wrong else [1] if "norm over length" in wrong else [-1]
    dims = [1, 2] if "norm over both" in wrong else dims
    mean, variance = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, unbiased="unbiased" in wrong)
    centred = x if "no mean" in wrong else x - mean
    return centred / (variance + by.eps).sqrt() * by.weight + by.bias


def check_encoder_block(block: nn.Module, *, heads: int | None = None, norm_first: bool = False) -> None:
    """Check an encoder block: LayerNorm(x + attention(x)), then LayerNorm(x + feed_forward(x)).

    Any activation of gelu, tanh gelu and relu is right. Weights are found by their names or in the order of definition.

    Args:
        block: a module `block(x, mask=None)`.
        heads: number of heads; by default the module's attribute.
        norm_first: whether the norms stand in front of each part (x + attention(LayerNorm(x))), as in GPT-2.

    Raises:
        CheckError: a law is broken.
        InputError: attention, feed-forward or norms cannot be found in the module.
    """
    heads = heads_of(block) if heads is None else heads
    query, key, value, output, rest = attention_maps(maps_of(block))
    norms = norms_of(block)
    if heads is None or len(rest) < 2 or not norms:
        raise InputError(
            "A block has an attribute num_heads (or pass heads=…), two linear maps after its attention and two norms."
        )
    parts = (query, key, value, output)
    up, down, first, last = rest[0], rest[1], norms[0], norms[-1]
    x = torch.randn(2, 3, query.weight.shape[1], generator=torch.Generator().manual_seed(0)).to(query.weight.dtype) * 2
    mask = torch.tensor([[True, True, False], [True, True, True]])[:, None, None]
    masked = takes(block, "mask")

    def run(x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None and is_required(block, "mask"):
            mask = torch.ones(len(x), 1, 1, x.shape[1], dtype=torch.bool)
        return tensor_of(call(block, {"x": x} | ({} if mask is None else {"mask": mask}), EXPECTED), EXPECTED)

    def reference(
        x: Tensor, mask: Tensor | None, activation: Callable[[Tensor], Tensor], wrong: frozenset[str]
    ) -> Tensor:
        return plain_block(x, mask, parts, heads, (up, down), (first, last), activation, wrong, norm_first)

    # The activation that is right is the one that leaves the smallest distance; see the laws below.
    activations = (F.gelu, F.relu, lambda x: F.gelu(x, approximate="tanh"))
    probes = [(x, None)] + ([(x, mask)] if masked else [])

    def nearest(x: Tensor, mask: Tensor | None) -> Tensor:
        outputs = [reference(x, mask, activation, frozenset()) for activation in activations]
        ours = run(x, mask)
        return min(
            outputs, key=lambda theirs: float((ours - theirs).abs().max()) if ours.shape == theirs.shape else 0.0
        )

    def cause() -> str:
        observed = [run(*p) for p in probes]
        mistakes = {**BLOCK, **HEADS, **MISTAKES}
        for count, f in product((1, 2), activations):  # the simplest explanation first

            def outputs(wrong: frozenset[str], f: Callable[[Tensor], Tensor] = f) -> Iterable[Tensor]:
                return (reference(x, mask, f, wrong) for x, mask in probes)

            found = find_cause(observed, outputs, mistakes, counts=[count])
            if found != UNKNOWN:
                return found
        return UNKNOWN

    with evaluating(block):
        check_repeatable(lambda: run(x))
        laws = [
            ("Every position gets a vector of the block's width.",
             lambda: None if run(x).shape == x.shape else compare(run(x), x, "")),
            ("Rows of a batch do not see each other.", lambda: assert_rows_independent(_named(run), {"input_ids": x})),
            ("Permuted tokens get their own results, permuted.",
             lambda: assert_permutation_equivariant(run, x, [2, 0, 1])),
            ("The output is that of attention, feed-forward, two residuals and two norms.",
             lambda: compare(run(x), nearest(x, None), "the output")),
        ]  # fmt: skip
        if masked:
            laws.append(
                ("Padding keys change nothing.", lambda: compare(run(x, mask), nearest(x, mask), "with padding"))
            )
        judge(laws, cause)


def _named(run: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda input_ids: run(input_ids)


def plain_block(
    x: Tensor,
    mask: Tensor | None,
    parts: tuple[Map, Map, Map, Map | None],
    heads: int,
    feed_forward: tuple[Map, Map],
    norms: tuple[Norm, Norm],
    activation: Callable[[Tensor], Tensor],
    wrong: frozenset[str] = frozenset(),
    norm_first: bool = False,
) -> Tensor:
    """An encoder block in plain steps, with the mistakes that `wrong` names."""
    up, down = feed_forward
    if "other order" in wrong:
        norm_first = not norm_first
    inputs = x

    def between(y: Tensor) -> Tensor:
        if "activation last" in wrong:
            return activation(down(up(y)))
        return down(up(y) if "no activation" in wrong else activation(up(y)))

    for index, layer in enumerate((lambda y: multi_head(y, mask, parts, heads, wrong), between)):
        by = norms[0] if "same norm" in wrong else norms[index]
        skip = f"no norm {index + 1}" in wrong
        normed = (lambda y: y) if skip else (lambda y, by=by: norm(y, by, wrong))
        source = inputs if index and "parallel" in wrong else x
        rest = torch.zeros_like(x) if f"no residual {index + 1}" in wrong else x
        if norm_first:
            x = rest + layer(normed(source))
        elif "residual after norm" in wrong:
            x = rest + normed(layer(source))
        else:
            x = normed(rest + layer(source))
    return x
