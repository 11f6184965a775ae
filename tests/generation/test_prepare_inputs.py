"""prepare_inputs_for_generation: `generate` calls it at each step, and gives the model what it returns."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny import gpt2, options

import minitransformers as mt

PROMPT = torch.tensor([[3, 4, 5]])


def same_weights(model_class: type[mt.GPT2LMHeadModel]) -> mt.GPT2LMHeadModel:
    """A model of a user's own class with the weights of `gpt2(2)`."""
    model = model_class(gpt2(2).config).double().eval()
    model.load_state_dict(gpt2(2).state_dict())
    return model


@pytest.mark.parametrize("strategy", ["greedy", "sampling", "beams", "prompt lookup"])
def test_an_override_is_called_at_each_step(strategy: str) -> None:
    """Of a subclass or of one instance; the tokens are those of the model without it."""
    calls: list[dict[str, Any]] = []

    class Recording(mt.GPT2LMHeadModel):
        def prepare_inputs_for_generation(self, input_ids: torch.Tensor, **kwargs: Any) -> dict[str, Any]:
            calls.append({"input_ids": input_ids, **kwargs})
            return super().prepare_inputs_for_generation(input_ids, **kwargs)

    how = options(strategy) | {"max_new_tokens": 5, "generator": 1}
    expected = gpt2(2).generate(PROMPT, **how)
    assert torch.equal(same_weights(Recording).generate(PROMPT, **how), expected)
    assert [call["is_first_iteration"] for call in calls] == [True] + [False] * (len(calls) - 1)
    assert "lookup" in strategy or [call["input_ids"].shape[1] for call in calls] == [3, 4, 5, 6, 7]
    assert calls[0]["past_key_values"].get_seq_length() >= 0
    assert calls[-1]["next_sequence_length"] >= 1

    model, before = copy.deepcopy(gpt2(2)), len(calls)
    original = model.prepare_inputs_for_generation
    model.prepare_inputs_for_generation = lambda *args, **kwargs: calls.append({}) or original(*args, **kwargs)
    assert torch.equal(model.generate(PROMPT, **how), expected)
    assert len(calls) == 2 * before


def test_the_model_receives_what_an_override_returns() -> None:
    """Positions two ahead, and a cache that is thrown away, as in generation loops of a user's own."""

    class Shifted(mt.GPT2LMHeadModel):
        def prepare_inputs_for_generation(self, input_ids: torch.Tensor, **kwargs: Any) -> dict[str, Any]:
            inputs = super().prepare_inputs_for_generation(input_ids, **kwargs)
            return {**inputs, "position_ids": inputs["position_ids"] + 2}

    class Uncached(mt.GPT2LMHeadModel):
        def prepare_inputs_for_generation(self, input_ids: torch.Tensor, **_: Any) -> dict[str, Any]:
            return {"input_ids": input_ids}

    positions = torch.arange(2, 5)[None]
    expected = gpt2(2).generate(PROMPT, max_new_tokens=6, position_ids=positions)
    assert torch.equal(same_weights(Shifted).generate(PROMPT, max_new_tokens=6), expected)
    assert not torch.equal(expected, gpt2(2).generate(PROMPT, max_new_tokens=6))
    assert torch.equal(
        same_weights(Uncached).generate(PROMPT, max_new_tokens=6), gpt2(2).generate(PROMPT, max_new_tokens=6)
    )


def test_a_forward_with_any_arguments() -> None:
    """A subclass whose forward passes everything on takes the arguments of the class below it."""

    class Passing(mt.GPT2LMHeadModel):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

    model, mask = same_weights(Passing), torch.tensor([[0, 1, 1]])
    expected = gpt2(2).generate(PROMPT, attention_mask=mask, max_new_tokens=6)
    assert torch.equal(model.generate(PROMPT, attention_mask=mask, max_new_tokens=6), expected)


def test_entries_of_batches_that_generation_does_not_read_are_ignored() -> None:
    batch = {
        "labels": PROMPT,
        "special_tokens_mask": PROMPT,
        "length": [3],
        "offset_mapping": [],
        "token_type_ids": None,
    }
    expected = gpt2(2).generate(PROMPT, max_new_tokens=3)
    assert torch.equal(gpt2(2).generate(PROMPT, **batch, max_new_tokens=3, custom_generate=None), expected)
    assert torch.equal(
        gpt2(2).generate(PROMPT, cache_implementation="static", guidance_scale=1.0, max_new_tokens=3), expected
    )
