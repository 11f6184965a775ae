"""generate against the reference for the families after GPT-2: shared heads, turns and windows go through the cache.

Everything that `generate` can do is tried with GPT-2 (generation/); what a family could spoil is its cache, the
positions behind padding, and the reordering of beams.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from cases import Pair
from drawing import Draw, Example, Values, seeds
from families import family_of
from fewer import fewer
from hypothesis import given, strategies as st

NAMES = ["GPTNeoForCausalLM", "GPTNeoXForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"]
HOW: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "sampling": {"do_sample": True, "top_k": 8, "num_return_sequences": 2},
}
NEW = 9

few_examples = fewer(2)


@st.composite
def examples(draw: Draw, name: str) -> Example:
    """A model, and prompts of several lengths padded on the left; windows shorter than what is generated."""
    config = family_of(name).config(draw, eos_token_id=draw(st.sampled_from([1, 2])), bos_token_id=None)
    config["pad_token_id"] = 0
    if "max_position_embeddings" in config:
        config["max_position_embeddings"] = 64
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    width = max(lengths)
    mask = (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()
    ids = 3 + Values(draw(seeds())).ids(config["vocab_size"] - 3, len(lengths), width)
    return Example(config, {"input_ids": ids * mask, "attention_mask": mask}, mask.bool(), draw(seeds()))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", NAMES)
@few_examples
@given(data=st.data())
def test_same_tokens(name: str, how: str, data: st.DataObject) -> None:
    """Greedily, by beams and sampled from a seed, with a cache and without."""
    case = next(case for case in family_of(name).cases if case.name == name)
    # In float64 the reference's eager attention gives NaN where padding stands in front: its softmax is in float32.
    pair = Pair(case, data.draw(examples(name)), torch.float32)
    arguments = {"max_new_tokens": NEW, "use_cache": data.draw(st.sampled_from([True, True, False])), **HOW[how]}
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in (pair.ours, pair.reference):
            torch.manual_seed(pair.example.seed)
            results.append(model.generate(**pair.our_arguments, **arguments))
    assert torch.equal(*results), results


@pytest.mark.parametrize("name", NAMES)
def test_a_text_may_be_longer_than_those_of_the_training(name: str) -> None:
    """Turns have no table that ends; learned positions do."""
    family = family_of(name)
    case = next(case for case in family.cases if case.name == name)
    config = {**family.smallest_config(name), "max_position_embeddings": 8, "eos_token_id": None}
    pair = Pair(case, Example(config, {}, torch.ones(1, 1, dtype=torch.bool), seed=1))
    ids = torch.tensor([[3, 1, 4]])
    if name == "GPTNeoForCausalLM":
        with pytest.raises(ValueError, match="8 positions"):
            pair.ours.generate(ids, max_new_tokens=12)
        return
    ours, theirs = (model.generate(ids, max_new_tokens=12, do_sample=False) for model in (pair.ours, pair.reference))
    assert torch.equal(ours, theirs)
    assert ours.shape == (1, 15)
