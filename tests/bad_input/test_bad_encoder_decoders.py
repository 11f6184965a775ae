"""Wrong arguments to T5 and BART: each gives an error that names it and the remedy, before any layer computes."""

from __future__ import annotations

from functools import cache
from typing import Any

import bad_input_models as tiny
import pytest
import torch

import minitransformers
from minitransformers import InputError, MinitransformersError, UnknownArgumentError

IDS = torch.tensor([[3, 4, 5, 2], [7, 8, 9, 2]])
LABELS = IDS.clone()
ONES = torch.ones(2, 4, dtype=torch.long)
VECTORS = torch.zeros(2, 4, tiny.HIDDEN)
BART = {
    "vocab_size": tiny.VOCABULARY,
    "d_model": tiny.HIDDEN,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": tiny.POSITIONS,
}
T5 = {
    "vocab_size": tiny.VOCABULARY,
    "d_model": tiny.HIDDEN,
    "d_kv": 4,
    "num_heads": 3,
    "num_layers": 1,
    "d_ff": 16,
    "decoder_start_token_id": 0,
}


@cache
def model(name: str) -> Any:
    torch.manual_seed(0)
    model_class = getattr(minitransformers, name)
    return model_class(model_class.config_class(**(BART if name.startswith("Bart") else T5))).eval()


def refuses(name: str, arguments: dict[str, Any], parts: list[str], kind: type[Exception] = InputError) -> None:
    with tiny.nothing_computes(), pytest.raises(kind) as caught:
        model(name)(**arguments)
    assert isinstance(caught.value, MinitransformersError)
    for part in parts:
        assert part in str(caught.value)


SOURCE: list[tuple[str, dict[str, Any], list[str]]] = [
    ("nothing", {}, []),
    ("no source", {"decoder_input_ids": IDS}, ["input_ids or inputs_embeds"]),
    ("two sources", {"input_ids": IDS, "inputs_embeds": VECTORS, "decoder_input_ids": IDS}, ["not both"]),
    ("an id too large", {"input_ids": IDS + 20, "decoder_input_ids": IDS}, ["input_ids holds 2", "vocab_size=23"]),
    ("floats", {"input_ids": IDS.float(), "decoder_input_ids": IDS}, ["input_ids must be whole numbers"]),
    ("a short mask", {"input_ids": IDS, "attention_mask": ONES[:, :3], "decoder_input_ids": IDS}, ["attention_mask"]),
    ("a mask of halves", {"input_ids": IDS, "attention_mask": ONES * 0.5, "decoder_input_ids": IDS}, ["other than 0"]),
    ("narrow vectors", {"inputs_embeds": VECTORS[..., 1:], "decoder_input_ids": IDS}, ["11", "12"]),
    ("encoded, narrow", {"encoder_outputs": (VECTORS[..., 1:],), "decoder_input_ids": IDS}, ["11", "12"]),
    ("encoded, flat", {"encoder_outputs": (VECTORS[0],), "decoder_input_ids": IDS}, ["encoder_outputs"]),
    ("encoded, text", {"encoder_outputs": "text", "decoder_input_ids": IDS}, ["encoder_outputs", "str"]),
    ("encoded, another batch", {"encoder_outputs": (VECTORS[:1],), "decoder_input_ids": IDS}, ["1", "2"]),
    (
        "encoded, another mask",
        {"encoder_outputs": (VECTORS,), "attention_mask": ONES[:, :3], "decoder_input_ids": IDS},
        ["attention_mask", "(2, 3)"],
    ),
]
TARGET: list[tuple[str, dict[str, Any], list[str]]] = [
    ("another batch", {"decoder_input_ids": IDS[:1]}, ["1", "2"]),
    ("one row", {"decoder_input_ids": IDS[0]}, ["decoder_input_ids"]),
    ("an id too large", {"decoder_input_ids": IDS + 20}, ["decoder_input_ids holds 2", "vocab_size=23"]),
    ("a negative id", {"decoder_input_ids": -IDS}, ["decoder_input_ids holds -"]),
    ("floats", {"decoder_input_ids": IDS.float()}, ["decoder_input_ids must be whole numbers"]),
    ("no tokens", {"decoder_input_ids": IDS[:, :0]}, ["no tokens"]),
    ("two targets", {"decoder_input_ids": IDS, "decoder_inputs_embeds": VECTORS}, ["not both"]),
    ("narrow vectors", {"decoder_inputs_embeds": VECTORS[..., 1:]}, ["decoder_inputs_embeds", "11", "12"]),
    (
        "a short mask",
        {"decoder_input_ids": IDS, "decoder_attention_mask": ONES[:, :3]},
        ["decoder_attention_mask", "(2, 3)"],
    ),
    ("a mask of halves", {"decoder_input_ids": IDS, "decoder_attention_mask": ONES * 0.5}, ["other than 0"]),
]
LANGUAGE_MODEL: list[tuple[str, dict[str, Any], list[str]]] = [
    ("labels too large", {"labels": LABELS + 20}, ["labels", "2"]),
    ("labels below zero", {"labels": LABELS - 20}, ["labels"]),
    ("labels as floats", {"labels": LABELS.float()}, ["labels"]),
    ("labels as a list", {"labels": LABELS.tolist()}, ["labels must be a tensor"]),
    ("labels of another batch", {"labels": LABELS[:1]}, ["1", "2"]),
    ("labels of another length", {"labels": LABELS[:, :3], "decoder_input_ids": IDS}, ["labels", "(2, 3)"]),
    ("labels in one row", {"labels": LABELS[0]}, ["labels"]),
]
BACKBONES = ["T5Model", "BartModel", "T5ForConditionalGeneration", "BartForConditionalGeneration"]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(("arguments", "parts"), [case[1:] for case in SOURCE], ids=[case[0] for case in SOURCE])
def test_sources(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(name, arguments, parts)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(("arguments", "parts"), [case[1:] for case in TARGET], ids=[case[0] for case in TARGET])
def test_targets(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(name, {"input_ids": IDS, **arguments}, parts)


@pytest.mark.parametrize("name", BACKBONES[2:])
@pytest.mark.parametrize(
    ("arguments", "parts"), [case[1:] for case in LANGUAGE_MODEL], ids=[case[0] for case in LANGUAGE_MODEL]
)
def test_labels(name: str, arguments: dict[str, Any], parts: list[str]) -> None:
    refuses(name, {"input_ids": IDS, **arguments}, parts)


@pytest.mark.parametrize("name", BACKBONES)
def test_unknown_arguments(name: str) -> None:
    refuses(name, {"input_ids": IDS, "decoder_input_id": IDS}, ["decoder_input_id"], UnknownArgumentError)


@pytest.mark.parametrize("name", ["BartModel", "BartForConditionalGeneration"])
def test_barts_positions_end(name: str) -> None:
    refuses(name, {"input_ids": IDS.repeat(1, 3), "decoder_input_ids": IDS}, ["12 tokens", "8 positions"])
    refuses(name, {"input_ids": IDS, "decoder_input_ids": IDS.repeat(1, 3)}, ["12 tokens", "8 positions"])
