"""The tables of Llama and of the two families that are Llama with one change each: Mistral and Qwen2."""

from __future__ import annotations

from typing import Any

import torch
from cases import Family
from decoder_cases import decoder_cases
from drawing import Draw, Sizes
from hypothesis import strategies as st
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS

MAX_LENGTH = 12


def rope(draw: Draw) -> dict[str, Any]:
    """How positions turn, by either of the names that it has. What "dynamic" gives depends on earlier calls."""
    base = draw(st.sampled_from([10_000.0, 50.0, 1_000_000.0]))
    kind = draw(st.sampled_from(["default", "default", "linear", "llama3", "yarn"]))
    if kind == "default":
        return draw(st.sampled_from([{}, {"rope_theta": base}, {"rope_parameters": {"rope_theta": base}}]))
    numbers: dict[str, Any] = {"factor": draw(st.sampled_from([1.0, 2.0, 7.5]))}
    if kind == "llama3":
        numbers |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8}
    elif kind == "yarn" and draw(st.booleans()):
        numbers |= {"original_max_position_embeddings": 6, "beta_fast": 4.0, "attention_factor": 1.25}
    if draw(st.booleans()):
        return {"rope_theta": base, "rope_scaling": {"type": kind, **numbers}}  # as files of former years have it
    return {"rope_parameters": {"rope_type": kind, "rope_theta": base, **numbers}}


def shared_config(draw: Draw) -> dict[str, Any]:
    key_value_heads, shared_by = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (3, 2)]))
    heads = key_value_heads * shared_by
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "hidden_size": 2 * heads * draw(st.integers(2, 4)),
        "intermediate_size": draw(st.integers(1, 40)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "hidden_act": draw(st.sampled_from(["silu", *ACTIVATIONS])),
        "max_position_embeddings": draw(st.sampled_from([8, 64])),
        "rms_norm_eps": draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        "use_cache": draw(st.booleans()),
        **rope(draw),
    }


def llama_config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    config = {
        **shared_config(draw),
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
        "head_dim": draw(st.sampled_from([None, None, 4, 10])),
        **fixed,
    }
    return longrope(draw, config) if draw(st.sampled_from([False, False, False, True])) else config


def longrope(draw: Draw, config: dict[str, Any]) -> dict[str, Any]:
    """Positions whose turns are others in texts of more than 5 tokens, a factor for each pair of features."""
    pairs = (config["head_dim"] or config["hidden_size"] // config["num_attention_heads"]) // 2
    factors = st.lists(st.sampled_from([1.0, 1.5, 8.0, 40.0]), min_size=pairs, max_size=pairs)
    description = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": draw(factors),
        "long_factor": draw(factors),
        "original_max_position_embeddings": 5,
    }
    without = {key: value for key, value in config.items() if key not in ("rope_theta", "rope_scaling")}
    return {**without, "rope_parameters": description}


def mistral_config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    return {
        **shared_config(draw),
        "head_dim": draw(st.sampled_from([None, 6])),
        "sliding_window": draw(st.sampled_from([None, 2, 3, 5])),
        **fixed,
    }


def qwen2_config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    chosen = shared_config(draw)
    layers = chosen["num_hidden_layers"]
    windows = draw(st.sampled_from(["none", "by number", "by type"]))
    if windows != "none":
        chosen |= {"use_sliding_window": True, "sliding_window": draw(st.integers(2, 5))}
        chosen["max_window_layers"] = draw(st.integers(0, layers))
    if windows == "by type":
        kinds = st.sampled_from(["full_attention", "sliding_attention"])
        chosen["layer_types"] = draw(st.lists(kinds, min_size=layers, max_size=layers))
    return {**chosen, **fixed}


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_attention_heads"],
        max_length=MAX_LENGTH,
        num_token_types=0,
        pad_token_id=config["pad_token_id"],
        causal=True,
        has_windows=config.get("sliding_window") is not None,
    )


_MUTATIONS = (
    "norm eps",
    "other activation",
    "attention scale",
    "rotary base",
    "no mask",
    "sees the future",
    "other sharing of heads",
)


def frequencies(config: Any, prefix: str) -> dict[str, Tensor]:
    """A buffer of every layer in files of the first years."""
    return {
        f"{prefix}layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(config.hidden_size // 2)
        for layer in range(config.num_hidden_layers)
    }


_SMALLEST = {
    "vocab_size": 11,
    "hidden_size": 8,
    "intermediate_size": 6,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}

LLAMA = Family(
    "LlamaConfig",
    llama_config,
    decoder_cases("Llama", llama_config, sizes, (*_MUTATIONS, "factors of short texts in long ones")),
    smallest=_SMALLEST,
    tied=("lm_head.weight",),
    former_buffers=frequencies,
    former_fields=lambda config: {"rope_theta": config.rope_parameters["rope_theta"], "rope_scaling": None},
)
MISTRAL = Family(
    "MistralConfig",
    mistral_config,
    decoder_cases("Mistral", mistral_config, sizes, (*_MUTATIONS, "wider window")),
    smallest=_SMALLEST,
    tied=("lm_head.weight",),
    former_buffers=frequencies,
)
QWEN2 = Family(
    "Qwen2Config",
    qwen2_config,
    decoder_cases("Qwen2", qwen2_config, sizes, (*_MUTATIONS, "wider window")),
    smallest=_SMALLEST,
    tied=("lm_head.weight",),
    former_buffers=frequencies,
)
