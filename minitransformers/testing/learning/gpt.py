"""`check_causal_block` and `check_gpt`: a block that sees no later token, and the language model made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.testing.laws import assert_causal
from minitransformers.testing.learning.attention import HEADS, MISTAKES as ATTENTION
from minitransformers.testing.learning.encoder_block import BLOCK, norm, plain_block
from minitransformers.testing.learning.feed_forward import ACTIVATIONS
from minitransformers.testing.learning.judging import (
    CALLABLE,
    UNKNOWN,
    CheckError,
    call,
    check_repeatable,
    compare,
    equal,
    evaluating,
    find_cause,
    judge,
    table,
    tensor_of,
)
from minitransformers.testing.learning.weights import (
    Map,
    Norm,
    attention_maps,
    heads_of,
    maps_of,
    norms_of,
    redraw,
)

Activation = Callable[[Tensor], Tensor]
BLOCK_EXPECTED = "block(x) -> output; both (batch, length, hidden); no token sees a later one"
GPT_EXPECTED = (
    "GPT(vocab_size, hidden_size, num_heads, num_layers, max_positions) -> module; "
    "module(ids) (batch, length) -> logits (batch, length, vocab_size)"
)
NO_MASK = "there is no causal mask: tokens see later ones"
BLOCK_MISTAKES = {
    **BLOCK,
    **HEADS,
    **ATTENTION,
    "mask ignored": NO_MASK,
    "mask inverted": "the mask is inverted: a token sees only later ones",
    "mask transposed": "the mask is transposed: a token sees itself and later ones",
    "strict": "the mask is off by one: a token does not see itself",
}
GPT_MISTAKES = {
    "no positions": "the positions are missing",
    "positions from 1": "positions are off by one: the first position is 0",
    "no final norm": "the norm after the last block is missing",
    "one block": "only the first block is run",
    "last skipped": "the last block is left out",
    "same block": "the first block is run in place of every block",
    "reversed": "the blocks are run from the last to the first",
    "own head": "the head has weights of its own: it must be the table of the embeddings",
    "scaled": "the token's row is multiplied by √hidden",
    "softmax": "the output is probabilities: the loss wants logits",
    "embeddings norm": "there is a norm after the embeddings: GPT-2 has one only before each part and at the end",
    "other order": BLOCK["other order"],
    "mask ignored": NO_MASK,
    "mask sees next": ATTENTION["mask sees next"],
    "no scale": ATTENTION["no scale"],
    "over queries": ATTENTION["over queries"],
    "mask after": ATTENTION["mask after"],
    "one head": HEADS["one head"],
    "merged": HEADS["merged"],
    "no residual 1": BLOCK["no residual 1"],
    "no residual 2": BLOCK["no residual 2"],
    "no activation": BLOCK["no activation"],
}


def causal(length: int, wrong: frozenset[str]) -> Tensor:
    """The causal mask (1, 1, length, length); with the mistake "strict" the first row is NaN after a softmax."""
    return torch.ones(length, length, dtype=torch.bool).tril(-1 if "strict" in wrong else 0)[None, None]


def check_causal_block(block: nn.Module, *, heads: int | None = None) -> None:
    """Check a block of GPT-2: x + attention(LayerNorm(x)), then x + feed_forward(LayerNorm(x)), causal by itself.

    Any activation of gelu, tanh gelu and relu is right. Weights are found by their names or in the order of definition,
    and they are drawn again: pass a block that is not needed any more.

    Args:
        block: a module that takes and gives (batch, length, hidden).
        heads: number of heads; by default the module's attribute.

    Raises:
        CheckError: a law is broken.
        InputError: attention, feed-forward or norms cannot be found in the module.
    """
    heads = heads_of(block) if heads is None else heads
    redraw(block)
    query, key, value, output, rest = attention_maps(maps_of(block))
    norms = norms_of(block)
    if heads is None or len(rest) < 2 or not norms:
        raise InputError(
            "A block has an attribute num_heads (or pass heads=…), two linear maps after its attention and two norms."
        )
    parts, both = (query, key, value, output), (norms[0], norms[-1])
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, query.weight.shape[1], generator=draw).to(query.weight.dtype)
    inputs = (x[:1, :1], x)

    def run(x: Tensor) -> Tensor:
        return tensor_of(call(block, {"x": x}, BLOCK_EXPECTED), BLOCK_EXPECTED)

    def reference(x: Tensor, f: Activation, wrong: frozenset[str] = frozenset()) -> Tensor:
        maps = (rest[0], rest[1])
        return plain_block(x, causal(x.shape[1], wrong), parts, heads, maps, both, f, wrong, norm_first=True)

    with evaluating(block):
        check_repeatable(lambda: run(x))
        observed = [run(given) for given in inputs]

        def broken(index: int, place: str) -> str | None:
            found = [compare(observed[index], reference(inputs[index], f), place) for f in ACTIVATIONS]
            return None if None in found else found[0]

        def cause() -> str:
            def outputs(f: Activation, wrong: frozenset[str]) -> Iterable[Tensor]:
                return (reference(given, f, wrong) for given in inputs)

            return _first_cause(observed, outputs, BLOCK_MISTAKES)

        judge(
            [
                ("A single token gets attention, feed-forward, two residuals and two norms.",
                 lambda: broken(0, "one token")),
                ("No token sees a later one.", lambda: assert_causal(run, x, 0)),
                ("A token sees itself and all before it.", lambda: broken(1, "two texts of four tokens")),
            ],
            cause,
        )  # fmt: skip


def _first_cause(
    observed: list[Tensor],
    outputs: Callable[[Activation, frozenset[str]], Iterable[Tensor]],
    mistakes: dict[str, str],
) -> str:
    """The simplest explanation over all activations."""
    for count, f in product((1, 2), ACTIVATIONS):

        def reference(wrong: frozenset[str], f: Activation = f) -> Iterable[Tensor]:
            return outputs(f, wrong)

        found = find_cause(observed, reference, mistakes, counts=[count])
        if found != UNKNOWN:
            return found
    return UNKNOWN


VOCABULARY, HIDDEN, NUM_HEADS, NUM_LAYERS, POSITIONS = 11, 8, 2, 3, 7


class Parts:
    """The weights inside a learner's GPT: two tables, the maps and norms of each block, and the last norm."""

    def __init__(self, model: nn.Module) -> None:
        shapes = [(tuple(p.shape), p.detach()) for p in model.parameters()]
        rows = [p for shape, p in shapes if shape == (VOCABULARY, HIDDEN)]
        places = [p for shape, p in shapes if shape == (POSITIONS, HIDDEN)]
        maps = [m for m in maps_of(model) if m.weight.shape[0] not in (VOCABULARY, POSITIONS)]
        maps = [m for m in maps if tuple(m.weight.shape) not in ((HIDDEN, VOCABULARY), (HIDDEN, POSITIONS))]
        norms = norms_of(model)
        shown = table(["shape"], {name: [tuple(p.shape)] for name, p in model.named_parameters()})
        if not rows or not places:
            raise CheckError("There are tables of tokens and of positions.", "a table is missing", shown)
        size = len(maps) // NUM_LAYERS
        if len(maps) % NUM_LAYERS or size < 5:
            same = size >= 1 and len(maps) < 5 * NUM_LAYERS
            cause = (
                f"{NUM_LAYERS} layers share the same weights, or layers are missing: make a new block for each"
                if same
                else UNKNOWN
            )
            raise CheckError(f"There are {NUM_LAYERS} blocks, each with weights of its own.", cause, shown)
        if len(norms) < 2 * NUM_LAYERS:
            raise CheckError("A block has two norms.", "norms are missing, or shared by blocks", shown)
        self.tokens, self.positions = rows[0], places[0]
        self.head = rows[-1]
        self.blocks: list[tuple[tuple[Map, Map, Map, Map | None], tuple[Map, Map]]] = []
        for index in range(NUM_LAYERS):
            query, key, value, output, rest = attention_maps(maps[index * size : (index + 1) * size])
            self.blocks.append(((query, key, value, output), (rest[0], rest[1])))
        spare = len(norms) - 2 * NUM_LAYERS  # 1: the last one; a norm of the embeddings comes first
        self.first = norms[0] if spare > 1 else None
        start = 1 if spare > 1 else 0
        self.norms = [(norms[start + 2 * i], norms[start + 2 * i + 1]) for i in range(NUM_LAYERS)]
        self.last: Norm | None = norms[-1] if spare else None


def plain_gpt(ids: Tensor, parts: Parts, activation: Activation, wrong: frozenset[str] = frozenset()) -> Tensor:
    """GPT-2 in plain steps (Radford et al., 2019), with the mistakes that `wrong` names: logits of each next token."""
    length = ids.shape[1]
    x = parts.tokens[ids] * (sqrt(HIDDEN) if "scaled" in wrong else 1)
    if "no positions" not in wrong:
        start = "positions from 1" in wrong
        x = x + parts.positions[start : length + start]
    if "embeddings norm" in wrong:
        if parts.first is None:
            raise ValueError("There is no such norm.")
        x = norm(x, parts.first)
    order = list(range(NUM_LAYERS))
    order = order[:1] if "one block" in wrong else order[:-1] if "last skipped" in wrong else order
    order = [0] * NUM_LAYERS if "same block" in wrong else order[::-1] if "reversed" in wrong else order
    for index in order:
        attention, feed_forward = parts.blocks[index]
        mask = causal(length, wrong)
        x = plain_block(
            x, mask, attention, NUM_HEADS, feed_forward, parts.norms[index], activation, wrong, norm_first=True
        )
    if parts.last is not None and "no final norm" not in wrong:
        x = norm(x, parts.last)
    logits = x @ (parts.head if "own head" in wrong else parts.tokens).T
    return logits.softmax(-1) if "softmax" in wrong else logits


def check_gpt(make: Callable[..., Any]) -> None:
    """Check a language model as GPT-2: embeddings, pre-norm blocks with causal masks, a last norm, and a tied head.

    Args:
        make: class or function `GPT(vocab_size, hidden_size, num_heads, num_layers, max_positions)`. The weights of a
            block are defined in the order of their use: attention, then feed-forward, and its two norms. The last norm
            is defined after the blocks.

    Raises:
        CheckError: a law is broken.
        InputError: the weights of a block cannot be found.
    """
    torch.manual_seed(0)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "heads": NUM_HEADS,
        "layers": NUM_LAYERS,
        "max_positions": POSITIONS,
    }
    model = call(make, sizes, GPT_EXPECTED)
    if not isinstance(model, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(model).__name__}, not a module", f"expected: {GPT_EXPECTED}")
    redraw(model)
    parts = Parts(model)
    ids = torch.tensor([[1, 5, 2, 7, 9], [3, 3, 0, 10, 4]])
    inputs = (ids[:1, :1], ids)

    def run(given: Tensor) -> Tensor:
        return tensor_of(call(model, {"input_ids": given}, GPT_EXPECTED), GPT_EXPECTED)

    with evaluating(model):
        check_repeatable(lambda: run(ids))
        observed = [run(given) for given in inputs]

        def broken(index: int, place: str) -> str | None:
            found = [compare(observed[index], plain_gpt(inputs[index], parts, f), place) for f in ACTIVATIONS]
            return None if None in found and parts.last is not None else found[0] or "the last norm is missing"

        def cause() -> str:
            if parts.last is None and any(equal(observed[1], plain_gpt(ids, parts, f)) for f in ACTIVATIONS):
                return GPT_MISTAKES["no final norm"]

            def outputs(f: Activation, wrong: frozenset[str]) -> Iterable[Tensor]:
                return (plain_gpt(given, parts, f, wrong) for given in inputs)

            return _first_cause(observed, outputs, GPT_MISTAKES)

        judge(
            [
                ("A single token gets embeddings, blocks, a last norm and the table as head.",
                 lambda: broken(0, "the logits of one token")),
                ("No token sees a later one.", lambda: _causal(run, ids)),
                ("A token sees itself and all before it.", lambda: broken(1, "the logits of two texts")),
            ],
            cause,
        )  # fmt: skip


def _causal(run: Callable[[Tensor], Tensor], ids: Tensor) -> str | None:
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % VOCABULARY
    return compare(run(changed)[:, :-1], run(ids)[:, :-1], "logits of earlier tokens after the last one was changed")
