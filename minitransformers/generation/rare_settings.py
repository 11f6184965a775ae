"""Settings of `generate` that few calls use: the kind of cache, a second prompt, watermarks, and early exit."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from minitransformers.errors import InputError, warn
from minitransformers.generation.config import GenerationConfig
from minitransformers.generation.consistency import CACHES
from minitransformers.generation.inputs import Prompt, forward_arguments
from minitransformers.generation.processors.base import LogitsProcessorList
from minitransformers.generation.processors.constraints import LogitNormalization
from minitransformers.generation.processors.guidance import UnbatchedClassifierFreeGuidanceLogitsProcessor
from minitransformers.generation.synthid import watermarking_config_from
from minitransformers.nn.cache import Cache, DynamicCache, EncoderDecoderCache
from minitransformers.nn.static_cache import StaticCache

SETTINGS = ("cache_implementation", "guidance_scale", "watermarking_config", "assistant_early_exit")
GROWING = ("dynamic", "dynamic_full", "offloaded")


def apply(
    model: Any,
    settings: GenerationConfig,
    prompt: Prompt,
    max_length: int,
    processors: LogitsProcessorList,
    negative: tuple[Tensor | None, Tensor | None],
    assistant_model: Any,
) -> Any:
    """Apply these settings to the parts of a call; return the assistant model, if any.

    Args:
        model, settings, prompt, processors: of the call; the prompt may get a cache, and the processors change.
        max_length: the most tokens that a text may have.
        negative: negative_prompt_ids and negative_prompt_attention_mask.
        assistant_model: the argument of the call.
    """
    needed = prompt.before + max_length - 1  # the last token of a text is never read
    if prompt.cache is not None and 0 <= prompt.cache.get_max_length() < needed:
        raise InputError(
            f"past_key_values has room for {prompt.cache.get_max_length()} tokens, and texts may have {needed}: pass a "
            f"larger one, a DynamicCache, or a smaller max_new_tokens."
        )
    if settings.cache_implementation is not None:
        prompt.cache = make_cache(model, settings, prompt, max_length)
    add_guidance(model, settings, prompt, max_length, processors, *negative)
    if settings.watermarking_config is not None:
        add_watermark(settings, processors, model.config.vocab_size, prompt.input_ids.device)
    if settings.assistant_early_exit is None:
        return assistant_model
    if assistant_model is not None:
        raise InputError("assistant_model and assistant_early_exit both guess tokens: pass only one of them.")
    return first_layers(model, settings.assistant_early_exit)


def make_cache(model: Any, settings: GenerationConfig, prompt: Prompt, max_length: int) -> Cache | None:
    """The cache that `cache_implementation` asks for; None where the model or the call has no cache.

    Args:
        model, settings, prompt: of the call.
        max_length: the most tokens that a text may have, of which the last is never read.

    Raises:
        InputError: `past_key_values` is a cache already.
    """
    kind = settings.cache_implementation
    if CACHES[str(kind)] is not None:
        raise InputError(f"cache_implementation={kind!r} is not covered: {CACHES[str(kind)]}.")
    if prompt.cache is not None:
        raise InputError(f"past_key_values is a cache, and cache_implementation={kind!r} asks for another: pass one.")
    if settings.use_cache is False or "past_key_values" not in forward_arguments(model.__class__):
        return None
    offloading = str(kind).startswith("offloaded")
    length = prompt.before + max_length - 1
    if kind in GROWING:
        cache: Cache = DynamicCache(offloading=offloading)
        of_context: Cache = DynamicCache(offloading=offloading)
    else:
        cache = StaticCache(model.config, max(length, settings.max_cache_len or 0), offloading)
        of_context = StaticCache(model.config, _source_length(prompt), offloading)
    return EncoderDecoderCache(cache, of_context) if model.config.is_encoder_decoder else cache


def _source_length(prompt: Prompt) -> int:
    """Length of an encoder–decoder's source; 1 where there is none."""
    encoded, source = prompt.constant.get("encoder_outputs"), prompt.source or {}
    if encoded is not None:
        return int(encoded.last_hidden_state.shape[1])
    return next((source[name].shape[1] for name in ("input_ids", "inputs_embeds") if name in source), 1)


def add_guidance(
    model: Any,
    settings: GenerationConfig,
    prompt: Prompt,
    max_length: int,
    processors: LogitsProcessorList,
    negative_prompt_ids: Tensor | None,
    negative_prompt_attention_mask: Tensor | None,
) -> None:
    """Put the processor that `guidance_scale` asks for in front of the others.

    Raises:
        InputError: an encoder–decoder, or a second prompt that does not fit.
    """
    if settings.guidance_scale in (None, 1):
        if negative_prompt_ids is not None:
            warn("negative_prompt_ids has no effect without guidance_scale.")
        return
    if model.config.is_encoder_decoder:
        raise InputError(f"guidance_scale={settings.guidance_scale} is for decoders alone, not for encoder–decoders.")
    if negative_prompt_ids is not None:
        rows, length = prompt.input_ids.shape
        if negative_prompt_ids.ndim != 2 or negative_prompt_ids.shape[0] != rows or not negative_prompt_ids.shape[1]:
            raise InputError(
                f"negative_prompt_ids has shape {tuple(negative_prompt_ids.shape)}; expected ({rows}, length)."
            )
        longest = negative_prompt_ids.shape[1] + max_length - length - 1
        if model.max_positions is not None and longest > model.max_positions:
            raise InputError(
                f"negative_prompt_ids and the new tokens are {longest} tokens, and the model has "
                f"{model.max_positions} positions: shorten it, or pass a smaller max_new_tokens."
            )
    elif prompt.input_ids.shape[1] == 0:
        raise InputError("guidance_scale needs input_ids or negative_prompt_ids, not inputs_embeds alone.")
    has_cache = settings.use_cache is not False and "past_key_values" in forward_arguments(model.__class__)
    processors.insert(
        0,
        UnbatchedClassifierFreeGuidanceLogitsProcessor(
            settings.guidance_scale, model, negative_prompt_ids, negative_prompt_attention_mask, has_cache
        ),
    )


def add_watermark(settings: GenerationConfig, processors: LogitsProcessorList, vocab_size: int, device: Any) -> None:
    """Put the processor of `watermarking_config` behind all others but the normalization."""
    last = bool(processors) and isinstance(processors[-1], LogitNormalization)
    watermark = watermarking_config_from(settings.watermarking_config).construct_processor(vocab_size, device)
    processors.insert(len(processors) - last, watermark)


def first_layers(model: Any, count: int) -> Any:
    """`model` with only its first `count` blocks, whose weights are shared: a draft model (Elhoushi et al., 2024).

    Raises:
        InputError: the model has fewer blocks, or is an encoder–decoder.
    """
    depth = model.config.num_hidden_layers
    if model.config.is_encoder_decoder or not 1 <= count < depth:
        raise InputError(
            f"assistant_early_exit={count} must be at least 1 and less than the {depth} layers of a decoder alone."
        )
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = count
    return _shallow(model, count, depth, config)


def _shallow(module: nn.Module, count: int, depth: int, config: Any) -> nn.Module:
    copied = copy.copy(module)
    children = dict(module._modules)
    for name, child in children.items():
        if isinstance(child, nn.ModuleList) and len(child) == depth:
            children[name] = nn.ModuleList(list(child)[:count])
        elif child is not None and any(isinstance(part, nn.ModuleList) for part in child.modules()):
            children[name] = _shallow(child, count, depth, config)
    object.__setattr__(copied, "_modules", children)
    if hasattr(module, "config"):
        object.__setattr__(copied, "config", config)
    return copied
