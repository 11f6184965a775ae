"""Caches against the reference's: the same answers, contents and texts; static ones stay where they are."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import transformers
from cases import rounding_nothing
from generating import EXACT, pair
from torch import Tensor

import minitransformers as mt

IDS = torch.tensor([[7, 8, 9, 7, 8], [0, 0, 10, 11, 7]])
MASK = (IDS != 0).long()
KEPT = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
MODELS = ("GPT2LMHeadModel", "LlamaForCausalLM", "T5ForConditionalGeneration", "BartForConditionalGeneration")
STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampling": {"do_sample": True, "num_return_sequences": 2},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
}


def generated(model: Any, **arguments: Any) -> Any:
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.generate(IDS, attention_mask=MASK, max_new_tokens=6, **KEPT, **arguments)


def parts(cache: Any) -> list[Any]:
    """The cache, or both caches of an encoder–decoder's decoder."""
    if hasattr(cache, "cross_attention_cache"):
        return [cache.self_attention_cache, cache.cross_attention_cache]
    return [cache]


def assert_close(ours: Tensor, theirs: Tensor, name: str) -> None:
    """To rounding error, which is that of float32 where the reference computes in it."""
    limit = 1e-5 if name.startswith(("Llama", "T5")) else EXACT
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= limit * max(1, theirs.abs().max().item())


def assert_same_contents(ours: Any, theirs: Any, name: str, is_real: Tensor | None = None) -> None:
    """The same keys and values, of the same sizes; `is_real` (rows, length) leaves out padding."""
    for mine, other in zip(parts(ours), parts(theirs), strict=True):
        assert len(mine) == len(other)
        for layer, expected in zip(mine.layers, other.layers, strict=True):
            for a, b in ((layer.keys, expected.keys), (layer.values, expected.values)):
                if is_real is None:
                    assert_close(a, b, name)
                else:
                    assert_close(a.transpose(1, 2)[is_real], b.transpose(1, 2)[is_real], name)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", MODELS)
def test_static_caches(name: str, strategy: str) -> None:
    """The reference's text, scores and cache; and to the last bit what a growing cache gives."""
    ours, theirs = pair(name, 1)
    with rounding_nothing():
        expected = generated(theirs, cache_implementation="static", **STRATEGIES[strategy])
    result = generated(ours, cache_implementation="static", **STRATEGIES[strategy])
    assert torch.equal(result.sequences, expected.sequences)
    for mine, other in zip(result.scores, expected.scores, strict=True):
        assert_close(mine.nan_to_num(), other.nan_to_num(), name)
    is_real = None
    if len(parts(result.past_key_values)) == 1:  # of an encoder–decoder, the prompts are not padded
        width = result.past_key_values.get_max_length() - MASK.shape[1]
        is_real = torch.nn.functional.pad(MASK, (0, width), value=1).bool()
        is_real = is_real.repeat_interleave(result.past_key_values.batch_size // len(IDS), dim=0)
        assert_same_contents(result.past_key_values, expected.past_key_values, name, is_real)
    else:
        own = (cache.self_attention_cache for cache in (result.past_key_values, expected.past_key_values))
        assert_same_contents(*own, name)
    assert result.past_key_values.is_compileable
    assert int(result.past_key_values.get_seq_length()) == int(expected.past_key_values.get_seq_length())

    grown = generated(ours, **STRATEGIES[strategy])
    assert torch.equal(result.sequences, grown.sequences)
    for mine, other in zip(result.scores, grown.scores, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("kind", ["dynamic", "dynamic_full", "offloaded", "offloaded_static", "hybrid"])
def test_other_kinds_give_the_same(kind: str) -> None:
    for name in ("GPT2LMHeadModel", "BartForConditionalGeneration"):
        ours, _ = pair(name, 2)
        for options in STRATEGIES.values():
            result, expected = generated(ours, cache_implementation=kind, **options), generated(ours, **options)
            assert torch.equal(result.sequences, expected.sequences)
            assert all(torch.equal(a, b) for a, b in zip(result.scores, expected.scores, strict=True))


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM"])
def test_in_forward(name: str, grad: bool) -> None:
    """Chunk by chunk: the memory of a static cache, and what a growing one gives."""
    ours, theirs = pair(name, 0)
    static, expected = mt.StaticCache(ours.config, 12), transformers.StaticCache(theirs.config, max_cache_len=12)
    grown, offloaded = mt.DynamicCache(config=ours.config), mt.DynamicCache(offloading=True)
    ids, addresses = torch.randint(1, 20, (2, 9), generator=torch.Generator().manual_seed(0)), set()
    with torch.set_grad_enabled(grad):
        for chunk in ids.split([4, 1, 3, 1], dim=1):
            logits = ours(chunk, past_key_values=static).logits
            assert torch.equal(logits, ours(chunk, past_key_values=grown).logits)
            assert torch.equal(logits, ours(chunk, past_key_values=offloaded).logits)
            other = theirs(chunk, past_key_values=expected).logits
            assert_close(logits, other, name)
            assert static.get_seq_length() == int(expected.get_seq_length())
            addresses |= {layer.keys.data_ptr() for layer in static.layers}
    assert len(addresses) == len(static.layers)  # it never moved
    assert_same_contents(static, expected, name)
    assert static.layers[0].keys.shape == (2, static.layers[0].keys.shape[1], 12, 4)
    static.reset()
    expected.reset()
    assert_same_contents(static, expected, name)
    with pytest.raises(mt.InputError, match=r"room for max_cache_len=12 tokens; it holds 0, and 13 are new"):
        ours(torch.ones(2, 13, dtype=torch.long), past_key_values=static)


def test_both_answer_the_same() -> None:
    """Every question and every change, before and after the first tokens."""
    config, other = mt.GPT2Config(n_layer=2), transformers.GPT2Config(n_layer=2)
    keys = torch.randn(3, 2, 4, 5)
    caches: list[tuple[Any, Any]] = [
        (mt.DynamicCache(), transformers.DynamicCache()),
        (mt.DynamicCache(config=config), transformers.DynamicCache(config=other)),
        (mt.StaticCache(config, 8), transformers.StaticCache(other, 8)),
        (mt.DynamicCache([(keys, -keys)]), transformers.DynamicCache([(keys, -keys)])),
        (
            mt.EncoderDecoderCache(mt.DynamicCache(config=config), mt.DynamicCache(config=config)),
            transformers.EncoderDecoderCache(
                transformers.DynamicCache(config=other), transformers.DynamicCache(config=other)
            ),
        ),
        (mt.Cache(layers=[mt.DynamicLayer()]), transformers.Cache(layers=[transformers.DynamicLayer()])),
        (
            mt.Cache(layer_class_to_replicate=mt.DynamicLayer),
            transformers.Cache(layer_class_to_replicate=transformers.DynamicLayer),
        ),
    ]
    questions: dict[str, Any] = {
        "len": len,
        "is_compileable": lambda cache: cache.is_compileable,
        "is_sliding": lambda cache: list(cache.is_sliding),
        "is_linear": lambda cache: cache.is_linear,
        "is_dummy": lambda cache: cache.is_dummy,
        "initialized": lambda cache: [layer.is_initialized for layer in parts(cache)[0].layers],
        "length": lambda cache: int(cache.get_seq_length()),
        "length of a layer": lambda cache: int(cache.get_seq_length(1)),
        "offset": lambda cache: int(cache.get_query_offset()),
        "most": lambda cache: cache.get_max_length(0),
        "keys": lambda cache: [layer.keys is None for layer in parts(cache)[0].layers],
    }
    for number, (ours, theirs) in enumerate(caches):
        for step in range(5):
            for name, question in questions.items():
                assert question(ours) == question(theirs), (number, step, name)
            if parts(theirs)[0].is_initialized:
                assert ours.is_initialized
                assert_same_contents(*(parts(cache)[0] for cache in (ours, theirs)), "GPT2")
            for cache in (ours, theirs):
                if step == 0:
                    parts(cache)[0].update(keys, -keys, 0)
                elif step == 1:
                    cache.reorder_cache(torch.tensor([2, 0, 0]))
                elif step == 2 and number not in (2, 4):
                    cache.batch_repeat_interleave(2)
                    cache.batch_select_indices(torch.tensor([5, 0, 1]))
                    cache.crop(-1)
                    cache.crop(0)
                elif step == 3:
                    cache.reset()


def test_entries_and_early_initialization() -> None:
    """Iteration gives keys, values and the window; a cache built from them is the same."""
    keys = torch.randn(2, 2, 3, 4)
    for lib in (mt, transformers):
        cache = lib.DynamicCache([(keys, -keys), (2 * keys, keys)])
        (first, *_), (_, values, window) = cache
        assert torch.equal(first, keys)
        assert torch.equal(values, keys)
        assert window is None
        assert torch.equal(lib.DynamicCache(list(cache)).layers[1].values, keys)
        both = lib.EncoderDecoderCache(cache, lib.DynamicCache([(keys, keys), (keys, keys)]))
        assert [len(entry) for entry in both] == [6, 6]
        assert torch.equal(lib.EncoderDecoderCache(list(both)).cross_attention_cache.layers[0].values, keys)
        static = lib.StaticCache(lib.GPT2Config(n_layer=2), max_cache_len=5)
        static.early_initialization(2, 3, 4, torch.float64, "cpu")
        assert static.is_initialized
        assert int(static.get_seq_length()) == 0
        assert static.layers[1].keys.shape == (2, 3, 5, 4)
        assert static.layers[1].keys.dtype == torch.float64
        assert static.batch_size == 2
        with pytest.raises(ValueError, match="layers"):
            static.early_initialization(2, [3], 4, torch.float64, "cpu")


def test_a_callers_cache_goes_on_from_call_to_call() -> None:
    """A conversation: an empty cache is filled by the first call, and the second computes only what is new."""
    ours, theirs = pair("GPT2LMHeadModel", 4)
    ids = torch.tensor([[7, 8, 9]])
    results = []
    for lib, model in ((mt, ours), (transformers, theirs)):
        cache = lib.DynamicCache(config=model.config)
        text = model.generate(ids, past_key_values=cache, max_new_tokens=4)
        lengths = [cache.get_seq_length()]
        text = torch.cat([text, torch.tensor([[10, 11]])], dim=1)
        text = model.generate(text, past_key_values=cache, max_new_tokens=4)
        results.append((text.tolist(), [*lengths, cache.get_seq_length()]))
    assert results[0] == results[1]
    static = mt.StaticCache(ours.config, 20)
    assert ours.generate(ids, past_key_values=static, max_new_tokens=4).shape == (1, 7)
    assert static.get_seq_length() == 6
