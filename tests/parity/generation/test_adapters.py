"""Prompt tuning, p-tuning, prefix tuning and LoRA of peft: the same tokens with a model of either library."""

from __future__ import annotations

import warnings
from typing import Any

import peft
import pytest
import torch
import transformers
from generating import VOCABULARY, prompts, some
from hypothesis import given, settings, strategies as st

import minitransformers as mt
from minitransformers.testing.weights import draw_weights

SMALL = {"vocab_size": VOCABULARY, "eos_token_id": None, "pad_token_id": 0}
SEQ2SEQ = {"decoder_start_token_id": 1, "d_model": 8, **SMALL}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2LMHeadModel": ("GPT2Config", {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 40, **SMALL}),
    "LlamaForCausalLM": (
        "LlamaConfig",
        {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 12, **SMALL},
    ),
    "T5ForConditionalGeneration": ("T5Config", {"num_layers": 2, "num_heads": 2, "d_kv": 4, "d_ff": 12, **SEQ2SEQ}),
    "BartForConditionalGeneration": (
        "BartConfig",
        {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        | {"encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "max_position_embeddings": 40, "forced_eos_token_id": None}
        | SEQ2SEQ,
    ),
}
ADAPTERS = {
    "prompt tuning": lambda task: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3),
    "p-tuning": lambda task: peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=3, encoder_hidden_size=6),
    "prefix tuning": lambda task: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=3),
    "LoRA": lambda task: peft.LoraConfig(task_type=task, r=2, init_lora_weights=False),
}


def pair(name: str, adapter: str, seed: int) -> list[Any]:
    """Our model and the reference's with the same weights and the same adapter, in float64."""
    config_name, sizes = MODELS[name]
    theirs = getattr(transformers, name)(getattr(transformers, config_name)(**sizes))
    theirs = draw_weights(theirs.double().eval(), seed, scale=0.7)
    ours = getattr(mt, name)(getattr(mt, config_name)(**sizes)).double().eval()
    ours.load_state_dict(theirs.state_dict())
    task = "SEQ_2_SEQ_LM" if "Conditional" in name else "CAUSAL_LM"
    tuned = [peft.get_peft_model(model, ADAPTERS[adapter](task)).double().eval() for model in (ours, theirs)]
    for model in tuned:
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:  # those of the adapter
                    parameter.copy_(0.7 * torch.randn(parameter.shape, generator=random, dtype=parameter.dtype))
    return tuned


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=5)
@given(data=st.data())
def test_same_tokens(name: str, adapter: str, data: st.DataObject) -> None:
    """Greedily, by beams and sampled, with prompts of one length or padded on the left."""
    seed = data.draw(st.integers(0, 9))
    arguments = {**prompts(data.draw), "max_new_tokens": 6}
    arguments |= data.draw(st.sampled_from([{}, {"num_beams": 3}, {"do_sample": True, "top_k": 8}]))
    if some(data.draw, 4) and "prefix" not in adapter and "prompt" not in adapter:
        arguments["use_cache"] = False
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in pair(name, adapter, seed):
            torch.manual_seed(seed)
            results.append(model.generate(**arguments))
    assert torch.equal(*results), results


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", MODELS)
def test_the_adapter_changes_the_tokens(name: str, adapter: str) -> None:
    """With some weights at least: adapters that are not applied would give equal tokens in both libraries too."""
    ids = torch.tensor([[7, 8, 9], [10, 11, 12]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(20):
            tuned, _ = pair(name, adapter, seed)
            with_adapter = tuned.generate(input_ids=ids, max_new_tokens=8)
            with tuned.disable_adapter():
                without = tuned.get_base_model().generate(input_ids=ids, max_new_tokens=8)
            if not torch.equal(with_adapter, without):
                return
    pytest.fail("the adapter changes no token")
