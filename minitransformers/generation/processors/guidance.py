"""Classifier-free guidance of a text: scores are moved away from those of a second prompt, or of none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.generation.processors.base import Ids, LogitsProcessor, Scores


class UnbatchedClassifierFreeGuidanceLogitsProcessor(LogitsProcessor):
    """u + scale · (c − u), for the log-probabilities c of the text and u of the unconditional text (Sanchez et al.,
    2023, eq. 7).

    The unconditional text is `unconditional_ids`, followed by the same new tokens. `generate` makes this processor from
    `guidance_scale`, `negative_prompt_ids` and `negative_prompt_attention_mask`.

    Args:
        guidance_scale: above 1, the text follows its prompt more closely; 1 changes nothing; below 1, it follows the
            unconditional text more closely.
        model: computes the scores of the unconditional text.
        unconditional_ids: (texts, length) the second prompt; None for the last token of the prompt.
        unconditional_attention_mask: (texts, length) 0 at padding; None where there is none.
        use_cache: keep keys and values of the unconditional text.
    """

    def __init__(
        self,
        guidance_scale: float | int,
        model: Any,
        unconditional_ids: Tensor | None = None,
        unconditional_attention_mask: Tensor | None = None,
        use_cache: bool | None = True,
    ) -> None:
        self.guidance_scale = guidance_scale
        self.model = model
        self.unconditional_ids = unconditional_ids
        self.unconditional_attention_mask = unconditional_attention_mask
        self.use_cache = bool(use_cache)
        self._start: int | None = None  # length of the prompt
        self._cache: Any = None
        self._cached: Tensor | None = None  # the texts whose new tokens are in the cache

    def __call__(self, input_ids: Ids, scores: Scores) -> Scores:
        """The guided log-probabilities."""
        scores = scores.log_softmax(dim=-1)
        if self.guidance_scale == 1:
            return scores
        unconditional = self.get_unconditional_logits(input_ids)[:, -1].log_softmax(dim=-1)
        return self.guidance_scale * (scores - unconditional) + unconditional

    def get_unconditional_logits(self, input_ids: Ids) -> Tensor:
        """(rows, new, vocabulary) the logits of the unconditional text's latest tokens."""
        if self._start is None or input_ids.shape[1] < self._start:
            self._start, self._cached = input_ids.shape[1], None
            if self.unconditional_ids is None:
                self.unconditional_ids = input_ids[:, -1:]
            if self.unconditional_attention_mask is None:
                self.unconditional_attention_mask = torch.ones_like(self.unconditional_ids)
        ids, mask = (
            self._of_all_rows(tensor, input_ids)
            for tensor in (self.unconditional_ids, self.unconditional_attention_mask)
        )
        new = input_ids[:, self._start :]
        ids, mask = torch.cat([ids, new], dim=1), torch.cat([mask, torch.ones_like(new)], dim=1)

        # Beam search exchanges rows, and assisted decoding takes tokens back: the cache is then of other texts.
        goes_on = self._cached is not None and torch.equal(self._cached, input_ids[:, :-1])
        options: dict[str, Any] = {"use_cache": True} if self.use_cache else {}
        if goes_on and self._cache is not None:
            ids, options["past_key_values"] = ids[:, -1:], self._cache
        outputs = self.model(ids, attention_mask=mask, return_dict=True, **options)
        self._cached, self._cache = input_ids, outputs.get("past_key_values") if self.use_cache else None
        logits: Tensor = outputs.logits
        return logits

    def _of_all_rows(self, tensor: Tensor | None, input_ids: Tensor) -> Tensor:
        assert tensor is not None
        rows, texts = input_ids.shape[0], tensor.shape[0]
        if rows % texts:
            raise InputError(f"unconditional_ids has {texts} rows, and there are {rows} texts: pass one for each.")
        return tensor.repeat_interleave(rows // texts, dim=0)
