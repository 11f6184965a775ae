"""Warnings point to the line of the caller's own code, however many calls of this library and PyTorch lie between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import minitransformers as mt

SIZES = {"vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 40}
GPT2 = mt.GPT2Config(**SIZES, bos_token_id=0, eos_token_id=0, pad_token_id=1)
IDS = torch.tensor([[0, 0, 5, 6]])


def left_padding() -> None:
    mt.GPT2Model(GPT2)(IDS, attention_mask=torch.tensor([[0, 0, 1, 1]]))


def left_padding_under_a_head() -> None:
    mt.GPT2LMHeadModel(GPT2)(IDS, attention_mask=torch.tensor([[0, 0, 1, 1]]))


def packed_documents() -> None:
    mt.GPT2LMHeadModel(GPT2)(IDS, position_ids=torch.tensor([[0, 1, 0, 1]]), use_cache=True)


def classes_of_embedded_texts() -> None:
    mt.GPT2ForSequenceClassification(GPT2)(inputs_embeds=torch.randn(2, 4, 8))


def an_idle_setting() -> None:
    mt.GPT2LMHeadModel(GPT2).eval().generate(IDS, max_new_tokens=1, temperature=0.5)


def two_lengths() -> None:
    mt.GPT2LMHeadModel(GPT2).eval().generate(IDS, max_new_tokens=1, max_length=9)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (left_padding, "padded on the left"),
        (left_padding_under_a_head, "padded on the left"),
        (packed_documents, "start again within a row"),
        (classes_of_embedded_texts, "the last vector counts"),
        (an_idle_setting, "no effect without do_sample"),
        (two_lengths, "max_new_tokens counts"),
    ],
)
def test_the_line_of_the_caller(cause: Callable[[], None], message: str) -> None:
    with pytest.warns(UserWarning, match=message) as warned:
        cause()
    (warning,) = warned
    assert warning.filename == __file__
    assert warning.lineno == cause.__code__.co_firstlineno + 1
