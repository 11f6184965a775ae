"""`check_bert_embeddings`: token, position and segment, added up and normalized."""

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
from minitransformers.testing.learning.weights import Norm, norms_of, redraw

EXPECTED = (
    "BertEmbeddings(vocab_size, hidden_size, max_positions, segments) -> module; "
    "module(input_ids, token_type_ids) -> (batch, length, hidden_size)"
)
VOCABULARY, HIDDEN, POSITIONS, SEGMENTS = 11, 6, 7, 2
MISTAKES = {
    "no positions": "the positions are missing",
    "no segments": "the segments are missing",
    "no tokens": "the tokens are missing",
    "no norm": "the layer norm is missing",
    "norm of tokens": "the layer norm is applied to the tokens alone, not to the sum",
    "positions after norm": "the positions are added after the layer norm",
    "segments after norm": "the segments are added after the layer norm",
    "positions from 1": "positions are off by one: the first position is 0",
    "positions of segment": "positions start again at the second segment: they count through the whole text",
    "positions by text": "the position is the number of the text in the batch",
    "segments swapped": "segments 0 and 1 are exchanged",
    "segments by first": "every token gets the segment of its text's first token",
    "scaled": "the token's row is multiplied by √hidden, as in the original transformer; BERT does not",
    "padding": "positions skip tokens with id 0: BERT counts padding too",
}


def bert_embeddings(
    ids: Tensor, segments: Tensor, tables: tuple[Tensor, Tensor, Tensor], by: Norm, wrong: frozenset[str] = frozenset()
) -> Tensor:
    """BERT's embeddings in plain steps (Devlin et al., 2019, figure 2), with the mistakes that `wrong` names."""
    token_table, position_table, segment_table = tables

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (x.var(-1, keepdim=True, unbiased=False) + by.eps).sqrt() * by.weight + by.bias

    place = torch.arange(ids.shape[1]).expand_as(ids)
    if "positions from 1" in wrong:
        place = place + 1
    if "positions of segment" in wrong:
        place = place - segments * (segments == 0).sum(1, keepdim=True)
    if "positions by text" in wrong:
        place = torch.arange(len(ids))[:, None].expand_as(ids)
    if "padding" in wrong:
        place = ((ids != 0).cumsum(1) - 1).clamp(min=0)
    segments = 1 - segments if "segments swapped" in wrong else segments
    segments = segments[:, :1].expand_as(segments) if "segments by first" in wrong else segments
    tokens = token_table[ids] * (sqrt(HIDDEN) if "scaled" in wrong else 0 if "no tokens" in wrong else 1)
    positions = position_table[place] * ("no positions" not in wrong)
    kinds = segment_table[segments] * ("no segments" not in wrong)
    if "no norm" in wrong:
        return tokens + positions + kinds
    if "norm of tokens" in wrong:
        return norm(tokens) + positions + kinds
    if "positions after norm" in wrong:
        return norm(tokens + kinds) + positions
    if "segments after norm" in wrong:
        return norm(tokens + positions) + kinds
    return norm(tokens + positions + kinds)


def check_bert_embeddings(make: Callable[..., Any]) -> None:
    """Check BERT's embeddings: LayerNorm(token + position + segment), with dropout in training only.

    Args:
        make: class or function `BertEmbeddings(vocab_size, hidden_size, max_positions, segments)`. The tables are found
            by their shapes. The module takes ids and segment ids, both (batch, length).

    Raises:
        CheckError: a law is broken.
    """
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "max_positions": POSITIONS, "segments": SEGMENTS}
    module = call(make, sizes, EXPECTED)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {EXPECTED}")
    redraw(module)
    shapes = {tuple(p.shape): p.detach() for p in module.parameters()}
    wanted = {"tokens": (VOCABULARY, HIDDEN), "positions": (POSITIONS, HIDDEN), "segments": (SEGMENTS, HIDDEN)}
    missing = [name for name, shape in wanted.items() if shape not in shapes]
    if missing:
        shown = table(["shape"], {name: [tuple(p.shape)] for name, p in module.named_parameters()})
        cause = f"there is no table of the {' and the '.join(missing)}, {wanted[missing[0]]}"
        raise CheckError("There are three tables: tokens, positions and segments.", cause, shown)
    norms = [norm for norm in norms_of(module) if tuple(norm.weight.shape) == (HIDDEN,)]
    tables = (shapes[wanted["tokens"]], shapes[wanted["positions"]], shapes[wanted["segments"]])
    by = norms[0] if norms else Norm(torch.ones(HIDDEN), torch.zeros(HIDDEN), 1e-12)
    first = (torch.tensor([[4]]), torch.tensor([[0]]))
    same = (torch.tensor([[4, 4, 4]]), torch.zeros(1, 3, dtype=torch.long))
    pair = (torch.tensor([[1, 5, 2, 7, 9], [1, 0, 3, 2, 0]]), torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]))
    inputs = (first, same, pair)

    def run(ids: Tensor, segments: Tensor) -> Tensor:
        return tensor_of(call(module, {"input_ids": ids, "segment_ids": segments}, EXPECTED), EXPECTED)

    with evaluating(module):
        check_repeatable(lambda: run(*pair))
        judge_outputs(
            [run(*given) for given in inputs],
            lambda wrong: (bert_embeddings(*given, tables, by, wrong) for given in inputs),
            MISTAKES,
            [
                ("The output is LayerNorm(token + position + segment).", "one token"),
                ("Positions count from 0 to the end of the text.", "three times the same token"),
                ("Each token has its own position and segment.", "two pairs of texts"),
            ],
        )
