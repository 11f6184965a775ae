"""What the classes of BERT and its relatives are tried with: a model, an input, and labels as each class takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

PROBLEMS = {
    "single_label_classification": "one class",
    "multi_label_classification": "several classes",
    "regression": "numbers",
}


@dataclass(frozen=True)
class Kind:
    """What sets one family's examples apart from another's.

    Attributes:
        config: draws keyword arguments of the configuration; further ones are fixed.
        sizes: of a configuration that it has drawn.
    """

    config: Callable[..., dict[str, Any]]
    sizes: Callable[[dict[str, Any]], Sizes]


# ---- encoders --------------------------------------------------------------------------------------------------------


@st.composite
def backbone(draw: Draw, kind: Kind, **constructor: Any) -> Example:
    chosen = kind.config(draw)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    return Example(chosen, arguments, real, draw(seeds()), constructor)


@st.composite
def masked_lm(draw: Draw, kind: Kind) -> Example:
    chosen = kind.config(draw)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["vocab_size"])
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def pre_training(draw: Draw, kind: Kind) -> Example:
    chosen = kind.config(draw)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["vocab_size"])
    if draw(st.booleans()):  # there is a loss only where both are given
        arguments["next_sentence_label"] = class_labels(draw, len(real), 2)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def next_sentence(draw: Draw, kind: Kind) -> Example:
    chosen = kind.config(draw)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = class_labels(draw, len(real), 2)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def sequence_classification(draw: Draw, kind: Kind, problem: str) -> Example:
    chosen, num_labels = classification_config(draw, kind.config, problem)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if draw(st.sampled_from([True, True, True, False])):
        arguments["labels"] = problem_labels(draw, problem, len(real), num_labels)
    return Example(chosen, arguments, real, draw(seeds()))


def classification_config(
    draw: Draw, config: Callable[..., dict[str, Any]], problem: str
) -> tuple[dict[str, Any], int]:
    """A configuration that names `problem`, or for which it has to be told from the labels; and how many labels it has.

    The number is given apart, since a family may say it otherwise: of two labels, BART gives the names.
    """
    labels_alone = draw(st.booleans())
    several = problem == "single_label_classification" or (problem == "multi_label_classification" and labels_alone)
    one = problem == "regression" and labels_alone
    num_labels = draw(st.integers(2 if several else 1, 1 if one else 4))
    return config(draw, num_labels=num_labels, problem_type=None if labels_alone else problem), num_labels


def any_sequence_classification(kind: Kind) -> st.SearchStrategy[Example]:
    """Of every problem, for classes whose loss is BERT's."""
    return st.one_of([sequence_classification(kind, problem) for problem in PROBLEMS])


def problem_labels(draw: Draw, problem: str, rows: int, num_labels: int) -> Any:
    if problem == "single_label_classification":
        return class_labels(draw, rows, num_labels)
    values = Values(draw(seeds()))
    if problem == "multi_label_classification":
        return values.chance(0.5, rows, num_labels).double()
    one_dimension = num_labels == 1 and draw(st.booleans())
    return values.normal(rows) if one_dimension else values.normal(rows, num_labels)


@st.composite
def token_classification(draw: Draw, kind: Kind) -> Example:
    chosen = kind.config(draw, num_labels=draw(st.integers(2, 7)))
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["num_labels"])
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def question_answering(draw: Draw, kind: Kind) -> Example:
    chosen = kind.config(draw)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if draw(st.booleans()):
        arguments |= span_labels(draw, *real.shape)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def multiple_choice(draw: Draw, kind: Kind) -> Example:
    chosen, choices = kind.config(draw), draw(st.integers(2, 4))
    arguments, real = token_inputs(draw, kind.sizes(chosen), MASKS[:5], choices=choices)
    if draw(st.booleans()):
        arguments["labels"] = class_labels(draw, len(real) // choices, choices).flatten()
    return Example(chosen, arguments, real, draw(seeds()))


# ---- decoders --------------------------------------------------------------------------------------------------------


@st.composite
def decoder(draw: Draw, kind: Kind, cross_attention: bool) -> Example:
    chosen = kind.config(draw, is_decoder=True, add_cross_attention=cross_attention)
    pooler = draw(st.booleans())  # it looks at the first token, which in front of a text is padding
    arguments, real = token_inputs(draw, kind.sizes(chosen), WITHOUT_LEFT if pooler else MASKS)
    if cross_attention:
        arguments |= context_inputs(draw, kind.sizes(chosen), len(real))
    if draw(st.booleans()):
        arguments["use_cache"] = draw(st.booleans())
    return Example(chosen, arguments, real, draw(seeds()), {"add_pooling_layer": pooler})


@st.composite
def causal_lm(draw: Draw, kind: Kind, cross_attention: bool) -> Example:
    chosen = kind.config(draw, is_decoder=True, add_cross_attention=cross_attention)
    arguments, real = token_inputs(draw, kind.sizes(chosen))
    if cross_attention:
        arguments |= context_inputs(draw, kind.sizes(chosen), len(real))
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
