"""The table of a model: its numbers are the model's, and its arithmetic is that of the formulas in papers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import minitransformers as mt
from minitransformers import InputError
from minitransformers.adapters import LoraConfig, add_adapter
from minitransformers.auto import CONFIG_MAPPING
from minitransformers.cli import main
from minitransformers.models.base.summary import summarize
from minitransformers.testing.examples import tiny_model
from minitransformers.testing.families import classes_of

# The last class of every family, and those whose inputs have other shapes.
CLASSES = [classes_of(config_class)[-1] for config_class in dict.fromkeys(CONFIG_MAPPING.values())]
CLASSES += [mt.BertForMultipleChoice, mt.GPT2DoubleHeadsModel, mt.T5EncoderModel, mt.ViTModel, mt.BartForCausalLM]


@pytest.mark.parametrize("model_class", CLASSES, ids=lambda cls: cls.__name__)
def test_every_family_is_counted(model_class: type[mt.PreTrainedModel]) -> None:
    model = tiny_model(model_class)
    summary = model.summary(length=5)
    assert summary.parameters == model.num_parameters()
    assert sum(part.parameters for part in summary.parts if part.depth == 0) == pytest.approx(
        summary.parameters, abs=sum(p.numel() for p in model.parameters(recurse=False)) + 64
    )
    assert summary.flops_per_token > 0
    top = sum(part.flops for part in summary.parts if part.depth == 0)
    assert top <= summary.flops_per_token * 1.0001
    assert len({len(line) for line in str(summary).splitlines()[2:3]}) == 1
    assert next(model.parameters()).device.type == "cpu"  # the copy is on the meta device, not the model


def test_arithmetic_of_a_bert_is_that_of_its_formula() -> None:
    model = mt.BertModel(
        mt.BertConfig(
            vocab_size=40,
            hidden_size=12,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=20,
            max_position_embeddings=16,
        )
    )
    summary = model.summary(length=8)
    # Two for each weight of a matrix: q, k, v, output and the two of the feed-forward; then QKᵀ and the average of V.
    of_a_layer = 2 * (4 * 12 * 12 + 2 * 12 * 20) + 2 * (2 * 8 * 12)
    assert summary.flops_per_token == 3 * of_a_layer + 2 * 12 * 12 / 8  # the pooler sees one of 8 tokens
    (stack,) = [part for part in summary.parts if part.name == "layer.0 … 2"]
    assert (stack.module, stack.flops) == ("3 × BertLayer", 3 * of_a_layer)


def test_memory_of_a_gpt_and_its_cache() -> None:
    model = mt.GPT2LMHeadModel(mt.GPT2Config(vocab_size=30, n_positions=16, n_embd=12, n_layer=3, n_head=2))
    summary = model.summary()
    assert summary.length == 16
    assert summary.weight_bytes == 4 * model.num_parameters()
    assert summary.training_bytes == 4 * summary.weight_bytes
    cache = model(torch.zeros(1, 5, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers) * 4
    assert summary.cache_bytes_per_token == held / 5
    assert model.to(torch.bfloat16).summary().cache_bytes_per_token == held / 10


def test_frozen_and_adapted_models_are_counted_as_they_are() -> None:
    config = mt.BertConfig(
        vocab_size=40, hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20
    )
    plain = mt.BertForSequenceClassification(config).eval()
    adapted = add_adapter(mt.BertForSequenceClassification(config), LoraConfig(r=2)).eval()
    before, after = plain.summary(length=4), adapted.summary(length=4)
    assert after.parameters > before.parameters
    assert after.trainable < after.parameters
    # Two thin matrices for the queries and two for the values of both layers.
    assert after.flops_per_token - before.flops_per_token == 2 * 2 * 2 * (2 * 12 + 12 * 2)
    assert "of them frozen" in str(after)
    assert not adapted.training


def test_a_text_that_is_too_long_is_refused() -> None:
    model = mt.GPT2Model(mt.GPT2Config(vocab_size=30, n_positions=16, n_embd=12, n_layer=1, n_head=2))
    with pytest.raises(InputError, match="length=17 must be from 1 to the model's longest text, 16"):
        model.summary(length=17)
    with pytest.raises(InputError, match="depth=0"):
        summarize(model, depth=0)


def test_the_command_info_shows_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(Path(__file__).parents[2] / "examples" / "checkpoints" / "gpt")
    assert main(["info", model]) == 0
    shown = capsys.readouterr().out
    assert "h.0 … 4" in shown
    assert "5 × GPT2Block" in shown
    assert main(["info", model, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary == mt.GPT2LMHeadModel.from_pretrained(model).summary().to_dict() | {"parts": summary["parts"]}
