"""A tiny model for the app's tests: random, over the bytes of UTF-8, so that characters take up to four tokens."""

from __future__ import annotations

import torch
from tokenizers import pre_tokenizers

from minitransformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer


def byte_tokenizer() -> GPT2Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return GPT2Tokenizer({"<|endoftext|>": 0, **{letter: index for index, letter in enumerate(alphabet, 1)}}, [])


def tiny_model(seed: int = 1) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=257,
        n_positions=256,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,  # so that it has opinions
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()
