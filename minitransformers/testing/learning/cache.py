"""`check_cache`: a class that keeps keys and values, or a decoder that is given a text in pieces."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.laws import assert_cache_consistent, assert_cache_crops, assert_cache_reorders
from minitransformers.testing.laws.outputs import per_token
from minitransformers.testing.learning.judging import (
    CALLABLE,
    UNKNOWN,
    CheckError,
    compare,
    equal,
    evaluating,
    find_cause,
    judge,
    parameters_of,
)

EXPECTED = "cache.update(key, value, layer=0) -> (all keys, all values), each (batch, heads, length, dim)"
MISTAKES = {
    "new only": "only the new keys and values are returned, not all of them",
    "old only": "the cache is off by one: the keys and values of this call are missing",
    "overwrite last": "the cache is off by one: each call overwrites the last position of the call before",
    "prepend": "new keys and values are put in front of the old ones",
    "values not kept": "values are not kept, only keys",
    "keys not kept": "keys are not kept, only values",
    "exchanged": "keys and values are exchanged",
    "values are keys": "keys are returned as values too",
    "one layer": "all layers share one store",
    "dim heads": "pieces are joined along the heads, not along the positions",
    "dim batch": "pieces are joined along the batch, not along the positions",
    "dim last": "pieces are joined along the features, not along the positions",
    "twice": "each piece is stored twice",
    "reorder ignored": "reorder changes nothing",
    "reorder keys": "reorder moves the keys and leaves the values",
    "reorder inverse": "reorder moves row i to rows[i], instead of taking row rows[i] as row i",
    "reorder first layer": "reorder moves the first layer only",
    "crop ignored": "crop changes nothing",
    "crop less": "crop keeps one position too many",
    "crop more": "crop keeps one position too few",
    "crop start": "crop keeps the last positions, not the first",
    "crop keys": "crop cuts the keys and leaves the values",
}
DECODER_MISTAKES = {
    "ignored": "the cache is ignored: a piece does not see what came before it",
    "positions": "positions start at 0 in each piece, instead of after the cached tokens",
    "positions + 1": "the cache is off by one: positions after the cache are one too large",
    "positions − 1": "the cache is off by one: positions after the cache are one too small",
    "last": "the cache is off by one: the last cached token is not seen",
    "upper left": "the causal mask is aligned to the upper left: new queries do not see all cached keys",
}


class PlainCache:
    """Keys and values of each layer, joined along the positions, with the mistakes that `wrong` names."""

    def __init__(self, wrong: frozenset[str] = frozenset()) -> None:
        self.wrong = wrong
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, key: Tensor, value: Tensor, layer: int = 0) -> tuple[Tensor, Tensor]:
        """Add keys and values, and return all."""
        wrong, layer = self.wrong, 0 if "one layer" in self.wrong else layer
        dim = 1 if "dim heads" in wrong else 0 if "dim batch" in wrong else 3 if "dim last" in wrong else 2
        new = (key, value)
        old = self.layers.get(layer, (key[:, :, :0], value[:, :, :0]))
        if layer not in self.layers:
            joined = (key, value)
        else:
            first = tuple(o[:, :, :-1] if "overwrite last" in wrong else o for o in old)
            order = -1 if "prepend" in wrong else 1
            joined = tuple(torch.cat([o, n][::order], dim) for o, n in zip(first, new, strict=True))  # type: ignore[assignment]
        if "twice" in wrong:
            joined = tuple(torch.cat([j, n], 2) for j, n in zip(joined, (key, value), strict=True))  # type: ignore[assignment]
        keys, values = joined
        self.layers[layer] = (
            key if "keys not kept" in wrong else keys,
            value if "values not kept" in wrong else values,
        )
        keys, values = self.layers[layer]
        if "new only" in wrong:
            return key, value
        if "old only" in wrong and old[0].shape[2]:
            return old
        if "exchanged" in wrong:
            return values, keys
        return keys, keys if "values are keys" in wrong else values

    def reorder(self, rows: Tensor) -> None:
        """Row i becomes what row rows[i] was."""
        rows = rows.argsort() if "reorder inverse" in self.wrong else rows
        for layer, (keys, values) in self.layers.items():
            if "reorder ignored" in self.wrong or ("reorder first layer" in self.wrong and layer):
                continue
            self.layers[layer] = (keys[rows], values if "reorder keys" in self.wrong else values[rows])

    def crop(self, length: int) -> None:
        """Keep the first positions."""
        length += ("crop less" in self.wrong) - ("crop more" in self.wrong)
        for layer, (keys, values) in self.layers.items():
            if "crop ignored" not in self.wrong:
                part = slice(-length, None) if "crop start" in self.wrong else slice(length)
                self.layers[layer] = (keys[:, :, part], values if "crop keys" in self.wrong else values[:, :, part])


def check_cache(cache: Any, *, vocab_size: int | None = None) -> None:
    """Check a cache of keys and values, or a decoder's use of one.

    Args:
        cache: a class that makes an empty cache with `update(key, value, layer)`, of which `reorder(rows)`
            and `crop(length)` are checked too if it has them, and `layer` if it is taken; or a decoder that is called
            with `input_ids`, `past_key_values` and `use_cache` and gives logits and `past_key_values`.
        vocab_size: of a decoder; by default `decoder.config.vocab_size`.

    Raises:
        CheckError: a law is broken.
    """
    if isinstance(cache, nn.Module) or (callable(cache) and "past_key_values" in parameters_of(cache)):
        _check_decoder(cache, vocab_size)
    else:
        _check_class(cache)


def _check_class(make: Callable[..., Any]) -> None:
    example = make()
    if not hasattr(example, "update"):
        raise CheckError(CALLABLE, "it has no method update(key, value)", f"expected: {EXPECTED}")
    many = len(parameters_of(example.update)) > 2
    reorder = next((n for n in ("reorder", "reorder_cache") if hasattr(example, n)), None)
    crop = "crop" if hasattr(example, "crop") else None
    draw = torch.Generator().manual_seed(0)
    pieces = [(torch.randn(3, 2, n, 3, generator=draw), torch.randn(3, 2, n, 3, generator=draw)) for n in (2, 1, 2, 1)]
    rows = torch.tensor([1, 2, 0])

    def play(cache: Any, names: tuple[str | None, str | None]) -> list[Tensor]:
        """All keys and values after each step of: three pieces, another layer, reordering, cropping."""
        seen: list[Tensor] = []

        def add(index: int, layer: int = 0) -> None:
            result = cache.update(*pieces[index], *([layer] if many else []))
            if not (isinstance(result, (tuple, list)) and len(result) == 2):
                raise CheckError(CALLABLE, "update does not return keys and values", f"expected: {EXPECTED}")
            seen.extend(tensor.clone() for tensor in result)

        for index in range(3):
            add(index)
        if many:
            add(0, 1)
        if names[0]:
            getattr(cache, names[0])(rows)
            add(3)
            if many:
                add(3, 1)
        if names[1]:
            getattr(cache, names[1])(2)
            add(3)
        return seen

    def reference(wrong: frozenset[str]) -> list[Tensor]:
        return play(PlainCache(wrong), ("reorder" if reorder else None, "crop" if crop else None))

    right = reference(frozenset())
    steps = ["the first piece", "the second piece", "the third piece"]
    steps += ["a second layer"] if many else []
    steps += ["reorder"] if reorder else []
    steps += ["reorder of the second layer"] if reorder and many else []
    steps += ["crop"] if crop else []
    try:
        ours = play(make(), (reorder, crop))
    except (RuntimeError, IndexError, KeyError, TypeError) as error:
        raise CheckError(CALLABLE, f"it fails with {type(error).__name__}: {error}", f"expected: {EXPECTED}") from error

    def broken(index: int) -> str | None:
        for part, name in enumerate(("keys", "values")):
            found = compare(ours[2 * index + part], right[2 * index + part], f"{name} after {steps[index]}")
            if found:
                return found
        return None

    sentences = {
        "crop": "After crop(n) the first n positions are left.",
        "reorder": "After reorder(rows) row i is what rows[i] was.",
        "reorder of the second layer": "Reordering moves all layers.",
        "a second layer": "Each layer has keys and values of its own.",
    }
    plain = "All keys and values so far are returned, in order."
    laws = [(sentences.get(step, plain), partial(broken, index)) for index, step in enumerate(steps)]
    judge(laws, lambda: find_cause(ours, reference, MISTAKES))


def _check_decoder(model: Any, vocab_size: int | None) -> None:
    size = model.config.vocab_size if vocab_size is None else vocab_size
    ids = torch.randint(size, (2, 5), generator=torch.Generator().manual_seed(0))

    def cause() -> str:
        return find_decoder_cause(model, ids)

    with evaluating(model):
        judge(
            [
                (
                    "The last token, with the cache, gets what it gets in one pass.",
                    lambda: _consistent(model, ids[:1, :2], [1]),
                ),
                ("A text in pieces gets what it gets in one pass.", lambda: _consistent(model, ids, [2, 3])),
            ],
            cause,
        )
        cache = model(input_ids=ids, use_cache=True).past_key_values
        later: list[tuple[str, Callable[[], str | None]]] = []
        if hasattr(cache, "reorder_cache"):
            later.append(
                ("A reordered cache goes on as its rows do.", lambda: assert_cache_reorders(model, ids, [1, 0], 3))
            )
        if hasattr(cache, "crop") and hasattr(model, "config"):
            later.append(("A cropped cache goes on as one of that length.", lambda: assert_cache_crops(model, ids, 3)))
        judge(later, lambda: UNKNOWN)


def _consistent(model: Any, ids: Tensor, cuts: list[int]) -> None:
    assert_cache_consistent(model, ids, cuts)


def find_decoder_cause(model: Any, ids: Tensor) -> str:
    """The mistake with which the model's own pass without a cache gives what its pass with the cache gave."""
    length, cut = ids.shape[1], 3
    first = model(input_ids=ids[:, :cut], use_cache=True)
    second = model(input_ids=ids[:, cut:], past_key_values=first.past_key_values, use_cache=True)
    observed = next(iter(per_token(second, length - cut).values()))

    def alone(name: str) -> Tensor:
        """What one pass gives at the last positions, with the mistake."""
        everything: dict[str, Any] = {"input_ids": ids}
        positions = torch.arange(length)[None].repeat(len(ids), 1)
        if name == "ignored":
            return next(iter(per_token(model(input_ids=ids[:, cut:]), length - cut).values()))
        if name.startswith("positions"):
            shift = {"positions": -cut, "positions + 1": 1, "positions − 1": -1}[name]
            everything["position_ids"] = positions + (positions >= cut) * shift
        if name == "last":
            everything["attention_mask"] = (positions != cut - 1).long()
        if name != "upper left":
            return next(iter(per_token(model(**everything), length).values()))[:, cut:]
        columns = []
        for new in range(length - cut):  # the query at cut + new sees keys 0 … new only
            output = model(input_ids=ids, attention_mask=(positions <= new).long())
            columns.append(next(iter(per_token(output, length).values()))[:, cut + new])
        return torch.stack(columns, 1)

    for name, sentence in DECODER_MISTAKES.items():
        try:
            found = alone(name)
        except (TypeError, RuntimeError, IndexError, ValueError):
            continue  # the model takes no positions or mask
        if equal(observed, found):
            return sentence
    return UNKNOWN
