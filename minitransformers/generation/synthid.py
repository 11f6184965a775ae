"""SynthID: a watermark that does not change how likely a text is, averaged over its keys (Dathathri et al., 2024)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minitransformers.errors import ConfigError, InputError
from minitransformers.generation.processors.base import Ids, LogitsProcessor, Scores
from minitransformers.generation.watermarks import BaseWatermarkingConfig, WatermarkingConfig

MULTIPLIER = 6364136223846793005  # of the linear congruential generator by which ids are hashed, modulo 2**64


@dataclass
class SynthIDTextWatermarkingConfig(BaseWatermarkingConfig):
    """The settings of a SynthID watermark: `generate(…, do_sample=True, watermarking_config=…)`.

    Attributes:
        ngram_len: number of tokens that are hashed together: a token and those before it.
        keys: secret numbers, one for each round of the tournament between tokens.
        context_history_size: number of earlier contexts of a text that get no watermark a second time.
        sampling_table_seed, sampling_table_size: of the table that turns hashes into 0 and 1.
        skip_first_ngram_calls: give the first `ngram_len` − 1 new tokens no watermark.
        debug_mode: take all tokens as equally likely.
    """

    ngram_len: int
    keys: list[int]
    context_history_size: int = 1024
    sampling_table_seed: int = 0
    sampling_table_size: int = 2**16
    skip_first_ngram_calls: bool = False
    debug_mode: bool = False

    def validate(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: one is out of range.
        """
        if not 0 < self.sampling_table_size <= 2**24:
            raise ConfigError(f"sampling_table_size={self.sampling_table_size!r} must be between 1 and 2**24.")
        if self.ngram_len < 1:
            raise ConfigError(f"ngram_len={self.ngram_len!r} must be a whole number of at least 1.")

    def construct_processor(self, vocab_size: int, device: Any) -> SynthIDTextWatermarkLogitsProcessor:
        """The processor that adds the watermark."""
        return SynthIDTextWatermarkLogitsProcessor(device=device, **self.to_dict())


class SynthIDTextWatermarkLogitsProcessor(LogitsProcessor):
    """Makes a token more likely in each round in which its hash, with the tokens before it and a key, gives 1.

    The tokens before it are those that were generated: the prompt does not count.

    Args:
        ngram_len, keys, sampling_table_size, sampling_table_seed, context_history_size, skip_first_ngram_calls,
            debug_mode: see `SynthIDTextWatermarkingConfig`.
        device: where the hashes are computed.
    """

    def __init__(
        self,
        ngram_len: int,
        keys: list[int],
        sampling_table_size: int,
        sampling_table_seed: int,
        context_history_size: int,
        device: Any,
        skip_first_ngram_calls: bool = False,
        debug_mode: bool = False,
    ) -> None:
        self.ngram_len = ngram_len
        self.keys = torch.tensor(keys, device=device)
        generator = torch.Generator(device=device).manual_seed(sampling_table_seed)
        self.sampling_table = torch.randint(0, 2, (sampling_table_size,), generator=generator, device=device)
        self.context_history_size = context_history_size
        self.device = device
        self.skip_first_ngram_calls = skip_first_ngram_calls
        self.debug_mode = debug_mode
        self._start: int | None = None  # length of the prompt

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The log-probabilities with the watermark."""
        if self._start is None or input_ids.shape[1] < self._start:
            self._start = input_ids.shape[1]
        scores = torch.ones_like(scores) if self.debug_mode else scores
        new = input_ids[:, self._start :]
        if self.skip_first_ngram_calls and new.shape[1] + 1 < self.ngram_len:
            return scores

        # Hashes of the contexts of this token and of the earlier ones; before the first token are zeros.
        padding = 0 if self.skip_first_ngram_calls else self.ngram_len - 1
        contexts = F.pad(new, (padding, 0)).unfold(1, self.ngram_len - 1, 1)
        hashes = self.accumulate_hash(torch.ones_like(contexts[..., 0]), contexts)  # (rows, steps)
        current, earlier = hashes[:, -1], hashes[:, :-1][:, -self.context_history_size :]

        tokens = torch.arange(scores.shape[1], device=self.device).expand(scores.shape)
        keys = self._with_keys(self.accumulate_hash(current[:, None].expand(scores.shape), tokens[..., None]))
        marked = self.update_scores(scores, self.sample_g_values(keys))
        is_repeated = (earlier == current[:, None]).any(dim=1, keepdim=True)
        return torch.where(is_repeated, scores, marked)

    def update_scores(self, scores: Scores, g_values: Tensor) -> Scores:
        """(rows, vocabulary) log-probabilities after all rounds, of which `g_values` (rows, vocabulary, rounds) are 0
        or 1."""
        probabilities = scores.softmax(dim=1)
        for g in g_values.unbind(dim=-1):
            probabilities = probabilities * (1 + g - (g * probabilities).sum(dim=1, keepdim=True))
        log_probabilities = probabilities.log()
        return log_probabilities.where(log_probabilities.isfinite(), torch.finfo(scores.dtype).min)

    def accumulate_hash(
        self, current_hash: Tensor, data: Tensor, multiplier: int = MULTIPLIER, increment: int = 1
    ) -> Tensor:
        """(…) `current_hash` (…), followed by the numbers `data` (…, length)."""
        for numbers in data.unbind(dim=-1):
            current_hash = (current_hash + numbers) * multiplier + increment
        return current_hash

    def compute_ngram_keys(self, ngrams: Tensor) -> Tensor:
        """(rows, number, rounds) the hashes of `ngrams` (rows, number, ngram_len) with each key."""
        if ngrams.ndim != 3 or ngrams.shape[2] != self.ngram_len:
            raise InputError(f"ngrams has shape {tuple(ngrams.shape)}; expected (rows, number, {self.ngram_len}).")
        return self._with_keys(self.accumulate_hash(torch.ones_like(ngrams[..., 0]), ngrams))

    def _with_keys(self, hashes: Tensor) -> Tensor:
        return self.accumulate_hash(hashes[..., None], self.keys[:, None])

    def sample_g_values(self, ngram_keys: Tensor) -> Tensor:
        """(…) 0 or 1 for each of `ngram_keys` (…)."""
        return self.sampling_table[ngram_keys % len(self.sampling_table)]

    def compute_g_values(self, input_ids: Ids) -> Tensor:
        """(rows, length − ngram_len + 1, rounds) 0 or 1 for each token that `ngram_len` − 1 tokens precede."""
        return self.sample_g_values(self.compute_ngram_keys(_two_dimensional(input_ids).unfold(1, self.ngram_len, 1)))

    def compute_context_repetition_mask(self, input_ids: Ids) -> Tensor:
        """(rows, length − ngram_len + 1) False where the context of a token occurred before."""
        contexts = _two_dimensional(input_ids)[:, :-1].unfold(1, self.ngram_len - 1, 1)
        hashes = self.accumulate_hash(torch.ones_like(contexts[..., 0]), contexts)
        steps = torch.arange(hashes.shape[1], device=hashes.device)
        age = steps[:, None] - steps
        is_before = (age > 0) & (age <= self.context_history_size)
        return ~((hashes[:, :, None] == hashes[:, None]) & is_before).any(dim=-1)

    def compute_eos_token_mask(self, input_ids: Ids, eos_token_id: int) -> Tensor:
        """(rows, length) True before the first end-of-text token."""
        return (_two_dimensional(input_ids) == eos_token_id).cumsum(dim=1) == 0

    def expected_mean_g_value(self, vocab_size: int, coinflip_prob: float = 0.5) -> float:
        """The mean of the g-values of a text with the watermark, if all of `vocab_size` tokens are equally likely."""
        return coinflip_prob + coinflip_prob * (1 - coinflip_prob) * (1 - 1 / vocab_size)


def _two_dimensional(input_ids: Tensor) -> Tensor:
    if input_ids.ndim != 2:
        raise InputError(f"input_ids has shape {tuple(input_ids.shape)}; expected (rows, length).")
    return input_ids


def watermarking_config_from(value: Any) -> Any:
    """`value` as the settings of a watermark, where it is the dict of a file."""
    if not isinstance(value, dict):
        return value
    kind: Any = SynthIDTextWatermarkingConfig if "ngram_len" in value else WatermarkingConfig
    known = {field.name for field in dataclasses.fields(kind)}
    if value.keys() - known:
        raise ConfigError(f"watermarking_config has no setting {sorted(value.keys() - known)}; it has {sorted(known)}.")
    return kind.from_dict(value)


def is_watermarking_config(value: Any) -> bool:
    """Whether `value` is the settings of a watermark, or the dict of a file.

    Raises:
        ConfigError: one of the settings is wrong.
    """
    config = watermarking_config_from(value)
    config.validate()
    return True
