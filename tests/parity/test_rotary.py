"""Rotary positions against the reference's: every way to stretch them, to the last bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import minitransformers as mt
from minitransformers.models.base.rotary import NEEDED, RotaryEmbedding

LENGTH = 8  # of the training


@st.composite
def descriptions(draw: Any, kind: str, head_dim: int) -> dict[str, Any]:
    """`rope_parameters` of one type, with the numbers that it needs and some that it may have."""
    described: dict[str, Any] = {"rope_type": kind, "rope_theta": draw(st.sampled_from([10_000.0, 50.0, 1e6]))}
    if kind == "longrope":
        factors = st.lists(st.floats(0.5, 64.0), min_size=head_dim // 2, max_size=head_dim // 2)
        further = {
            "original_max_position_embeddings": st.sampled_from([4, 32]),
            "attention_factor": st.sampled_from([0.5, 1.25]),
            "factor": st.sampled_from([0.5, 1.0, 4.0]),
        }
        described |= {"short_factor": draw(factors), "long_factor": draw(factors)}
        described |= draw(st.fixed_dictionaries({}, optional=further))
    elif kind != "default":
        described["factor"] = draw(st.sampled_from([1.0, 2.0, 4.0, 8.0]))
    if kind == "llama3":
        low, high = draw(st.sampled_from([(1.0, 4.0), (0.5, 1.5)]))
        described |= {"low_freq_factor": low, "high_freq_factor": high}
        described["original_max_position_embeddings"] = draw(st.sampled_from([4, 32]))
    if kind == "yarn":
        further = {
            "original_max_position_embeddings": st.sampled_from([4, 32]),
            "attention_factor": st.sampled_from([0.5, 1.25]),
            "beta_fast": st.sampled_from([4.0, 16.0]),
            "beta_slow": st.sampled_from([0.5, 2.0]),
            "truncate": st.booleans(),
        }
        described |= draw(st.fixed_dictionaries({}, optional=further))
        if draw(st.booleans()):
            described |= {"mscale": 0.7, "mscale_all_dim": 1.1}
    return described


@pytest.mark.parametrize("kind", NEEDED)
@given(data=st.data())
def test_rotations_are_the_references(kind: str, data: st.DataObject) -> None:
    head_dim = data.draw(st.sampled_from([4, 10, 64]))
    described = data.draw(descriptions(kind, head_dim))
    positions = torch.arange(data.draw(st.integers(1, 40)))[None] + data.draw(st.integers(0, 5))
    sizes = {"hidden_size": 2 * head_dim, "num_attention_heads": 2, "max_position_embeddings": LENGTH}
    theirs = transformers.LlamaConfig(**sizes, rope_parameters=copy.deepcopy(described))
    ours = mt.LlamaConfig(**sizes, rope_parameters=copy.deepcopy(described))
    assert ours.rope_parameters == theirs.rope_parameters
    for dtype in (torch.float32, torch.bfloat16):
        hidden_states = torch.zeros(1, positions.shape[1], 2 * head_dim, dtype=dtype)
        expected = LlamaRotaryEmbedding(theirs)(hidden_states, positions)
        rotary = RotaryEmbedding(ours)(hidden_states, positions)
        assert all(torch.equal(wave, of_theirs) for wave, of_theirs in zip(rotary, expected, strict=True))


def test_frequencies_stay_float32_and_survive_the_meta_device() -> None:
    """In a narrower type they would be rounded; `to_empty` computes them again."""
    config = mt.LlamaConfig(hidden_size=32, num_attention_heads=2)
    expected = RotaryEmbedding(config).inv_freq
    with torch.device("meta"):
        built_on_meta = RotaryEmbedding(config)
    for module in (
        RotaryEmbedding(config).bfloat16(),
        built_on_meta.to_empty(device="cpu"),
        RotaryEmbedding(config).to("meta").to_empty(device="cpu"),
    ):
        assert torch.equal(module.inv_freq, expected)
        assert torch.equal(module.original_inv_freq, expected)


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("LlamaConfig", {"rope_theta": 7.0}),
        ("LlamaConfig", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
        ("LlamaConfig", {"rope_theta": 7.0, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
        ("LlamaConfig", {"rope_theta": 7.0, "rope_parameters": {"rope_type": "default", "rope_theta": 9.0}}),
        ("Qwen2Config", {"rope_scaling": {"type": "yarn", "factor": 4.0}, "max_position_embeddings": 99}),
        ("GPTNeoXConfig", {"rotary_pct": 0.5, "rotary_emb_base": 7}),
        ("GPTNeoXConfig", {"rotary_pct": 0.5, "rope_scaling": {"type": "linear", "factor": 2.0}}),
        (
            "LlamaConfig",
            {"head_dim": 4, "rope_scaling": {"type": "longrope", "short_factor": [1, 2.0], "long_factor": [3.0, 4]}},
        ),
        ("ModernBertConfig", {"global_rope_theta": 7.0, "global_attn_every_n_layers": 2}),
        ("ModernBertConfig", {"local_rope_theta": 7.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ],
)
def test_old_keywords(name: str, keywords: dict[str, Any], tmp_path: Any) -> None:
    """As arguments, and as keys of a file."""
    theirs = getattr(transformers, name)(**copy.deepcopy(keywords))
    ours = getattr(mt, name)(**copy.deepcopy(keywords))
    assert ours.rope_parameters == theirs.rope_parameters
    read = getattr(mt, name).from_dict({**copy.deepcopy(keywords), "model_type": ours.model_type})
    assert read.rope_parameters == theirs.rope_parameters
    assert getattr(read, "layer_types", None) == getattr(theirs, "layer_types", None)
    read.save_pretrained(tmp_path)
    assert getattr(transformers, name).from_pretrained(tmp_path).rope_parameters == theirs.rope_parameters


def test_an_override_wins_over_the_file() -> None:
    content = {"model_type": "llama", "rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}
    assert mt.LlamaConfig.from_dict(content, rope_theta=7.0).rope_parameters["rope_theta"] == 7.0
    assert mt.LlamaConfig.from_dict({"model_type": "llama", "rope_theta": 5.0}).rope_parameters["rope_theta"] == 5.0
    content = {"model_type": "modernbert", "num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}
    read = mt.ModernBertConfig.from_dict(content, global_attn_every_n_layers=2)
    assert read.layer_types == ["full_attention", "sliding_attention"]
