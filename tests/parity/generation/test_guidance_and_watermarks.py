"""Guidance by a second prompt and watermarks, in both libraries: the same texts, scores and figures."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from generating import assert_same, pair

import minitransformers as mt

IDS = torch.tensor([[7, 8, 9, 7, 8], [0, 0, 10, 11, 7]])
CALL = {
    "attention_mask": (IDS != 0).long(),
    "max_new_tokens": 6,
    "return_dict_in_generate": True,
    "output_scores": True,
}
NEGATIVE: list[dict[str, Any]] = [
    {},
    {"negative_prompt_ids": torch.tensor([[3, 4], [5, 6]])},
    {
        "negative_prompt_ids": torch.tensor([[0, 4], [5, 6]]),
        "negative_prompt_attention_mask": torch.tensor([[0, 1], [1, 1]]),
    },
]


def generated(model: Any, **arguments: Any) -> Any:
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.generate(IDS, **CALL, **arguments)


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "BertLMHeadModel"])
@pytest.mark.parametrize("negative", NEGATIVE, ids=["last token", "negative prompt", "padded"])
def test_guidance(name: str, negative: dict[str, Any]) -> None:
    strategies: list[dict[str, Any]] = [{}, {"do_sample": True}, {"use_cache": False}]
    for scale, options in itertools.product([1.5, 0.5], strategies):
        ours, theirs = (generated(model, guidance_scale=scale, **negative, **options) for model in pair(name, 1))
        assert_same(ours, theirs, IDS)
        assert not torch.equal(ours.scores[0], generated(pair(name, 1)[0], **options).scores[0])


def test_guidance_where_rows_are_exchanged_or_taken_back() -> None:
    """Beam search, several samples and assisted decoding: as with an unconditional text that is never cached."""
    model, _ = pair("GPT2LMHeadModel", 2)
    strategies: list[dict[str, Any]] = [
        {"num_beams": 3},
        {"num_beams": 2, "do_sample": True},
        {"do_sample": True, "num_return_sequences": 2},
    ]
    for options in strategies:
        arguments = {**NEGATIVE[1], **options, "guidance_scale": 2.0}
        cached, uncached = generated(model, **arguments), generated(model, **arguments, use_cache=False)
        assert torch.equal(cached.sequences, uncached.sequences)
    one = {"input_ids": IDS[:1], "max_new_tokens": 8, "guidance_scale": 2.0}
    assert torch.equal(model.generate(**one, prompt_lookup_num_tokens=2), model.generate(**one))


def test_guidance_is_for_decoders_alone() -> None:
    model, _ = pair("BartForConditionalGeneration", 0)
    with pytest.raises(mt.InputError, match=r"guidance_scale=2\.0 is for decoders alone"):
        model.generate(IDS, guidance_scale=2.0)
    model, _ = pair("GPT2LMHeadModel", 0)
    with pytest.raises(mt.InputError, match="needs input_ids or negative_prompt_ids"):
        model.generate(inputs_embeds=torch.zeros(1, 2, 8, dtype=torch.float64), guidance_scale=2.0)
    with pytest.warns(UserWarning, match="negative_prompt_ids has no effect without guidance_scale"):
        model.generate(IDS[:1], negative_prompt_ids=IDS[:1], max_new_tokens=1)


SETTINGS = [
    ("WatermarkingConfig", {"bias": 1.0}),
    ("WatermarkingConfig", {"bias": 3.0, "greenlist_ratio": 0.5, "context_width": 2, "hashing_key": 7}),
    ("SynthIDTextWatermarkingConfig", {"ngram_len": 3, "keys": [3, 4, 5]}),
    ("SynthIDTextWatermarkingConfig", {"ngram_len": 2, "keys": [9, 1], "skip_first_ngram_calls": True}),
    ("SynthIDTextWatermarkingConfig", {"ngram_len": 2, "keys": [9, 1], "debug_mode": True}),
]


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_watermarked_texts(kind: str, settings: dict[str, Any]) -> None:
    strategies: list[dict[str, Any]] = [{}, {"do_sample": True, "top_k": 5}, {"renormalize_logits": True}]
    for options in [*strategies, *([{"num_beams": 2}] if kind == "WatermarkingConfig" else [])]:
        ours, theirs = (
            generated(model, watermarking_config=getattr(lib, kind)(**settings), **options)
            for lib, model in zip((mt, transformers), pair("GPT2LMHeadModel", 1), strict=True)
        )
        assert torch.equal(ours.sequences, theirs.sequences)
        for mine, other in zip(ours.scores, theirs.scores, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
@pytest.mark.parametrize("width", [1, 3])
def test_green_tokens_and_their_detector(scheme: str, width: int) -> None:
    settings = {"greenlist_ratio": 0.3, "bias": 1.5, "seeding_scheme": scheme, "context_width": width}
    mine, other = (lib.WatermarkLogitsProcessor(60, "cpu", **settings) for lib in (mt, transformers))
    random = torch.Generator().manual_seed(width)
    for length in (1, 3, 9):
        ids = torch.randint(0, 60, (3, length), generator=random)
        scores = torch.randn(3, 60, generator=random)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert torch.equal(mine(ids, scores), other(ids, scores))
    texts = torch.randint(1, 9, (3, 30), generator=random)
    for repeated, begins in itertools.product([True, False], [True, False]):
        if begins:
            texts[:, 0] = 0
        results = []
        for lib in (mt, transformers):
            config = lib.GPT2Config(vocab_size=60, bos_token_id=0, eos_token_id=1)
            detect = lib.WatermarkDetector(config, "cpu", lib.WatermarkingConfig(**settings), repeated)
            results.append((detect(texts, return_dict=True), detect(texts, z_threshold=1.0)))
            with pytest.raises(ValueError, match=r"BOS|bos"):
                detect(torch.tensor([[0, 2, 3, 4, 5], [1, 2, 3, 4, 5]]))
            with pytest.raises(ValueError, match="at least"):
                detect(texts[:, 1:2])
        (ours, predicted), (theirs, expected) = results
        assert (predicted == expected).all()
        for name, value in vars(theirs).items():
            np.testing.assert_allclose(getattr(ours, name), value, rtol=1e-12)


def test_a_watermark_is_found() -> None:
    """In texts that were generated with it, and not in others."""
    model, _ = pair("GPT2LMHeadModel", 3)
    config = mt.WatermarkingConfig(bias=4.0)
    detect = mt.WatermarkDetector(model.config, "cpu", config)
    length = {"max_new_tokens": 33, "do_sample": True, "generator": 0}
    with_it = model.generate(IDS[:1], **length, watermarking_config=config, num_return_sequences=4)
    without = model.generate(IDS[:1], **length, num_return_sequences=4)
    assert detect(with_it[:, 5:]).all()
    assert not detect(without[:, 5:]).any()


@pytest.mark.parametrize("length", [2, 3, 5])
def test_hashes_of_synthid(length: int) -> None:
    for skips, history in itertools.product([True, False], [2, 100]):
        settings = {
            "ngram_len": length,
            "keys": [5, 7, 9],
            "sampling_table_size": 1000,
            "sampling_table_seed": 3,
            "context_history_size": history,
            "device": "cpu",
            "skip_first_ngram_calls": skips,
        }
        mine, other = (lib.SynthIDTextWatermarkLogitsProcessor(**settings) for lib in (mt, transformers))
        random = torch.Generator().manual_seed(length)
        ids = torch.randint(0, 3, (2, 4), generator=random)
        for _ in range(12):
            scores = torch.randn(2, 20, generator=random)
            torch.testing.assert_close(mine(ids, scores), other(ids, scores))
            ids = torch.cat([ids, torch.randint(0, 2, (2, 1), generator=random)], dim=1)
        assert torch.equal(mine.compute_g_values(ids), other.compute_g_values(ids))
        repeated = (processor.compute_context_repetition_mask(ids) for processor in (mine, other))
        assert torch.equal(*repeated)
        assert torch.equal(mine.compute_eos_token_mask(ids, 2), other.compute_eos_token_mask(ids, 2))
        assert mine.expected_mean_g_value(50) == other.expected_mean_g_value(50)
    with pytest.raises(mt.InputError, match=r"ngrams has shape \(1, 1, 9\)"):
        mine.compute_ngram_keys(torch.ones(1, 1, 9, dtype=torch.long))


@pytest.mark.parametrize(("kind", "settings"), SETTINGS[1:3])
def test_settings_of_a_watermark_in_a_file(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    """A file of either library is read by ours, and ours has the reference's content."""
    contents = []
    for lib in (transformers, mt):
        config = lib.GenerationConfig(watermarking_config=getattr(lib, kind)(**settings))
        config.save_pretrained(tmp_path)
        assert mt.GenerationConfig.from_pretrained(tmp_path).watermarking_config == getattr(mt, kind)(**settings)
        contents.append(json.loads((tmp_path / "generation_config.json").read_text())["watermarking_config"])
    assert contents[0] == contents[1]
    pairs = (list(getattr(lib, kind)(**settings)) for lib in (mt, transformers))
    assert sorted(next(pairs)) == sorted(next(pairs))
