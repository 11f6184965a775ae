"""GPT-Neo's table: configurations, and what its classes must notice."""

from __future__ import annotations

from typing import Any

import torch
from cases import Family
from decoder_cases import decoder_cases
from drawing import Draw, Sizes
from hypothesis import strategies as st
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3, 5]))
    kinds = draw(st.lists(st.sampled_from(["global", "local"]), min_size=1, max_size=3))
    times = draw(st.sampled_from([1, 1, 2])) if len(kinds) == 1 else 1
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "max_position_embeddings": draw(st.integers(4, 14)),
        "hidden_size": heads * draw(st.integers(4, 8)),
        "num_layers": len(kinds) * times,
        "attention_types": [[kinds, times]],
        "num_heads": heads,
        "intermediate_size": draw(st.one_of(st.none(), st.integers(1, 40))),
        "window_size": draw(st.integers(1, 5)),
        "activation_function": draw(st.sampled_from(list(ACTIVATIONS))),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-12, 1e-2])),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        "use_cache": draw(st.booleans()),
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_heads"],
        max_length=config["max_position_embeddings"],
        num_token_types=config["vocab_size"],  # segments are taken from the vocabulary
        pad_token_id=config["pad_token_id"],
        causal=True,
        has_windows="local" in config["attention_types"][0][0],
    )


def masks(config: Any, prefix: str) -> dict[str, Tensor]:
    """Two buffers of every layer in files of the first years."""
    length = config.max_position_embeddings
    blocks = [f"{prefix}h.{layer}.attn.attention" for layer in range(config.num_layers)]
    buffers = {f"{block}.bias": torch.ones(1, 1, length, length, dtype=torch.bool).tril() for block in blocks}
    return {**buffers, **{f"{block}.masked_bias": torch.tensor(-1e9) for block in blocks}}


GPT_NEO = Family(
    "GPTNeoConfig",
    config,
    decoder_cases(
        "GPTNeo",
        config,
        sizes,
        (
            "norm eps",
            "other GELU",
            "attention scale",
            "position offset",
            "no segments",
            "no mask",
            "wider window",
        ),
    ),
    smallest={
        "vocab_size": 11,
        "max_position_embeddings": 8,
        "hidden_size": 8,
        "num_layers": 2,
        "attention_types": [[["global", "local"], 1]],
        "num_heads": 2,
        "window_size": 3,
        "pad_token_id": 0,
    },
    tied=("lm_head.weight",),
    former_buffers=masks,
    former_fields=lambda config: {"attention_layers": config.attention_layers, "summary_type": "cls_index"},
)
