"""What configurations since GPT-2 have besides, with impossible values; and inputs that only these families refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import minitransformers as mt

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}
LONGROPE = {"type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [3.0, 4.0]}


@pytest.mark.parametrize(
    ("name", "fields", "parts"),
    [
        ("LlamaConfig", {"num_key_value_heads": 3}, ["num_attention_heads=32", "num_key_value_heads=3"]),
        ("LlamaConfig", {"num_key_value_heads": 0}, ["num_key_value_heads=0", "at least 1"]),
        ("LlamaConfig", {"head_dim": 5}, ["head_dim=5", "even"]),
        ("LlamaConfig", {"hidden_size": 4098, "head_dim": 2}, ["hidden_size=4098", "num_attention_heads=32"]),
        ("LlamaConfig", {"hidden_act": "swiglu"}, ["hidden_act='swiglu'", "silu"]),
        ("LlamaConfig", {"rms_norm_eps": 0.0}, ["rms_norm_eps=0.0", "above 0"]),
        ("LlamaConfig", {"rope_theta": "10000"}, ["rope_theta", "'10000'", "above 0"]),
        ("LlamaConfig", {"rope_theta": 0.0}, ["rope_theta", "0.0", "above 0"]),
        ("LlamaConfig", {"rope_scaling": {"type": "linear"}}, ["linear", "factor"]),
        ("LlamaConfig", {"rope_scaling": {"type": "linear", "factor": -1.0}}, ["factor", "-1.0", "above 0"]),
        ("LlamaConfig", {"rope_scaling": {"type": "lineal", "factor": 2.0}}, ["'lineal'", "Did you mean 'linear'"]),
        ("LlamaConfig", {"rope_scaling": LLAMA3}, ["high_freq_factor", "low_freq_factor"]),
        ("LlamaConfig", {"rope_scaling": LONGROPE}, ["'short_factor'", "[1.0, 2.0]", "a list of 64 numbers", "128"]),
        ("LlamaConfig", {"head_dim": 4, "rope_scaling": {**LONGROPE, "long_factor": [1, -1]}}, ["'long_factor'", "-1"]),
        ("LlamaConfig", {"head_dim": 4, "rope_scaling": {**LONGROPE, "long_factor": 2.0}}, ["'long_factor'", "2.0"]),
        (
            "LlamaConfig",
            {"head_dim": 4, "rope_scaling": {**LONGROPE, "original_max_position_embeddings": 1}},
            ["'original_max_position_embeddings'", "above 1"],
        ),
        ("LlamaConfig", {"rope_scaling": {"type": "longrope"}}, ["longrope", "short_factor, long_factor"]),
        ("LlamaConfig", {"rope_scaling": "linear"}, ["rope_parameters", "'linear'"]),
        ("MistralConfig", {"sliding_window": 0}, ["sliding_window=0", "at least 1"]),
        ("Qwen2Config", {"layer_types": ["full_attention"]}, ["layer_types has 1", "num_hidden_layers=32"]),
        ("Qwen2Config", {"layer_types": ["global"] * 32}, ["layer_types", "full_attention"]),
        ("Qwen2Config", {"layer_types": ["sliding_attention"] * 32}, ["use_sliding_window=True"]),
        ("GPTNeoConfig", {"num_layers": 3}, ["attention_types", "num_layers=3"]),
        ("GPTNeoConfig", {"attention_types": [[["local", "far"], 12]]}, ["attention_types", "'local'"]),
        ("GPTNeoConfig", {"attention_types": ["local"]}, ["attention_types", "'local'"]),
        ("GPTNeoConfig", {"window_size": 0}, ["window_size=0", "at least 1"]),
        ("GPTNeoXConfig", {"rotary_pct": 0.0}, ["partial_rotary_factor", "above 0"]),
        ("GPTNeoXConfig", {"rotary_pct": 1.5}, ["partial_rotary_factor", "1.5"]),
        ("ModernBertConfig", {"classifier_pooling": "max"}, ["classifier_pooling='max'", "'mean'"]),
        ("ModernBertConfig", {"global_attn_every_n_layers": 0}, ["global_attn_every_n_layers=0"]),
        ("ModernBertConfig", {"local_rope_theta": -1.0}, ["sliding_attention", "-1.0"]),
        ("ModernBertConfig", {"layer_types": ["full_attention"]}, ["layer_types has 1", "num_hidden_layers=22"]),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:50],
)
def test_impossible_configurations(name: str, fields: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(mt.ConfigError) as caught:
        getattr(mt, name)(**fields)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(mt.UnknownArgumentError, match="Did you mean 'rope_theta'"):
        mt.LlamaConfig(rope_teta=1.0)
    with pytest.raises(mt.UnknownArgumentError, match="Did you mean 'rotary_pct'"):
        mt.GPTNeoXConfig(rotary_pc=0.5)


LLAMA = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2}
IDS = torch.tensor([[3, 1, 4]])


def test_positions_below_zero() -> None:
    model = mt.LlamaModel(mt.LlamaConfig(**LLAMA)).eval()
    with pytest.raises(mt.InputError, match="position_ids holds -1"):
        model(IDS, position_ids=torch.tensor([[-1, 0, 1]]))
    with pytest.raises(mt.InputError, match=r"position_ids has shape \(3,\)"):
        model(IDS, position_ids=torch.arange(3))


def test_a_cache_of_another_number_of_shared_heads() -> None:
    """Two models that differ in nothing else."""
    one, two = (mt.LlamaModel(mt.LlamaConfig(**LLAMA, num_key_value_heads=heads)).eval() for heads in (1, 2))
    cache = one(IDS, use_cache=True).past_key_values
    with pytest.raises(mt.InputError, match="1 heads of width 4; this one has 2 of width 4"):
        two(IDS, past_key_values=cache)


def test_segments_for_a_model_without_them() -> None:
    """They are ignored, as in every model without them: tokenizers put them into a batch."""
    config = mt.GPTNeoXConfig(**{**LLAMA, "hidden_size": 16})
    for name in ("GPTNeoXForTokenClassification", "GPTNeoXForQuestionAnswering"):
        model = getattr(mt, name)(config).eval()
        assert torch.equal(model(IDS, token_type_ids=torch.ones_like(IDS))[0], model(IDS)[0])


def test_a_mean_over_tokens_that_nobody_names() -> None:
    config = mt.ModernBertConfig(**LLAMA, pad_token_id=0, classifier_pooling="mean")
    with pytest.raises(mt.InputError, match="classifier_pooling='mean' needs"):
        mt.ModernBertForSequenceClassification(config)(IDS, attention_mask=torch.ones(1, 1, 3, 3, dtype=torch.bool))
    with pytest.raises(mt.ConfigError, match="num_labels=3 must be 2"):
        mt.ModernBertForQuestionAnswering(mt.ModernBertConfig(**LLAMA, pad_token_id=0, num_labels=3))
