"""GPT-NeoX's table: configurations, and what its classes must notice."""

from __future__ import annotations

from typing import Any

import torch
from cases import Family
from decoder_cases import decoder_cases
from drawing import Draw, Sizes
from hypothesis import strategies as st
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS


def rope(draw: Draw) -> dict[str, Any]:
    """How positions turn, as keywords of former years or in the present form."""
    base, share = draw(st.sampled_from([10_000.0, 50.0])), draw(st.sampled_from([0.25, 0.5, 0.75, 1.0]))
    kind = draw(st.sampled_from(["default", "former", "present", "linear"]))
    if kind == "default":
        return {}
    if kind == "former":
        return {"rotary_emb_base": base, "rotary_pct": share}
    parameters = {"rope_type": "default", "rope_theta": base, "partial_rotary_factor": share}
    if kind == "linear":
        parameters |= {"rope_type": "linear", "factor": 2.5}
    return {"rope_parameters": parameters}


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3]))
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "hidden_size": heads * draw(st.sampled_from([8, 12, 16])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 40)),
        "hidden_act": draw(st.sampled_from(list(ACTIVATIONS))),
        "max_position_embeddings": 16,
        "layer_norm_eps": draw(st.sampled_from([1e-5, 1e-12, 1e-2])),
        "use_parallel_residual": draw(st.sampled_from([True, True, False])),
        "attention_bias": draw(st.booleans()),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        "use_cache": draw(st.booleans()),
        **rope(draw),
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_attention_heads"],
        max_length=12,
        num_token_types=0,
        pad_token_id=config["pad_token_id"],
        causal=True,
    )


def buffers(config: Any, prefix: str) -> dict[str, Tensor]:
    """Masks and frequencies of every layer in files of the first years."""
    blocks = [f"{prefix}layers.{layer}.attention" for layer in range(config.num_hidden_layers)]
    return {
        name: tensor
        for block in blocks
        for name, tensor in {
            f"{block}.bias": torch.ones(1, 1, 16, 16, dtype=torch.bool).tril(),
            f"{block}.masked_bias": torch.tensor(-1e9),
            f"{block}.rotary_emb.inv_freq": torch.ones(2),
        }.items()
    }


GPT_NEOX = Family(
    "GPTNeoXConfig",
    config,
    decoder_cases(
        "GPTNeoX",
        config,
        sizes,
        (
            "norm eps",
            "other GELU",
            "attention scale",
            "rotary base",
            "no mask",
            "sees the future",
            "one sub-layer after the other",
        ),
    ),
    smallest={
        "vocab_size": 11,
        "hidden_size": 16,
        "intermediate_size": 6,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    },
    tied=("lm_head.weight",),
    former_buffers=buffers,
)
