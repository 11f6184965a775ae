"""Watermarks of generated texts, and the test for them (Kirchenbauer et al., 2023).

At each step, the tokens before it choose a "green" part of the vocabulary, whose scores are raised. A text that has
more green tokens than chance explains has the watermark. The other kind of watermark is in synthid.py.
"""

from __future__ import annotations

import copy
import functools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minitransformers.errors import ConfigError, InputError, warn
from minitransformers.files.atomic import write_text
from minitransformers.generation.processors.base import Ids, LogitsProcessor, Scores

TABLE_SIZE = 1_000_003  # entries of the table by which token ids are hashed
CANDIDATES = 40  # with "selfhash", the number of best tokens that may be green


class BaseWatermarkingConfig:
    """The settings of a watermark; a subclass is a dataclass of them."""

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Build from the content of a file; `kwargs` that are settings take precedence over it."""
        config = cls(**config_dict)
        config.update(**kwargs)
        return config

    def to_dict(self) -> dict[str, Any]:
        """A copy of the settings."""
        return copy.deepcopy(vars(self))

    def to_json_string(self) -> str:
        """The settings as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_json_file(self, json_file_path: str | PathLike[str]) -> None:
        """Write the settings into a file."""
        write_text(Path(json_file_path), json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n")

    def update(self, **kwargs: Any) -> None:
        """Assign settings; other names are ignored."""
        for name, value in kwargs.items():
            if hasattr(self, name):
                setattr(self, name, value)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.to_dict().items())

    def validate(self) -> None:
        """Check the settings."""

    def construct_processor(self, vocab_size: int, device: Any) -> LogitsProcessor:
        """The processor that adds the watermark."""
        raise ConfigError(f"{type(self).__name__} is no kind of watermark: take one of its subclasses.")


@dataclass
class WatermarkingConfig(BaseWatermarkingConfig):
    """The settings of a watermark of green tokens: `generate(…, watermarking_config=WatermarkingConfig(bias=2.5))`.

    Attributes:
        greenlist_ratio: the part of the vocabulary that is green, between 0 and 1.
        bias: added to the scores of green tokens.
        hashing_key: a secret number, without which the watermark cannot be found.
        seeding_scheme: "lefthash" (algorithm 2): the tokens before choose the green ones; "selfhash" (algorithm 3): the
            token itself does, too.
        context_width: number of tokens that choose.
    """

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    def validate(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: one is out of range.
        """
        if self.seeding_scheme not in ("lefthash", "selfhash"):
            raise ConfigError(f"seeding_scheme={self.seeding_scheme!r} must be 'lefthash' or 'selfhash'.")
        if not 0 < self.greenlist_ratio < 1:
            raise ConfigError(f"greenlist_ratio={self.greenlist_ratio!r} must be a number between 0 and 1.")
        if self.context_width < 1:
            raise ConfigError(f"context_width={self.context_width!r} must be a whole number of at least 1.")

    def construct_processor(self, vocab_size: int, device: Any) -> WatermarkLogitsProcessor:
        """The processor that adds the watermark."""
        return WatermarkLogitsProcessor(vocab_size, device, **self.to_dict())


class WatermarkLogitsProcessor(LogitsProcessor):
    """Raises the scores of the green tokens.

    Args:
        vocab_size: number of tokens, of which `greenlist_ratio` are green.
        device: where the green tokens are drawn; another kind of device draws others.
        greenlist_ratio, bias, hashing_key, seeding_scheme, context_width: see `WatermarkingConfig`.
    """

    def __init__(
        self,
        vocab_size: int,
        device: Any,
        greenlist_ratio: float = 0.25,
        bias: float = 2.0,
        hashing_key: int = 15485863,
        seeding_scheme: str = "lefthash",
        context_width: int = 1,
    ) -> None:
        WatermarkingConfig(greenlist_ratio, bias, hashing_key, seeding_scheme, context_width).validate()
        self.vocab_size = vocab_size
        self.greenlist_size = int(vocab_size * greenlist_ratio)
        self.bias = bias
        self.hash_key = hashing_key
        self.seeding_scheme = seeding_scheme
        self.context_width = context_width
        self.rng = torch.Generator(device=device).manual_seed(hashing_key)
        self.fixed_table = torch.randperm(TABLE_SIZE, generator=self.rng, device=device)

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The scores, those of green tokens raised by `bias`."""
        if input_ids.shape[1] < self.context_width:
            warn(
                f"A text of {input_ids.shape[1]} tokens is shorter than context_width={self.context_width}: its next "
                f"token gets no watermark."
            )
            return scores
        bias = torch.zeros_like(scores)
        for row, ids in enumerate(input_ids):
            bias[row, self._green_candidates(ids, scores[row])] = self.bias
        return scores + bias

    def green_tokens(self, context: Tensor) -> Tensor:
        """(green,) the ids that are green after `context` (length,); with "selfhash", which end with `context`."""
        context = context[-self.context_width :]
        if self.seeding_scheme == "selfhash":
            hashed = self.fixed_table[context % TABLE_SIZE] + 1
            seed = int((self.hash_key * hashed * hashed[-1]).min())
        else:
            seed = self.hash_key * int(context[-1])
        self.rng.manual_seed(seed % (2**64 - 1))
        shuffled = torch.randperm(self.vocab_size, device=context.device, generator=self.rng)
        return shuffled[: self.greenlist_size]

    def _green_candidates(self, ids: Tensor, scores: Tensor) -> Tensor:
        """The ids to raise: all green ones or, with "selfhash", those among the best that make themselves green."""
        if self.seeding_scheme != "selfhash":
            return self.green_tokens(ids)
        best = scores.sort(descending=True).indices[:CANDIDATES]
        chosen = [bool((self.green_tokens(torch.cat([ids, token[None]])) == token).any()) for token in best]
        return best[torch.tensor(chosen, device=best.device)]


@dataclass
class WatermarkDetectorOutput:
    """The result of a `WatermarkDetector`: arrays of one entry for each text.

    Attributes:
        num_tokens_scored, num_green_tokens: how many tokens count, and how many of them are green.
        green_fraction: their ratio.
        z_score: how many standard deviations that is above what chance gives.
        p_value: the probability of as many green tokens by chance.
        prediction: whether `z_score` is above the threshold.
        confidence: 1 − p_value.
    """

    num_tokens_scored: NDArray[Any] | None = None
    num_green_tokens: NDArray[Any] | None = None
    green_fraction: NDArray[Any] | None = None
    z_score: NDArray[Any] | None = None
    p_value: NDArray[Any] | None = None
    prediction: NDArray[Any] | None = None
    confidence: NDArray[Any] | None = None


class WatermarkDetector:
    """Finds the watermark of green tokens in texts.

        WatermarkDetector(model.config, "cpu", watermarking_config)(output_ids)

    Args:
        model_config: of the model that may have written the texts.
        device: the device that they were generated on.
        watermarking_config: the settings that they were generated with.
        ignore_repeated_ngrams: count a token after the same context once.
        max_cache_size: number of contexts whose green tokens are remembered.
    """

    def __init__(
        self,
        model_config: Any,
        device: Any,
        watermarking_config: WatermarkingConfig | dict[str, Any],
        ignore_repeated_ngrams: bool = False,
        max_cache_size: int = 128,
    ) -> None:
        settings = watermarking_config if isinstance(watermarking_config, dict) else watermarking_config.to_dict()
        is_pair = getattr(model_config, "is_encoder_decoder", False)
        self.bos_token_id = model_config.decoder_start_token_id if is_pair else model_config.bos_token_id
        self.processor = WatermarkLogitsProcessor(model_config.vocab_size, device, **settings)
        self.greenlist_ratio = settings.get("greenlist_ratio", WatermarkingConfig.greenlist_ratio)
        self.ignore_repeated_ngrams = ignore_repeated_ngrams
        self.device = device
        self._is_green = functools.lru_cache(maxsize=max_cache_size)(self._look_up)

    def __call__(
        self, input_ids: Tensor, z_threshold: float = 3.0, return_dict: bool = False
    ) -> WatermarkDetectorOutput | NDArray[Any]:
        """Whether each of the texts `input_ids` (texts, length) has the watermark; leave out their prompts.

        With `return_dict=True`, all figures. A beginning-of-text token does not count.

        Raises:
            InputError: some of the texts begin with that token and others do not, or they are too short.
        """
        begins = input_ids[:, 0] == self.bos_token_id
        if begins.any() != begins.all():
            raise InputError("Some texts begin with bos_token_id and others do not: tokenize them in the same way.")
        if begins.all():
            input_ids = input_ids[:, 1:]
        if input_ids.shape[1] <= self.processor.context_width:
            raise InputError(
                f"The texts have {input_ids.shape[1]} tokens, and context_width={self.processor.context_width}: "
                f"there must be at least one token more."
            )
        counts = np.array([self._count(ids) for ids in input_ids.tolist()], dtype=np.float64)
        scored, green = counts[:, 0], counts[:, 1]
        ratio = self.greenlist_ratio
        z_score = (green - ratio * scored) / np.sqrt(scored * ratio * (1 - ratio))
        if not return_dict:
            return np.asarray(z_score > z_threshold)
        p_value = torch.special.erfc(torch.as_tensor(z_score / math.sqrt(2))).numpy() / 2
        return WatermarkDetectorOutput(
            scored, green, green / scored, z_score, p_value, z_score > z_threshold, 1 - p_value
        )

    def _count(self, ids: list[int]) -> tuple[int, int]:
        """Number of tokens that count, and of green ones, in one text."""
        size = self.processor.context_width + (self.processor.seeding_scheme == "lefthash")
        ngrams = Counter(tuple(ids[start : start + size]) for start in range(len(ids) - size + 1))
        if self.ignore_repeated_ngrams:
            ngrams = Counter(set(ngrams))
        return ngrams.total(), sum(number for ngram, number in ngrams.items() if self._is_green(ngram))

    def _look_up(self, ngram: tuple[int, ...]) -> bool:
        context = ngram if self.processor.seeding_scheme == "selfhash" else ngram[:-1]
        green = self.processor.green_tokens(torch.tensor(context, device=self.device))
        return bool((green == ngram[-1]).any())
