"""Stop strings and other stopping criteria."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import VOCABULARY, gpt2, left_padded

from minitransformers import generation
from minitransformers.errors import InputError


class Digits:
    """A tokenizer in which token i is its number, "10" being one token of two characters."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(str(int(i)) for i in ids)


texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9)


@given(text=texts, stop=st.text("0123", min_size=1, max_size=4))
def test_a_stop_string_counts_where_the_last_token_completes_it(text: list[int], stop: str) -> None:
    criterion = generation.StopStringCriteria(Digits(), stop)
    whole, before = Digits().decode(text), len(Digits().decode(text[:-1]))
    places = [start for start in range(len(whole)) if whole.startswith(stop, start)]
    expected = any(start + len(stop) > before for start in places)
    assert criterion(torch.tensor([text]), None).tolist() == [expected]


def test_overlaps_are_not_missed() -> None:
    """112 inside 1112: a matcher that restarts after a mismatch, behind the token that mismatched, misses it."""
    criterion = generation.StopStringCriteria(Digits(), ["112", "7"])
    assert criterion(torch.tensor([[1, 1, 1, 2]]), None).tolist() == [True]
    assert criterion(torch.tensor([[1, 1, 2, 1], [0, 0, 0, 7], [1, 1, 1, 1]]), None).tolist() == [False, True, False]
    assert generation.StopStringCriteria(Digits(), "121")(torch.tensor([[1, 2, 1, 2, 1]]), None).tolist() == [True]


def test_a_character_of_several_tokens() -> None:
    class Bytes:
        def decode(self, ids: list[int], **_: Any) -> str:
            return bytes(int(i) for i in ids).decode(errors="replace")

    text = list("né".encode())
    criterion = generation.StopStringCriteria(Bytes(), "é")
    assert criterion(torch.tensor([text]), None).tolist() == [True]
    assert criterion(torch.tensor([text[:-1]]), None).tolist() == [False]
    assert criterion(torch.tensor([[*text, ord("x")]]), None).tolist() == [False]


@pytest.mark.parametrize("how", [{}, {"do_sample": True}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 4}])
@given(prompt=texts, seed=st.integers(0, 7), stop=st.sampled_from(["1", "22", "10", "3", "56"]))
def test_generate_ends_with_the_first_stop_string(how: dict[str, Any], prompt: list[int], seed: int, stop: str) -> None:
    settings = {"max_new_tokens": 12, "generator": seed, "eos_token_id": 0, **how}
    result = gpt2(seed).generate(**left_padded([prompt]), **settings, stop_strings=stop, tokenizer=Digits())
    new = result[0, len(prompt) :].tolist()
    for end in range(1, len(new)):
        text = Digits().decode(prompt + new[:end])
        completed = any(
            text.startswith(stop, start) and start + len(stop) > len(Digits().decode(prompt + new[: end - 1]))
            for start in range(len(text))
        )
        assert not completed, "it went on after the stop string"


def test_rows_wait_for_each_other() -> None:
    """Rows that have ended are filled with padding until the last one ends."""
    model, batch = gpt2(3), left_padded([[4], [5, 6]])
    free = model.generate(**batch, max_new_tokens=8)
    end = int(free[0, 3])
    result = model.generate(**batch, max_new_tokens=8, eos_token_id=end, pad_token_id=1)
    for row, unbounded in zip(result[:, 2:].tolist(), free[:, 2:].tolist(), strict=True):
        real = unbounded[: unbounded.index(end) + 1] if end in unbounded else unbounded
        assert row == (real + [1] * len(row))[: len(row)]


def test_time() -> None:
    over = generation.MaxTimeCriteria(1e-9, initial_timestamp=0.0)
    assert over(torch.zeros(2, 1).long(), None).all()
    assert not generation.MaxTimeCriteria(1e9)(torch.zeros(2, 1).long(), None).any()
    assert gpt2().generate(torch.tensor([[3, 4]]), max_new_tokens=9, max_time=1e-9).shape == (1, 3)
    assert gpt2().generate(torch.tensor([[3, 4]]), max_new_tokens=3, max_time=1e9).shape == (1, 5)


def test_a_users_criterion_replaces_the_one_of_its_class() -> None:
    prompt = torch.tensor([[3, 4]])
    shorter = [generation.MaxLengthCriteria(5)]
    assert gpt2().generate(prompt, max_new_tokens=9, stopping_criteria=shorter).shape == (1, 5)
    longer = generation.StoppingCriteriaList([generation.MaxLengthCriteria(12)])
    assert longer.max_length == 12
    assert gpt2().generate(prompt, max_new_tokens=2, stopping_criteria=longer).shape == (1, 12)


def test_criteria_see_the_scores_where_they_are_kept() -> None:
    seen: list[Any] = []

    def look(input_ids: torch.Tensor, scores: Any) -> bool:
        seen.append(None if scores is None else len(scores))
        return False

    gpt2().generate(torch.tensor([[3]]), max_new_tokens=3, stopping_criteria=[look])
    keep = {"return_dict_in_generate": True, "output_scores": True}
    gpt2().generate(torch.tensor([[3]]), max_new_tokens=3, stopping_criteria=[look], **keep)
    assert seen == [None, None, None, 1, 2, 3]


def test_empty_stop_strings_are_refused() -> None:
    for wrong in ("", [], ["a", ""]):
        with pytest.raises(InputError, match="must be at least one text"):
            generation.StopStringCriteria(Digits(), wrong)
