"""From the steps of generating a text to the tokens that are displayed, each with what could have come instead.

The terminal and the page both iterate over `displayed(search, …)`, and so over `model.generate_steps`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from minitransformers.generation.config import as_list
from minitransformers.generation.loop import Search

INCOMPLETE = "\ufffd"  # what the bytes of an unfinished character decode to


@dataclass(frozen=True)
class Alternative:
    """A token that could have come, and how likely it was."""

    id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Token:
    """One token of a text.

    Attributes:
        id: its number in the vocabulary.
        text: what it adds to the text. Nothing, where a character takes several tokens and this is not the last of
            them, or where it only says that the text ends.
        label: the token by itself, for when it adds nothing.
        probability: how likely it was to come, after all processors and filters.
        alternatives: the likeliest tokens at its place, itself often among them, the likeliest first.
    """

    id: int
    text: str
    label: str
    probability: float
    alternatives: tuple[Alternative, ...]


Tokens = tuple[Token, ...]


@dataclass(frozen=True)
class Change:
    """How what is displayed changes: so many of its tokens stay, and these come after them.

    Beam search changes its mind about earlier tokens. All other strategies only add to the text, sometimes to that of
    the last token: what had been held back of it.
    """

    keep: int
    tokens: Tokens


def displayed(search: Search, tokenizer: Any, *, stops: Sequence[str] = (), alternatives: int = 6) -> Iterator[Change]:
    """Run a search for one text, and say after every step how the display changes.

    Args:
        search: of `model.generate_steps`, for one text. Of several beams, the best is displayed.
        tokenizer: what decodes the ids.
        stops: texts that end the text and are not displayed. What may become one is held back until it is clear.
        alternatives: how many to give for each token.
    """
    shown: Tokens = ()
    continuation: Tokens = ()
    for continuation in _continuations(search, tokenizer, alternatives):
        visible = _visible(continuation, stops, at_end=False)
        yield _change(shown, visible)
        shown = visible
    visible = _visible(continuation, stops, at_end=True)
    if visible != shown:
        yield _change(shown, visible)


def apply(shown: Sequence[Token], change: Change) -> list[Token]:
    """The tokens that are displayed after a change."""
    return [*shown[: change.keep], *change.tokens]


def _change(old: Tokens, new: Tokens) -> Change:
    same = next((index for index, (a, b) in enumerate(zip(old, new, strict=False)) if a is not b and a != b), None)
    keep = min(len(old), len(new)) if same is None else same
    return Change(keep, new[keep:])


# ---- the tokens of the best continuation -----------------------------------------------------------------------------


def _continuations(search: Search, tokenizer: Any, count: int) -> Iterator[Tokens]:
    """The best continuation after every step, and in the end the result."""
    return (_of_beams if (search.settings.num_beams or 1) > 1 else _of_one_row)(search, tokenizer, count)


def _of_one_row(search: Search, tokenizer: Any, count: int) -> Iterator[Tokens]:
    writer = Writer(tokenizer, search.sequences[0].tolist())
    tokens: Tokens = ()
    for step in search:
        token_id, probability = int(step.token_ids[0]), float(step.probabilities[0])
        ids, values = step.alternatives(count)
        alternatives = _alternatives(tokenizer, ids[0], values[0])
        tokens = (*tokens, _token(tokenizer, token_id, writer.add(token_id), probability, alternatives))
        yield tokens
    yield _completed(tokens, writer)


def _of_beams(search: Search, tokenizer: Any, count: int) -> Iterator[Tokens]:
    prompt = search.sequences[0].tolist()
    beams, ends = search.sequences.shape[0], as_list(search.settings.eos_token_id)
    # Of every step, the likeliest tokens after each beam and their probabilities. They are enough to look up any token
    # of any continuation: what is among the best candidates of all beams, of which there are so many, is also among the
    # best of its own beam. Where it is not, it ties with the last of them.
    candidates = max(count, beams * max(2, 1 + len(ends)))
    likeliest: list[tuple[Tensor, Tensor]] = []

    def tokens_of(ids: Tensor, path: Tensor) -> tuple[Tokens, Writer]:
        writer = Writer(tokenizer, prompt)
        tokens: list[Token] = []
        for token_id, beam, (known, values) in zip(ids.tolist(), path.tolist(), likeliest, strict=False):
            if beam < 0:  # past the end
                break
            place = [*known[beam].tolist(), token_id].index(token_id)
            probability = float(values[beam, min(place, known.shape[1] - 1)])
            alternatives = _alternatives(tokenizer, known[beam, :count], values[beam, :count])
            tokens.append(_token(tokenizer, token_id, writer.add(token_id), probability, alternatives))
        return tuple(tokens), writer

    path = torch.empty(beams, 0, dtype=torch.long)
    for step in search:
        assert step.parents is not None
        values, ids = step.scores.softmax(dim=-1).topk(min(candidates, step.scores.shape[-1]))
        likeliest.append((ids, values))
        path = torch.cat([path[step.parents], step.parents[:, None]], dim=1)
        yield tokens_of(step.sequences[0, len(prompt) :], path[0])[0]
    output = search.output()
    yield _completed(*tokens_of(output["sequences"][0, len(prompt) :], output["beam_indices"][0]))


def _token(
    tokenizer: Any, token_id: int, text: str, probability: float, alternatives: tuple[Alternative, ...]
) -> Token:
    return Token(token_id, text, tokenizer.decode([token_id]), probability, alternatives)


def _alternatives(tokenizer: Any, ids: Tensor, probabilities: Tensor) -> tuple[Alternative, ...]:
    """One for each id that is possible."""
    return tuple(
        Alternative(token_id, tokenizer.decode([token_id]), probability)
        for token_id, probability in zip(ids.tolist(), probabilities.tolist(), strict=True)
        if probability > 0
    )


# ---- their text ------------------------------------------------------------------------------------------------------


class Writer:
    """Decodes a text token by token: the pieces, put together, are the text.

    A token's text depends on its neighbours: a character may take several tokens, and a space before a word is dropped
    at the start of a text. So a few tokens before it are decoded with it. Eight are enough to hold a whole character,
    which has at most four bytes, and a token has at least one.

    Args:
        tokenizer: what decodes.
        before: ids of the text that has been written already.
    """

    CONTEXT = 8

    def __init__(self, tokenizer: Any, before: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._start(before)

    def _start(self, ids: Sequence[int]) -> None:
        self._ids = list(ids[-self.CONTEXT :])
        self._written = len(self._decode().rstrip(INCOMPLETE))

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True)) if self._ids else ""

    def add(self, token_id: int) -> str:
        """What the token adds; what it leaves incomplete is added by a later one."""
        self._ids.append(token_id)
        text = self._decode()
        complete = text.rstrip(INCOMPLETE)
        piece = complete[self._written :]
        self._written = max(self._written, len(complete))
        if len(complete) == len(text) and len(self._ids) > 4 * self.CONTEXT:
            self._start(self._ids)
        return piece

    def rest(self) -> str:
        """What is incomplete and stays so, as U+FFFD."""
        return self._decode()[self._written :]


def _completed(tokens: Tokens, writer: Writer) -> Tokens:
    """The tokens, with a character that was begun and not finished in the text of the last one."""
    return (*tokens[:-1], replace(tokens[-1], text=tokens[-1].text + writer.rest())) if writer.rest() else tokens


def _visible(tokens: Tokens, stops: Sequence[str], *, at_end: bool) -> Tokens:
    """The tokens before a stop text, or before what may become one."""
    if not stops:
        return tokens
    text = "".join(token.text for token in tokens)
    found = [text.find(stop) for stop in stops if stop in text]
    end = min(found, default=len(text) if at_end else len(text) - max(_begun(text, stop) for stop in stops))
    if end == len(text):
        return tokens
    kept: list[Token] = []
    for token in tokens:
        if end <= 0:
            break
        kept.append(token if len(token.text) <= end else replace(token, text=token.text[:end]))
        end -= len(token.text)
    return tuple(kept)


def _begun(text: str, stop: str) -> int:
    """How many characters of `stop` the end of the text may be the beginning of."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
