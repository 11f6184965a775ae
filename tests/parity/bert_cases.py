"""BERT's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from typing import Any

import torch
from cases import Case, Family
from drawing import Draw, Sizes
from hypothesis import strategies as st
from mutations import EVERYWHERE, OF_A_HEAD
from task_examples import (
    PROBLEMS,
    Kind,
    backbone,
    causal_lm,
    decoder,
    masked_lm,
    multiple_choice,
    next_sentence,
    pre_training,
    question_answering,
    sequence_classification,
    token_classification,
)
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3, 5]))
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "hidden_size": heads * draw(st.integers(4, 8)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 40)),
        "hidden_act": draw(st.sampled_from(list(ACTIVATIONS))),
        "max_position_embeddings": draw(st.integers(4, 16)),
        "type_vocab_size": draw(st.integers(1, 3)),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-7, 1e-5, 1e-2])),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        "classifier_dropout": draw(st.sampled_from([None, 0.3])),
        "use_cache": draw(st.booleans()),
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_attention_heads"],
        max_length=config["max_position_embeddings"],
        num_token_types=config["type_vocab_size"],
        pad_token_id=config["pad_token_id"],
        causal=config.get("is_decoder", False),
    )


# ---- the table -------------------------------------------------------------------------------------------------------

_KIND = Kind(config, sizes)
_PER_TOKEN = frozenset({"last_hidden_state", "logits", "prediction_logits", "start_logits", "end_logits"})
_PER_SEQUENCE = frozenset({"last_hidden_state"})

_POOLED = (*EVERYWHERE, "linear pooler")
_CAUSAL = (*EVERYWHERE, "sees the future")
_LANGUAGE_MODEL = (*OF_A_HEAD, "labels not shifted", "untied", "linear head")

_CASES = [
    Case("BertModel", backbone(_KIND, add_pooling_layer=True), _PER_TOKEN, _POOLED),
    Case("BertModel", backbone(_KIND, add_pooling_layer=False), _PER_TOKEN, EVERYWHERE, "without pooler"),
    Case("BertModel", decoder(_KIND, False), _PER_TOKEN, _CAUSAL, "as decoder", has_cache=True),
    Case(
        "BertModel",
        decoder(_KIND, True),
        _PER_TOKEN,
        (*_CAUSAL, "no mask of the context"),
        "with cross-attention",
        has_cache=True,
    ),
    Case("BertForPreTraining", pre_training(_KIND), _PER_TOKEN, (*OF_A_HEAD, "linear pooler", "untied", "linear head")),
    Case("BertForMaskedLM", masked_lm(_KIND), _PER_TOKEN, (*OF_A_HEAD, "untied", "linear head")),
    Case("BertForNextSentencePrediction", next_sentence(_KIND), _PER_SEQUENCE, (*OF_A_HEAD, "linear pooler")),
    *(
        Case(
            "BertForSequenceClassification",
            sequence_classification(_KIND, problem),
            _PER_SEQUENCE,
            (*OF_A_HEAD, "linear pooler"),
            about,
        )
        for problem, about in PROBLEMS.items()
    ),
    Case("BertForTokenClassification", token_classification(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case("BertForQuestionAnswering", question_answering(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case("BertForMultipleChoice", multiple_choice(_KIND), _PER_SEQUENCE, (*OF_A_HEAD, "linear pooler")),
    Case("BertLMHeadModel", causal_lm(_KIND, False), _PER_TOKEN, _LANGUAGE_MODEL, has_cache=True),
    Case(
        "BertLMHeadModel",
        causal_lm(_KIND, True),
        _PER_TOKEN,
        (*_LANGUAGE_MODEL, "no mask of the context"),
        "with cross-attention",
        has_cache=True,
    ),
]


# ---- files -----------------------------------------------------------------------------------------------------------

SMALLEST = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 8,
}


def position_buffer(config: Any, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}embeddings.position_ids": torch.arange(config.max_position_embeddings)[None]}


BERT = Family(
    "BertConfig",
    config,
    _CASES,
    SMALLEST,
    smallest_of={"BertLMHeadModel": {"is_decoder": True}},
    tied=("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    former_buffers=position_buffer,
    former_fields=lambda config: {"position_embedding_type": "absolute"},
)
