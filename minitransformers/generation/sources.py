"""What an encoder–decoder generates from: the source that its encoder reads, and the beginning of the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.generation.config import GenerationConfig, as_list
from minitransformers.generation.inputs import Prompt, read_ids, read_prompt


def read_source(
    model: Any, settings: GenerationConfig, input_ids: Tensor | None, model_inputs: Mapping[str, Any]
) -> Prompt:
    """Check the source, unless the encoder's output is given, and the beginning of the target.

    Args:
        model, settings, input_ids, model_inputs: as in `read_prompt`; `input_ids` are the source.

    Returns:
        The prompt of the decoder, with the inputs of the encoder as `source`.

    Raises:
        InputError: an input that is missing, contradicts another, or has the wrong type or shape.
    """
    source = {name: model_inputs[name] for name in ("attention_mask", "inputs_embeds") if name in model_inputs}
    for name, value in source.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{name} must be a tensor, got {type(value).__name__}.")
    constant: dict[str, Any] = {name: source[name] for name in ("attention_mask",) if name in source}
    encoder_outputs, vectors, ids = model_inputs.get("encoder_outputs"), source.get("inputs_embeds"), None
    if input_ids is not None and vectors is not None:
        raise InputError("input_ids and inputs_embeds are both the source: pass only one of them.")
    if input_ids is not None or (encoder_outputs is None and vectors is None):
        source["input_ids"] = ids = read_ids(settings, input_ids, source)
    if encoder_outputs is not None:
        constant["encoder_outputs"] = model.read_encoder_outputs(encoder_outputs)
        vectors = constant["encoder_outputs"].last_hidden_state
    shape = tuple(ids.shape if ids is not None else vectors.shape[:2])  # type: ignore[union-attr]
    mask = source.get("attention_mask")
    if mask is not None and tuple(mask.shape) != shape:
        raise InputError(f"attention_mask has shape {tuple(mask.shape)}; expected {shape}, that of the source.")
    pad = settings.pad_token_id
    is_padding = pad is not None and pad not in as_list(settings.eos_token_id)
    if is_padding and mask is None and ids is not None and pad in ids:
        warn("The source holds padding, which the encoder takes for text: pass the tokenizer's attention_mask.")

    target = {name: model_inputs[name] for name in ("past_key_values",) if name in model_inputs}
    start, start_mask = _read_start(settings, shape[0], model.device, model_inputs)
    if start_mask is not None:
        target["attention_mask"] = start_mask
    prompt = read_prompt(model, settings, start, target, prefix="decoder_")
    prompt.constant |= constant
    prompt.source, prompt.source_ids = None if encoder_outputs is not None else source, ids
    return prompt


def _read_start(
    settings: GenerationConfig, rows: int, device: torch.device, model_inputs: Mapping[str, Any]
) -> tuple[Tensor, Tensor | None]:
    """(rows, length) the beginning of the targets, and its mask: the start token, then `decoder_input_ids`, if any."""
    ids, mask = model_inputs.get("decoder_input_ids"), model_inputs.get("decoder_attention_mask")
    token = settings.decoder_start_token_id
    starts = as_list(settings.bos_token_id if token is None else token)
    if not starts:
        raise InputError("Set decoder_start_token_id (or bos_token_id): it is the first token of the decoder.")
    if len(starts) not in (1, rows):
        raise InputError(
            f"decoder_start_token_id has {len(starts)} tokens; expected one, or one for each of {rows} rows."
        )
    start = torch.tensor(starts, device=device)[:, None].expand(rows, 1)
    if ids is None:
        return start, mask
    ids = read_ids(settings, ids, {}, "decoder_input_ids")
    if ids.shape[0] != rows:
        raise InputError(f"decoder_input_ids has {ids.shape[0]} rows; the source has {rows}.")
    if not (ids[:, :1] != start).all():
        return ids, mask
    if isinstance(mask, Tensor) and mask.ndim == 2:
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
    return torch.cat([start, ids], dim=1), mask
