"""ALBERT's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bert_cases
from cases import Case, Family
from drawing import Draw, Example, Sizes, class_labels, seeds, token_inputs, token_labels
from hypothesis import strategies as st
from mutations import EVERYWHERE, OF_A_HEAD
from task_examples import (
    Kind,
    any_sequence_classification,
    backbone,
    masked_lm,
    multiple_choice,
    question_answering,
    token_classification,
)


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    """As BERT's, with a narrow embedding, and blocks in groups."""
    chosen = bert_cases.config(draw)
    chosen["classifier_dropout_prob"] = chosen.pop("classifier_dropout") or 0.1
    del chosen["use_cache"]
    layers = draw(st.integers(1, 5))
    return {
        **chosen,
        "embedding_size": draw(st.one_of(st.integers(2, 9), st.just(chosen["hidden_size"]))),
        "num_hidden_layers": layers,
        "num_hidden_groups": draw(st.integers(1, layers)),
        "inner_group_num": draw(st.sampled_from([1, 1, 2])),
        "hidden_dropout_prob": 0.1,  # by default there is none
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return replace(bert_cases.sizes(config), embedding_size=config["embedding_size"])


@st.composite
def pre_training(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["vocab_size"])
    if draw(st.booleans()):  # there is a loss only where both are given
        arguments["sentence_order_label"] = class_labels(draw, len(real), 2)
    return Example(chosen, arguments, real, draw(seeds()))


_KIND = Kind(config, sizes)
_PER_TOKEN = frozenset({"last_hidden_state", "logits", "prediction_logits", "start_logits", "end_logits"})
_PER_SEQUENCE = frozenset({"last_hidden_state"})

_POOLED = (*EVERYWHERE, "linear pooler")

_CASES = [
    Case("AlbertModel", backbone(_KIND, add_pooling_layer=True), _PER_TOKEN, (*_POOLED, "groups not in turn")),
    Case("AlbertModel", backbone(_KIND, add_pooling_layer=False), _PER_TOKEN, (), "without pooler"),
    Case("AlbertForPreTraining", pre_training(), _PER_TOKEN, (*OF_A_HEAD, "linear pooler", "untied", "linear head")),
    Case("AlbertForMaskedLM", masked_lm(_KIND), _PER_TOKEN, (*OF_A_HEAD, "untied", "linear head")),
    Case(
        "AlbertForSequenceClassification",
        any_sequence_classification(_KIND),
        _PER_SEQUENCE,
        (*OF_A_HEAD, "linear pooler"),
    ),
    Case("AlbertForTokenClassification", token_classification(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case("AlbertForQuestionAnswering", question_answering(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case("AlbertForMultipleChoice", multiple_choice(_KIND), _PER_SEQUENCE, (*OF_A_HEAD, "linear pooler")),
]

ALBERT = Family(
    "AlbertConfig",
    config,
    _CASES,
    {**bert_cases.SMALLEST, "embedding_size": 4},
    tied=("predictions.decoder.weight", "predictions.decoder.bias"),
    former_buffers=bert_cases.position_buffer,
    former_fields=lambda config: {
        "position_embedding_type": "absolute",
        "down_scale_factor": 1,
        "gap_size": 0,
        "net_structure_type": 0,
        "num_memory_blocks": 0,
    },
)
