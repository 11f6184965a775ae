"""Stopping criteria: a text ends by its length, its last token, a text that appears in it, or the time it took.

A criterion is any callable that takes `(input_ids, scores)` and returns whether each row has ended: a bool tensor
(rows,), or one bool for all. `scores` are those of all steps where they are kept (`output_scores=True`), else None.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.processors.base import TokenSet

Ids = Int[Tensor, "rows length"]
Ended = Bool[Tensor, " rows"]
AllScores = tuple[Tensor, ...] | None


class StoppingCriteria:
    """The base of all criteria; a subclass of a user's own defines `__call__`."""

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether each row has ended; the base never stops."""
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class StoppingCriteriaList(list[Callable[..., Tensor | bool]]):
    """Criteria of which any ends a row."""

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether each row has ended."""
        ended = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        for criterion in self:
            ended = ended | criterion(input_ids, scores, **kwargs)
        return ended

    @property
    def max_length(self) -> int | None:
        """The most tokens of a text by the first `MaxLengthCriteria`; None without one."""
        return next((criterion.max_length for criterion in self if isinstance(criterion, MaxLengthCriteria)), None)


class MaxLengthCriteria(StoppingCriteria):
    """Ends every row once it has `max_length` tokens, including those of the prompt."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        self.max_length = max_length
        self.max_position_embeddings = max_position_embeddings

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether the rows are long enough."""
        return torch.full(
            (input_ids.shape[0],), input_ids.shape[1] >= self.max_length, dtype=torch.bool, device=input_ids.device
        )


class MaxTimeCriteria(StoppingCriteria):
    """Ends every row `max_time` seconds after `initial_timestamp` (as of `time.time()`; by default, now)."""

    def __init__(self, max_time: float | int, initial_timestamp: float | int | None = None) -> None:
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether the time is over."""
        over = time.time() - self.initial_timestamp > self.max_time
        return torch.full((input_ids.shape[0],), over, dtype=torch.bool, device=input_ids.device)


class EosTokenCriteria(StoppingCriteria):
    """Ends a row whose last token is (one of) `eos_token_id`."""

    def __init__(self, eos_token_id: int | list[int] | Tensor) -> None:
        self.eos_token_id = TokenSet(eos_token_id).ids

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether the last token is an end-of-text token."""
        self.eos_token_id = self.eos_token_id.to(input_ids.device)
        return (input_ids[:, -1:] == self.eos_token_id).any(dim=-1)


class ConfidenceCriteria(StoppingCriteria):
    """Ends all rows once the first row's last token had a probability below `assistant_confidence_threshold`.

    For a draft model: `generate` needs `output_scores=True` and `return_dict_in_generate=True`.
    """

    def __init__(self, assistant_confidence_threshold: float) -> None:
        self.assistant_confidence_threshold = assistant_confidence_threshold

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether the last token was not likely enough."""
        if not scores:
            raise InputError(
                "ConfidenceCriteria needs the scores: pass output_scores=True and return_dict_in_generate=True."
            )
        probability = scores[-1][0].softmax(dim=-1)[input_ids[0, -1]]
        ended = bool(probability < self.assistant_confidence_threshold)
        return torch.full((input_ids.shape[0],), ended, dtype=torch.bool, device=input_ids.device)


class StopStringCriteria(StoppingCriteria):
    """Ends a row as soon as one of `stop_strings` appears in its text.

    A stop string counts if the last token completes it. It may begin in earlier tokens, including those of the prompt,
    and the last token may extend beyond it. One that lies completely in earlier tokens does not count.

    Args:
        tokenizer: decodes the ids.
        stop_strings: one text or several.
    """

    def __init__(self, tokenizer: Any, stop_strings: str | Iterable[str]) -> None:
        self.tokenizer = tokenizer
        self.stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
        if not self.stop_strings or not all(self.stop_strings):
            raise InputError(f"stop_strings={stop_strings!r} must be at least one text, and none of them empty.")
        # Each token has at least one byte. One more token, since decoders may treat the first one differently.
        self._tail = max(len(text.encode()) for text in self.stop_strings) + 1

    def __call__(self, input_ids: Ids, scores: AllScores, **kwargs: Any) -> Ended:
        """Whether the last token completes a stop string."""
        ended = [self._completes(ids[-self._tail :]) for ids in input_ids.tolist()]
        return torch.tensor(ended, dtype=torch.bool, device=input_ids.device)

    def _completes(self, ids: list[int]) -> bool:
        text = self._decode(ids)
        if not any(stop in text for stop in self.stop_strings):
            return False
        # The last token changes the text from where the texts with and without it differ: this may be before its
        # own characters, since a character of several tokens was incomplete.
        before = self._decode(ids[:-1])
        same = next((i for i, (old, new) in enumerate(zip(before, text, strict=False)) if old != new), len(before))
        return any(text.find(stop, max(0, same - len(stop) + 1)) >= 0 for stop in self.stop_strings)

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)) if ids else ""
