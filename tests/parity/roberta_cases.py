"""RoBERTa's table, and XLM-RoBERTa's, which is the same model under another name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bert_cases
import torch
from cases import Case, Family
from drawing import Draw, Example, Sizes
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
    """As BERT's, with as many positions more as stand before the first token's."""
    chosen = bert_cases.config(draw, pad_token_id=draw(st.sampled_from([0, 1, 3])))
    chosen["max_position_embeddings"] += chosen["pad_token_id"] + 1
    return {**chosen, **fixed}


def sizes(config: dict[str, Any]) -> Sizes:
    longest = config["max_position_embeddings"] - config["pad_token_id"] - 1
    return replace(bert_cases.sizes(config), max_length=longest)


def with_positions_of_vectors(example: Example) -> Example:
    """Where vectors come with a cache, the reference starts to count anew: there, positions are given."""
    if "inputs_embeds" in example.arguments and "position_ids" not in example.arguments:
        positions = torch.arange(example.real.shape[1])[None] + example.config["pad_token_id"] + 1
        example.arguments["position_ids"] = positions
    return example


_KIND = Kind(config, sizes)
_PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})
_PER_SEQUENCE = frozenset({"last_hidden_state"})

_ALWAYS = (*EVERYWHERE, "positions from 0")
_POOLED = (*_ALWAYS, "linear pooler")
_CAUSAL = (*_ALWAYS, "sees the future")
_LANGUAGE_MODEL = (
    *OF_A_HEAD,
    "sees the future",
    "labels not shifted",
    "untied",
    "linear head",
    "positions count padding",
)

_CASES = [
    Case("RobertaModel", backbone(_KIND, add_pooling_layer=True), _PER_TOKEN, _POOLED),
    Case(
        "RobertaModel",
        decoder(_KIND, True).map(with_positions_of_vectors),
        _PER_TOKEN,
        (*_CAUSAL, "no mask of the context"),
        "as decoder",
        has_cache=True,
    ),
    Case(
        "RobertaForMaskedLM",
        masked_lm(_KIND),
        _PER_TOKEN,
        (*OF_A_HEAD, "untied", "linear head"),
    ),
    Case(
        "RobertaForCausalLM",
        causal_lm(_KIND, False).map(with_positions_of_vectors),
        _PER_TOKEN,
        _LANGUAGE_MODEL,
        has_cache=True,
    ),
    Case(
        "RobertaForSequenceClassification",
        any_sequence_classification(_KIND),
        _PER_SEQUENCE,
        (*OF_A_HEAD, "linear head"),
    ),
    Case(
        "RobertaForTokenClassification",
        token_classification(_KIND),
        _PER_TOKEN,
        (*OF_A_HEAD, "positions count padding"),
    ),
    Case("RobertaForQuestionAnswering", question_answering(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case(
        "RobertaForMultipleChoice",
        multiple_choice(_KIND),
        _PER_SEQUENCE,
        (*OF_A_HEAD, "linear pooler"),
    ),
]

ROBERTA = Family(
    "RobertaConfig",
    config,
    _CASES,
    bert_cases.SMALLEST,
    smallest_of={"RobertaForCausalLM": {"is_decoder": True}},
    tied=("lm_head.decoder.weight", "lm_head.decoder.bias"),
    former_buffers=bert_cases.position_buffer,
    former_fields=lambda config: {"position_embedding_type": "absolute"},
)
# The code is RoBERTa's, and so are the errors that it has been shown to be free of.
XLM_ROBERTA = replace(
    ROBERTA,
    config_class="XLMRobertaConfig",
    cases=[replace(case, name=f"XLM{case.name}", mutations=()) for case in _CASES],
    smallest_of={"XLMRobertaForCausalLM": {"is_decoder": True}},
)
