"""Losses at their edges: nothing to learn, answers that were cut off, and dtypes that labels may have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bert_cases import BERT
from cases import Case
from gpt2_cases import GPT2
from torch import Tensor

BY_NAME = {case.name: case for case in (*BERT.cases, *GPT2.cases)}
IDS = torch.tensor([[3, 1, 4, 1, 5], [2, 6, 5, 3, 5]])
CHOICES = IDS[None]
NOTHING = torch.full_like(IDS, -100)


def losses(case: Case, config: dict[str, Any], arguments: dict[str, Any], dtype: torch.dtype) -> tuple[Any, Any]:
    """Ours and the reference's, by name."""
    if case.name.startswith("Bert"):
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}
    else:
        sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "pad_token_id": 0}
    config = {"vocab_size": 11, **sizes, **config}
    reference = case.reference(case.reference.config_class(**config)).to(dtype).eval()
    ours = case.ours(case.ours.config_class(**config)).eval()
    ours.load_hf_state_dict({name: tensor.clone() for name, tensor in reference.state_dict().items()})
    both = ours(**arguments), reference(**arguments)
    return tuple({name: out[name] for name in ("loss", "mc_loss") if name in out} for out in both)


@pytest.mark.parametrize(
    ("name", "config", "arguments"),
    [
        ("BertForMaskedLM", {}, {"input_ids": IDS, "labels": NOTHING}),
        ("BertForPreTraining", {}, {"input_ids": IDS, "labels": NOTHING, "next_sentence_label": torch.tensor([0, 1])}),
        ("BertForTokenClassification", {}, {"input_ids": IDS, "labels": NOTHING}),
        ("BertForNextSentencePrediction", {}, {"input_ids": IDS, "labels": NOTHING[:, 0]}),
        ("BertForSequenceClassification", {}, {"input_ids": IDS, "labels": NOTHING[:, 0]}),
        ("BertForMultipleChoice", {}, {"input_ids": CHOICES, "labels": NOTHING[0, :1]}),
        (
            "BertForQuestionAnswering",
            {},
            {"input_ids": IDS, "start_positions": IDS[:, 0] + 9, "end_positions": IDS[:, 0]},
        ),
        ("BertLMHeadModel", {"is_decoder": True}, {"input_ids": IDS, "labels": NOTHING}),
        ("GPT2LMHeadModel", {}, {"input_ids": IDS, "labels": NOTHING}),
        ("GPT2LMHeadModel", {}, {"input_ids": IDS[:, :1], "labels": IDS[:, :1]}),  # there is no next token
        ("GPT2DoubleHeadsModel", {}, {"input_ids": CHOICES, "labels": NOTHING[None], "mc_labels": NOTHING[0, :1]}),
        ("GPT2ForTokenClassification", {}, {"input_ids": IDS, "labels": NOTHING}),
        ("GPT2ForSequenceClassification", {}, {"input_ids": IDS, "labels": NOTHING[:, 0]}),
        (
            "GPT2ForQuestionAnswering",
            {},
            {"input_ids": IDS, "start_positions": IDS[:, 0], "end_positions": IDS[:, 0] + 9},
        ),
    ],
)
def test_nothing_to_learn_is_nan(name: str, config: dict[str, Any], arguments: dict[str, Any]) -> None:
    ours, theirs = losses(BY_NAME[name], config, arguments, torch.float64)
    assert ours.keys() == theirs.keys() != set()
    for loss, expected in zip(ours.values(), theirs.values(), strict=True):
        assert loss.isnan()
        assert expected.isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"num_labels": 3}, torch.tensor([2, 0])),
        ({"num_labels": 3}, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
        ({"num_labels": 3, "problem_type": "regression"}, torch.tensor([[1.0, 0.5, -1.0], [0.25, 0.0, 1.0]])),
        ({"num_labels": 1}, torch.tensor([0.5, -1.25])),
        ({"num_labels": 1}, torch.tensor([3, 1])),
        ({"num_labels": 1}, torch.tensor([[0.5], [-1.25]], dtype=torch.float64)),
    ],
    ids=["classes", "several classes", "three numbers", "a number", "a whole number", "float64 number"],
)
@pytest.mark.parametrize("name", ["BertForSequenceClassification", "GPT2ForSequenceClassification"])
def test_dtypes_of_labels(name: str, config: dict[str, Any], labels: Tensor, dtype: torch.dtype) -> None:
    """Labels need not have the dtype of the model."""
    ours, theirs = losses(BY_NAME[name], config, {"input_ids": IDS, "labels": labels}, dtype)
    tolerance = 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(ours["loss"], theirs["loss"], rtol=tolerance, atol=tolerance)  # and the same dtype
    ours["loss"].backward()
