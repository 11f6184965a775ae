"""Tiny models with weights so large that no choice is a tie, and calls of `generate` for them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

import minitransformers as mt
from minitransformers.testing.weights import draw_weights

VOCABULARY = 11


@functools.lru_cache(maxsize=64)
def gpt2(seed: int = 0, vocab_size: int = VOCABULARY, scale: float = 0.7, positions: int = 40) -> mt.GPT2LMHeadModel:
    """A GPT-2 in float64 without an end of text; nobody may change it."""
    config = mt.GPT2Config(
        n_layer=2,
        n_head=2,
        n_embd=8,
        vocab_size=vocab_size,
        n_positions=positions,
        bos_token_id=0,
        eos_token_id=None,
    )
    return draw_weights(mt.GPT2LMHeadModel(config).double().eval(), seed, scale=scale)


@functools.lru_cache(maxsize=16)
def bert(seed: int = 0) -> mt.BertLMHeadModel:
    """The same as a decoder of BERT's kind."""
    config = mt.BertConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=8,
        intermediate_size=12,
        vocab_size=VOCABULARY,
        max_position_embeddings=40,
        is_decoder=True,
        bos_token_id=0,
    )
    return draw_weights(mt.BertLMHeadModel(config).double().eval(), seed, scale=0.7)


def left_padded(texts: list[list[int]]) -> dict[str, Tensor]:
    """A batch of texts of different lengths, as a tokenizer gives it."""
    width = max(map(len, texts))
    ids = torch.tensor([[0] * (width - len(text)) + text for text in texts])
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
    return {"input_ids": ids, "attention_mask": mask}


STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampling": {"do_sample": True, "top_p": 0.9},
    "several samples": {"do_sample": True, "num_return_sequences": 3},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "beam sampling": {"num_beams": 3, "do_sample": True},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
    "prompt lookup, sampling": {"prompt_lookup_num_tokens": 3, "do_sample": True},
    "draft model": {"assistant_model": 1},
    "draft model, sampling": {"assistant_model": 1, "do_sample": True},
}
ONE_AT_A_TIME = tuple(name for name in STRATEGIES if "lookup" in name or "draft" in name)


def options(strategy: str) -> dict[str, Any]:
    """The arguments of a strategy; a draft model is another tiny GPT-2."""
    found = dict(STRATEGIES[strategy])
    if "assistant_model" in found:
        found["assistant_model"] = gpt2(found["assistant_model"])
        found["assistant_confidence_threshold"] = 0.1
    return found
