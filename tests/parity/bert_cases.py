"""BERT's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from typing import Any

import torch
from cases import Case, Family
from drawing import (
    MASKS,
    WITHOUT_LEFT,
    Draw,
    Example,
    Sizes,
    Values,
    class_labels,
    context_inputs,
    seeds,
    span_labels,
    token_inputs,
    token_labels,
)
from hypothesis import strategies as st
from mutations import EVERYWHERE
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS

PROBLEMS = {
    "single_label_classification": "one class",
    "multi_label_classification": "several classes",
    "regression": "numbers",
}


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


# ---- encoders --------------------------------------------------------------------------------------------------------


@st.composite
def backbone(draw: Draw, pooler: bool) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen))
    return Example(chosen, arguments, real, draw(seeds()), {"add_pooling_layer": pooler})


@st.composite
def masked_lm(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["vocab_size"])
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def pre_training(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["vocab_size"])
    if draw(st.booleans()):  # there is a loss only where both are given
        arguments["next_sentence_label"] = class_labels(draw, len(real), 2)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def next_sentence(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = class_labels(draw, len(real), 2)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def sequence_classification(draw: Draw, problem: str) -> Example:
    """`problem` is named in the config, or has to be told from the number and type of the labels."""
    labels_alone = draw(st.booleans())
    several = problem == "single_label_classification" or (problem == "multi_label_classification" and labels_alone)
    one = problem == "regression" and labels_alone
    num_labels = draw(st.integers(2 if several else 1, 1 if one else 4))
    chosen = config(draw, num_labels=num_labels, problem_type=None if labels_alone else problem)
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.sampled_from([True, True, True, False])):
        arguments["labels"] = problem_labels(draw, problem, len(real), num_labels)
    return Example(chosen, arguments, real, draw(seeds()))


def problem_labels(draw: Draw, problem: str, rows: int, num_labels: int) -> Any:
    if problem == "single_label_classification":
        return class_labels(draw, rows, num_labels)
    values = Values(draw(seeds()))
    if problem == "multi_label_classification":
        return values.chance(0.5, rows, num_labels).double()
    one_dimension = num_labels == 1 and draw(st.booleans())
    return values.normal(rows) if one_dimension else values.normal(rows, num_labels)


@st.composite
def token_classification(draw: Draw) -> Example:
    chosen = config(draw, num_labels=draw(st.integers(2, 7)))
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["num_labels"])
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def question_answering(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments |= span_labels(draw, *real.shape)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def multiple_choice(draw: Draw) -> Example:
    chosen, choices = config(draw), draw(st.integers(2, 4))
    arguments, real = token_inputs(draw, sizes(chosen), MASKS[:5], choices=choices)
    if draw(st.booleans()):
        arguments["labels"] = class_labels(draw, len(real) // choices, choices).flatten()
    return Example(chosen, arguments, real, draw(seeds()))


# ---- decoders --------------------------------------------------------------------------------------------------------


@st.composite
def decoder(draw: Draw, cross_attention: bool) -> Example:
    chosen = config(draw, is_decoder=True, add_cross_attention=cross_attention)
    pooler = draw(st.booleans())  # it looks at the first token, which in front of a text is padding
    arguments, real = token_inputs(draw, sizes(chosen), WITHOUT_LEFT if pooler else MASKS)
    if cross_attention:
        arguments |= context_inputs(draw, sizes(chosen), len(real))
    if draw(st.booleans()):
        arguments["use_cache"] = draw(st.booleans())
    return Example(chosen, arguments, real, draw(seeds()), {"add_pooling_layer": pooler})


@st.composite
def causal_lm(draw: Draw, cross_attention: bool) -> Example:
    chosen = config(draw, is_decoder=True, add_cross_attention=cross_attention)
    arguments, real = token_inputs(draw, sizes(chosen))
    if cross_attention:
        arguments |= context_inputs(draw, sizes(chosen), len(real))
    arguments |= language_model_arguments(draw, real, chosen["vocab_size"])
    return Example(chosen, arguments, real, draw(seeds()))


def language_model_arguments(draw: Draw, real: Any, vocab_size: int) -> dict[str, Any]:
    """Labels, or which logits are wanted, or neither; and whether to give a cache."""
    arguments: dict[str, Any] = {}
    if draw(st.booleans()):
        arguments["use_cache"] = draw(st.booleans())
    length = real.shape[1]
    kind = draw(st.sampled_from(["neither", "labels", "labels", "logits_to_keep"]))
    if kind == "labels":
        arguments["labels"] = token_labels(draw, real, vocab_size, shifted=True)
        if arguments["labels"] is not None and draw(st.booleans()):
            arguments["num_items_in_batch"] = draw(st.integers(1, 50))
    elif kind == "logits_to_keep" and real.all():
        values = Values(draw(seeds()))
        arguments["logits_to_keep"] = draw(
            st.sampled_from([1, length, values.ids(length, 2), values.ids(length, len(real), 3)])
        )
    return arguments


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state", "logits", "prediction_logits", "start_logits", "end_logits"})
_PER_SEQUENCE = frozenset({"last_hidden_state"})

_POOLED = (*EVERYWHERE, "linear pooler")
_CAUSAL = (*EVERYWHERE, "sees the future")
_LANGUAGE_MODEL = (*_CAUSAL, "labels not shifted", "untied")

_CASES = [
    Case("BertModel", backbone(True), _PER_TOKEN, _POOLED),
    Case("BertModel", backbone(False), _PER_TOKEN, EVERYWHERE, "without pooler"),
    Case("BertModel", decoder(False), _PER_TOKEN, _CAUSAL, "as decoder", has_cache=True),
    Case(
        "BertModel",
        decoder(True),
        _PER_TOKEN,
        (*_CAUSAL, "no mask of the context"),
        "with cross-attention",
        has_cache=True,
    ),
    Case("BertForPreTraining", pre_training(), _PER_TOKEN, (*_POOLED, "other labels", "untied")),
    Case("BertForMaskedLM", masked_lm(), _PER_TOKEN, (*EVERYWHERE, "other labels", "untied")),
    Case("BertForNextSentencePrediction", next_sentence(), _PER_SEQUENCE, (*_POOLED, "other labels")),
    *(
        Case(
            "BertForSequenceClassification",
            sequence_classification(problem),
            _PER_SEQUENCE,
            (*_POOLED, "other labels"),
            about,
        )
        for problem, about in PROBLEMS.items()
    ),
    Case("BertForTokenClassification", token_classification(), _PER_TOKEN, (*EVERYWHERE, "other labels")),
    Case("BertForQuestionAnswering", question_answering(), _PER_TOKEN, (*EVERYWHERE, "other labels")),
    Case("BertForMultipleChoice", multiple_choice(), _PER_SEQUENCE, (*_POOLED, "other labels")),
    Case("BertLMHeadModel", causal_lm(False), _PER_TOKEN, _LANGUAGE_MODEL, has_cache=True),
    Case(
        "BertLMHeadModel",
        causal_lm(True),
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
