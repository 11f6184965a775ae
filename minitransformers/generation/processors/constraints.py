"""Processors that forbid, favour or force tokens, and those that correct numbers.

`device` is accepted as in transformers, and not needed: tokens are on the device of the scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from minitransformers.configs.checks import check_count
from minitransformers.errors import InputError
from minitransformers.generation.processors.base import Ids, LogitsProcessor, Scores, TokenSet

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
    """Forbids sequences of tokens; an end-of-text token in the list is ignored.

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

    def __init__(self, suppress_tokens: Iterable[int], device: Any = None) -> None:
        self.tokens = TokenSet(suppress_tokens)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of the tokens at minus infinity."""
        return self.tokens.filled(scores, -math.inf)


class SuppressTokensAtBeginLogitsProcessor(SuppressTokensLogitsProcessor):
    """Forbids single tokens where the text is `begin_index` tokens long."""

    def __init__(self, begin_suppress_tokens: Iterable[int], begin_index: int, device: Any = None) -> None:
        super().__init__(begin_suppress_tokens, device)
        self.begin_index = begin_index

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, at that length with the tokens at minus infinity."""
        return super().__call__(input_ids, scores) if input_ids.shape[1] == self.begin_index else scores


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Allows only the tokens that a function returns (De Cao et al., 2021).

    Args:
        prefix_allowed_tokens_fn: called with the number of the text in the batch and its ids so far; returns the
            ids that may follow.
        num_beams: number of rows that belong to one text.
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
        # Where other processors forbid all allowed tokens of all beams of a text, this processor takes precedence.
        stuck = constrained.amax(dim=-1).isneginf().view(-1, self.num_beams).all(dim=-1)
        return torch.where(stuck.repeat_interleave(self.num_beams)[:, None], only_allowed, constrained)


# ---- where a text begins and ends ------------------------------------------------------------------------------------


class MinLengthLogitsProcessor(LogitsProcessor):
    """Forbids the end-of-text token before the text, including its prompt, has `min_length` tokens."""

    def __init__(self, min_length: int, eos_token_id: int | list[int] | Tensor, device: Any = None) -> None:
        self.min_length = check_count("min_length", min_length)
        self.ends = TokenSet(eos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, in a short text with the ends at minus infinity."""
        return self.ends.filled(scores, -math.inf) if input_ids.shape[1] < self.min_length else scores


class MinNewTokensLengthLogitsProcessor(MinLengthLogitsProcessor):
    """Forbids the end-of-text token before `min_new_tokens` follow the first `prompt_length_to_skip` tokens."""

    def __init__(
        self,
        prompt_length_to_skip: int,
        min_new_tokens: int,
        eos_token_id: int | list[int] | Tensor,
        device: Any = None,
    ) -> None:
        check_count("min_new_tokens", min_new_tokens)
        length = check_count("prompt_length_to_skip", prompt_length_to_skip) + min_new_tokens
        super().__init__(length, eos_token_id, device)


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """Allows only `bos_token_id` after a prompt of one token."""

    def __init__(self, bos_token_id: int) -> None:
        self.token = TokenSet(bos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores; after one token, 0 for the forced one and minus infinity for all others."""
        return self.token.filled(torch.full_like(scores, -math.inf), 0.0) if input_ids.shape[1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """Allows only an end-of-text token as the last token before `max_length`."""

    def __init__(self, max_length: int, eos_token_id: int | list[int] | Tensor, device: Any = None) -> None:
        self.max_length = max_length
        self.ends = TokenSet(eos_token_id)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores; for the last token, 0 for the ends and minus infinity for all others."""
        last = input_ids.shape[1] == self.max_length - 1
        return self.ends.filled(torch.full_like(scores, -math.inf), 0.0) if last else scores


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """Raises the score of the end-of-text token by |score| · (factor^n − 1), n tokens after the start of the penalty.

    Args:
        exponential_decay_length_penalty: (number of new tokens before the penalty starts, factor).
        eos_token_id: the token(s) that end a text.
        input_ids_seq_length: length of the prompt.
    """

    def __init__(
        self,
        exponential_decay_length_penalty: tuple[float | int, ...] | list[int | float],
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
    """Normalizes the scores to log-probabilities after processors that changed their sum."""

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """log softmax of the scores."""
        return scores.log_softmax(dim=-1)
