"""What generation starts from: the prompts, checked, with their mask and positions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError, UnknownArgumentError, nearest, warn
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.nn.cache import KeyValueCache
from minitransformers.nn.positions import positions_from_mask


@dataclass
class Prompt:
    """The texts to continue, one a row.

    Attributes:
        input_ids: (rows, length); length 0 where only embeddings are given.
        before: how many positions of the model come before `input_ids`: of embeddings without ids, or of a cache whose
            tokens are not repeated in `input_ids`.
        attention_mask: (rows, before + length) with 0 at padding; None where nothing is padded.
        position_ids: (rows or 1, before + length); None where they count from 0.
        token_type_ids, inputs_embeds: as the model's forward takes them, or None.
        cache: of an earlier call, to go on from.
        constant: inputs of the model that are the same at every step.
        source: of an encoder–decoder, the encoder's inputs; what it makes of them is constant too.
        source_ids: (rows, length) what is not to be repeated from: the text itself or, of an encoder–decoder, its
            source; None where that has no ids.
    """

    input_ids: Tensor
    before: int = 0
    attention_mask: Tensor | None = None
    position_ids: Tensor | None = None
    token_type_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None
    cache: KeyValueCache | None = None
    constant: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] | None = None
    source_ids: Tensor | None = None

    @property
    def length(self) -> int:
        """Number of tokens in `input_ids`."""
        return self.input_ids.shape[1]


# Arguments of a model's forward that generation sets itself, or has no use for.
_OWN = {
    "self",
    "labels",
    "mc_labels",
    "mc_token_ids",
    "use_cache",
    "logits_to_keep",
    "num_items_in_batch",
    "return_dict",
    "decoder_inputs_embeds",
}


def split_arguments(model: Any, named: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of `generate`, parted into settings of GenerationConfig and inputs of the model.

    Raises:
        UnknownArgumentError: one is neither.
    """
    settings = set(GenerationConfig._fields)
    inputs = set(inspect.signature(type(model).forward).parameters) - _OWN - settings
    for name in named:
        if name not in settings | inputs:
            others = {"logits_processor", "stopping_criteria", "assistant_model", "streamer", "tokenizer", "generator"}
            hint = nearest(name, settings | inputs | others)
            raise UnknownArgumentError(f"{type(model).__name__}.generate takes no argument {name!r}.{hint}")
    return (
        {name: value for name, value in named.items() if name in settings},
        {name: value for name, value in named.items() if name in inputs and value is not None},
    )


def read_prompt(
    model: Any, settings: GenerationConfig, inputs: Tensor | None, model_inputs: Mapping[str, Any]
) -> Prompt:
    """Check what the model is asked to continue, and complete it.

    An encoder–decoder's prompt is what its decoder starts with; see `_read_source` for what its encoder reads.

    Raises:
        InputError: an input that is missing, contradicts another, or has the wrong type or shape.
    """
    if not model.config.is_encoder_decoder:
        prompt = _read_text(model, settings, inputs, model_inputs)
        prompt.source_ids = prompt.input_ids
        return prompt
    source, source_ids, rows, constant = _read_source(model, settings, inputs, model_inputs)
    target = {name: model_inputs[name] for name in ("past_key_values",) if name in model_inputs}
    target["input_ids"], mask = _decoder_start(
        settings, rows, model.device, model_inputs.get("decoder_input_ids"), model_inputs.get("decoder_attention_mask")
    )
    if mask is not None:
        target["attention_mask"] = mask
    prompt = _read_text(model, settings, None, target, prefix="decoder_")
    prompt.source, prompt.source_ids = source, source_ids
    prompt.constant |= constant
    return prompt


def _read_source(
    model: Any, settings: GenerationConfig, inputs: Tensor | None, model_inputs: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, Tensor | None, int, dict[str, Any]]:
    """What an encoder reads, its ids, how many rows there are, and what the decoder needs besides at every step.

    Where the encoder's output is given, there is nothing to read.
    """
    source = {name: model_inputs[name] for name in ("attention_mask", "inputs_embeds") if name in model_inputs}
    for name, value in source.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{name} must be a tensor, got {type(value).__name__}.")
    constant: dict[str, Any] = {name: source[name] for name in ("attention_mask",) if name in source}
    input_ids, encoder_outputs = model_inputs.get("input_ids"), model_inputs.get("encoder_outputs")
    ids = None
    if inputs is not None or input_ids is not None:
        ids = _read_ids(settings, inputs, input_ids, source)
        if "inputs_embeds" in source:
            raise InputError("input_ids and inputs_embeds are both the source: pass only one of them.")
        source["input_ids"] = ids
    elif encoder_outputs is None and "inputs_embeds" not in source:
        source["input_ids"] = ids = _read_ids(settings, None, None, source)
    vectors = source.get("inputs_embeds")
    if encoder_outputs is not None:
        encoded = model.read_encoder_outputs(encoder_outputs)
        constant["encoder_outputs"] = encoded
        vectors = encoded.last_hidden_state
    shape = tuple(ids.shape if ids is not None else vectors.shape[:2])  # type: ignore[union-attr]
    mask = source.get("attention_mask")
    if mask is not None and tuple(mask.shape) != shape:
        raise InputError(f"attention_mask has shape {tuple(mask.shape)}; expected {shape}, that of the source.")
    pad = settings.pad_token_id
    is_padding = pad is not None and pad not in as_list(settings.eos_token_id)
    if is_padding and mask is None and ids is not None and pad in ids:
        warn(
            "The source holds padding and there is no attention_mask, so that the encoder takes padding for text: pass "
            "the tokenizer's attention_mask."
        )
    if encoder_outputs is not None:
        return None, ids, shape[0], constant
    return source, ids, shape[0], constant


def _decoder_start(
    settings: GenerationConfig,
    rows: int,
    device: torch.device,
    decoder_input_ids: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """What the decoder starts with, and its mask: the start token, then the ids that are given, if any."""
    ids = settings.decoder_start_token_id
    starts = as_list(settings.bos_token_id if ids is None else ids)
    if not starts:
        raise InputError("Set decoder_start_token_id (or bos_token_id): it is what the decoder begins with.")
    if len(starts) not in (1, rows):
        raise InputError(
            f"decoder_start_token_id has {len(starts)} tokens; expected one, or one for each of {rows} rows."
        )
    start = torch.tensor(starts, device=device)[:, None].expand(rows, 1)
    if decoder_input_ids is None:
        return start, mask
    decoder_input_ids = _read_ids(settings, None, decoder_input_ids, {}, "decoder_input_ids")
    if decoder_input_ids.shape[0] != rows:
        raise InputError(f"decoder_input_ids has {decoder_input_ids.shape[0]} rows; the source has {rows}.")
    if not (decoder_input_ids[:, :1] != start).all():
        return decoder_input_ids, mask
    if isinstance(mask, Tensor) and mask.ndim == 2:
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
    return torch.cat([start, decoder_input_ids], dim=1), mask


def _read_text(
    model: Any,
    settings: GenerationConfig,
    inputs: Tensor | None,
    model_inputs: Mapping[str, Any],
    prefix: str = "",
) -> Prompt:
    """The text to continue; `prefix` is what the names of its arguments begin with."""
    constant = dict(model_inputs)
    for name in ("attention_mask", "position_ids", "token_type_ids", "inputs_embeds"):
        if name in constant and not isinstance(constant[name], Tensor):
            raise InputError(f"{prefix}{name} must be a tensor, got {type(constant[name]).__name__}.")
    input_ids = _read_ids(settings, inputs, constant.pop("input_ids", None), constant)
    embeds: Tensor | None = constant.pop("inputs_embeds", None)
    cache: KeyValueCache | None = constant.pop("past_key_values", None)
    mask: Tensor | None = constant.pop("attention_mask", None)
    rows, length = input_ids.shape

    takes = inspect.signature(type(model).forward).parameters
    before = 0
    if embeds is not None:
        if "past_key_values" not in takes:
            raise InputError(
                f"inputs_embeds can't be continued by {type(model).__name__}, which has no cache: new tokens would "
                f"have to be embedded beside them. Pass input_ids."
            )
        if embeds.ndim != 3 or embeds.shape[0] != rows or (length and embeds.shape[1] != length) or not embeds.shape[1]:
            raise InputError(
                f"inputs_embeds has shape {tuple(embeds.shape)}; expected (batch, length, hidden), as long as "
                f"input_ids where both are given."
            )
        before = embeds.shape[1] - length
    past = _past_length(cache, settings)
    if mask is not None:
        if mask.ndim != 2 or mask.shape[0] != rows or mask.shape[1] not in (before + length, past + length):
            raise InputError(
                f"{prefix}attention_mask has shape {tuple(mask.shape)}; expected {(rows, before + length)}, 1 for "
                f"tokens and 0 for padding"
                + (f", or {(rows, past + length)} with the {past} cached tokens." if past else ".")
            )
        before = mask.shape[1] - length
    elif embeds is None and not prefix:  # a decoder may start with the padding token
        mask = _guess_mask(input_ids, settings)
    if past and past >= before + length:
        raise InputError(
            f"past_key_values holds {past} tokens and the prompts have {before + length}: nothing is left to compute. "
            f"Pass the whole text with at least one new token, or shorten the cache with crop({before + length - 1})."
        )
    if mask is not None:
        if rows > 1 and not mask[:, -1].all():
            warn(
                "A prompt is padded on the right, and would be continued after its padding: pad on the left "
                "(tokenizer.padding_side = 'left')."
            )
        mask = None if mask.all() else mask.long()
    positions: Tensor | None = constant.pop("position_ids", None)
    if positions is None and mask is not None and "position_ids" in takes:
        positions = positions_from_mask(mask).masked_fill(mask == 0, 0)
    return Prompt(input_ids, before, mask, positions, constant.pop("token_type_ids", None), embeds, cache, constant)


def _read_ids(
    settings: GenerationConfig,
    inputs: Tensor | None,
    input_ids: Tensor | None,
    others: Mapping[str, Any],
    name: str = "input_ids",
) -> Tensor:
    if inputs is not None and input_ids is not None:
        raise InputError("inputs and input_ids are the same argument: pass only one of them.")
    ids = inputs if input_ids is None else input_ids
    if ids is None:
        # Nothing to continue: every text begins with the token that begins texts, unless its beginning is embedded.
        batch = next((value for value in others.values() if isinstance(value, Tensor)), torch.empty(1))
        if "inputs_embeds" in others:
            return torch.empty(batch.shape[0], 0, dtype=torch.long, device=others["inputs_embeds"].device)
        if settings.bos_token_id is None:
            raise InputError("Pass input_ids to continue, or bos_token_id to begin with.")
        return torch.full((batch.shape[0], 1), settings.bos_token_id, device=batch.device)
    if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        kind = f"a tensor of {ids.dtype}" if isinstance(ids, Tensor) else type(ids).__name__
        raise InputError(
            f"{name} must be a tensor of whole numbers, got {kind}: tokenizers give one with return_tensors='pt'."
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


def _past_length(cache: object, settings: GenerationConfig) -> int:
    if cache is None:
        return 0
    if not isinstance(cache, KeyValueCache):
        raise InputError(f"past_key_values must be a KeyValueCache, got {type(cache).__name__}.")
    if settings.use_cache is False:
        raise InputError("past_key_values is a cache, and use_cache=False: pass only one of them.")
    return cache.length


def _guess_mask(input_ids: Tensor, settings: GenerationConfig) -> Tensor | None:
    """Padding is where the padding token stands, unless that is an end of text as well."""
    pad, ends = settings.pad_token_id, as_list(settings.eos_token_id)
    if pad is not None and pad not in ends:
        return (input_ids != pad).long()
    if ends and input_ids.shape[0] > 1 and (input_ids[:, 0] == (ends[0] if pad is None else pad)).any():
        warn(
            "A prompt begins with the end-of-text token, which may be padding or not: pass the tokenizer's "
            "attention_mask."
        )
    return None


def check_padding(pad_token_id: int | None, vocab_size: int) -> None:
    """Refuse padding that the model has no embedding of: it reads the padding of rows that ended early."""
    if pad_token_id is not None and not 0 <= pad_token_id < vocab_size:
        raise InputError(
            f"pad_token_id={pad_token_id} is outside the vocabulary of {vocab_size} tokens: pass another, or make room "
            f"for it with resize_token_embeddings(len(tokenizer))."
        )


def longest_text(settings: GenerationConfig, prompt: Prompt, max_positions: int | None) -> int:
    """How many tokens a text may have, those of `prompt.input_ids` included.

    Args:
        max_positions: how many positions the model has; None where it sets no limit.

    Raises:
        InputError: no room for a new token, or not for as many as were asked for.
    """
    length, total = prompt.length, prompt.before + prompt.length
    last = total - 1 if prompt.position_ids is None else int(prompt.position_ids.max())
    if max_positions is not None and last >= max_positions:
        raise InputError(
            f"The prompt has {last + 1} tokens, and the model {max_positions} positions: truncate it "
            f"(tokenizer(…, truncation=True, max_length={max_positions})), leaving room for new tokens."
        )
    if settings.max_new_tokens is not None:
        if settings.max_length is not None:
            warn("Both max_new_tokens and max_length are set: max_new_tokens counts.")
        limit = length + settings.max_new_tokens
    elif settings.max_length is not None:
        # The positions of embeddings count, though they have no ids.
        limit = settings.max_length - (prompt.before if prompt.inputs_embeds is not None else 0)
    else:
        limit = length + 20
        if max_positions is not None:
            limit = min(limit, max(max_positions - prompt.before, length))
    if limit <= length:
        most = f"max_length={settings.max_length}" if settings.max_length else f"{max_positions} positions of the model"
        raise InputError(f"The prompt has {total} tokens, and {most} leave no room for a new one: pass max_new_tokens.")
    if max_positions is not None:
        room = max_positions - last  # the last token of all is never read
        if limit - length > room:
            raise InputError(
                f"{limit - length} new tokens were asked for, and after a prompt of {last + 1} tokens the model's "
                f"{max_positions} positions have room for {room}: pass max_new_tokens={room}, or truncate the prompt."
            )
    for name, least in (("min_length", settings.min_length), ("min_new_tokens", settings.min_new_tokens)):
        if least is not None and least + (length if name == "min_new_tokens" else 0) > limit:
            warn(f"{name}={least} is more than the {limit} tokens that a text may have.")
    return limit
