"""The inputs of the model: the texts to continue, checked and completed, and what each new token adds to them.

`read_prompt` is for texts that the model itself reads; what an encoder–decoder starts from is in sources.py.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.nn.cache import Cache, DynamicCache, EncoderDecoderCache, as_cache
from minitransformers.nn.positions import positions_from_mask
from minitransformers.outputs import BaseModelOutput, ModelOutput


@dataclass
class Prompt:
    """The texts to continue, one a row.

    Attributes:
        input_ids: (rows, length); of length 0 where only embeddings are given.
        before: number of positions that precede `input_ids`: those of embeddings without ids, or of a cache whose
            tokens are not repeated in `input_ids`.
        attention_mask: (rows, before + length), 0 at padding; None where nothing is padded.
        position_ids: (rows or 1, before + length); None where the model takes none.
        token_type_ids, inputs_embeds: as in the model's forward, or None.
        cache: the cache of an earlier call, to continue from.
        constant: inputs of the model that are the same at each step.
        source: the inputs of an encoder–decoder's encoder, unless its output is given.
        source_ids: (rows, length) the text that the penalties of copies refer to: the prompt or, of an
            encoder–decoder, its source; None where that has no ids.
    """

    input_ids: Tensor
    before: int = 0
    attention_mask: Tensor | None = None
    position_ids: Tensor | None = None
    token_type_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None
    cache: Cache | None = None
    constant: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] | None = None
    source_ids: Tensor | None = None


class NextTokenModel:
    """A model that returns the logits of one next token after another, with its cache and its other inputs.

    Args:
        model: a model that can generate; `prepare_inputs_for_generation` makes the arguments of every call.
        prompt: the texts to continue.
        max_length: the most tokens that a text may have, including those of `prompt.input_ids`.
        copies: number of continuations of each prompt: samples, or beams. Their rows are neighbours. The prompt itself
            is computed once.
        use_cache: keep keys and values, so that each step computes only new tokens, if the model can.
        options: further arguments of the model, such as output_attentions=True.

    Attributes:
        details: attentions, hidden states and cross-attentions of the latest call, where `options` ask for them.
        encoded: the output of an encoder–decoder's encoder.
        cache: keys and values of the tokens computed so far; None without a cache.
    """

    def __init__(
        self, model: Any, prompt: Prompt, max_length: int, *, copies: int = 1, use_cache: bool = True, **options: Any
    ) -> None:
        self.model, self.before, self.start = model, prompt.before, prompt.input_ids.shape[1]
        self.is_encoder_decoder: bool = model.config.is_encoder_decoder
        self.details: dict[str, Any] = {}
        self.encoded: Any = prompt.constant.get("encoder_outputs")
        self._source, self._options = prompt.source, options
        self._rows, self._copies = prompt.input_ids.shape[0], copies
        self._is_first_call, self._computed, self.cache = True, 0, prompt.cache
        self._is_given = prompt.cache is not None  # then the caller's cache is filled, even if it is empty

        arguments = forward_arguments(model.__class__)
        self._inputs: dict[str, Any] = {**prompt.constant, **options}
        if prompt.inputs_embeds is not None:
            self._inputs["inputs_embeds"] = prompt.inputs_embeds
        if "logits_to_keep" in arguments:
            self._inputs["logits_to_keep"] = 1
        if "past_key_values" in arguments:
            # Without a cache, new tokens would have to be embedded next to the embeddings of the prompt.
            self._inputs["use_cache"] = use_cache or prompt.inputs_embeds is not None
            if self.cache is not None:
                self._computed = self.cache.get_seq_length()
            elif self._inputs["use_cache"]:
                has_context = self.is_encoder_decoder or getattr(model.config, "add_cross_attention", False)
                self.cache = EncoderDecoderCache() if has_context else DynamicCache()

        # Inputs as long as the text are made for the longest text at once; each step takes as much as it needs.
        total, prefix = prompt.before + max_length, "decoder_" if self.is_encoder_decoder else ""
        self._per_token: dict[str, Tensor] = {}
        if prompt.attention_mask is not None:
            mask = prompt.attention_mask
            self._per_token[f"{prefix}attention_mask"] = _extended(mask, total, last=torch.ones_like(mask[:, :1]))
        if prompt.position_ids is not None:
            self._per_token["position_ids"] = _extended(prompt.position_ids, total, step=1)
        if prompt.token_type_ids is not None:
            self._per_token["token_type_ids"] = _extended(prompt.token_type_ids, total)
        self._total = total
        is_plain = not (options or prompt.constant or prompt.inputs_embeds is not None or self._is_given)
        self._may_step = is_plain and getattr(model, "is_optimized", False)
        self._step: Callable[..., Tensor] | None = None
        self._bias: Tensor | None = None

    def __call__(self, input_ids: Tensor, count: int = 1) -> Tensor:
        """Logits (rows, count, vocabulary) in float32 of the tokens that follow each of the last `count`.

        Args:
            input_ids: (rows, length) the whole texts; only tokens that are not in the cache are computed.
        """
        if self._source is not None:  # the encoder runs once for all steps and copies
            self.encoded = self.model.get_encoder()(**self._source, **self._options, return_dict=True)
            self._inputs["encoder_outputs"], self._source = BaseModelOutput(self.encoded.last_hidden_state), None
        if self._is_first_call and self._copies > 1 and self._cached_rows() > self._rows:
            self._copy_rows()  # the cache already holds a row for each copy
        copies, end = self._copies, self.before + input_ids.shape[1]
        if self._step is not None and count == 1 and end - self._computed == 1:
            position_ids, bias = self._per_token["position_ids"][:, end - 1 : end], self._mask_bias(end)
            self._computed = end
            return self._step(input_ids[:, -1:], position_ids, bias, self.cache).float()
        if "logits_to_keep" in self._inputs:
            self._inputs["logits_to_keep"] = count
        arguments = self.model.prepare_inputs_for_generation(
            input_ids[::copies],
            next_sequence_length=end - self._computed if self._computed else None,
            past_key_values=self.cache,
            is_first_iteration=self._is_first_call,
            **self._inputs,
            **{name: tensor[:, :end] for name, tensor in self._per_token.items()},
        )
        if self._is_given:
            arguments.setdefault("past_key_values", self.cache)
        if arguments.get("past_key_values") is not None:
            arguments["past_key_values"] = as_cache(arguments["past_key_values"])  # adapters pass transformers' caches
        outputs = self.model(**arguments, return_dict=True)
        self._is_first_call = False
        if self.cache is not None and outputs.get("past_key_values") is not None:
            self.cache, self._computed = outputs.past_key_values, end
        if self._options:
            prefix = "decoder_" if self.is_encoder_decoder else ""
            self.details = {name: outputs.get(f"{prefix}{name}") for name in ("attentions", "hidden_states")}
            self.details["cross_attentions"] = outputs.get("cross_attentions")
        logits: Tensor = outputs.logits[:, -count:].float()
        if copies > 1:
            self._copy_rows()
            if self.cache is not None:
                self.cache.batch_repeat_interleave(copies)
            logits = logits.repeat_interleave(copies, dim=0)
            self.details = repeat_rows(self.details, copies, self._rows)
        if self._may_step:
            self._find_step()
        return logits

    def _find_step(self) -> None:
        """After the prompt: the step of a model that `optimize` has made faster, where all that it reads is here."""
        self._may_step = False
        if not {"position_ids"} <= self._per_token.keys() <= {"position_ids", "attention_mask"}:
            return
        self._step = self.model.decode_step(self.cache, self._total)
        mask = self._per_token.get("attention_mask")
        if self._step is not None and mask is not None:
            zeros = torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device)
            self._bias = zeros.masked_fill(mask == 0, -math.inf)[:, None, None]

    def _mask_bias(self, end: int) -> Tensor | None:
        """(rows, 1, 1, end) 0 at tokens and −∞ at padding; None where nothing is padded."""
        return None if self._bias is None else self._bias[..., :end]

    def reorder(self, rows: Tensor) -> None:
        """Continue row `rows[i]` in row i; both must have the same prompt."""
        if self.cache is not None:
            self.cache.reorder_cache(rows, start=self.before + self.start)

    def crop(self, length: int) -> None:
        """Forget all but the first `length` tokens of the texts."""
        surplus = self._computed - self.before - length
        if self.cache is not None and surplus > 0:
            self.cache.crop(-surplus)  # the cache may have further tokens in front, from an adapter
            self._computed -= surplus

    def _cached_rows(self) -> int:
        return self.cache.batch_size if self.cache is not None and self._computed else 0

    def _copy_rows(self) -> None:
        """Give each copy of a prompt its own row of all inputs but the cache."""
        self._inputs = repeat_rows(self._inputs, self._copies, self._rows)
        self._per_token = repeat_rows(self._per_token, self._copies, self._rows)
        self._copies = 1


def repeat_rows(value: Any, copies: int, rows: int) -> Any:
    """`value` with each row of its tensors of `rows` rows repeated `copies` times."""
    if isinstance(value, Tensor):
        return value.repeat_interleave(copies, dim=0) if value.shape[:1] == (rows,) else value
    if isinstance(value, (dict, ModelOutput)):
        return type(value)(**{name: repeat_rows(item, copies, rows) for name, item in value.items()})
    if isinstance(value, tuple):
        return tuple(repeat_rows(item, copies, rows) for item in value)
    return value


def _extended(tensor: Tensor, total: int, step: int = 0, last: Tensor | None = None) -> Tensor:
    """(rows, length) continued to `total` columns by `last`, by default its last column, raised by `step` each time."""
    count = torch.arange(1, total - tensor.shape[1] + 1, device=tensor.device)
    return torch.cat([tensor, (tensor[:, -1:] if last is None else last) + step * count], dim=1)


@functools.cache
def forward_arguments(model_class: Any) -> frozenset[str]:
    """The names of the arguments of `forward`; where it takes **kwargs, also those of the class that it overrides."""
    names: set[str] = set()
    for base in model_class.__mro__:
        if "forward" in vars(base):
            parameters = inspect.signature(base.forward).parameters
            names |= parameters.keys() - {"self"}
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
                break
    return frozenset(names)


def read_prompt(
    model: Any,
    settings: GenerationConfig,
    input_ids: Tensor | None,
    model_inputs: Mapping[str, Any],
    prefix: str = "",
) -> Prompt:
    """Check the texts that the model is asked to continue, and complete their mask and positions.

    Without `input_ids` (rows, length), texts begin with `bos_token_id` or embeddings. `prefix` is for names in errors.

    Raises:
        InputError: an input is missing, contradicts another, or has the wrong type or shape.
    """
    constant = dict(model_inputs)
    for name in ("attention_mask", "position_ids", "token_type_ids", "inputs_embeds"):
        if name in constant and not isinstance(constant[name], Tensor):
            raise InputError(f"{prefix}{name} must be a tensor, got {type(constant[name]).__name__}.")
    input_ids = read_ids(settings, input_ids, constant, f"{prefix}input_ids")
    embeds: Tensor | None = constant.pop("inputs_embeds", None)
    cache: Any = constant.pop("past_key_values", None)
    mask: Tensor | None = constant.pop("attention_mask", None)
    positions: Tensor | None = constant.pop("position_ids", None)
    (rows, length), arguments = input_ids.shape, forward_arguments(model.__class__)
    before, past = 0, 0
    if embeds is not None:
        _check_embeds(model, embeds, rows, length)
        before = embeds.shape[1] - length
    if cache is not None:
        if settings.use_cache is False:
            raise InputError("past_key_values is a cache, and use_cache=False: pass only one of them.")
        cache = as_cache(cache)
        past = cache.get_seq_length()
    if mask is not None:
        if mask.ndim != 2 or mask.shape[0] != rows or mask.shape[1] not in (before + length, past + length):
            raise InputError(
                f"{prefix}attention_mask has shape {tuple(mask.shape)}; expected {(rows, before + length)}, 1 for "
                f"tokens and 0 for padding"
                + (f", or {(rows, past + length)} with the {past} cached tokens." if past else ".")
            )
        before = mask.shape[1] - length
    elif embeds is None and not prefix:  # a decoder may start with the padding token
        mask = _mask_from_padding(input_ids, settings)
    if past and past >= before + length:
        raise InputError(
            f"past_key_values holds {past} tokens and the prompts have {before + length}: nothing is left to compute. "
            f"Pass the whole text with at least one new token, or shorten the cache with "
            f"crop({before + length - 1 - past})."
        )
    if mask is not None:
        if rows > 1 and not mask[:, -1].all():
            warn(
                "A prompt is padded on the right, and would be continued after its padding: pad on the left "
                "(tokenizer.padding_side = 'left')."
            )
        mask = None if mask.all() else mask.long()
    if positions is None and "position_ids" in arguments:
        if mask is None:
            positions = torch.arange(before + length, device=input_ids.device).expand(rows, -1)
        else:
            positions = positions_from_mask(mask).masked_fill(mask == 0, 0)
    token_types = constant.pop("token_type_ids", None)
    return Prompt(input_ids, before, mask, positions, token_types, embeds, cache, constant, source_ids=input_ids)


def _check_embeds(model: Any, embeds: Tensor, rows: int, length: int) -> None:
    """Refuse embeddings that the model cannot continue, or that do not fit `input_ids` of (rows, length)."""
    if "past_key_values" not in forward_arguments(model.__class__):
        raise InputError(
            f"inputs_embeds can't be continued by {type(model).__name__}, which has no cache: new tokens would have to "
            f"be embedded beside them. Pass input_ids."
        )
    if embeds.ndim != 3 or embeds.shape[0] != rows or (length and embeds.shape[1] != length) or not embeds.shape[1]:
        raise InputError(
            f"inputs_embeds has shape {tuple(embeds.shape)}; expected (batch, length, hidden), as long as input_ids "
            f"where both are given."
        )


def read_ids(
    settings: GenerationConfig, ids: Tensor | None, others: Mapping[str, Any], name: str = "input_ids"
) -> Tensor:
    """(rows, length) the ids of `name`; where there are none, the token that begins texts, once for each row."""
    if ids is None:
        batch = next((value for value in others.values() if isinstance(value, Tensor)), torch.empty(1))
        if "inputs_embeds" in others:  # the beginning of the text is embedded
            return torch.empty(batch.shape[0], 0, dtype=torch.long, device=others["inputs_embeds"].device)
        if settings.bos_token_id is None:
            raise InputError("Pass input_ids to continue, or bos_token_id to begin with.")
        return torch.full((batch.shape[0], 1), settings.bos_token_id, device=batch.device)
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        kind = f"a tensor of {ids.dtype}" if isinstance(ids, Tensor) else type(ids).__name__
        raise InputError(
            f"{name} must be a tensor of whole numbers, got {kind}: tokenizers return one with return_tensors='pt'."
        )
    if ids.ndim != 2:
        remedy = f": add the batch dimension with {name}[None]." if ids.ndim == 1 else "."
        raise InputError(f"{name} has shape {tuple(ids.shape)}; expected (batch, length){remedy}")
    if ids.numel() == 0:
        raise InputError(
            f"{name} has shape {tuple(ids.shape)}, and there is nothing to continue: pass at least one token, such "
            f"as the one that begins texts."
        )
    return ids.long()


def _mask_from_padding(input_ids: Tensor, settings: GenerationConfig) -> Tensor | None:
    """(rows, length) 0 at the padding token, unless that also ends texts: then it cannot be told from text."""
    pad, ends = settings.pad_token_id, as_list(settings.eos_token_id)
    if pad is not None and pad not in ends:
        return (input_ids != pad).long()
    if ends and input_ids.shape[0] > 1 and (input_ids[:, 0] == (ends[0] if pad is None else pad)).any():
        warn(
            "A prompt begins with the end-of-text token, which may be padding or not: pass the tokenizer's "
            "attention_mask."
        )
    return None
