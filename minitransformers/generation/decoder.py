"""Decoder: a model that is asked for one next token after another, and what it needs to remember in between."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from minitransformers.generation.prompts import Prompt
from minitransformers.nn.cache import KeyValueCache


class Decoder:
    """A model, its cache, and the mask and positions of the texts that it continues.

    Args:
        model: called with input_ids, and with what the prompt has besides; gives logits.
        prompt: what to continue.
        longest: how many tokens, those of `prompt.input_ids` included, a text may come to have.
        copies: how many continuations of each prompt there are: samples, or beams. Their rows are neighbours. The
            prompt itself is computed once.
        use_cache: keep keys and values, so that each step computes only new tokens; of models that can.
        options: further arguments of the model, such as output_attentions=True.
    """

    def __init__(
        self, model: Any, prompt: Prompt, longest: int, *, copies: int = 1, use_cache: bool = True, **options: Any
    ) -> None:
        self.model = model
        self.before = prompt.before
        self.start = prompt.length
        self.options = options
        self.attentions: Any = None  # of the latest call, where the options ask for them
        self.hidden_states: Any = None
        self.cross_attentions: Any = None
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        self._prefix = "decoder_" if self.is_encoder_decoder else ""
        self._source = prompt.source
        self.encoded: Any = prompt.constant.get("encoder_outputs")  # what an encoder–decoder's encoder gave
        total = prompt.before + longest
        self.cache = prompt.cache
        takes = inspect.signature(type(model).forward).parameters
        self._takes_cache, self._takes_logits_to_keep = "past_key_values" in takes, "logits_to_keep" in takes
        # Without a cache, embeddings would have to be made of the new tokens too; the result is the same.
        if self.cache is None and self._takes_cache and (use_cache or prompt.inputs_embeds is not None):
            self.cache = KeyValueCache(capacity=total - 1)
        # What is as long as the text is made for the longest text at once.
        self._mask = None if prompt.attention_mask is None else _extended(prompt.attention_mask, total, 0)
        self._positions = None if prompt.position_ids is None else _extended(prompt.position_ids, total, 1)
        self._token_types = None if prompt.token_type_ids is None else _extended(prompt.token_type_ids, total, 0)
        if self._mask is not None:
            self._mask[:, prompt.before + prompt.length :] = 1  # new tokens are no padding
        self._embeds = prompt.inputs_embeds
        self._constant = dict(prompt.constant)
        if self.encoded is not None:
            self._constant["encoder_outputs"] = (self.encoded.last_hidden_state,)
        self._copies = copies
        self._rows = prompt.input_ids.shape[0]
        if self.cache is not None and self.cache.length and next(iter(self.cache))[0].shape[0] != self._rows:
            self._copy_rows(with_cache=False)  # the cache is of copies already

    def __call__(self, input_ids: Tensor, count: int = 1) -> Tensor:
        """Logits (rows, count, vocabulary) in float32 for the tokens that follow each of the last `count`.

        Args:
            input_ids: (rows, length) the whole texts, of which only what is not in the cache is computed.
        """
        copies = self._copies
        logits = self._run(input_ids[::copies], count)
        if copies > 1:
            self._copy_rows()
            logits = logits.repeat_interleave(copies, dim=0)
            kept = (self.attentions, self.hidden_states, self.cross_attentions)
            self.attentions, self.hidden_states, self.cross_attentions = repeat_rows(kept, copies, self._rows)
        return logits

    def reorder(self, rows: Tensor) -> None:
        """Let each row be what row `rows[i]` was; a row takes over only from rows with the same prompt."""
        if self.cache is not None:
            self.cache.reorder(rows, start=self.before + self.start)

    def crop(self, length: int) -> None:
        """Forget what was computed of all but the first `length` tokens of the texts."""
        if self.cache is not None:
            self.cache.crop(self.before + length)

    def _encode(self, source: dict[str, Any]) -> None:
        """Run the encoder, once for all steps and copies."""
        self.encoded, self._source = self.model.get_encoder()(**source, **self.options, return_dict=True), None
        self._constant["encoder_outputs"] = (self.encoded.last_hidden_state,)

    def _run(self, input_ids: Tensor, count: int) -> Tensor:
        if self._source is not None:
            self._encode(self._source)
        end = self.before + input_ids.shape[1]
        seen = 0 if self.cache is None else self.cache.length
        inputs: dict[str, Any] = {**self._constant, **self.options}
        if self._embeds is not None and seen < self._embeds.shape[1]:
            inputs["inputs_embeds"] = self._embeds[:, seen:]
        else:
            inputs[f"{self._prefix}input_ids"] = input_ids[:, seen - self.before :] if seen else input_ids
        if self._mask is not None:
            inputs[f"{self._prefix}attention_mask"] = self._mask[:, :end]
        if self._positions is not None:
            inputs["position_ids"] = self._positions[:, seen:end]
        if self._token_types is not None:
            inputs["token_type_ids"] = self._token_types[:, seen:end]
        if self._takes_logits_to_keep:
            inputs["logits_to_keep"] = count
        if self._takes_cache:
            inputs |= {"past_key_values": self.cache, "use_cache": self.cache is not None}
        outputs = self.model(**inputs, return_dict=True)
        self.attentions = outputs.get(f"{self._prefix}attentions")
        self.hidden_states = outputs.get(f"{self._prefix}hidden_states")
        self.cross_attentions = outputs.get("cross_attentions")
        logits: Tensor = outputs.logits[:, -count:].float()
        return logits

    def _copy_rows(self, with_cache: bool = True) -> None:
        """From now on every prompt has its copies."""
        copies, self._copies = self._copies, 1
        if self.cache is not None and with_cache:
            rows = torch.arange(self._rows, device=self.model.device)
            self.cache.reorder(rows.repeat_interleave(copies))
        for name in ("_mask", "_positions", "_token_types", "_embeds", "_constant"):
            setattr(self, name, repeat_rows(getattr(self, name), copies, self._rows))


def repeat_rows(value: Any, copies: int, rows: int) -> Any:
    """Every tensor of `rows` rows in `value` with each of its rows `copies` times."""
    if isinstance(value, Tensor):
        return value.repeat_interleave(copies, dim=0) if value.shape[0] == rows else value
    if isinstance(value, dict):
        return {name: repeat_rows(item, copies, rows) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(repeat_rows(item, copies, rows) for item in value)
    return value


def _extended(tensor: Tensor, total: int, step: int) -> Tensor:
    """(rows, length) continued to `total` columns by its last one, raised by `step` each time."""
    count = torch.arange(1, total - tensor.shape[1] + 1, device=tensor.device)
    return torch.cat([tensor, tensor[:, -1:] + step * count], dim=1)
