"""generate of encoder–decoders against the reference: the same tokens, and scores to 1e-9, for every strategy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import rounding_nothing
from generating import (
    VOCABULARY,
    Call,
    Draw,
    assert_close,
    assert_same,
    ends,
    filters,
    lengths,
    outputs,
    pair,
    processors,
    some,
)
from hypothesis import given, strategies as st
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from minitransformers.errors import InputError
from minitransformers.generation.inputs import NextTokenModel
from minitransformers.nn.cache import CacheLayer

MODELS = ("T5ForConditionalGeneration", "BartForConditionalGeneration")
STRATEGIES = ("greedy", "sampling", "beams", "beam sampling")
START = 1


def source(draw: Draw, random: torch.Generator) -> dict[str, Any]:
    """Texts of different lengths, padded on either side or with holes, as ids, vectors, or the output of an encoder."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    width = max(sizes)
    positions, sizes = torch.arange(width), torch.tensor(sizes)[:, None]
    side = draw(st.sampled_from(["left", "right", "none"]))
    mask = {"left": positions >= width - sizes, "right": positions < sizes, "none": positions >= 0 * sizes}[side].long()
    arguments = {} if mask.all() and draw(st.booleans()) else {"attention_mask": mask}
    kind = draw(st.sampled_from(["ids", "ids", "ids", "embeds", "encoded"]))
    if kind == "ids":
        ids = torch.randint(6, VOCABULARY, mask.shape, generator=random)
        return arguments | {"input_ids": ids.masked_fill(mask == 0, 0)}
    vectors = torch.randn(*mask.shape, 8, generator=random, dtype=torch.float64)
    if kind == "embeds":
        return arguments | {"inputs_embeds": vectors}
    return arguments | {"encoder_outputs": BaseModelOutput(last_hidden_state=vectors)}


def target(draw: Draw, random: torch.Generator, rows: int) -> tuple[dict[str, Tensor], Tensor]:
    """The beginning of the target, sometimes padded on the left; and which of its tokens are no padding."""
    if not some(draw):
        return {}, torch.ones(rows, 1)
    width = draw(st.integers(1, 4))
    ids = torch.randint(6, VOCABULARY, (rows, width), generator=random)
    starts = draw(st.booleans())
    if starts:
        ids[:, 0] = START
    if starts or not draw(st.booleans()):
        return {"decoder_input_ids": ids}, torch.ones(rows, width + (not starts))
    padding = torch.randint(0, width, (rows, 1), generator=random)
    mask = (torch.arange(width) >= padding).long()
    arguments = {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    return arguments, torch.cat([torch.ones(rows, 1), mask], dim=1)


@st.composite
def calls(draw: Draw, model: str, strategy: str) -> tuple[Call, Tensor]:
    """A call of one of the strategies, and which tokens of the decoder's start are no padding."""
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    arguments: dict[str, Any] = source(draw, random)
    vectors = arguments.get("encoder_outputs")
    rows = len(vectors.last_hidden_state if vectors is not None else next(iter(arguments.values())))
    start, is_token = target(draw, random, rows)
    arguments |= start | ends(draw) | lengths(draw, is_token.shape[1]) | outputs(draw)
    arguments |= processors(draw, has_ends="eos_token_id" in arguments)
    if "input_ids" not in arguments:  # in which these look
        for name in ("encoder_repetition_penalty", "encoder_no_repeat_ngram_size"):
            arguments.pop(name, None)
    arguments["use_cache"] = not some(draw, 4)
    if "sampling" in strategy:
        arguments |= {"do_sample": True} | filters(draw)
    if "beam" in strategy:
        arguments["num_beams"] = draw(st.integers(2, 4))
        arguments["num_return_sequences"] = draw(st.integers(1, arguments["num_beams"]))
        arguments["length_penalty"] = draw(st.sampled_from([1.0, 0.0, -1.0, 2.0, 0.6]))
        arguments["early_stopping"] = draw(st.sampled_from([False, True, "never"]))
    elif strategy == "sampling":
        arguments["num_return_sequences"] = draw(st.integers(1, 3))
    return Call(model, draw(st.integers(0, 9)), draw(st.integers(0, 2**31)), arguments), is_token


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_same_tokens_and_scores(model: str, strategy: str, data: st.DataObject) -> None:
    """8 × 25 drawn calls in the quick profile: sources, starts, ends, lengths, processors, filters, outputs."""
    call, is_token = data.draw(calls(model, strategy))
    assert_same(*call.run(), is_token)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("beams", [1, 3])
@given(data=st.data())
def test_the_cache_changes_nothing(model: str, beams: int, data: st.DataObject) -> None:
    """With the cache of self- and cross-attention, each step computes one token; the result is that of all of them."""
    call, _ = data.draw(calls(model, "greedy"))
    call.arguments.pop("max_length", None)
    call.arguments |= {"num_beams": beams, "max_new_tokens": 6, "return_dict_in_generate": True, "output_logits": True}
    ours, _ = pair(call.model, call.weights)
    cached, computed = (ours.generate(**{**call.arguments, "use_cache": use_cache}) for use_cache in (True, False))
    assert torch.equal(cached.sequences, computed.sequences)
    assert_close(cached.logits, computed.logits, "logits")


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_padding_of_the_source_changes_nothing(model: str, data: st.DataObject) -> None:
    """On the right for both; T5 counts distances only, so that padding may stand on the left as well."""
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    ids = torch.randint(6, VOCABULARY, (2, 5), generator=random)
    pads = data.draw(st.integers(1, 4))
    ours, _ = pair(model, data.draw(st.integers(0, 9)))
    how = data.draw(st.sampled_from([{}, {"num_beams": 3}]))
    expected = ours.generate(ids, max_new_tokens=7, **how)
    for side in ("right", "left")[: 2 if model.startswith("T5") else 1]:
        widths = (0, pads) if side == "right" else (pads, 0)
        padded = torch.nn.functional.pad(ids, widths)
        mask = torch.nn.functional.pad(torch.ones_like(ids), widths)
        assert torch.equal(ours.generate(padded, attention_mask=mask, max_new_tokens=7, **how), expected)


def test_the_encoder_runs_once() -> None:
    ours, _ = pair("T5ForConditionalGeneration", 0)
    runs = []
    handle = ours.encoder.register_forward_hook(lambda *_: runs.append(1))
    ours.generate(torch.tensor([[7, 8, 9]]), max_new_tokens=6, num_beams=3)
    handle.remove()
    assert runs == [1]


@pytest.mark.parametrize("model", MODELS)
def test_the_comparison_notices_mistakes(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that is not reordered, a source without its mask, another start: each is seen with some weights."""
    ids = torch.tensor([[7, 8, 9, 0, 0], [10, 11, 12, 13, 14]])
    arguments = {"input_ids": ids, "attention_mask": (ids != 0).long(), "max_new_tokens": 12, "num_beams": 4}
    noticed = dict.fromkeys(["no mask", "other start", "beams"], False)
    for weights in range(30):
        if all(noticed.values()):
            break
        ours, theirs = pair(model, weights)
        with rounding_nothing():
            expected = theirs.generate(**arguments)[:, 1:]
        assert torch.equal(ours.generate(**arguments)[:, 1:], expected)
        wrong = {
            "no mask": ours.generate(**{**arguments, "attention_mask": None}),
            "other start": ours.generate(**arguments, decoder_start_token_id=2),
        }
        with monkeypatch.context() as patch:
            patch.setattr(NextTokenModel, "reorder", lambda self, rows: None)
            wrong["beams"] = ours.generate(**arguments)
        for name, result in wrong.items():
            noticed[name] |= not torch.equal(result[:, 1:], expected)
    assert all(noticed.values()), noticed


def test_copies_of_a_text_need_copies_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step is computed once for all beams; then each has its own row, in cross-attention's cache too."""
    ours, _ = pair("T5ForConditionalGeneration", 0)
    monkeypatch.setattr(CacheLayer, "reorder", lambda self, rows, start=0: None)
    with pytest.raises(InputError, match="past_key_values holds 1 sequences and the input 3"):
        ours.generate(torch.tensor([[7, 8, 9]]), max_new_tokens=4, num_beams=3)
