"""Assisted decoding returns what greedy decoding returns, attentions and hidden states included, in both libraries."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from generating import assert_same, pair

IDS = torch.tensor([[7, 8, 9, 7, 8, 9, 7]])
ALL = {
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_logits": True,
    "output_attentions": True,
    "output_hidden_states": True,
}


@pytest.mark.parametrize("draft", ["prompt lookup", "draft model", "itself"])
@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "BartForConditionalGeneration", "T5ForConditionalGeneration"])
def test_all_outputs(name: str, draft: str) -> None:
    """Candidates that are right now and then, mostly wrong, and always right."""
    for seed in range(2):
        models, results = pair(name, seed), []
        for model, helper in zip(models, pair(name, seed + (draft == "draft model")), strict=True):
            how: dict[str, Any] = {"prompt_lookup_num_tokens": 3}
            if draft != "prompt lookup":
                how = {"assistant_model": helper, "num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.append(model.generate(IDS, max_new_tokens=8, **ALL, **how))
        assert_same(results[0], models[0].generate(IDS, max_new_tokens=8, **ALL), IDS)
        if (
            draft == "itself"
        ):  # where several candidates of the first pass are right, the reference repeats the prompt's
            assert torch.equal(results[0].sequences, results[1].sequences)
            continue
        if name.startswith("T5"):  # whose scores the reference rounds to float32 on their way
            assert torch.equal(results[0].sequences, results[1].sequences)
            for field in ("decoder_attentions", "cross_attentions", "decoder_hidden_states"):
                for ours, theirs in zip(results[0][field], results[1][field], strict=True):
                    for mine, other in zip(ours, theirs, strict=True):
                        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
        else:
            assert_same(results[0], results[1], IDS)


def test_without_a_cache() -> None:
    """Each step then has the whole text, as in greedy decoding."""
    model, _ = pair("GPT2LMHeadModel", 0)
    greedy = model.generate(IDS, max_new_tokens=6, use_cache=False, **ALL)
    assert_same(model.generate(IDS, max_new_tokens=6, use_cache=False, prompt_lookup_num_tokens=3, **ALL), greedy, IDS)


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM"])
def test_early_exit(name: str) -> None:
    """The first layers guess, and the text stays that of the whole model, which does not change."""
    ours, theirs = pair(name, 3)
    greedy = ours.generate(IDS, max_new_tokens=8)
    assert torch.equal(ours.generate(IDS, max_new_tokens=8, assistant_early_exit=1), greedy)
    assert ours.config.num_hidden_layers == 2
    if name.startswith("Llama"):  # the reference exits early where a model's loop reads the number of layers
        assert torch.equal(theirs.generate(IDS, max_new_tokens=8, assistant_early_exit=1), greedy)
