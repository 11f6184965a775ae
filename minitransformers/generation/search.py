"""Greedy decoding: the likeliest next token, again and again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.cache import KeyValueCache
from minitransformers.nn.positions import positions_from_mask


class GenerationMixin:
    """What lets a model with a language-model head continue a text."""

    config: Any

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        max_length: int | None = None,
        max_new_tokens: int | None = None,
        do_sample: bool = False,
        num_beams: int = 1,
        eos_token_id: int | list[int] | None = None,
        pad_token_id: int | None = None,
        use_cache: bool = True,
    ) -> Tensor:
        """Continue each prompt with the likeliest token until it ends or is long enough (greedy decoding).

        Args:
            inputs, input_ids: the prompts, (batch, length), padded on the left where they differ in length.
            attention_mask: (batch, length), 0 at padding; by default, padding is where `pad_token_id` stands, if that
                is another token than the end of text.
            max_length: length of prompt and continuation together; 20 if neither limit is given.
            max_new_tokens: length of the continuation; wins over `max_length`.
            eos_token_id: token(s) after which a text ends; default as in the config.
            pad_token_id: what fills rows that ended early; default as in the config, else the end of text.
            use_cache: keep keys and values, so that each step computes one token.

        Returns:
            Prompts and continuations, (batch, at most the maximum length).

        Raises:
            InputError: prompts of the wrong shape, or no room for a new token.
        """
        input_ids = inputs if input_ids is None else input_ids
        if not isinstance(input_ids, Tensor) or input_ids.ndim != 2 or input_ids.shape[1] == 0:
            shape = tuple(input_ids.shape) if isinstance(input_ids, Tensor) else type(input_ids).__name__
            raise InputError(f"generate needs input_ids of shape (batch, length) with at least one token, got {shape}.")
        if do_sample or num_beams != 1:
            raise InputError("This decoding is greedy: do_sample must be False and num_beams 1.")
        length = input_ids.shape[1]
        limit = length + max_new_tokens if max_new_tokens is not None else 20 if max_length is None else max_length
        if limit <= length:
            raise InputError(
                f"The prompt has {length} tokens and the text may have {limit}: pass max_new_tokens of at least 1."
            )
        ends = self.config.eos_token_id if eos_token_id is None else eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        padding = self.config.pad_token_id if pad_token_id is None else pad_token_id
        if attention_mask is None:
            guess = padding is not None and padding not in ends
            attention_mask = (input_ids != padding).long() if guess else torch.ones_like(input_ids)
        padding = padding if padding is not None else ends[0] if ends else 0

        cache = KeyValueCache(self.config.num_hidden_layers, capacity=limit) if use_cache else None
        unfinished = torch.ones(len(input_ids), dtype=torch.bool, device=input_ids.device)
        while input_ids.shape[1] < limit and unfinished.any():
            seen = 0 if cache is None else cache.length
            outputs = self(  # type: ignore[operator]
                input_ids=input_ids[:, seen:],
                attention_mask=attention_mask,
                position_ids=positions_from_mask(attention_mask)[:, seen:],
                past_key_values=cache,
                use_cache=use_cache,
                logits_to_keep=1,
                return_dict=True,
            )
            token = outputs.logits[:, -1].argmax(dim=-1).masked_fill(~unfinished, padding)
            for end in ends:
                unfinished = unfinished & (token != end)
            input_ids = torch.cat([input_ids, token[:, None]], dim=1)
            attention_mask = torch.cat([attention_mask, torch.ones_like(attention_mask[:, :1])], dim=1)
        return input_ids
