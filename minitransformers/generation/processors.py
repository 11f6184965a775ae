"""What changes the scores of the next token: penalties, bans and orders.

A processor is anything that is called with `(input_ids, scores)` and gives new scores: a plain function, or one of the
small classes here, whose names are those of `transformers`. It leaves its arguments as they are. The filters that make
sampling less random are in warpers.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.config import as_list

Ids = Int[Tensor, "rows length"]
Scores = Float[Tensor, "rows vocabulary"]


class LogitsProcessor:
    """The base of all processors; a subclass of a user's own defines `__call__`.

    `input_ids` (rows, length) is what has been written so far, `scores` (rows, vocabulary) belong to the next token:
    logits, or in beam search log-probabilities.
    """

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The new scores; the base leaves them as they are."""
        return scores


class LogitsProcessorList(list[Callable[[Tensor, Tensor], Tensor]]):
    """Processors that are applied one after the other."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores after all processors."""
        for processor in self:
            scores = processor(input_ids, scores)
        return scores


class TokenSet:
    """Some tokens of the vocabulary; ids beyond it are allowed, and mean nothing."""

    def __init__(self, ids: int | Iterable[int] | Tensor) -> None:
        self.ids = torch.as_tensor([ids] if isinstance(ids, int) else ids if isinstance(ids, Tensor) else list(ids))
        self.ids = self.ids.long().flatten()
        self._known: tuple[int, Tensor] | None = None

    def within(self, scores: Tensor) -> Tensor:
        """Those that `scores` has a column for, on its device."""
        size = scores.shape[-1]
        if self._known is None or self._known[0] != size or self._known[1].device != scores.device:
            self._known = size, self.ids[self.ids < size].to(scores.device)
        return self._known[1]

    def filled(self, scores: Tensor, value: float) -> Tensor:
        """`scores` with these tokens at `value`."""
        return scores.index_fill(-1, self.within(scores), value)


# ---- repetition ------------------------------------------------------------------------------------------------------


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens that occur already: a positive score is divided by the penalty, a negative one multiplied (Keskar et al.,
    2019, §4.1).

    Args:
        penalty: above 1 against repetition, below 1 in favour of it.
        prompt_ignore_length: how many tokens at the start do not count; a number, or one for each row.
    """

    def __init__(self, penalty: float | int, prompt_ignore_length: int | Tensor | None = None) -> None:
        self.penalty = _positive("repetition_penalty", penalty)
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
        # A spare column takes what does not count.
        return _scaled(torch.nn.functional.pad(scores, (0, 1)), input_ids.clamp(max=vocabulary), self.penalty)[:, :-1]


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Favours tokens of the source text (an encoder's input, or the prompt): the inverse of the penalty above.

    Args:
        penalty: above 1 in favour of the source's tokens.
        encoder_input_ids: (texts, length) the source; each row of the scores belongs to one text, in order.
    """

    def __init__(self, penalty: float | int, encoder_input_ids: Int[Tensor, "texts source"]) -> None:
        self.penalty = 1 / _positive("encoder_repetition_penalty", penalty)
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
        self.ngram_size = _count("no_repeat_ngram_size", ngram_size)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens that would repeat an n-gram at minus infinity."""
        return _without_ngrams_of(input_ids, input_ids, self.ngram_size, scores)


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    """Forbids sequences of `encoder_ngram_size` tokens that occur in the source text.

    Args:
        encoder_ngram_size: their length.
        encoder_input_ids: (texts, length) the source; each row of the scores belongs to one text, in order.
    """

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Int[Tensor, "*texts source"]) -> None:
        self.ngram_size = _count("encoder_no_repeat_ngram_size", encoder_ngram_size)
        self.encoder_input_ids = encoder_input_ids if encoder_input_ids.ndim == 2 else encoder_input_ids[None]

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens that would copy an n-gram at minus infinity."""
        source = self.encoder_input_ids.repeat_interleave(scores.shape[0] // self.encoder_input_ids.shape[0], dim=0)
        return _without_ngrams_of(source, input_ids, self.ngram_size, scores)


def _without_ngrams_of(source: Tensor, input_ids: Tensor, size: int, scores: Tensor) -> Tensor:
    """Forbid what follows, in `source`, the last `size` − 1 tokens of `input_ids`."""
    length, vocabulary = input_ids.shape[1], scores.shape[-1]
    if length < size - 1 or source.shape[1] < size:
        return scores
    ngrams = source.unfold(1, size, 1)  # (rows, number, size)
    begun = (ngrams[..., :-1] == input_ids[:, None, length - size + 1 :]).all(dim=-1)
    forbidden = ngrams[..., -1].clamp(max=vocabulary).masked_fill(~begun, vocabulary)  # a spare column for the others
    mask = torch.zeros(scores.shape[0], vocabulary + 1, dtype=torch.bool, device=scores.device)
    return scores.masked_fill(mask.scatter_(1, forbidden, True)[:, :-1], -math.inf)


# ---- bans and biases -------------------------------------------------------------------------------------------------


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """Adds a bias to the token that would complete a sequence.

    Args:
        sequence_bias: `{(token ids): bias}`, or a list of `[[token ids], bias]`.
    """

    def __init__(self, sequence_bias: dict[tuple[int, ...], float] | list[list[Any]]) -> None:
        pairs: list[Any] = list(sequence_bias.items() if isinstance(sequence_bias, dict) else sequence_bias)
        if not pairs or any(not ids or min(ids) < 0 for ids, _ in pairs):
            raise InputError(f"sequence_bias={sequence_bias!r} must have sequences of at least one token id.")
        self._set({tuple(ids): float(bias) for ids, bias in pairs})

    def _set(self, biases: dict[tuple[int, ...], float]) -> None:
        # Sequences of one length are compared with the end of the text at once.
        by_length: dict[int, list[tuple[int, ...]]] = {}
        for ids in biases:
            by_length.setdefault(len(ids), []).append(ids)
        self._groups = [
            (torch.tensor(group).long(), torch.tensor([biases[ids] for ids in group])) for group in by_length.values()
        ]
        self._largest = max((max(ids) for ids in biases), default=0)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores with the biases of all sequences that end in their next token."""
        if self._largest >= scores.shape[-1]:
            raise InputError(f"The biased token {self._largest} is outside the {scores.shape[-1]} of the vocabulary.")
        bias = torch.zeros_like(scores)
        for sequences, values in self._groups:
            sequences, values = sequences.to(scores.device), values.to(scores)
            ahead = input_ids.shape[1] - (sequences.shape[1] - 1)
            if ahead >= 0:
                begun = (input_ids[:, None, ahead:] == sequences[:, :-1]).all(dim=-1)
                bias.index_add_(1, sequences[:, -1], torch.where(begun, values, 0.0))
        return scores + bias


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Forbids sequences of tokens; an end of text in the list is passed over.

    Args:
        bad_words_ids: the token ids of each.
        eos_token_id: the token(s) that end a text.
    """

    def __init__(self, bad_words_ids: list[list[int]], eos_token_id: int | list[int] | Tensor | None = None) -> None:
        ends = TokenSet([] if eos_token_id is None else eos_token_id).ids.tolist()
        if not bad_words_ids or any(not isinstance(word, list) or not word for word in bad_words_ids):
            raise InputError(f"bad_words_ids={bad_words_ids!r} must be lists of at least one token id.")
        self._set({tuple(word): -math.inf for word in bad_words_ids if not (len(word) == 1 and word[0] in ends)})


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """Forbids single tokens."""

    def __init__(self, suppress_tokens: Iterable[int]) -> None:
        self.tokens = TokenSet(suppress_tokens)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens at minus infinity."""
        return self.tokens.filled(scores, -math.inf)


class SuppressTokensAtBeginLogitsProcessor(SuppressTokensLogitsProcessor):
    """Forbids single tokens where the text is `begin_index` tokens long."""

    def __init__(self, begin_suppress_tokens: Iterable[int], begin_index: int) -> None:
        super().__init__(begin_suppress_tokens)
        self.begin_index = begin_index

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, at that length with the tokens at minus infinity."""
        return super().__call__(input_ids, scores) if input_ids.shape[1] == self.begin_index else scores


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Allows only the tokens that a function names (De Cao et al., 2021).

    Args:
        prefix_allowed_tokens_fn: called with the number of the text in the batch and its ids so far; gives the ids
            that may follow.
        num_beams: rows that belong to one text.
    """

    def __init__(self, prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]], num_beams: int) -> None:
        self.prefix_allowed_tokens_fn = prefix_allowed_tokens_fn
        self.num_beams = num_beams

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens that are not allowed at minus infinity."""
        only_allowed = torch.full_like(scores, -math.inf)
        for row, ids in enumerate(input_ids):
            allowed = self.prefix_allowed_tokens_fn(row // self.num_beams, ids)
            if len(allowed) == 0:
                raise InputError(
                    f"prefix_allowed_tokens_fn allows no token after {ids.tolist()}: it must allow one at every step."
                )
            only_allowed[row, allowed] = 0.0
        constrained = scores + only_allowed
        # Where all that a text's beams may take has been forbidden by other processors, this one has the last word.
        stuck = constrained.amax(dim=-1).isneginf().view(-1, self.num_beams).all(dim=-1)
        return torch.where(stuck.repeat_interleave(self.num_beams)[:, None], only_allowed, constrained)


# ---- where a text begins and ends ------------------------------------------------------------------------------------


class MinLengthLogitsProcessor(LogitsProcessor):
    """Forbids the end of text before the text, prompt included, has `min_length` tokens."""

    def __init__(self, min_length: int, eos_token_id: int | list[int] | Tensor) -> None:
        self.min_length = _count("min_length", min_length, least=0)
        self.ends = TokenSet(eos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, in a short text with the ends at minus infinity."""
        return self.ends.filled(scores, -math.inf) if input_ids.shape[1] < self.min_length else scores


class MinNewTokensLengthLogitsProcessor(MinLengthLogitsProcessor):
    """Forbids the end of text before there are `min_new_tokens` after the first `prompt_length_to_skip`."""

    def __init__(self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: int | list[int] | Tensor) -> None:
        _count("min_new_tokens", min_new_tokens, least=0)
        super().__init__(_count("prompt_length_to_skip", prompt_length_to_skip, least=0) + min_new_tokens, eos_token_id)


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """After a prompt of one token, only `bos_token_id` may come."""

    def __init__(self, bos_token_id: int) -> None:
        self.token = TokenSet(bos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores; after one token, 0 for the forced one and minus infinity for all others."""
        return self.token.filled(torch.full_like(scores, -math.inf), 0.0) if input_ids.shape[1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """As the last token before `max_length`, only an end of text may come."""

    def __init__(self, max_length: int, eos_token_id: int | list[int] | Tensor) -> None:
        self.max_length = max_length
        self.ends = TokenSet(eos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores; for the last token, 0 for the ends and minus infinity for all others."""
        last = input_ids.shape[1] == self.max_length - 1
        return self.ends.filled(torch.full_like(scores, -math.inf), 0.0) if last else scores


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """Raises the score of the end of text by |score| · (factor^n − 1), n tokens after the start of the penalty.

    Args:
        exponential_decay_length_penalty: (first token of the continuation that counts, factor).
        eos_token_id: the token(s) that end a text.
        input_ids_seq_length: length of the prompt.
    """

    def __init__(
        self,
        exponential_decay_length_penalty: tuple[int, float | int] | list[int | float],
        eos_token_id: int | list[int] | Tensor,
        input_ids_seq_length: int,
    ) -> None:
        start, self.factor = exponential_decay_length_penalty
        self.start = start + input_ids_seq_length
        self.ends = TokenSet(eos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores with those of the ends raised; an end that is forbidden stays so."""
        beyond, ends = input_ids.shape[1] - self.start, self.ends.within(scores)
        if beyond <= 0:
            return scores
        raised = scores[:, ends].abs() * (self.factor**beyond - 1)
        return scores.index_add(1, ends, raised.masked_fill(~scores[:, ends].isfinite(), 0.0))


# ---- numbers ---------------------------------------------------------------------------------------------------------


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """Replaces NaN by 0 and infinities by the largest and smallest number, so that sampling cannot fail."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, all finite."""
        return scores.nan_to_num(nan=0.0)


class LogitNormalization(LogitsProcessor):
    """Makes the scores log-probabilities again, after processors that changed their sum."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """log softmax of the scores."""
        return scores.log_softmax(dim=-1)


def ends_of(eos_token_id: int | list[int] | None) -> TokenSet | None:
    """The ends of text as a set; None where a text has none."""
    return TokenSet(as_list(eos_token_id)) if as_list(eos_token_id) else None


def _positive(name: str, value: float | int) -> float:
    if not isinstance(value, (int, float)) or not value > 0:
        raise InputError(f"{name}={value!r} must be a number above 0; 1 changes nothing.")
    return float(value)


def _count(name: str, value: int, least: int = 1) -> int:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name}={value!r} must be a whole number of at least {least}.")
    return value
