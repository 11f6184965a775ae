"""Wrong arguments to models: each gives an error that names it and the remedy, before any layer computes."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import bad_input_models as tiny
import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

import minitransformers
from minitransformers import DynamicCache, InputError, MinitransformersError, UnknownArgumentError

IDS = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0]])
ONES = torch.ones(2, 4, dtype=torch.long)
EMBEDS = torch.zeros(2, 4, tiny.HIDDEN)


def wrong(*lists: list[int]) -> Tensor:
    return torch.tensor(lists)


def refuses(model: Any, arguments: dict[str, Any], parts: list[str], kind: type[Exception] = InputError) -> None:
    """The call raises `kind`, catchable as what a caller would expect, saying all `parts`, before anything computes."""
    with tiny.nothing_computes(), pytest.raises(kind) as caught:
        model(**arguments)
    assert isinstance(caught.value, MinitransformersError)
    assert isinstance(caught.value, TypeError if kind is UnknownArgumentError else ValueError)
    for part in parts:
        assert part in str(caught.value)


# ---- what every model takes -----------------------------------------------------------------------------------------

INPUTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("no input", {}, ["Pass either input_ids or inputs_embeds."]),
    ("no input but a mask", {"attention_mask": ONES}, ["Pass either input_ids or inputs_embeds."]),
    ("two inputs", {"input_ids": IDS, "inputs_embeds": EMBEDS}, ["input_ids or inputs_embeds, not both"]),
    ("one row", {"input_ids": IDS[0]}, ["input_ids has shape (4,)", "(batch, length)", "input_ids[None]"]),
    ("three dimensions", {"input_ids": IDS[None]}, ["input_ids has shape (1, 2, 4)", "(batch, length)"]),
    ("a number", {"input_ids": torch.tensor(3)}, ["input_ids has shape ()"]),
    ("no tokens", {"input_ids": IDS[:, :0]}, ["no tokens", "pass at least one"]),
    ("a list", {"input_ids": [[3, 4]]}, ["input_ids must be a tensor, got list", "return_tensors='pt'"]),
    ("an array", {"input_ids": np.array([[3]])}, ["input_ids must be a tensor, got ndarray"]),
    ("text", {"input_ids": "Hello"}, ["input_ids must be a tensor, got str", "return_tensors='pt'"]),
    ("a dictionary", {"input_ids": {"input_ids": IDS}}, ["input_ids must be a tensor, got dict", "model(**inputs)"]),
    ("an encoding", {"input_ids": UserDict(input_ids=IDS)}, ["got UserDict", "model(**inputs)"]),
    ("floats", {"input_ids": IDS.float()}, ["input_ids must be whole numbers", "torch.float32", "input_ids.long()"]),
    ("bools", {"input_ids": IDS > 3}, ["input_ids must be whole numbers", "got torch.bool"]),
    ("short integers", {"input_ids": IDS.short()}, ["input_ids must be whole numbers (torch.long)", "torch.int16"]),
    ("unsigned", {"input_ids": IDS.to(torch.uint16)}, ["torch.uint16", "input_ids.long()"]),
    ("complex", {"input_ids": IDS.to(torch.complex64)}, ["torch.complex64"]),
    ("too large an id", {"input_ids": wrong([3, 23])}, ["input_ids holds 23", "0 … 22", "vocab_size=23", "tokenizer"]),
    ("a negative id", {"input_ids": wrong([3, -1])}, ["input_ids holds -1", "0 … 22"]),
    ("too long", {"input_ids": ONES.repeat(1, 3)}, ["has 12 tokens", "8 positions", "truncation=True, max_length=8"]),
    ("vectors too long", {"inputs_embeds": EMBEDS.repeat(1, 3, 1)}, ["has 12 tokens", "8 positions"]),
    ("vectors too narrow", {"inputs_embeds": EMBEDS[..., 1:]}, ["inputs_embeds has shape (2, 4, 11)", "length, 12)"]),
    ("a row of vectors", {"inputs_embeds": EMBEDS[0]}, ["inputs_embeds has shape (4, 12)", "(batch, length, 12)"]),
    (
        "vectors of integers",
        {"inputs_embeds": EMBEDS.long()},
        ["inputs_embeds must be a floating-point", "int64"],
    ),
    ("vectors in a list", {"inputs_embeds": EMBEDS.tolist()}, ["inputs_embeds must be a floating-point", "got list"]),
    ("no vectors", {"inputs_embeds": EMBEDS[:, :0]}, ["no tokens"]),
    (
        "wide vectors",
        {"inputs_embeds": EMBEDS.double()},
        ["inputs_embeds is torch.float64", "the model torch.float32", "inputs_embeds.to(model.dtype)"],
    ),
    *[
        (f"{name} {what}", {"input_ids": IDS, name: value}, [name, *parts])
        for name in ("token_type_ids", "position_ids")
        for what, value, parts in [
            ("of another length", ONES[:, :3], ["has shape (2, 3)", "expected (2, 4)"]),
            ("of another batch", ONES.repeat(2, 1)[:3], ["has shape (3, 4)", "expected (2, 4)"]),
            ("in one row", ONES[0], ["has shape (4,)", "expected (2, 4)"]),
            ("as a list", ONES.tolist(), ["must be a tensor, got list"]),
            ("as floats", ONES.float(), ["must be whole numbers", "torch.float32"]),
            ("below zero", -ONES, ["holds -1", "outside 0 … "]),
            ("too large", ONES * 99, ["holds 99", "outside 0 … "]),
        ]
    ],
    *[
        (f"a mask {what}", {"input_ids": IDS, "attention_mask": value}, ["attention_mask", *parts])
        for what, value, parts in [
            ("too short", ONES[:, :3], ["has shape (2, 3)", "expected (2, 4)", "(batch, heads, query, key)"]),
            ("too long", ONES.repeat(1, 2), ["has shape (2, 8)", "expected (2, 4)"]),
            ("of another batch", ONES[:1], ["has shape (1, 4)", "expected (2, 4)"]),
            ("in one row", ONES[0], ["has shape (4,)"]),
            ("of no dimension", torch.tensor(1), ["has shape ()"]),
            ("of three dimensions", ONES[:, None].bool(), ["has shape (2, 1, 4)", "expected (2, 4)"]),
            ("of five dimensions", ONES[:, None, None, None].bool(), ["has shape (2, 1, 1, 1, 4)"]),
            ("of a half", ONES * 0.5, ["other than 0 (padding) and 1 (token)", "four dimensions"]),
            ("to be added", (ONES - 1.0) * -1e4 - 1e4, ["other than 0", "four dimensions"]),
            ("of twos", ONES * 2, ["other than 0 (padding) and 1 (token)"]),
            ("of integers in 4-D", torch.ones(2, 1, 4, 4).long(), ["torch.int64", "pass bool (True = may attend)"]),
            ("of too many keys in 4-D", torch.ones(2, 1, 4, 5).bool(), ["has shape (2, 1, 4, 5)", "key 4"]),
            ("of too few queries in 4-D", torch.zeros(2, 1, 3, 4), ["has shape (2, 1, 3, 4)", "query 4 or 1"]),
            ("of another batch in 4-D", torch.zeros(3, 1, 4, 4), ["has shape (3, 1, 4, 4)", "batch 2 or 1"]),
            ("of two heads in 4-D", torch.ones(2, 2, 4, 4).bool(), ["has shape (2, 2, 4, 4)", "heads 3 or 1"]),
            ("as a list", ONES.tolist(), ["must be a tensor of 0 and 1, got list"]),
            ("as an array", ONES.numpy(), ["must be a tensor of 0 and 1, got ndarray"]),
            ("as complex", ONES.to(torch.complex64), ["must be a tensor of 0 and 1", "torch.complex64"]),
        ]
    ],
]


@pytest.mark.parametrize("name", tiny.ENCODERS + tiny.DECODERS + tiny.WITHOUT_CACHE)
@pytest.mark.parametrize(("arguments", "parts"), [case[1:] for case in INPUTS], ids=[case[0] for case in INPUTS])
def test_inputs(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(tiny.model(name), arguments, parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({}, ["Pass either input_ids or inputs_embeds"]),
        ({"input_ids": IDS[0]}, ["input_ids", "(4,)", "(batch, choices, length …)"]),
        ({"input_ids": IDS[None, None]}, ["input_ids", "(1, 1, 2, 4)"]),
        ({"input_ids": [[[3]]]}, ["input_ids", "list"]),
        ({"input_ids": IDS[None].float()}, ["input_ids", "torch.float32"]),
        ({"input_ids": IDS[None] + 20}, ["input_ids holds", "vocab_size=23"]),
        ({"input_ids": IDS[None, :, :0]}, ["no tokens"]),
        ({"input_ids": IDS[None].repeat(1, 1, 3)}, ["12 tokens", "8 positions"]),
        ({"inputs_embeds": EMBEDS[0, 0]}, ["inputs_embeds"]),
        ({"inputs_embeds": EMBEDS[None, ..., 1:]}, ["inputs_embeds", "11", "12"]),
        ({"input_ids": IDS[None], "attention_mask": ONES[None, :, :3]}, ["attention_mask", "3", "4"]),
        ({"input_ids": IDS[None], "attention_mask": ONES[0]}, ["attention_mask has shape (4,)"]),
        ({"input_ids": IDS[None], "attention_mask": [[[1] * 4] * 2]}, ["attention_mask must be a tensor", "list"]),
        ({"input_ids": IDS[None], "attention_mask": ONES[None] * 0.5}, ["attention_mask", "other than 0"]),
        ({"input_ids": IDS[None], "token_type_ids": ONES[None] * 99}, ["token_type_ids holds 99"]),
        ({"input_ids": IDS[None], "token_type_ids": [[[0] * 4] * 2]}, ["token_type_ids must be a tensor"]),
        ({"input_ids": IDS[None], "position_ids": ONES[None, :, :2]}, ["position_ids", "2"]),
        ({"input_ids": IDS[None], "output_attention": True}, []),
    ],
)
@pytest.mark.parametrize("name", tiny.CHOICES)
def test_inputs_with_choices(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    kind = UnknownArgumentError if "output_attention" in arguments else InputError
    refuses(tiny.model(name), arguments, parts, kind)


@pytest.mark.parametrize("name", tiny.ENCODERS + tiny.DECODERS + tiny.CHOICES)
@pytest.mark.parametrize(
    ("argument", "near"),
    [
        ("output_attention", "'output_attentions'"),
        ("input_id", "'input_ids'"),
        ("atention_mask", "'attention_mask'"),
        ("head_mask", None),
        ("temperature", None),
    ],
)
def test_unknown_argument(name: str, argument: str, near: str | None) -> None:
    parts = [f"{name} takes no argument {argument!r}."]
    refuses(tiny.model(name), {"input_ids": IDS, argument: True}, parts, UnknownArgumentError)
    if near is not None:
        refuses(tiny.model(name), {argument: True}, [f"Did you mean {near}?"], UnknownArgumentError)


@pytest.mark.parametrize("name", ["BertModel", "GPT2Model"])
def test_labels_for_a_model_without_a_head(name: str) -> None:
    refuses(tiny.model(name), {"input_ids": IDS, "labels": IDS}, ["takes no argument 'labels'"], UnknownArgumentError)


def test_whole_encoding_without_stars() -> None:
    """`model(inputs)` in place of `model(**inputs)`."""
    inputs = minitransformers.BatchEncoding({"input_ids": IDS})
    with tiny.nothing_computes(), pytest.raises(InputError, match=r"got BatchEncoding.*model\(\*\*inputs\)"):
        tiny.model("BertModel")(inputs)


def test_mask_where_the_cache_belongs() -> None:
    """GPT-2's second argument is the cache; people take it for the mask."""
    with tiny.nothing_computes(), pytest.raises(InputError, match=r"past_key_values must be the cache.*got Tensor"):
        tiny.model("GPT2Model")(IDS, ONES)


# ---- labels ---------------------------------------------------------------------------------------------------------

CLASS, SPAN = torch.tensor([0, 1]), torch.tensor([1, 2])
PER_TOKEN = [
    ("too short", ONES[:, :3], ["has shape (2, 3)", "expected (2, 4)"]),
    ("in one row", ONES[0], ["has shape (4,)", "expected (2, 4)"]),
    ("as floats", ONES.float(), ["must be whole numbers", "torch.float32"]),
    ("as a list", ONES.tolist(), ["must be a tensor, got list"]),
    ("as logits", torch.zeros(2, 4, 5), ["torch.float32"]),
    ("one too large", ONES * 23, ["holds 23", "classes 0 … "]),
    ("of minus one", -ONES, ["holds -1", "or -100 for what is not counted"]),
]
PER_ROW = [
    ("per token", ONES, ["has shape (2, 4)", "expected (2,)"]),
    ("of another batch", torch.tensor([0, 1, 1]), ["has shape (3,)", "expected (2,)"]),
    ("a number", torch.tensor(1), ["has shape ()", "expected (2,)"]),
    ("as a list", [0, 1], ["must be a tensor", "list"]),
    ("too large", CLASS + 1, ["holds 2", "classes 0 … 1"]),
    ("of minus one", CLASS - 1, ["holds -1"]),
]
LABELS: list[tuple[str, dict[str, Any], str, str, Any, list[str]]] = [
    *[
        (name, {}, "labels", *case)
        for name in ("BertForPreTraining", "BertForMaskedLM", "BertLMHeadModel", "GPT2LMHeadModel")
        for case in PER_TOKEN
    ],
    *[
        (name, {}, "labels", what, torch.full_like(ONES, 2) if what == "one too large" else value, parts)
        for name in ("BertForTokenClassification", "GPT2ForTokenClassification")
        for what, value, parts in PER_TOKEN
        if what != "one too large"
    ],
    *[
        (name, {"num_labels": 3}, "labels", "one too large", ONES * 3, ["holds 3", "classes 0 … 2, or -100"])
        for name in ("BertForTokenClassification", "GPT2ForTokenClassification")
    ],
    *[("BertForNextSentencePrediction", {}, "labels", *case) for case in PER_ROW],
    *[("BertForPreTraining", {}, "next_sentence_label", *case) for case in PER_ROW],
    *[
        (name, {}, "labels", *case)
        for name in ("BertForSequenceClassification", "GPT2ForSequenceClassification")
        for case in PER_ROW
    ],
    *[
        (name, overrides, "labels", what, value, parts)
        for name in ("BertForSequenceClassification", "GPT2ForSequenceClassification")
        for overrides, what, value, parts in [
            ({"num_labels": 3}, "floats in one row", CLASS.float(), ["has shape (2,)", "(2, 3)", "multi-label"]),
            ({"num_labels": 3}, "two of three", torch.zeros(2, 2), ["has shape (2, 2)", "(2, 3)", "multi-label"]),
            ({"num_labels": 3}, "above one", torch.full((2, 3), 1.5), ["multi-label", "between 0 and 1"]),
            ({"num_labels": 3}, "below zero", torch.full((2, 3), -100.0), ["multi-label", "between 0 and 1"]),
            ({"num_labels": 3}, "complex", torch.zeros(2, 3).cfloat(), ["must be a tensor of numbers", "complex64"]),
            (
                {"num_labels": 3, "problem_type": "multi_label_classification"},
                "classes",
                CLASS,
                ["has shape (2,)", "(2, 3)", "multi-label"],
            ),
            (
                {"num_labels": 3, "problem_type": "single_label_classification"},
                "floats",
                CLASS.float(),
                ["must be whole numbers", "torch.float32"],
            ),
            (
                {"num_labels": 3, "problem_type": "single_label_classification"},
                "one-hot",
                torch.eye(3)[:2].long(),
                ["has shape (2, 3)", "expected (2,)"],
            ),
            ({"num_labels": 1}, "too many numbers", torch.zeros(2, 2), ["has shape (2, 2)", "(2,)", "regression"]),
            ({"num_labels": 1}, "per token", torch.zeros(2, 4), ["has shape (2, 4)", "regression"]),
            ({"num_labels": 1}, "a list", [0.5, 1.0], ["must be a tensor", "list"]),
            (
                {"num_labels": 3, "problem_type": "regression"},
                "one number",
                torch.zeros(2),
                ["has shape (2,)", "(2, 3)", "regression"],
            ),
        ]
    ],
    *[
        (name, {}, argument, what, value, parts)
        for name in ("BertForQuestionAnswering", "GPT2ForQuestionAnswering")
        for argument in ("start_positions", "end_positions")
        for what, value, parts in [
            ("per token", ONES, ["has shape (2, 4)", "expected (2,)"]),
            ("of another batch", SPAN[:1], ["has shape (1,)", "expected (2,)"]),
            ("as floats", SPAN.float(), ["must be whole numbers", "torch.float32"]),
            ("as a list", [1, 2], ["must be a tensor, got list"]),
        ]
    ],
]


@pytest.mark.parametrize(
    ("name", "overrides", "argument", "value", "parts"),
    [(name, overrides, argument, value, parts) for name, overrides, argument, _, value, parts in LABELS],
    ids=[
        " ".join([name, *map(str, overrides.values()), argument, what])
        for name, overrides, argument, what, *_ in LABELS
    ],
)
def test_labels(name: str, overrides: Any, argument: str, value: Any, parts: list[str]) -> None:
    arguments = {"input_ids": IDS, argument: value}
    if argument in ("start_positions", "end_positions"):
        arguments = {"input_ids": IDS, "start_positions": SPAN, "end_positions": SPAN, argument: value}
    refuses(tiny.model(name, **overrides), arguments, [argument, *parts])


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("BertForMultipleChoice", {"labels": torch.tensor([2])}, ["labels holds 2", "classes 0 … 1"]),
        ("BertForMultipleChoice", {"labels": torch.tensor([0, 1])}, ["labels has shape (2,)", "expected (1,)"]),
        ("BertForMultipleChoice", {"labels": torch.tensor([0.0])}, ["labels must be whole numbers"]),
        ("GPT2DoubleHeadsModel", {"mc_labels": torch.tensor([2])}, ["mc_labels holds 2", "classes 0 … 1"]),
        ("GPT2DoubleHeadsModel", {"mc_labels": torch.tensor([[0, 1]])}, ["mc_labels has shape (1, 2)"]),
        ("GPT2DoubleHeadsModel", {"labels": IDS[None] + 20}, ["labels holds", "classes 0 … 22"]),
        ("GPT2DoubleHeadsModel", {"labels": IDS}, ["labels has shape (2, 4)", "expected (1, 2, 4)"]),
        ("GPT2DoubleHeadsModel", {"mc_token_ids": wrong([0, 4])}, ["mc_token_ids holds 4", "0 … 3", "length"]),
        ("GPT2DoubleHeadsModel", {"mc_token_ids": torch.tensor([3])}, ["mc_token_ids has shape (1,)", "(1, 2)"]),
        ("GPT2DoubleHeadsModel", {"mc_token_ids": [[0, 1]]}, ["mc_token_ids must be a tensor"]),
    ],
)
def test_labels_of_choices(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(tiny.model(name), {"input_ids": IDS[None], **arguments}, parts)


def test_classifying_a_batch_without_a_padding_token() -> None:
    model = tiny.model("GPT2ForSequenceClassification", pad_token_id=None)
    refuses(model, {"input_ids": IDS}, ["model.config.pad_token_id", "assign tokenizer.pad_token_id"])


@pytest.mark.parametrize(
    ("logits_to_keep", "parts"),
    [
        (-1, ["logits_to_keep=-1", "0 for all"]),
        (1.5, ["logits_to_keep", "got float"]),
        ([1], ["logits_to_keep", "got list"]),
        (torch.tensor(1), ["logits_to_keep"]),
        (torch.tensor([4]), ["logits_to_keep holds 4", "0 … 3", "length of the input"]),
        (torch.tensor([-1]), ["logits_to_keep holds -1"]),
        (torch.tensor([1.0]), ["logits_to_keep must be whole numbers"]),
        (torch.ones(2, 3).bool(), ["logits_to_keep has shape (2, 3)", "expected (2, 4)"]),
        (torch.ones(3).bool(), ["logits_to_keep has shape (3,)"]),
        (torch.zeros(3, 1).long(), ["logits_to_keep has 3 rows", "the input has 2"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel"])
def test_logits_to_keep(name: str, logits_to_keep: Any, parts: list[str]) -> None:
    refuses(tiny.model(name), {"input_ids": IDS, "logits_to_keep": logits_to_keep}, parts)


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel"])
def test_labels_for_logits_that_are_not_kept(name: str) -> None:
    for logits_to_keep in (1, torch.tensor([3])):
        arguments = {"input_ids": IDS, "labels": IDS, "logits_to_keep": logits_to_keep}
        refuses(tiny.model(name), arguments, ["labels need the logits of all positions", "leave out logits_to_keep"])


# ---- the cache ------------------------------------------------------------------------------------------------------

WITH_CACHE = ["BertLMHeadModel", "GPT2Model", "GPT2LMHeadModel", "GPT2ForSequenceClassification"]


def cache_of(name: str, length: int = 4, **overrides: Any) -> DynamicCache:
    with torch.no_grad():
        cache: DynamicCache = tiny.model(name, **overrides)(IDS[:, :length], use_cache=True).past_key_values
    return cache


@pytest.mark.parametrize("name", WITH_CACHE)
@pytest.mark.parametrize(
    "foreign",
    [
        ((torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)),) * 2,
        [],
        {},
        "cache",
        torch.zeros(2, 4),
    ],
    ids=lambda foreign: type(foreign).__name__,
)
def test_foreign_object_as_cache(name: str, foreign: Any) -> None:
    parts = ["past_key_values must be the cache that an earlier call returned", f"got {type(foreign).__name__}"]
    refuses(tiny.model(name), {"input_ids": IDS, "past_key_values": foreign}, parts)


@pytest.mark.parametrize("name", WITH_CACHE)
def test_cache_that_does_not_fit(name: str) -> None:
    layers, heads = ("num_hidden_layers", "num_attention_heads")
    cases: list[tuple[dict[str, Any], list[str]]] = [
        (
            {"input_ids": IDS[:1, :1], "past_key_values": cache_of(name)},
            ["2 sequences and the input 1", "batch_select_indices"],
        ),
        ({"input_ids": ONES.repeat(2, 1), "past_key_values": cache_of(name)}, ["2 sequences and the input 4"]),
        ({"input_ids": IDS, "past_key_values": cache_of(name, **{heads: 2})}, ["2 heads", "this one has 3"]),
        ({"input_ids": IDS, "past_key_values": cache_of(name, **{layers: 1})}, ["with 1 layers; this one has 2"]),
        (
            {"input_ids": ONES.repeat(1, 2)[:, :5], "past_key_values": cache_of(name)},
            ["5 tokens after 4 cached ones", "8 positions"],
        ),
        (
            {"input_ids": IDS, "attention_mask": ONES, "past_key_values": cache_of(name)},
            ["attention_mask has shape (2, 4)", "expected (2, 8) (4 cached and 4 new tokens)"],
        ),
        (
            {"input_ids": IDS[:, :1], "attention_mask": torch.ones(2, 1, 4, 4), "past_key_values": cache_of(name)},
            ["attention_mask has shape (2, 1, 4, 4)", "query 1 or 1", "key 5"],
        ),
    ]
    for arguments, parts in cases:
        cache = arguments["past_key_values"]
        length = cache.get_seq_length()
        refuses(tiny.model(name), arguments, parts)
        assert cache.get_seq_length() == length, "the cache can be used on"


# ---- cross-attention ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertLMHeadModel", "GPT2Model", "GPT2LMHeadModel"])
def test_context_for_a_model_without_cross_attention(name: str) -> None:
    arguments = {"input_ids": IDS, "encoder_hidden_states": EMBEDS}
    refuses(
        tiny.model(name), arguments, ["encoder_hidden_states needs a model with cross-attention", "is_decoder=True"]
    )


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2Model", "GPT2LMHeadModel"])
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"encoder_hidden_states": EMBEDS[..., 1:]}, ["encoder_hidden_states has shape (2, 4, 11)", "source, 12)"]),
        ({"encoder_hidden_states": EMBEDS[:1]}, ["encoder_hidden_states has shape (1, 4, 12)", "expected (2, "]),
        ({"encoder_hidden_states": EMBEDS[0]}, ["encoder_hidden_states has shape (4, 12)"]),
        ({"encoder_hidden_states": EMBEDS[:, :0]}, ["encoder_hidden_states has shape (2, 0, 12)"]),
        ({"encoder_hidden_states": EMBEDS.tolist()}, ["encoder_hidden_states must be a tensor, got list"]),
        ({"encoder_hidden_states": (EMBEDS,)}, ["got tuple", "last_hidden_state"]),
        ({"encoder_hidden_states": EMBEDS.double()}, ["encoder_hidden_states is torch.float64", "to(model.dtype)"]),
        ({"encoder_hidden_states": EMBEDS.long()}, ["encoder_hidden_states is torch.int64"]),
        (
            {"encoder_hidden_states": EMBEDS, "encoder_attention_mask": ONES[:, :3]},
            ["encoder_attention_mask has shape (2, 3)", "expected (2, 4)"],
        ),
        (
            {"encoder_hidden_states": EMBEDS, "encoder_attention_mask": ONES * 0.5},
            ["encoder_attention_mask", "other than 0 (padding) and 1 (token)"],
        ),
        (
            {"encoder_hidden_states": EMBEDS, "encoder_attention_mask": ONES.tolist()},
            ["encoder_attention_mask must be a tensor of 0 and 1, got list"],
        ),
        (
            {"encoder_hidden_states": EMBEDS, "encoder_attention_mask": torch.ones(2, 2, 4, 4).bool()},
            ["encoder_attention_mask has shape (2, 2, 4, 4)", "heads 3 or 1"],
        ),
    ],
)
def test_context(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(tiny.model(name, add_cross_attention=True, **decoder(name)), {"input_ids": IDS, **arguments}, parts)


def decoder(name: str) -> dict[str, Any]:
    return {} if name.startswith("GPT2") else {"is_decoder": True}


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel"])
def test_another_source_than_the_cache_holds(name: str) -> None:
    model = tiny.model(name, add_cross_attention=True, **decoder(name))
    with torch.no_grad():
        cache = model(IDS[:, :2], encoder_hidden_states=EMBEDS, use_cache=True).past_key_values
    arguments = {"input_ids": IDS[:, 2:], "encoder_hidden_states": EMBEDS[:, :3], "past_key_values": cache}
    refuses(model, arguments, ["encoder_hidden_states has 3 positions", "of a source with 4", "a new cache"])


# ---- building and changing models -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.ENCODERS + tiny.DECODERS + tiny.CHOICES)
def test_building_from_what_is_no_configuration(name: str) -> None:
    model_class = getattr(minitransformers, name)
    family = model_class.config_class.__name__
    for wrong_config in ("bert-base-uncased", {"vocab_size": 3}, None, transformers.BertConfig()):
        with pytest.raises(InputError, match=f"{name} is built from a {family}, got .*from_pretrained"):
            model_class(wrong_config)
    with pytest.raises(TypeError, match="dropot"):
        model_class(model_class.config_class(), dropot=0.1)


def test_choosing_a_class_for_what_is_no_configuration() -> None:
    for wrong_config in ("bert-base-uncased", {"model_type": "bert"}, None):
        with pytest.raises(InputError, match=r"AutoModel\.from_config needs a configuration, got"):
            minitransformers.AutoModel.from_config(wrong_config)  # type: ignore[arg-type]


def test_impossible_changes() -> None:
    model = tiny.model("BertForMaskedLM")
    with pytest.raises(InputError, match="new_num_tokens=0 must be at least 1"):
        model.resize_token_embeddings(0)
    with pytest.raises(InputError, match="would drop the padding token 5"):
        tiny.model("BertForMaskedLM", pad_token_id=5).resize_token_embeddings(5)
    with pytest.raises(ValueError, match=r"attn_implementation='flash' must be 'eager' or 'sdpa'"):
        model.set_attn_implementation("flash")
    with pytest.raises(minitransformers.ConfigError, match="needs num_labels=2"):
        tiny.model("BertForQuestionAnswering", num_labels=3)


# ---- the checks themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.ENCODERS + tiny.DECODERS)
def test_good_input_passes(name: str) -> None:
    """Without this, all of the above could hold of a model that refuses everything."""
    model = tiny.model(name)
    positions = torch.arange(4)[None]
    mask = ONES.clone()
    mask[1, 3] = 0
    for arguments in (
        {"input_ids": IDS},
        {"input_ids": IDS.int(), "token_type_ids": ONES.int(), "position_ids": positions.int()},
        {"input_ids": IDS, "attention_mask": mask},
        {"input_ids": IDS, "attention_mask": mask.bool()},
        {"input_ids": IDS, "attention_mask": mask.float()},
        {"input_ids": IDS, "attention_mask": torch.zeros(2, 3, 4, 4)},
        {"input_ids": IDS, "attention_mask": torch.ones(1, 1, 4, 4).bool()},
        {"inputs_embeds": EMBEDS},
        {"inputs_embeds": EMBEDS.half(), "position_ids": positions},
    ):
        with torch.no_grad():
            assert model(**arguments)[0].isfinite().all()


def test_the_watch_sees_layers_compute() -> None:
    with pytest.raises(AssertionError, match="Embeddings has computed"), tiny.nothing_computes():
        tiny.model("BertModel")(IDS)


@pytest.mark.parametrize("name", ["BertForQuestionAnswering", "GPT2ForQuestionAnswering"])
def test_answers_beyond_the_sequence_are_not_counted(name: str) -> None:
    """Where truncation has cut the answer off; in any type of whole numbers that is taken."""
    model = tiny.model(name)
    for dtype in (torch.int64, torch.int32):
        one = model(IDS[:1], start_positions=SPAN[:1].to(dtype), end_positions=SPAN[1:].to(dtype)).loss
        starts, ends = (torch.tensor([at, 99], dtype=dtype) for at in (1, 2))
        assert torch.allclose(model(IDS, start_positions=starts, end_positions=ends).loss, one)
