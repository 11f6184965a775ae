"""Tiny BERT and GPT checkpoints with tokenizers, and data that they can learn."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import minitransformers as mt
from minitransformers.data import train_byte_level_bpe

WORDS = [
    "good",
    "nice",
    "great",
    "fine",
    "bad",
    "awful",
    "poor",
    "sad",
    "film",
    "book",
    "song",
    "play",
    "the",
    "a",
    "is",
    "was",
    "very",
    "not",
    "it",
    "this",
]
NAMES = ["anna", "ben", "clara", "david", "emma", "felix"]
PLACES = ["oslo", "paris", "rome", "berlin", "madrid"]


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *WORDS, *NAMES, *PLACES, "lives", "in", "where", "does", "live", "?", "."]
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    mt.BertTokenizer(str(directory / "vocab.txt")).save_pretrained(directory)
    mt.set_seed(0)
    config = mt.BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.1,
    )  # fmt: skip
    mt.BertModel(config).save_pretrained(directory)
    return str(directory)


@pytest.fixture(scope="session")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("gpt")
    tokenizer = train_byte_level_bpe([" ".join(WORDS)], vocab_size=300)
    tokenizer.save_pretrained(directory)
    mt.set_seed(0)
    config = mt.GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.1,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    mt.GPT2LMHeadModel(config).save_pretrained(directory)
    return str(directory)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 120 reviews whose label is whether a good or a bad word is in them."""
    draw, path = random.Random(0), tmp_path_factory.mktemp("data") / "reviews.tsv"
    lines = ["text\tlabel"]
    for _ in range(120):
        is_good = draw.random() < 0.5
        word = draw.choice(WORDS[:4] if is_good else WORDS[4:8])
        lines.append(f"the {draw.choice(WORDS[8:12])} is {word}\t{'good' if is_good else 'bad'}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path
