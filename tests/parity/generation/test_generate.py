"""generate against the reference: the same tokens, and scores to 1e-9, for every strategy."""

from __future__ import annotations

import warnings

import pytest
import torch
from comparing import pinned_names
from generating import assert_same, calls, pair
from hypothesis import given, strategies as st

from minitransformers import DynamicCache, InputError, UnknownArgumentError
from minitransformers.generation import inputs
from minitransformers.generation.inputs import NextTokenModel
from minitransformers.generation.processors import warpers

STRATEGIES = ("greedy", "sampling", "beams", "beam sampling")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("model", ["GPT2LMHeadModel", "BertLMHeadModel"])
@given(data=st.data())
def test_same_tokens_and_scores(model: str, strategy: str, data: st.DataObject) -> None:
    """Drawn calls: prompts, ends, lengths, processors, filters, outputs."""
    call = data.draw(calls(model, strategy))
    assert_same(*call.run(), call.arguments["input_ids"])


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data())
def test_a_model_without_a_cache(strategy: str, data: st.DataObject) -> None:
    """The first GPT computes the whole text at each step. (The reference returns an empty cache.)"""
    call = data.draw(calls("OpenAIGPTLMHeadModel", strategy))
    ours, theirs = call.run()
    if not isinstance(theirs, torch.Tensor) and (cache := pinned_names(theirs).get("past_key_values")) is not None:
        assert cache.get_seq_length() == 0
        without = {name: value for name, value in theirs.items() if name not in ("cache", "past_key_values")}
        theirs = type(theirs)(**without)
    assert_same(ours, theirs, call.arguments["input_ids"])


def test_limits_of_a_model_without_a_cache() -> None:
    """Embedded prompts, as in the reference; prompt lookup, at which the reference fails, gives the greedy tokens."""
    ours, _ = pair("OpenAIGPTLMHeadModel", 0)
    with pytest.raises(InputError, match="inputs_embeds can't be continued by OpenAIGPTLMHeadModel"):
        ours.generate(inputs_embeds=torch.zeros(1, 3, 8, dtype=torch.float64), max_new_tokens=2)
    ids = torch.tensor([[7, 8, 9, 7, 8]])
    greedy = ours.generate(ids, max_new_tokens=8)
    assert torch.equal(ours.generate(ids, max_new_tokens=8, prompt_lookup_num_tokens=2), greedy)
    with pytest.raises(UnknownArgumentError, match="past_key_values"):
        ours.generate(ids, past_key_values=DynamicCache())


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data())
def test_embedded_prompts(strategy: str, data: st.DataObject) -> None:
    """Vectors in place of ids: alone, where the result holds only new tokens, and beside the ids."""
    call = data.draw(calls("GPT2LMHeadModel", strategy))
    ids = call.arguments["input_ids"]
    random = torch.Generator().manual_seed(call.seed)
    call.arguments["inputs_embeds"] = torch.randn(*ids.shape, 8, generator=random, dtype=torch.float64)
    call.arguments["attention_mask"] = (ids != 0).long()
    call.arguments.pop("encoder_no_repeat_ngram_size", None)  # of a prompt without ids, the reference reads vectors
    call.arguments.pop("encoder_repetition_penalty", None)
    call.arguments.pop("repetition_penalty", None)
    if data.draw(st.booleans()):
        del call.arguments["input_ids"]
        call.arguments.pop("forced_bos_token_id", None)
    assert_same(*call.run(), ids)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data())
def test_continuing_from_a_cache(strategy: str, data: st.DataObject) -> None:
    """The second half of a text, with the cache of the first."""
    call = data.draw(calls("GPT2LMHeadModel", strategy))
    for name in ("num_beams", "num_return_sequences", "length_penalty", "early_stopping", "use_cache"):
        call.arguments.pop(name, None)
    call.arguments |= {"max_new_tokens": 3, "return_dict_in_generate": True, "eos_token_id": None}
    call.arguments.pop("max_length", None)
    call.arguments.pop("exponential_decay_length_penalty", None)
    ours, theirs = call.run()
    assert torch.equal(ours.sequences, theirs.sequences)
    mask = (call.arguments["input_ids"] != 0).long()
    further = {
        "input_ids": ours.sequences,
        "attention_mask": torch.nn.functional.pad(mask, (0, 3), value=1),
        "max_new_tokens": 4,
        "do_sample": "sampling" in strategy,
    }
    results = []
    for model, past in zip(pair(call.model, call.weights), (ours, theirs), strict=True):
        torch.manual_seed(call.seed)
        results.append(model.generate(**further, past_key_values=past.past_key_values))
    assert torch.equal(*results)


@pytest.mark.parametrize("draft", [True, False], ids=["draft model", "prompt lookup"])
@given(data=st.data())
def test_assisted(draft: bool, data: st.DataObject) -> None:
    """The reference's assisted decoding, and ours, give the same tokens and scores as greedy decoding."""
    call = data.draw(calls("GPT2LMHeadModel", "greedy"))
    arguments = {**call.arguments, "input_ids": call.arguments["input_ids"][:1], "use_cache": True}
    if "attention_mask" in arguments:
        arguments["attention_mask"] = arguments["attention_mask"][:1]
    arguments |= {"output_attentions": False, "output_hidden_states": False, "return_dict_in_generate": True}
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model, helper in zip(pair(call.model, call.weights), pair(call.model, call.weights + 10), strict=True):
            how = {"assistant_model": helper} if draft else {"prompt_lookup_num_tokens": 3}
            results.append(model.generate(**arguments, **how))
        results.append(pair(call.model, call.weights)[0].generate(**arguments))
    assert_same(results[0], results[1], arguments["input_ids"])
    assert_same(results[0], results[2], arguments["input_ids"])


@given(data=st.data())
def test_two_heads_and_cross_attention(data: st.DataObject) -> None:
    """GPT-2 with a second head, and GPT-2 that attends to a context, which is the same for all beams of a text."""
    strategy = data.draw(st.sampled_from(STRATEGIES))
    name = data.draw(st.sampled_from(["GPT2DoubleHeadsModel", "GPT2LMHeadModel with a context"]))
    call = data.draw(calls(name, strategy))
    ids = call.arguments["input_ids"]
    if "context" in name:
        random = torch.Generator().manual_seed(call.seed)
        call.arguments["encoder_hidden_states"] = torch.randn(len(ids), 4, 8, generator=random, dtype=torch.float64)
        call.arguments["encoder_attention_mask"] = (torch.arange(4) < torch.arange(1, 1 + len(ids))[:, None]).long()
    else:  # whose last hidden states the reference gives in another shape
        call.arguments.pop("output_hidden_states", None)
        call.arguments.pop("output_attentions", None)
    assert_same(*call.run(), ids)


def test_the_comparison_notices_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that count padding, a filter that is off by one, a cache that is not reordered."""
    ours, theirs = pair("GPT2LMHeadModel", 0)
    padded = torch.tensor([[0, 0, 7, 8], [9, 10, 11, 12]])
    arguments = {"input_ids": padded, "attention_mask": (padded != 0).long(), "max_new_tokens": 8}
    mutations = {
        "positions": (inputs, "positions_from_mask", lambda mask: torch.ones_like(mask).cumsum(dim=-1) - 1, {}),
        "top-k": (
            warpers.TopKLogitsWarper,
            "__call__",
            lambda self, ids, scores: scores.masked_fill(scores <= scores.topk(self.top_k).values[:, -1:], -torch.inf),
            {"do_sample": True, "top_k": 2},
        ),
        "beams": (NextTokenModel, "reorder", lambda self, rows: None, {"num_beams": 4}),
    }
    for name, (owner, attribute, mutant, how) in mutations.items():
        differ = []
        for broken in (False, True):
            with monkeypatch.context() as patch:
                if broken:
                    patch.setattr(owner, attribute, mutant)
                results = []
                for model in (ours, theirs):
                    torch.manual_seed(0)
                    results.append(model.generate(**arguments, **how))
            differ.append(not torch.equal(*results))
        assert differ == [False, True], name
