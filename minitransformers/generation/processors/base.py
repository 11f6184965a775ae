"""The base of processors, which change the scores of the next token, and the processors against repetition.

A processor is any callable that takes `(input_ids, scores)` and returns new scores: a plain function, or one of the
small classes, whose names are those of `transformers`. It does not change its arguments. Processors that forbid or
force tokens are in constraints.py, and the filters that make sampling less random in warpers.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from minitransformers.configs.checks import check_count, check_positive

Ids = Int[Tensor, "rows length"]
Scores = Float[Tensor, "rows vocabulary"]


class LogitsProcessor:
    """The base of all processors; a subclass of a user's own defines `__call__`.

    `input_ids` (rows, length) are the texts so far; `scores` (rows, vocabulary) belong to the next token: logits or,
    in beam search, log-probabilities.
    """

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """Return the new scores; the base changes nothing."""
        return scores


class LogitsProcessorList(list[Callable[[Tensor, Tensor], Tensor]]):
    """Processors that are applied one after the other."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores after all processors."""
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class TokenSet:
    """Some tokens of the vocabulary; ids beyond it are allowed and have no effect."""

    def __init__(self, ids: int | Iterable[int] | Tensor) -> None:
        self.ids = torch.as_tensor([ids] if isinstance(ids, int) else ids if isinstance(ids, Tensor) else list(ids))
        self.ids = self.ids.long().flatten()
        self._known: tuple[int, Tensor] | None = None

    def within(self, scores: Tensor) -> Tensor:
        """The tokens that `scores` has a column for, on its device."""
        size = scores.shape[-1]
        if self._known is None or self._known[0] != size or self._known[1].device != scores.device:
            self._known = size, self.ids[self.ids < size].to(scores.device)
        return self._known[1]

    def filled(self, scores: Tensor, value: float) -> Tensor:
        """`scores` with these tokens at `value`."""
        return scores.index_fill(-1, self.within(scores), value)


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Divides a positive score of a token that occurs already by the penalty, and multiplies a negative one by it
    (Keskar et al., 2019, §4.1).

    Args:
        penalty: above 1 against repetition, below 1 in favour of it.
        prompt_ignore_length: number of tokens at the start that do not count, for all rows or for each.
    """

    def __init__(self, penalty: float | int, prompt_ignore_length: int | Tensor | None = None) -> None:
        self.penalty = check_positive("repetition_penalty", penalty, otherwise="; 1 changes nothing")
        self.prompt_ignore_length = prompt_ignore_length

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens in `input_ids` lowered."""
        vocabulary = scores.shape[-1]
        if isinstance(self.prompt_ignore_length, Tensor):
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)
            ignored = positions < self.prompt_ignore_length.to(input_ids.device)[:, None]
            input_ids = input_ids.masked_fill(ignored, vocabulary)
        elif self.prompt_ignore_length:
            input_ids = input_ids[:, self.prompt_ignore_length :]
        # A spare column collects the tokens that do not count.
        return _scaled(F.pad(scores, (0, 1)), input_ids.clamp(max=vocabulary), self.penalty)[:, :-1]


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Favours tokens of the source text (an encoder's input, or the prompt): the inverse of the penalty above.

    Args:
        penalty: above 1 in favour of the source's tokens.
        encoder_input_ids: (texts, length) the source; each row of the scores belongs to one text, in order.
    """

    def __init__(self, penalty: float | int, encoder_input_ids: Int[Tensor, "texts source"]) -> None:
        self.penalty = 1 / check_positive("encoder_repetition_penalty", penalty, otherwise="; 1 changes nothing")
        self.encoder_input_ids = encoder_input_ids

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the source's tokens raised."""
        copies = scores.shape[0] // self.encoder_input_ids.shape[0]
        return _scaled(scores, self.encoder_input_ids.repeat_interleave(copies, dim=0), self.penalty)


def _scaled(scores: Tensor, ids: Tensor, penalty: float) -> Tensor:
    chosen = scores.gather(1, ids)
    return scores.scatter(1, ids, torch.where(chosen < 0, chosen * penalty, chosen / penalty))


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """Forbids the token that would complete `ngram_size` tokens in a row a second time (Paulus et al., 2017, §2.5)."""

    def __init__(self, ngram_size: int) -> None:
        self.ngram_size = check_count("no_repeat_ngram_size", ngram_size, least=1)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens that would repeat an n-gram at minus infinity."""
        return _without_ngrams_of(input_ids, input_ids, self.ngram_size, scores)


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    """Forbids sequences of `encoder_ngram_size` tokens that occur in the source text.

    Args:
        encoder_ngram_size: the length of the sequences.
        encoder_input_ids: (texts, length) the source; each row of the scores belongs to one text, in order.
    """

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Int[Tensor, "*texts source"]) -> None:
        self.ngram_size = check_count("encoder_no_repeat_ngram_size", encoder_ngram_size, least=1)
        self.encoder_input_ids = encoder_input_ids if encoder_input_ids.ndim == 2 else encoder_input_ids[None]

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens that would copy an n-gram at minus infinity."""
        source = self.encoder_input_ids.repeat_interleave(scores.shape[0] // self.encoder_input_ids.shape[0], dim=0)
        return _without_ngrams_of(source, input_ids, self.ngram_size, scores)


def _without_ngrams_of(source: Tensor, input_ids: Tensor, size: int, scores: Tensor) -> Tensor:
    """Forbid the tokens that follow, in `source`, the last `size` − 1 tokens of `input_ids`."""
    length, vocabulary = input_ids.shape[1], scores.shape[-1]
    if length < size - 1 or source.shape[1] < size:
        return scores
    ngrams = source.unfold(1, size, 1)  # (rows, number, size)
    begun = (ngrams[..., :-1] == input_ids[:, None, length - size + 1 :]).all(dim=-1)
    forbidden = ngrams[..., -1].clamp(max=vocabulary).masked_fill(~begun, vocabulary)  # a spare column for the others
    mask = torch.zeros(scores.shape[0], vocabulary + 1, dtype=torch.bool, device=scores.device)
    return scores.masked_fill(mask.scatter_(1, forbidden, True)[:, :-1], -math.inf)
