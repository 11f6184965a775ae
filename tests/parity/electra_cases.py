"""ELECTRA's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bert_cases
from cases import Case, Family
from drawing import MASKS, Draw, Example, Sizes, Values, seeds, token_inputs
from hypothesis import strategies as st
from mutations import EVERYWHERE, OF_A_HEAD
from task_examples import (
    Kind,
    any_sequence_classification,
    backbone,
    causal_lm,
    decoder,
    masked_lm,
    multiple_choice,
    question_answering,
    token_classification,
)


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    """As BERT's, with an embedding of another width or of the same."""
    chosen = bert_cases.config(draw)
    width = draw(st.one_of(st.integers(2, 9), st.just(chosen["hidden_size"])))
    return {**chosen, "embedding_size": width, **fixed}


def sizes(config: dict[str, Any]) -> Sizes:
    return replace(bert_cases.sizes(config), embedding_size=config["embedding_size"])


def config_with_summary(draw: Draw, **fixed: Any) -> dict[str, Any]:
    return config(
        draw,
        summary_type=draw(st.sampled_from(["first", "last", "mean", "cls_index"])),
        summary_use_proj=draw(st.booleans()),
        summary_activation=draw(st.sampled_from(["gelu", "tanh", "linear"])),
        **fixed,
    )


@st.composite
def replaced_tokens(draw: Draw) -> Example:
    """With labels, masks of two dimensions: the reference takes no others."""
    chosen, with_labels = config(draw), draw(st.booleans())
    arguments, real = token_inputs(draw, sizes(chosen), MASKS[:5] if with_labels else MASKS)
    if with_labels:
        arguments["labels"] = Values(draw(seeds())).ids(2, *real.shape)
    return Example(chosen, arguments, real, draw(seeds()))


def without_pooler(example: Example) -> Example:
    example.constructor.clear()
    return example


_KIND = Kind(config, sizes)
_PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})
_PER_SEQUENCE = frozenset({"last_hidden_state"})

_LANGUAGE_MODEL = (*OF_A_HEAD, "sees the future", "labels not shifted", "untied", "linear head")

_CASES = [
    Case("ElectraModel", backbone(_KIND), _PER_TOKEN, EVERYWHERE),
    Case(
        "ElectraModel",
        decoder(_KIND, True).map(without_pooler),
        _PER_TOKEN,
        ("sees the future", "no mask of the context"),
        "as decoder",
        has_cache=True,
    ),
    Case("ElectraForPreTraining", replaced_tokens(), _PER_TOKEN, OF_A_HEAD),
    Case("ElectraForMaskedLM", masked_lm(_KIND), _PER_TOKEN, (*OF_A_HEAD, "untied", "linear head")),
    Case("ElectraForCausalLM", causal_lm(_KIND, False), _PER_TOKEN, _LANGUAGE_MODEL, has_cache=True),
    Case(
        "ElectraForSequenceClassification",
        any_sequence_classification(_KIND),
        _PER_SEQUENCE,
        (*OF_A_HEAD, "linear head"),
    ),
    Case("ElectraForTokenClassification", token_classification(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case("ElectraForQuestionAnswering", question_answering(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case(
        "ElectraForMultipleChoice",
        multiple_choice(Kind(config_with_summary, sizes)),
        _PER_SEQUENCE,
        OF_A_HEAD,
    ),
]

ELECTRA = Family(
    "ElectraConfig",
    config_with_summary,
    _CASES,
    {**bert_cases.SMALLEST, "embedding_size": 4},
    smallest_of={"ElectraForCausalLM": {"is_decoder": True}},
    tied=("generator_lm_head.weight",),
    former_buffers=bert_cases.position_buffer,
    former_fields=lambda config: {"position_embedding_type": "absolute", "summary_last_dropout": 0.1},
)
