"""The small models of `minitransformers.testing.examples`, by name and as new ones begin: for tests of BERT and GPT-2.

Where those have drawn weights and no dropout, these have a new model's weights, and dropout as the config has it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import minitransformers as mt
from minitransformers.testing.examples import example_batch
from minitransformers.testing.families import small_fields

VOCAB_SIZE, LENGTH = 23, 7
DROPOUTS = {
    family: tuple(name for name in config_class._fields if "drop" in name)
    for family, config_class in (("Bert", mt.BertConfig), ("GPT2", mt.GPT2Config))
}
BACKBONES = ["BertModel", "GPT2Model"]
SCORING_TOKENS = ["BertForPreTraining", "BertForMaskedLM", "BertLMHeadModel", "GPT2LMHeadModel", "GPT2DoubleHeadsModel"]
HEADS = [
    *SCORING_TOKENS,
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "GPT2ForSequenceClassification",
    "GPT2ForTokenClassification",
    "GPT2ForQuestionAnswering",
]


def small_model(name: str, *, dropout: float | None = None, **fields: Any) -> Any:
    """In evaluation mode; `dropout` sets all rates."""
    model_class = getattr(mt, name)
    values = small_fields(model_class, dropout=True, **{"vocab_size": VOCAB_SIZE, **fields})
    if dropout is not None:
        values |= dict.fromkeys(DROPOUTS[name[:4]], dropout)
    torch.manual_seed(0)
    return model_class(model_class.config_class(**values)).eval()


def small_batch(name: str, *, rows: int = 3, labels: bool = True) -> dict[str, Tensor]:
    """Ids, a mask whose last row is padded on the right, and labels of the kind that the class takes."""
    return example_batch(small_model(name), rows=rows, length=LENGTH, labels=labels, seed=1)


def loss_of(output: Any) -> Tensor:
    """Everything that the output has a loss for."""
    loss: Tensor = output.loss if output.get("mc_loss") is None else output.loss + output.mc_loss
    return loss
