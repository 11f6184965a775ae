"""Tiny models for bad input, and a watch that tells whether any layer has computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import minitransformers
from minitransformers.models.base.pretrained import PreTrainedModel

VOCABULARY, POSITIONS, HIDDEN, HEADS = 23, 8, 12, 3
BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 16,
    "max_position_embeddings": POSITIONS,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": HIDDEN,
    "n_layer": 2,
    "n_head": HEADS,
    "n_positions": POSITIONS,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ENCODERS = [
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
]
DECODERS = [
    "BertLMHeadModel",
    "GPT2Model",
    "GPT2LMHeadModel",
    "GPT2ForSequenceClassification",
    "GPT2ForTokenClassification",
    "GPT2ForQuestionAnswering",
]
WITHOUT_CACHE = ["OpenAIGPTModel", "OpenAIGPTLMHeadModel", "OpenAIGPTForSequenceClassification"]
CHOICES = ["BertForMultipleChoice", "GPT2DoubleHeadsModel", "OpenAIGPTDoubleHeadsModel"]

_MADE: dict[str, Any] = {}


def model(name: str, **overrides: Any) -> Any:
    """A model of that class; the same one for the same arguments."""
    key = f"{name} {overrides}"
    if key not in _MADE:
        torch.manual_seed(0)
        model_class = getattr(minitransformers, name)
        fields = {**(BERT if name.startswith("Bert") else GPT2)}
        if name == "BertLMHeadModel":
            fields["is_decoder"] = True
        _MADE[key] = model_class(model_class.config_class(**{**fields, **overrides})).eval()
    return _MADE[key]


@contextmanager
def layers_that_ran() -> Iterator[list[str]]:
    """The layers that run inside, by class; not models, whose forward passes check their arguments first."""
    ran: list[str] = []

    def watch(module: nn.Module, inputs: Any) -> None:
        if not isinstance(module, PreTrainedModel):
            ran.append(type(module).__name__)

    handle = nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        yield ran
    finally:
        handle.remove()


@contextmanager
def nothing_computes() -> Iterator[None]:
    """Inside, no layer may run."""
    with layers_that_ran() as ran:
        yield
    assert not ran, f"{ran[0]} has computed before the error came"
