"""One small model of every class, and a batch with labels for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import minitransformers as mt

VOCAB_SIZE, LENGTH = 23, 7
BERT = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "num_labels": 2,
}
GPT2 = {
    "vocab_size": VOCAB_SIZE,
    "n_embd": 12,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 16,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "num_labels": 2,
}
DROPOUTS = {
    "Bert": ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"),
    "GPT2": ("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout", "classifier_dropout"),
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
    """In evaluation mode, with the first values of a new model; `dropout` sets all rates."""
    is_bert = name.startswith("Bert")
    values: dict[str, Any] = {**(BERT if is_bert else GPT2), "is_decoder": True}
    if name != "BertLMHeadModel":
        del values["is_decoder"]
    if dropout is not None:
        values |= dict.fromkeys(DROPOUTS["Bert" if is_bert else "GPT2"], dropout)
    torch.manual_seed(0)
    return getattr(mt, name)((mt.BertConfig if is_bert else mt.GPT2Config)(**{**values, **fields})).eval()


def small_batch(name: str, *, rows: int = 3, labels: bool = True) -> dict[str, Tensor]:
    """Ids, a mask whose second row is padded on the right, and labels of the kind that the class takes."""
    generator = torch.Generator().manual_seed(1)
    has_choices = name in ("BertForMultipleChoice", "GPT2DoubleHeadsModel")
    shape = (rows, 2, LENGTH) if has_choices else (rows, LENGTH)
    input_ids = torch.randint(2, VOCAB_SIZE, shape, generator=generator)
    attention_mask = torch.ones(shape, dtype=torch.long)
    attention_mask[1, ..., LENGTH - 2 :] = 0
    input_ids = input_ids.masked_fill(attention_mask == 0, 0)
    batch = {"input_ids": input_ids, "attention_mask": attention_mask}
    if labels:
        batch |= _labels(name, input_ids, attention_mask)
    return batch


def _labels(name: str, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
    of_tokens = input_ids.masked_fill(attention_mask == 0, -100)
    of_rows = torch.arange(input_ids.shape[0]) % 2
    if name == "BertForPreTraining":
        return {"labels": of_tokens, "next_sentence_label": of_rows}
    if name == "GPT2DoubleHeadsModel":
        return {"labels": of_tokens, "mc_labels": of_rows}
    if name in SCORING_TOKENS:
        return {"labels": of_tokens}
    if name.endswith("ForTokenClassification"):
        return {"labels": (input_ids % 2).masked_fill(attention_mask == 0, -100)}
    if name.endswith("ForQuestionAnswering"):
        return {"start_positions": of_rows, "end_positions": of_rows + 2}
    return {"labels": of_rows}


def loss_of(output: Any) -> Tensor:
    """Everything that the output has a loss for."""
    loss: Tensor = output.loss if output.get("mc_loss") is None else output.loss + output.mc_loss
    return loss
