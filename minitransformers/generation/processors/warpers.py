"""Filters that make sampling less random: temperature, and which tokens may be drawn at all.

All of them keep the best token. Tokens that are filtered out get `filter_value`, minus infinity; at least the best
`min_tokens_to_keep` tokens stay (beam search needs more than one).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from minitransformers.configs.checks import check_count, check_positive, is_number
from minitransformers.errors import InputError
from minitransformers.generation.processors.base import Ids, LogitsProcessor, Scores


class TemperatureLogitsWarper(LogitsProcessor):
    """Divides the scores: below 1, likely tokens become more likely; above 1, probabilities become more equal."""

    def __init__(self, temperature: float | int) -> None:
        self.temperature = check_positive(
            "temperature", temperature, otherwise="; for the most likely token at each step, pass do_sample=False"
        )

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores divided by the temperature."""
        return scores / self.temperature


class TopKLogitsWarper(LogitsProcessor):
    """Keeps the `top_k` best tokens, and all that tie with the last of them (Fan et al., 2018, §5.4)."""

    def __init__(self, top_k: int, filter_value: float | int = -math.inf, min_tokens_to_keep: int = 1) -> None:
        check_count("top_k", top_k, least=1, otherwise="; 0 or None turns the filter off")
        self.top_k = max(top_k, min_tokens_to_keep)
        self.filter_value = filter_value

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, with `filter_value` for all but the best tokens."""
        best = scores.topk(min(self.top_k, scores.shape[-1]), dim=-1).values
        return scores.masked_fill(scores < best[:, -1:], self.filter_value)


class _Filter(LogitsProcessor):
    """The base of filters: a subclass selects the tokens to filter out."""

    def __init__(self, filter_value: float | int = -math.inf, min_tokens_to_keep: int = 1) -> None:
        self.filter_value = filter_value
        self.min_tokens_to_keep = check_count("min_tokens_to_keep", min_tokens_to_keep, least=1)

    def _keep_the_best(self, filtered: Tensor, scores: Tensor) -> Tensor:
        """`filtered` without the best tokens and those that tie with the last of them."""
        best = scores.topk(min(self.min_tokens_to_keep, scores.shape[-1]), dim=-1).values
        return filtered & (scores < best[:, -1:])


class TopPLogitsWarper(_Filter):
    """Keeps the smallest set of tokens whose probabilities add up to at least `top_p` (Holtzman et al., 2019, §3.1)."""

    def __init__(self, top_p: float | int, filter_value: float | int = -math.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.top_p = _fraction("top_p", top_p)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, the unlikely rest filtered out."""
        ascending, order = scores.sort(descending=False)
        # From the least likely up, tokens are filtered out as long as their sum stays within 1 − p.
        gone = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.top_p
        gone[:, -self.min_tokens_to_keep :] = False
        return scores.masked_fill(gone.scatter(1, order, gone), self.filter_value)


class MinPLogitsWarper(_Filter):
    """Keeps tokens with at least `min_p` times the largest probability (Nguyen et al., 2024)."""

    def __init__(self, min_p: float | int, filter_value: float | int = -math.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.min_p = _fraction("min_p", min_p, or_zero=True)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, the relatively unlikely filtered out."""
        probabilities = scores.softmax(dim=-1)
        gone = probabilities < self.min_p * probabilities.amax(dim=-1, keepdim=True)
        best = probabilities.topk(min(self.min_tokens_to_keep, scores.shape[-1]), dim=-1).indices
        return scores.masked_fill(gone.scatter(-1, best, False), self.filter_value)


class TypicalLogitsWarper(_Filter):
    """Keeps the tokens whose information is nearest to the entropy, up to `mass` in all (Meister et al., 2022, §4)."""

    def __init__(
        self, mass: float | int = 0.9, filter_value: float | int = -math.inf, min_tokens_to_keep: int = 1
    ) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.mass = _fraction("typical_p", mass, below_one=True)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, the untypical filtered out."""
        log_probabilities = scores.log_softmax(dim=-1)
        entropy = -(log_probabilities * log_probabilities.exp()).nansum(dim=-1, keepdim=True)
        surprise, order = (-log_probabilities - entropy).abs().sort(descending=False)
        mass = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
        last = (mass < self.mass).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        gone = surprise > surprise.gather(-1, last)
        gone[:, : self.min_tokens_to_keep] = False
        return scores.masked_fill(gone.scatter(1, order, gone), self.filter_value)


class EpsilonLogitsWarper(_Filter):
    """Keeps tokens with a probability of at least `epsilon` (Hewitt et al., 2022, §3.1)."""

    def __init__(
        self, epsilon: float | int, filter_value: float | int = -math.inf, min_tokens_to_keep: int = 1
    ) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.epsilon = _fraction("epsilon_cutoff", epsilon, below_one=True)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, the improbable filtered out."""
        return scores.masked_fill(self._keep_the_best(scores.softmax(dim=-1) < self.epsilon, scores), self.filter_value)


class EtaLogitsWarper(_Filter):
    """Keeps tokens with a probability of at least min(ε, √ε · exp(−entropy)) (Hewitt et al., 2022, §3.2).

    `device` is accepted as in transformers, and not needed.
    """

    def __init__(
        self,
        epsilon: float | int,
        filter_value: float | int = -math.inf,
        min_tokens_to_keep: int = 1,
        device: Any = None,
    ) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.epsilon = torch.tensor(_fraction("eta_cutoff", epsilon, below_one=True))

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, the improbable filtered out."""
        epsilon = self.epsilon.to(scores.device)
        threshold = torch.min(epsilon, epsilon.sqrt() * (-_entropy(scores)).exp())[:, None]
        return scores.masked_fill(self._keep_the_best(scores.softmax(dim=-1) < threshold, scores), self.filter_value)


class TopHLogitsWarper(LogitsProcessor):
    """Keeps as many of the 100 best tokens as have `top_h` of their entropy (Potraghloo et al., 2025)."""

    def __init__(self, top_h: float | int, filter_value: float | int = -math.inf) -> None:
        self.top_h = _fraction("top_h", top_h)
        self.filter_value = filter_value

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, tokens that would add too much entropy filtered out."""
        best, order = scores.topk(min(100, scores.shape[-1]), dim=-1)
        probabilities = best.softmax(dim=-1)
        entropy = (-probabilities * probabilities.log()).cumsum(dim=-1)
        kept = entropy <= self.top_h * _entropy(best)[:, None]
        kept[:, 0] = True
        gone = torch.ones_like(scores, dtype=torch.bool).scatter(1, order, ~kept)
        return scores.masked_fill(gone, self.filter_value)


def _entropy(scores: Tensor) -> Tensor:
    """(rows,) the entropy of each row's distribution; tokens that are filtered out add nothing."""
    log_probabilities = scores.log_softmax(dim=-1).clamp(min=torch.finfo(scores.dtype).min)
    return -(log_probabilities * log_probabilities.exp()).sum(dim=-1)


def _fraction(name: str, value: float | int, *, below_one: bool = False, or_zero: bool = False) -> float:
    if not is_number(value, 0, 1) or (value == 0 and not or_zero) or (value == 1 and below_one):
        low, high = "[" if or_zero else "(", ")" if below_one else "]"
        raise InputError(f"{name}={value!r} must be a number in {low}0, 1{high}.")
    return float(value)
