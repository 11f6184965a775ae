"""Every task of texts that the reference has: the same labels, characters, order and scores on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
import transformers

from minitransformers import pipeline

Saved = Callable[..., str]
BATCH = 50
LABELS = {"id2label": {0: "bad", 1: "fair", 2: "good"}, "label2id": {"bad": 0, "fair": 1, "good": 2}}
IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC")
TAGS = {"id2label": dict(enumerate(IOB)), "label2id": {label: number for number, label in enumerate(IOB)}}


def both(task: str, directory: str, **options: Any) -> tuple[Any, Any]:
    return pipeline(task, directory, device=-1, **options), transformers.pipeline(task, directory, device=-1, **options)


def assert_agrees(ours: Any, theirs: Any, inputs: list[Any], **options: Any) -> None:
    """The same answers as the reference's for a list, and for a generator whose inputs are read one by one."""
    answers = ours(inputs, batch_size=BATCH, **options)
    tiny.assert_same(answers, theirs(inputs, batch_size=BATCH, **options))
    tiny.assert_same(list(ours((each for each in inputs[:5]), **options)), answers[:5])


@pytest.mark.parametrize(
    ("architecture", "fields"),
    [
        ("BertForSequenceClassification", LABELS),
        ("BertForSequenceClassification", {"num_labels": 1}),
        ("BertForSequenceClassification", {"problem_type": "regression", "num_labels": 2}),
        ("RobertaForSequenceClassification", {"problem_type": "multi_label_classification", **LABELS}),
        ("GPT2ForSequenceClassification", LABELS),
    ],
)
def test_text_classification(saved: Saved, architecture: str, fields: dict[str, Any]) -> None:
    ours, theirs = both("text-classification", saved(architecture, **fields))
    drawn = tiny.texts(1)
    drawn = [text or "a" for text in drawn] if "GPT2" in architecture else drawn
    assert_agrees(ours, theirs, drawn, truncation=True)
    assert_agrees(ours, theirs, drawn[:9], truncation=True, top_k=2)
    for options in ({"top_k": None}, {"function_to_apply": "softmax"}, {"function_to_apply": "none"}, {"top_k": 1}):
        tiny.assert_same(ours(drawn[3], **options), theirs(drawn[3], **options))
    pairs = [{"text": one, "text_pair": other} for one, other in pairwise(drawn[5:15])]
    assert_agrees(ours, theirs, pairs, truncation=True)
    tiny.assert_same(ours(pairs[0], truncation=True), theirs(pairs[0], truncation=True))


def test_an_old_pair_is_a_pair(saved: Saved) -> None:
    ours, theirs = both("text-classification", saved("BertForSequenceClassification", **LABELS))
    tiny.assert_same(ours([[["a film", "the rain"]]]), theirs([[["a film", "the rain"]]]))


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "RobertaForMaskedLM", "BartForConditionalGeneration"])
def test_fill_mask(saved: Saved, architecture: str) -> None:
    ours, theirs = both("fill-mask", saved(architecture))
    mask = ours.tokenizer.mask_token
    drawn = [f"{mask} {text}" + (f" {mask}" if number % 3 == 0 else "") for number, text in enumerate(tiny.texts(2))]
    cut = {"tokenizer_kwargs": {"truncation": True}}
    assert_agrees(ours, theirs, drawn, **cut)
    assert_agrees(ours, theirs, drawn[:9], top_k=3, **cut)
    for single in (drawn[5], [drawn[5]]):
        tiny.assert_same(ours(single), theirs(single))
    tiny.assert_same(ours(drawn[5], targets="a"), theirs(drawn[5], targets="a"))
    with pytest.warns(UserWarning, match="is no token of the vocabulary"):
        found = ours(drawn[5], targets=["a", "wonderfully"])
    tiny.assert_same(found, theirs(drawn[5], targets=["a", "wonderfully"]))


@pytest.mark.parametrize(
    ("architecture", "strategy", "count"),
    [
        ("BertForTokenClassification", "none", 200),
        ("BertForTokenClassification", "simple", 50),
        ("BertForTokenClassification", "first", 50),
        ("BertForTokenClassification", "average", 50),
        ("BertForTokenClassification", "max", 50),
        ("RobertaForTokenClassification", "simple", 200),
        ("RobertaForTokenClassification", "average", 50),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has no labels", "ignore:Tokenizer does not support")
def test_token_classification(saved: Saved, architecture: str, strategy: str, count: int) -> None:
    ours, theirs = both("ner", saved(architecture, **TAGS), aggregation_strategy=strategy)
    drawn = tiny.texts(3, count)
    assert_agrees(ours, theirs, drawn)
    assert_agrees(ours, theirs, drawn[:5], ignore_labels=["MISC"])
    words = [text.split() or ["a"] for text in drawn[:20]]
    assert_agrees(ours, theirs, words, is_split_into_words=True)
    one = {"is_split_into_words": True, "delimiter": "--"}
    tiny.assert_same(ours(words[3], **one), theirs(words[3], **one))
    if strategy != "none":
        stride = {"aggregation_strategy": strategy, "stride": 6}
        ours, theirs = both("ner", saved(architecture, **TAGS), **stride)
        assert_agrees(ours, theirs, drawn[:30])


@pytest.mark.parametrize("architecture", ["BertModel", "GPT2Model"])
def test_feature_extraction(saved: Saved, architecture: str) -> None:
    ours, theirs = both("feature-extraction", saved(architecture))
    drawn = [text or "a" for text in tiny.texts(4)]
    options = {"truncation": True, "return_tensors": True, "batch_size": BATCH}
    for one, other in zip(ours(drawn, **options), theirs(drawn, **options), strict=True):
        padding = other.shape[1] - one.shape[1]  # which ours leaves out
        torch.testing.assert_close(one, other[:, : one.shape[1]], atol=1e-5, rtol=0)
        assert padding >= 0
    tiny.assert_same(ours(drawn[5]), theirs(drawn[5]))
    further = {"tokenize_kwargs": {"add_special_tokens": False}}
    tiny.assert_same(ours(drawn[5:7], **further), theirs(drawn[5:7], **further))


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "BartForSequenceClassification"])
def test_zero_shot_classification(saved: Saved, architecture: str) -> None:
    names = {0: "contradiction", 1: "neutral", 2: "entailment"}
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    ours, theirs = both("zero-shot-classification", saved(architecture, **labels))
    drawn = [text or "a" for text in tiny.texts(5)]
    kinds = ["rain", "film", "Paris 😀", "東京"]
    for options in ({}, {"multi_label": True}, {"hypothesis_template": "It is {}!"}):
        some = drawn if not options else drawn[:12]
        assert_agrees(ours, theirs, some, candidate_labels=kinds, **options)
    tiny.assert_same(ours(drawn[5], "rain, film"), theirs(drawn[5], "rain, film"))
    tiny.assert_same(ours(drawn[5], "rain"), theirs(drawn[5], "rain"))
