"""`check_masks`: who may attend to whom, from lengths (causal) or from the padding of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minitransformers.testing.learning.judging import call, find_cause, judge, table, takes, tensor_of

CAUSAL = "causal_mask(queries, keys=None) -> (queries, keys), bool with True = may attend, or 0 and −inf"
PADDING = "padding_mask(attention_mask) -> (batch, 1, 1 or queries, keys), bool with True = may attend, or 0 and −inf"

CAUSAL_MISTAKES = {
    "inverted": "the mask is inverted: True, or 0, stands for hidden",
    "strict": "the mask is off by one: a query does not see itself",
    "one more": "the mask is off by one: a query sees the next key",
    "transposed": "the mask is transposed: queries and keys are exchanged",
    "upper left": "the mask is aligned to the upper left: with a cache the new queries do not see all keys before them",
    "everything": "nothing is hidden",
    "only itself": "a query sees only itself",
    "only first": "all queries see only the first key",
}
PADDING_MISTAKES = {
    "inverted": "the mask is inverted: True, or 0, stands for hidden",
    "queries": "padding is hidden as queries, not as keys",
    "both": "padding hides queries as well as keys, so that a padding query has no key at all",
    "everything": "nothing is hidden",
    "last": "the mask is off by one: the last real token is hidden too",
    "one more": "the mask is off by one: the first padding token is visible",
    "first row": "every text gets the padding of the first one",
    "causal": "the mask is causal too",
    "reversed": "padding is hidden on the wrong side",
}


def check_masks(causal: Callable[..., Any] | None = None, padding: Callable[..., Any] | None = None) -> None:
    """Check functions that make masks, as bool (True = may attend) or as numbers to add to the scores (0 and −inf).

    Args:
        causal: `causal_mask(queries, keys=None)`, (queries, keys). `keys`, if it is taken, counts the cached ones too.
        padding: `padding_mask(attention_mask)`, from (batch, length) with 1 = real and 0 = padding to a mask that
            broadcasts to (batch, heads, queries, keys).

    Raises:
        CheckError: a law is broken.
    """
    if causal is not None:
        _check_causal(causal)
    if padding is not None:
        _check_padding(padding)


def causal_reference(queries: int, keys: int, wrong: frozenset[str] = frozenset()) -> Tensor:
    """A causal mask in plain steps, with the mistakes that `wrong` names."""
    offset = 0 if "upper left" in wrong else keys - queries
    row, column = torch.arange(queries)[:, None] + offset, torch.arange(keys)[None]
    mask = column < row if "strict" in wrong else column <= row + ("one more" in wrong)
    if "transposed" in wrong:
        mask = column >= row
    if "only itself" in wrong:
        mask = column == row
    if "only first" in wrong:
        mask = (column == 0).expand(queries, keys)
    if "everything" in wrong:
        mask = torch.ones_like(mask)
    return ~mask if "inverted" in wrong else mask


def padding_reference(given: Tensor, wrong: frozenset[str] = frozenset()) -> Tensor:
    """The padding mask (batch, 1, length, length) in plain steps, with the mistakes that `wrong` names."""
    batch, length = given.shape
    real = given.bool()
    if "last" in wrong:
        real = real & torch.cat([real[:, 1:], torch.zeros(batch, 1, dtype=torch.bool)], 1)
    if "one more" in wrong:
        real = real | torch.cat([real[:, :1], real[:, :-1]], 1)
    if "first row" in wrong:
        real = real[:1].expand(batch, length)
    if "reversed" in wrong:
        real = real.flip(1)
    keys, queries = real[:, None, None, :].expand(batch, 1, length, length), real[:, None, :, None]
    mask = queries.expand_as(keys) if "queries" in wrong else keys & queries if "both" in wrong else keys
    if "causal" in wrong:
        mask = mask & causal_reference(length, length)
    if "everything" in wrong:
        mask = torch.ones_like(mask)
    return ~mask if "inverted" in wrong else mask


def _allowed(mask: Tensor, is_added: bool) -> Tensor:
    """A mask as bool: from what is added to the scores, or from bool or 0 and 1."""
    return mask > -1e4 if is_added else mask == 1


def _is_added(masks: list[Tensor]) -> bool:
    """Whether masks are numbers to add to the scores: then some are far below zero."""
    return any(bool((mask < 0).any()) for mask in masks if mask.dtype != torch.bool)


def _show(ours: Tensor, theirs: Tensor, place: str) -> str | None:
    if ours.shape != theirs.shape:
        return f"{place}\n" + table(["shape"], {"yours": [tuple(ours.shape)], "expected": [tuple(theirs.shape)]})
    if torch.equal(ours, theirs):
        return None
    if ours.ndim == 4:
        row = int((ours != theirs).flatten(1).any(1).nonzero()[0])
        ours, theirs, place = ours[row, 0], theirs[row, 0], f"{place}, text {row}"
    columns = [f"key {i}" for i in range(ours.shape[1])] + ["expected"]
    rows = {
        f"query {i}": [*map(int, ours[i].tolist()), "".join(str(int(bit)) for bit in theirs[i])]
        for i in range(len(ours))
    }
    return f"{place} (1 = may attend)\n" + table(columns, rows)


def _check_causal(function: Callable[..., Any]) -> None:
    sizes = [(1, 1), (2, 2), (4, 4)] + ([(1, 3), (2, 5)] if takes(function, "keys") else [])

    def raw(queries: int, keys: int) -> Tensor:
        values = {"queries": queries} | ({"keys": keys} if takes(function, "keys") else {})
        return tensor_of(call(function, values, CAUSAL), CAUSAL)

    is_added = _is_added([raw(*size) for size in sizes])

    def run(queries: int, keys: int) -> Tensor:
        mask = _allowed(raw(queries, keys), is_added)
        return mask.reshape(mask.shape[-2:]) if mask.numel() == queries * keys and mask.ndim > 1 else mask

    def cause() -> str:
        observed = [run(*size) for size in sizes]
        return find_cause(observed, lambda wrong: [causal_reference(*s, wrong) for s in sizes], CAUSAL_MISTAKES)

    def at(queries: int, keys: int) -> str | None:
        return _show(run(queries, keys), causal_reference(queries, keys), f"{queries} queries, {keys} keys")

    plain = "A query sees itself and all keys before it, and none after it."
    cached = "New queries see all cached keys."
    judge([(plain if size[0] == size[1] else cached, partial(at, *size)) for size in sizes], cause)


def _check_padding(function: Callable[..., Any]) -> None:
    batches = [torch.tensor([[1, 1]]), torch.tensor([[1, 0]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]])]

    def raw(given: Tensor) -> Tensor:
        return tensor_of(call(function, {"attention_mask": given.clone()}, PADDING), PADDING)

    is_added = _is_added([raw(batch) for batch in batches])

    def run(given: Tensor) -> Tensor:
        mask = _allowed(raw(given), is_added)
        batch, length = given.shape
        try:
            return mask.expand(batch, 1, length, length)
        except RuntimeError:
            return mask

    def cause() -> str:
        observed = [run(batch) for batch in batches]
        return find_cause(observed, lambda wrong: [padding_reference(b, wrong) for b in batches], PADDING_MISTAKES)

    laws = (
        "Without padding nothing is hidden.",
        "Padding keys are hidden from every query.",
        "Each text has its own padding.",
    )

    def at(given: Tensor) -> str | None:
        return _show(run(given), padding_reference(given), f"attention_mask={given.tolist()}")

    judge([(law, partial(at, given)) for law, given in zip(laws, batches, strict=True)], cause)
