"""`check_embeddings`: a table with a row for each token, and the rows of the tokens of a text."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.learning.judging import (
    CALLABLE,
    CheckError,
    call,
    check_repeatable,
    evaluating,
    judge_outputs,
    table,
    tensor_of,
)
from minitransformers.testing.learning.weights import redraw

EXPECTED = "Embedding(vocab_size, hidden_size) -> module; module(ids) (batch, length) -> (batch, length, hidden_size)"
VOCABULARY, HIDDEN = 7, 4
MISTAKES = {
    "scaled": "the rows are multiplied by √hidden",
    "shrunk": "the rows are divided by √hidden",
    "one up": "the rows are off by one: id i gets row i + 1",
    "one down": "the rows are off by one: id i gets row i − 1",
    "positions": "the row is that of the position, not that of the id",
    "first text": "every text gets the rows of the first one",
    "summed": "the rows of a text are added up",
    "averaged": "every token gets the mean of its text's rows",
    "row 0 empty": "row 0 is taken as padding: id 0 gives zeros",
    "unit": "the rows are normalized to length 1",
    "softmax": "a softmax runs over the row",
    "reversed": "the table is read from its end",
    "features first": "the output is (batch, hidden, length), not (batch, length, hidden)",
}


def embed(ids: Tensor, rows: Tensor, wrong: frozenset[str] = frozenset()) -> Tensor:
    """The row of each id in plain steps, with the mistakes that `wrong` names."""
    size, width = rows.shape
    index = ids + (int("one up" in wrong) - int("one down" in wrong))
    if "positions" in wrong:
        index = torch.arange(ids.shape[1]).expand_as(ids)
    if "reversed" in wrong:
        index = size - 1 - index
    if "first text" in wrong:
        index = index[:1].expand_as(index)
    found = torch.stack([torch.stack([rows[int(i) % size] for i in line]) for line in index])
    if "row 0 empty" in wrong:
        found = found * (ids != 0)[..., None]
    if "summed" in wrong or "averaged" in wrong:
        total = found.sum(1, keepdim=True) / (ids.shape[1] if "averaged" in wrong else 1)
        found = total.expand_as(found)
    if "unit" in wrong:
        found = found / found.norm(dim=-1, keepdim=True)
    if "softmax" in wrong:
        found = found.softmax(-1)
    found = found * (sqrt(width) if "scaled" in wrong else 1 / sqrt(width) if "shrunk" in wrong else 1)
    return found.transpose(1, 2) if "features first" in wrong else found


def check_embeddings(make: Callable[..., Any]) -> None:
    """Check an embedding: one trained matrix (vocabulary, hidden), of which each id gets its row.

    Args:
        make: class or function `Embedding(vocab_size, hidden_size)`; the module takes ids (batch, length).

    Raises:
        CheckError: a law is broken.
    """
    torch.manual_seed(0)
    module = call(make, {"vocab_size": VOCABULARY, "hidden_size": HIDDEN}, EXPECTED)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {EXPECTED}")
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    rows = next((p for p in module.parameters() if tuple(p.shape) == (VOCABULARY, HIDDEN)), None)
    if rows is None or len(shapes) > 1:
        cause = "the table is no nn.Parameter of this shape" if rows is None else "there are other parameters, too"
        shown = table(["shape"], {name: [shape] for name, shape in shapes.items()} or {"no parameter": ["-"]})
        raise CheckError(f"The only parameter is a table ({VOCABULARY}, {HIDDEN}).", cause, shown)
    redraw(module)
    ids = torch.tensor([[3, 0, 3, 5], [6, 1, 2, 2]])

    def run(given: Tensor) -> Tensor:
        return tensor_of(call(module, {"input_ids": given}, EXPECTED), EXPECTED)

    with evaluating(module):
        check_repeatable(lambda: run(ids))
        texts = (ids[:1, :1], ids)
        judge_outputs(
            [run(text) for text in texts],
            lambda wrong: (embed(text, rows.detach(), wrong) for text in texts),
            MISTAKES,
            [("A token gets its row of the table.", f"the output for ids {text.tolist()}") for text in texts],
        )
    _check_gradient(module, rows, ids)


def _check_gradient(module: nn.Module, rows: Tensor, ids: Tensor) -> None:
    """Each row's gradient is the number of times that it was read, for a loss that adds up all outputs."""
    output = call(module, {"input_ids": ids}, EXPECTED)
    reached = isinstance(output, Tensor) and output.requires_grad
    if reached:
        output.sum().backward()
    expected = torch.bincount(ids.flatten(), minlength=VOCABULARY).tolist()
    found = [0.0] * VOCABULARY if rows.grad is None else rows.grad[:, 0].tolist()
    if found != expected:
        columns = [f"row {i}" for i in range(VOCABULARY)]
        cause = (
            "no gradient reaches the table: it is detached, or its data are read"
            if not any(found)
            else "the gradient of a row is not the sum over the places where it was read"
        )
        law = "The gradient reaches the rows that were read, once for each time."
        raise CheckError(law, cause, table(columns, {"yours": found, "expected": expected}))
