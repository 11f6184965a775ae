"""From the steps of generation to displayed tokens, each with the likeliest alternatives.

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

INCOMPLETE = "\ufffd"  # the bytes of an unfinished character decode to it


@dataclass(frozen=True)
class Alternative:
    """A token that was possible at some place, and its probability."""

    id: int
    label: str
    probability: float


@dataclass(frozen=True)
class Token:
    """One token of a text.

    Attributes:
        id: its number in the vocabulary.
        text: the characters that it adds. Empty for a special token, and for a token that is not the last of a
            character's several tokens.
        label: the token decoded by itself, to be shown if `text` is empty.
        probability: its probability after all processors and filters.
        alternatives: the likeliest tokens at its place in descending order, often with this one among them.
    """

    id: int
    text: str
    label: str
    probability: float
    alternatives: tuple[Alternative, ...]


Tokens = tuple[Token, ...]


@dataclass(frozen=True)
class Change:
    """A change of the display: `keep` of its tokens stay, and `tokens` follow them.

    Beam search may replace earlier tokens. All other strategies only add to the text, sometimes to that of the last
    token, of which a part had been held back.
    """

    keep: int
    tokens: Tokens


def displayed(search: Search, tokenizer: Any, *, stops: Sequence[str] = (), alternatives: int = 6) -> Iterator[Change]:
    """Run a search for one text, and yield the change of the display after every step.

    Args:
        search: from `model.generate_steps`, for one text. Of several beams, the best is displayed.
        tokenizer: decodes the ids.
        stops: texts that end the text and are not displayed. The possible beginning of one is held back.
        alternatives: how many for each token.
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
    """The displayed tokens after a change."""
    return [*shown[: change.keep], *change.tokens]


def _change(old: Tokens, new: Tokens) -> Change:
    same = next((index for index, (a, b) in enumerate(zip(old, new, strict=False)) if a is not b and a != b), None)
    keep = min(len(old), len(new)) if same is None else same
    return Change(keep, new[keep:])


# ---- the tokens of the best continuation -----------------------------------------------------------------------------


def _continuations(search: Search, tokenizer: Any, count: int) -> Iterator[Tokens]:
    """The best continuation after every step, and at the end the result."""
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
    # For every step, the likeliest tokens after each beam and their probabilities. They contain every token of every
    # continuation: one of the `candidates` best of all beams is also one of the `candidates` best of its own beam, or
    # ties with the last of them.
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
    """One for each id of a probability above 0."""
    return tuple(
        Alternative(token_id, tokenizer.decode([token_id]), probability)
        for token_id, probability in zip(ids.tolist(), probabilities.tolist(), strict=True)
        if probability > 0
    )


# ---- their text ------------------------------------------------------------------------------------------------------


class Writer:
    """Decodes a text token by token; the joined pieces are the text.

    A token's text depends on its neighbours: a character may take several tokens, and a space before the first word is
    dropped. So each token is decoded together with the eight before it. These hold a whole character, which has at most
    four bytes, since a token has at least one.

    Args:
        tokenizer: decodes the ids.
        before: ids of the preceding text.
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
        """The text that the token adds; an incomplete character is added by a later token."""
        self._ids.append(token_id)
        text = self._decode()
        complete = text.rstrip(INCOMPLETE)
        piece = complete[self._written :]
        self._written = max(self._written, len(complete))
        if len(complete) == len(text) and len(self._ids) > 4 * self.CONTEXT:
            self._start(self._ids)
        return piece

    def rest(self) -> str:
        """The incomplete character at the end, as U+FFFD."""
        return self._decode()[self._written :]


def _completed(tokens: Tokens, writer: Writer) -> Tokens:
    """The tokens, with an incomplete character added to the text of the last one."""
    return (*tokens[:-1], replace(tokens[-1], text=tokens[-1].text + writer.rest())) if writer.rest() else tokens


def _visible(tokens: Tokens, stops: Sequence[str], *, at_end: bool) -> Tokens:
    """The tokens before a stop text, or before the possible beginning of one."""
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
    """The length of the longest beginning of `stop` that the text ends with."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
