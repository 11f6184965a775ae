"""What is displayed: the text, put together, is the decoded text; the numbers are the model's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from tiny_session import byte_tokenizer, tiny_model

from minitransformers import GPT2LMHeadModel
from minitransformers.app.tokens import Token, Writer, _visible, apply, displayed

MODELS = [tiny_model(seed) for seed in range(3)]
TOKENIZER = byte_tokenizer()


def show(model: GPT2LMHeadModel, prompt: list[int], stops: tuple[str, ...] = (), **named: Any) -> list[Token]:
    search = model.generate_steps(torch.tensor([prompt]), **named)
    shown: list[Token] = []
    for change in displayed(search, TOKENIZER, stops=stops):
        assert change.keep <= len(shown)
        shown = apply(shown, change)
    return shown


def probabilities_after(model: GPT2LMHeadModel, prompt: list[int], continuation: list[int]) -> torch.Tensor:
    """(tokens, vocabulary): of each token of the continuation, given all before it, in one pass."""
    with torch.no_grad():
        return model(torch.tensor([prompt + continuation])).logits[0, len(prompt) - 1 : -1].softmax(-1)


# ---- the numbers -----------------------------------------------------------------------------------------------------

strategies = st.sampled_from(
    [
        {},
        {"do_sample": True, "top_k": 0, "generator": 7},
        {"num_beams": 3},
        {"num_beams": 5, "length_penalty": 2.0, "early_stopping": True},
        {"num_beams": 2, "length_penalty": -1.0},
        {"prompt_lookup_num_tokens": 3},
    ]
)


@given(
    model=st.sampled_from(MODELS),
    prompt=st.lists(st.integers(1, 256), min_size=1, max_size=6),
    keywords=strategies,
    ends=st.lists(st.integers(0, 256), min_size=1, max_size=60),
)
def test_tokens_and_probabilities_are_the_models(
    model: GPT2LMHeadModel, prompt: list[int], keywords: dict[str, Any], ends: list[int]
) -> None:
    """Many ends of text, so that beams end early and a beam that was given up may win."""
    named = {**keywords, "max_new_tokens": 6, "eos_token_id": ends, "pad_token_id": 0}
    shown = show(model, prompt, **named)
    (expected,) = model.generate(torch.tensor([prompt]), **named).tolist()
    assert [token.id for token in shown] == expected[len(prompt) :]
    all_probabilities = probabilities_after(model, prompt, expected[len(prompt) :])
    for token, probabilities in zip(shown, all_probabilities, strict=True):
        assert token.probability == pytest.approx(probabilities[token.id].item(), rel=1e-3, abs=1e-6)
        best = probabilities.topk(6)
        assert [other.probability for other in token.alternatives] == pytest.approx(
            best.values.tolist(), rel=1e-3, abs=1e-6
        )
        for other in token.alternatives:
            assert other.probability == pytest.approx(probabilities[other.id].item(), rel=1e-3, abs=1e-6)
            assert other.label == TOKENIZER.decode([other.id])


def test_probabilities_are_those_after_the_filters() -> None:
    shown = show(MODELS[0], [65, 66], do_sample=True, top_k=2, temperature=0.5, max_new_tokens=5, generator=0)
    all_probabilities = probabilities_after(MODELS[0], [65, 66], [token.id for token in shown])
    for token, raw in zip(shown, all_probabilities, strict=True):
        two = raw.topk(2).values.square()  # temperature 1/2
        assert [other.probability for other in token.alternatives] == pytest.approx(
            (two / two.sum()).tolist(), rel=1e-3
        )


def test_only_beams_change_their_minds() -> None:
    def only_adds(**named: Any) -> bool:
        shown, text, adds = [], "", True
        for change in displayed(MODELS[1].generate_steps(torch.tensor([[70]]), max_new_tokens=12, **named), TOKENIZER):
            shown = apply(shown, change)
            now = "".join(token.text for token in shown)
            adds, text = adds and now.startswith(text), now
        return adds

    assert only_adds()
    assert only_adds(do_sample=True, generator=0)
    assert not all(only_adds(num_beams=beams) for beams in (2, 3, 4, 5))


# ---- the text --------------------------------------------------------------------------------------------------------


@given(text=st.text(max_size=20), before=st.text(max_size=10))
def test_pieces_are_whole_characters(text: str, before: str) -> None:
    ids = TOKENIZER(text)["input_ids"]
    writer = Writer(TOKENIZER, TOKENIZER(before)["input_ids"])
    pieces = [writer.add(token_id) for token_id in ids]
    assert "".join(pieces) + writer.rest() == text
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text


@given(ids=st.lists(st.integers(1, 256), max_size=80), split=st.integers(0, 80))
def test_pieces_of_any_bytes_are_the_decoded_text(ids: list[int], split: int) -> None:
    before, after = ids[:split], ids[split:]
    writer = Writer(TOKENIZER, before)
    text = TOKENIZER.decode(before).rstrip("\ufffd") + "".join(map(writer.add, after)) + writer.rest()
    assert text == TOKENIZER.decode(ids)


def test_a_character_of_four_tokens_comes_with_the_last() -> None:
    writer = Writer(TOKENIZER)
    assert [writer.add(token_id) for token_id in TOKENIZER("a👍b")["input_ids"]] == ["a", "", "", "", "👍", "b"]


def test_a_character_that_is_never_completed_is_shown_in_the_end() -> None:
    ids = TOKENIZER("👍")["input_ids"]

    def force(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores + 1000 * torch.nn.functional.one_hot(torch.tensor(ids[1]), 257)

    shown = show(MODELS[0], ids[:1], max_new_tokens=1, logits_processor=[force])
    assert [token.text for token in shown] == ["\ufffd"]


# ---- stops -----------------------------------------------------------------------------------------------------------


def tokens_of(pieces: list[str]) -> tuple[Token, ...]:
    return tuple(Token(index, text, text, 1.0, ()) for index, text in enumerate(pieces))


def test_what_may_become_a_stop_is_held_back() -> None:
    tokens = tokens_of(["Hi", ".\n", "Us", "er", ":", " no"])
    seen = ["".join(t.text for t in _visible(tokens[:n], ["\nUser:"], at_end=False)) for n in range(1, 7)]
    assert seen == ["Hi", "Hi.", "Hi.", "Hi.", "Hi.", "Hi."]
    assert "".join(t.text for t in _visible(tokens[:4], ["\nUser:"], at_end=True)) == "Hi.\nUser"
    others = tokens_of(["Hi", ".\n", "Us", " all"])
    assert _visible(others, ["\nUser:"], at_end=False) == others


@given(
    pieces=st.lists(st.text("ab\n", max_size=4), max_size=8),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_visible_text(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    first = min((text.find(stop) for stop in stops if stop in text), default=len(text))
    tokens = tokens_of(pieces)
    assert "".join(token.text for token in _visible(tokens, stops, at_end=True)) == text[:first]
    shown = ""
    for count in range(len(pieces) + 1):
        visible = "".join(token.text for token in _visible(tokens[:count], stops, at_end=False))
        assert visible.startswith(shown)  # what was shown is never taken back
        assert text[:first].startswith(visible)
        shown = visible


def test_a_stop_ends_the_text_and_is_not_shown() -> None:
    model, prompt = MODELS[0], TOKENIZER("User: hi\nAssistant:")["input_ids"]
    letters = TOKENIZER("abcdefghijklmnopqrstuvwxyz")["input_ids"]
    named = {"max_new_tokens": 30, "suppress_tokens": [id for id in range(257) if id not in letters]}
    whole = TOKENIZER.decode(model.generate(torch.tensor([prompt]), **named)[0, len(prompt) :])
    stop, place = whole[6:9], whole.find(whole[6:9])
    shown = show(model, prompt, (stop,), **named, stop_strings=[stop], tokenizer=TOKENIZER)
    assert "".join(token.text for token in shown) == whole[:place]
