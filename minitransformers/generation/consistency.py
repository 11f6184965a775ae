"""The defaults of settings of `generate`, settings that do not fit each other, and the strategy that they choose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from minitransformers.errors import ConfigError


class GenerationMode(StrEnum):
    """The strategies of `generate`, under the names of `transformers`; the last four are not covered."""

    GREEDY_SEARCH = "greedy_search"
    SAMPLE = "sample"
    ASSISTED_GENERATION = "assisted_generation"
    BEAM_SEARCH = "beam_search"
    BEAM_SAMPLE = "beam_sample"
    CONTRASTIVE_SEARCH = "contrastive_search"
    DOLA_GENERATION = "dola_generation"
    CONSTRAINED_BEAM_SEARCH = "constrained_beam_search"
    GROUP_BEAM_SEARCH = "group_beam_search"


@dataclass
class CompileConfig:
    """How transformers compiles a model with a static cache; accepted, and without effect.

    `generate` does not compile: call `model.compile()` or `torch.compile(model)` before it.
    """

    fullgraph: bool = False
    dynamic: bool | None = None
    backend: Any = "inductor"
    mode: str = "reduce-overhead"
    options: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A copy of the settings."""
        return dict(vars(self))


# The values of fields that are not set. Without max_length and max_new_tokens, 20 tokens are generated.
DEFAULTS: dict[str, Any] = {
    "min_length": 0,
    "do_sample": False,
    "num_beams": 1,
    "early_stopping": False,
    "length_penalty": 1.0,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "num_return_sequences": 1,
    "return_dict_in_generate": False,
    "output_scores": False,
    "remove_invalid_values": False,
}

# Settings that have no effect unless another has a value of at least so much, and how to say that.
NEEDED: dict[tuple[str, float, str], tuple[str, ...]] = {
    ("do_sample", True, "do_sample=True"): (
        *("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    ),
    ("num_beams", 2, "num_beams of at least 2"): ("early_stopping", "length_penalty"),
    ("return_dict_in_generate", True, "return_dict_in_generate=True"): (
        *("output_scores", "output_logits", "output_attentions", "output_hidden_states"),
    ),
}

# Arguments of `generate` that are no settings
ARGUMENTS_OF_GENERATE = (
    *("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus", "assistant_model"),
    *("streamer", "negative_prompt_ids", "negative_prompt_attention_mask"),
)

# The kinds of cache that transformers has, and what to do instead of those that are not covered.
CACHES: dict[str, str | None] = {
    **dict.fromkeys(("dynamic", "dynamic_full", "offloaded", "static", "offloaded_static")),
    **dict.fromkeys(("sliding_window", "hybrid", "hybrid_chunked")),  # former names of a static cache
    **dict.fromkeys(("offloaded_hybrid", "offloaded_hybrid_chunked")),
    "quantized": "take 'offloaded', which keeps the cache on the CPU, or a model in bfloat16",
    "paged": "call generate on batches of prompts",
}


def check_strictly(settings: Any) -> None:
    """Refuse settings that are set and have no effect.

    Raises:
        ConfigError: there are some.
    """
    found = settings.without_effect(vars(settings))
    if settings.use_cache is False:
        caches = [name for name in ("cache_implementation", "cache_config") if getattr(settings, name) is not None]
        found += [f"{name} has no effect with use_cache=False." for name in caches]
    if settings.pad_token_id is not None and settings.pad_token_id < 0:
        found.append(f"pad_token_id={settings.pad_token_id} is no token: set another.")
    if found:
        raise ConfigError("GenerationConfig is invalid: " + " ".join(found))


def mode_of(settings: Any, assistant_model: Any = None) -> GenerationMode:
    """The strategy that settings choose, together with an assistant model, if any."""
    if settings.constraints is not None or settings.force_words_ids is not None:
        return GenerationMode.CONSTRAINED_BEAM_SEARCH
    if (settings.num_beams or 1) > 1:
        if (settings.num_beam_groups or 1) > 1:
            return GenerationMode.GROUP_BEAM_SEARCH
        return GenerationMode.BEAM_SAMPLE if settings.do_sample else GenerationMode.BEAM_SEARCH
    if not settings.do_sample and (settings.penalty_alpha or 0) > 0 and (settings.top_k or 0) > 1:
        return GenerationMode.CONTRASTIVE_SEARCH
    guesses = (assistant_model, settings.prompt_lookup_num_tokens, settings.assistant_early_exit)
    if any(guess is not None for guess in guesses):
        return GenerationMode.ASSISTED_GENERATION
    if settings.dola_layers is not None:
        return GenerationMode.DOLA_GENERATION
    return GenerationMode.SAMPLE if settings.do_sample else GenerationMode.GREEDY_SEARCH
