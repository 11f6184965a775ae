"""DistilBERT's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from typing import Any

import bert_cases
from cases import Case, Family
from drawing import Draw, Example, Sizes
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

from minitransformers.nn.feed_forward import ACTIVATIONS


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3, 5]))
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "dim": heads * draw(st.integers(4, 8)),
        "n_layers": draw(st.integers(1, 3)),
        "n_heads": heads,
        "hidden_dim": draw(st.integers(1, 40)),
        "activation": draw(st.sampled_from(list(ACTIVATIONS))),
        "max_position_embeddings": draw(st.integers(4, 16)),
        "sinusoidal_pos_embds": draw(st.booleans()),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["dim"],
        num_heads=config["n_heads"],
        max_length=config["max_position_embeddings"],
        num_token_types=0,
        pad_token_id=config["pad_token_id"],
    )


def without_positions(example: Example) -> Example:
    """The reference forgets to flatten the positions of choices."""
    example.arguments.pop("position_ids", None)
    return example


_KIND = Kind(config, sizes)
_PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})
_PER_SEQUENCE = frozenset({"last_hidden_state"})

_ALWAYS = tuple(mutation for mutation in EVERYWHERE if mutation != "no segments")

_CASES = [
    Case("DistilBertModel", backbone(_KIND), _PER_TOKEN, _ALWAYS),
    Case("DistilBertForMaskedLM", masked_lm(_KIND), _PER_TOKEN, (*OF_A_HEAD, "untied", "linear head")),
    Case("DistilBertForSequenceClassification", any_sequence_classification(_KIND), _PER_SEQUENCE, OF_A_HEAD),
    Case("DistilBertForTokenClassification", token_classification(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case("DistilBertForQuestionAnswering", question_answering(_KIND), _PER_TOKEN, OF_A_HEAD),
    Case(
        "DistilBertForMultipleChoice",
        multiple_choice(_KIND).map(without_positions),
        _PER_SEQUENCE,
        OF_A_HEAD,
    ),
]

DISTILBERT = Family(
    "DistilBertConfig",
    config,
    _CASES,
    {
        "vocab_size": 11,
        "dim": 8,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 6,
        "max_position_embeddings": 8,
    },
    tied=("vocab_projector.weight",),
    former_buffers=bert_cases.position_buffer,
    former_fields=lambda config: {"tie_weights_": True},
)
