"""`check_masked_lm_head` and `check_pooler`: what stands on top of BERT in its pre-training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.learning.feed_forward import ACTIVATIONS
from minitransformers.testing.learning.judging import (
    CALLABLE,
    UNKNOWN,
    CheckError,
    call,
    check_repeatable,
    compare,
    evaluating,
    find_cause,
    judge,
    judge_outputs,
    table,
    tensor_of,
)
from minitransformers.testing.learning.weights import Map, Norm, maps_of, norms_of, redraw

HEAD = "MaskedLMHead(table) -> module; table a Parameter (vocab, hidden); module(x) -> logits (batch, length, vocab)"
POOLER = "Pooler(hidden_size) -> module; module(x) (batch, length, hidden) -> (batch, hidden)"
VOCABULARY, HIDDEN = 11, 6
HEAD_MISTAKES = {
    "no dense": "the linear map before the table is missing",
    "no activation": "the activation after the linear map is missing",
    "no norm": "the layer norm before the table is missing",
    "norm first": "the layer norm comes before the linear map, not after the activation",
    "norm before activation": "the layer norm comes before the activation, not after it",
    "no bias": "the bias of the vocabulary is missing",
    "softmax": "the output is probabilities: the loss wants logits",
    "log-softmax": "the output is log-probabilities, not logits",
    "residual": "the head's input is added: there is no residual in the head",
    "other table": "the table is a copy: training the embedding does not change the head",
}
POOLER_MISTAKES = {
    "last": "the last token is read, not the first one",
    "second": "the second token is read: [CLS] stands at position 0",
    "mean": "the mean over all tokens is read, not the first one",
    "max": "the largest number over all tokens is read, not the first one",
    "first text": "the first text is read, not the first token of each text: the index is x[0], not x[:, 0]",
    "no tanh": "the tanh is missing",
    "tanh first": "the tanh comes before the linear map, not after it",
    "relu": "a relu stands in place of the tanh",
    "sigmoid": "a sigmoid stands in place of the tanh",
    "no dense": "the linear map is missing",
    "no bias": "the bias of the linear map is missing",
}


def masked_lm_head(
    x: Tensor,
    dense: Map | None,
    by: Norm | None,
    rows: Tensor,
    bias: Tensor,
    activation: Callable[[Tensor], Tensor],
    wrong: frozenset[str] = frozenset(),
) -> Tensor:
    """BERT's head for masked tokens in plain steps, with the mistakes that `wrong` names."""

    def norm(y: Tensor) -> Tensor:
        if by is None or "no norm" in wrong:
            return y
        centred = y - y.mean(-1, keepdim=True)
        return centred / (y.var(-1, keepdim=True, unbiased=False) + by.eps).sqrt() * by.weight + by.bias

    mapped = norm(x) if "norm first" in wrong else x
    mapped = mapped if dense is None or "no dense" in wrong else dense(mapped)
    mapped = norm(mapped) if "norm before activation" in wrong else mapped
    mapped = mapped if "no activation" in wrong else activation(mapped)
    mapped = mapped if {"norm first", "norm before activation"} & wrong else norm(mapped)
    logits = (mapped + x if "residual" in wrong else mapped) @ rows.T + (0 if "no bias" in wrong else bias)
    if "softmax" in wrong:
        return logits.softmax(-1)
    return logits.log_softmax(-1) if "log-softmax" in wrong else logits


def check_masked_lm_head(make: Callable[..., Any]) -> None:
    """Check the head for masked tokens: LayerNorm(gelu(W x + b)), times the table of the embeddings, plus a bias.

    Args:
        make: class or function `MaskedLMHead(table)`, where `table` is the embeddings' own `nn.Parameter` (vocabulary,
            hidden), which the head shares.

    Raises:
        CheckError: a law is broken.
    """
    torch.manual_seed(0)
    rows = nn.Parameter(torch.randn(VOCABULARY, HIDDEN))
    module = call(make, {"table": rows}, HEAD)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {HEAD}")
    redraw(module)
    copied = next((p for p in module.parameters() if tuple(p.shape) == (VOCABULARY, HIDDEN) and p is not rows), None)
    buffered = next((b for b in module.buffers() if tuple(b.shape) == (VOCABULARY, HIDDEN)), None)
    with torch.no_grad():
        rows.normal_()
    other = rows.detach() if copied is None else copied.detach()
    other = other if buffered is None else buffered
    maps = [m for m in maps_of(module) if tuple(m.weight.shape) == (HIDDEN, HIDDEN)]
    norms = [n for n in norms_of(module) if tuple(n.weight.shape) == (HIDDEN,)]
    biases = [p.detach() for p in module.parameters() if tuple(p.shape) == (VOCABULARY,)]
    parts = (maps[0] if maps else None, norms[0] if norms else None)
    bias = biases[0] if biases else torch.zeros(VOCABULARY)
    x = torch.randn(2, 3, HIDDEN)

    def run() -> Tensor:
        return tensor_of(call(module, {"x": x}, HEAD), HEAD)

    with evaluating(module):
        check_repeatable(run)
        observed = run()

    def plain(activation: Callable[[Tensor], Tensor], wrong: frozenset[str] = frozenset()) -> Tensor:
        return masked_lm_head(x, *parts, other if "other table" in wrong else rows.detach(), bias, activation, wrong)

    complete = bool(maps and norms and biases)

    def broken() -> str | None:
        found = [compare(observed, plain(f), "the logits") for f in ACTIVATIONS]
        if None in found and complete:
            return None
        shapes = {name: [tuple(p.shape)] for name, p in module.named_parameters()}
        return next((text for text in found if text), None) or table(["shape"], shapes)

    def cause() -> str:
        lacking = {"no dense": not maps, "no norm": not norms, "no bias": not biases}
        missing = [HEAD_MISTAKES[name] for name, is_missing in lacking.items() if is_missing]
        mistakes = {name: text for name, text in HEAD_MISTAKES.items() if not lacking.get(name)}
        for count, f in product((0, 1, 2), ACTIVATIONS):

            def outputs(wrong: frozenset[str], f: Callable[[Tensor], Tensor] = f) -> Iterable[Tensor]:
                return [plain(f, wrong)]

            found = find_cause([observed], outputs, mistakes, counts=[count])
            if found != UNKNOWN:
                return "; and ".join([*missing, *([found] if found else [])])
        return "; and ".join(missing) or UNKNOWN

    judge([("The logits are LayerNorm(gelu(W x + b)) · tableᵀ + bias.", broken)], cause)


def check_pooler(make: Callable[..., Any]) -> None:
    """Check BERT's pooler: tanh(W x₀ + b), where x₀ is the output at [CLS], the first token.

    Args:
        make: class or function `Pooler(hidden_size)`.

    Raises:
        CheckError: a law is broken.
    """
    torch.manual_seed(0)
    module = call(make, {"hidden_size": HIDDEN}, POOLER)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {POOLER}")
    redraw(module)
    maps = [m for m in maps_of(module) if tuple(m.weight.shape) == (HIDDEN, HIDDEN)]
    if not maps:
        shown = table(["shape"], {n: [tuple(p.shape)] for n, p in module.named_parameters()} or {"none": ["-"]})
        raise CheckError(f"There is a linear map ({HIDDEN}, {HIDDEN}).", POOLER_MISTAKES["no dense"], shown)
    x = torch.randn(3, 3, HIDDEN)
    inputs = (x[:1, :1], x)

    def reference(wrong: frozenset[str]) -> Iterable[Tensor]:
        return (pooler(given, maps[0], wrong) for given in inputs)

    with evaluating(module):
        run = [tensor_of(call(module, {"x": given}, POOLER), POOLER) for given in inputs]
        check_repeatable(lambda: tensor_of(call(module, {"x": x}, POOLER), POOLER))
        laws = [
            ("The output is tanh(W x + b).", "one token"),
            ("The first token of each text is read.", "three texts of three tokens"),
        ]
        judge_outputs(run, reference, POOLER_MISTAKES, laws)


def pooler(x: Tensor, dense: Map, wrong: frozenset[str] = frozenset()) -> Tensor:
    """BERT's pooler in plain steps, with the mistakes that `wrong` names."""
    first = x[0] if "first text" in wrong else x[:, -1] if "last" in wrong else x[:, 0]
    if "second" in wrong:
        first = x[:, min(1, x.shape[1] - 1)]
    first = x.mean(1) if "mean" in wrong else x.amax(1) if "max" in wrong else first
    mapped = first.tanh() if "tanh first" in wrong else first
    mapped = mapped if "no dense" in wrong else dense(mapped)
    mapped = mapped - dense.bias if "no bias" in wrong and dense.bias is not None else mapped
    if "no tanh" in wrong or "tanh first" in wrong:
        return mapped
    return mapped.relu() if "relu" in wrong else mapped.sigmoid() if "sigmoid" in wrong else mapped.tanh()
