"""evaluate_text: against values computed by hand, and against one forward pass for every token."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from tokenizers import pre_tokenizers
from torch import Tensor, nn

from minitransformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer, InputError
from minitransformers.generation.text_quality import distinct_n, evaluate_text


def byte_tokenizer() -> GPT2Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return GPT2Tokenizer({letter: index for index, letter in enumerate(alphabet)}, [])


def tiny_gpt2(positions: int, seed: int = 0, **fields: Any) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=257, n_positions=positions, n_embd=16, n_layer=1, n_head=2, initializer_range=0.5, **fields
    )
    return GPT2LMHeadModel(config).double().eval()


class Bigrams(nn.Module):
    """A model of two tokens: after a 0 comes a 1 with probability 3/4, after a 1 with probability 1/2."""

    config = SimpleNamespace(max_position_embeddings=None)

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor([[1 / 4, 3 / 4], [1 / 2, 1 / 2]]).log())

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table[input_ids])


def test_by_hand() -> None:
    result = evaluate_text(Bigrams(), byte_tokenizer(), [0, 1, 1, 0, 0, 1])
    # 0→1: 3/4, 1→1: 1/2, 1→0: 1/2, 0→0: 1/4, 0→1: 3/4
    assert result.tokens == 6
    assert result.perplexity == pytest.approx((4 / 3 * 2 * 2 * 4 * 4 / 3) ** (1 / 5))
    assert result.distinct_1 == 2 / 6
    assert result.distinct_2 == 4 / 5  # 01 11 10 00 01
    assert result.distinct_3 == 1  # 011 110 100 001
    assert result.repetition == 0


def test_context_is_read_and_not_measured() -> None:
    result = evaluate_text(Bigrams(), byte_tokenizer(), [1, 1], context=[1, 0])
    assert result.tokens == 2
    assert result.perplexity == pytest.approx((4 / 3 * 2) ** (1 / 2))
    assert result.distinct_1 == 1 / 2


def test_a_loop_repeats_itself() -> None:
    result = evaluate_text(Bigrams(), byte_tokenizer(), [0, 1] * 10)
    assert result.repetition == pytest.approx(15 / 17)  # 17 4-grams, two of them different
    assert result.distinct_2 == 2 / 19


@pytest.mark.parametrize(("n", "expected"), [(1, 3 / 6), (2, 4 / 5), (3, 1.0), (6, 1.0)])
def test_distinct_n_by_hand(n: int, expected: float) -> None:
    assert distinct_n(["be", "to", "be", "or", "to", "be"], n) == expected


def test_distinct_n_of_nothing() -> None:
    assert math.isnan(distinct_n([1, 2], 3))
    with pytest.raises(InputError, match="n=0"):
        distinct_n([1, 2], 0)


@given(tokens=st.lists(st.integers(0, 3), min_size=1, max_size=30), n=st.integers(1, 5))
def test_distinct_n_against_a_loop(tokens: list[int], n: int) -> None:
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    seen: list[tuple[int, ...]] = []
    for gram in grams:
        if gram not in seen:
            seen.append(gram)
    found = distinct_n(tokens, n)
    assert math.isnan(found) if not grams else found == len(seen) / len(grams)


@given(
    ids=st.lists(st.integers(0, 256), min_size=2, max_size=40),
    before=st.integers(0, 20),
    window=st.integers(1, 16),
    stride=st.integers(1, 16),
    seed=st.integers(0, 3),
)
def test_windows_against_one_pass_for_every_token(
    ids: list[int], before: int, window: int, stride: int, seed: int
) -> None:
    """The first window predicts as many tokens as it reads, every further one `stride` more."""
    stride, before = min(stride, window), min(before, len(ids) - 1)
    model = tiny_gpt2(16, seed)
    total, first = 0.0, max(1, before)
    for position in range(first, len(ids)):
        start = stride * max(0, math.ceil((position - window) / stride))
        with torch.no_grad():
            logits = model(torch.tensor([ids[start:position]])).logits[0, -1]
        total -= logits.log_softmax(-1)[ids[position]].item()
    result = evaluate_text(model, byte_tokenizer(), ids[before:], context=ids[:before], window=window, stride=stride)
    assert result.perplexity == pytest.approx(math.exp(total / (len(ids) - first)), rel=1e-5)  # logits in float32


def test_a_short_text_has_the_loss_of_the_model() -> None:
    model, tokenizer = tiny_gpt2(64), byte_tokenizer()
    ids = torch.tensor([tokenizer("To be, or not to be")["input_ids"]])
    loss = model(ids, labels=ids).loss.item()
    assert evaluate_text(model, tokenizer, "To be, or not to be").perplexity == pytest.approx(math.exp(loss), rel=1e-6)


def test_text_and_ids_are_the_same() -> None:
    model, tokenizer = tiny_gpt2(64), byte_tokenizer()
    ids, context = tokenizer("or not to be")["input_ids"], tokenizer("To be, ")["input_ids"]
    as_text = evaluate_text(model, tokenizer, "or not to be", context="To be, ")
    assert evaluate_text(model, tokenizer, ids, context=context) == as_text
    assert as_text.tokens == len(ids)


def test_dropout_is_off_meanwhile() -> None:
    model, tokenizer = tiny_gpt2(64, resid_pdrop=0.5), byte_tokenizer()
    expected = evaluate_text(model, tokenizer, "To be, or not to be")
    model.train()
    assert evaluate_text(model, tokenizer, "To be, or not to be") == expected
    assert model.training


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "too short"),
        ("a", {}, "too short"),
        ("", {"context": "abc"}, "too short"),
        ("abc", {"window": 0}, "window=0 must be between 1 and the model's 16 positions"),
        ("abc", {"window": 17}, "window=17"),
        ("abc", {"stride": 0}, "stride=0 must be between 1 and window=16"),
        ("abc", {"window": 4, "stride": 5}, "stride=5"),
    ],
)
def test_what_cannot_be_measured_is_refused(text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_text(tiny_gpt2(16), byte_tokenizer(), text, **options)
