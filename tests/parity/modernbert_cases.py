"""ModernBERT's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from typing import Any

from cases import Case, Family
from decoder_cases import PER_TOKEN, WITHOUT_PADDING
from drawing import MASKS, Draw, Example, Sizes, class_labels, seeds, span_labels, token_inputs
from hypothesis import strategies as st
from task_examples import (
    PROBLEMS,
    Kind,
    backbone,
    classification_config,
    masked_lm,
    problem_labels,
    token_classification,
)

from minitransformers.nn.feed_forward import ACTIVATIONS


def layers_and_positions(draw: Draw, layers: int) -> dict[str, Any]:
    """What layers see, and how positions turn in them, as keywords of former years or in the present form."""
    kinds = ["full_attention", "sliding_attention"]
    if draw(st.booleans()):
        former = {"global_attn_every_n_layers": draw(st.integers(1, 3)), "local_rope_theta": 50.0}
        return former if draw(st.booleans()) else {**former, "global_rope_theta": 500.0}
    bases = {kind: draw(st.sampled_from([10_000.0, 20.0])) for kind in kinds}
    return {
        "layer_types": draw(st.lists(st.sampled_from(kinds), min_size=layers, max_size=layers)),
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
    }


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads, layers = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 3))
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "hidden_size": 2 * heads * draw(st.integers(2, 4)),
        "intermediate_size": draw(st.integers(1, 20)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_activation": draw(st.sampled_from(["gelu", *ACTIVATIONS])),
        "norm_eps": draw(st.sampled_from([1e-5, 1e-12, 1e-2])),
        "norm_bias": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
        "decoder_bias": draw(st.booleans()),
        "classifier_bias": draw(st.booleans()),
        "classifier_activation": draw(st.sampled_from(["gelu", "relu", "tanh"])),
        "classifier_pooling": draw(st.sampled_from(["cls", "mean"])),
        "local_attention": draw(st.integers(2, 8)),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        **layers_and_positions(draw, layers),
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_heads=config["num_attention_heads"],
        max_length=12,
        num_token_types=0,
        pad_token_id=config["pad_token_id"],
        has_windows=True,
    )


@st.composite
def sequence_classification(draw: Draw) -> Example:
    problem = draw(st.sampled_from(list(PROBLEMS)))
    chosen, num_labels = classification_config(draw, config, problem)
    # The first token must be one; and what is not counted in a mean is told by two dimensions.
    masks = MASKS[:4] if chosen["classifier_pooling"] == "mean" else [kind for kind in MASKS if kind != "left"]
    arguments, real = token_inputs(draw, sizes(chosen), tuple(masks))
    if draw(st.sampled_from([True, True, True, False])):
        arguments["labels"] = problem_labels(draw, problem, len(real), num_labels)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def question_answering(draw: Draw) -> Example:
    chosen, labelled = config(draw), draw(st.booleans())
    # The loss compares all positions, those of padding too.
    arguments, real = token_inputs(draw, sizes(chosen), WITHOUT_PADDING if labelled else MASKS)
    if labelled:
        arguments |= span_labels(draw, *real.shape)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def multiple_choice(draw: Draw) -> Example:
    chosen, choices = config(draw), draw(st.integers(2, 4))
    # The reference takes no bool masks here, and no mean without a mask.
    masks = MASKS[1:5] if chosen["classifier_pooling"] == "mean" else MASKS[:5]
    arguments, real = token_inputs(draw, sizes(chosen), masks, choices=choices)
    if "attention_mask" in arguments:
        arguments["attention_mask"] = arguments["attention_mask"].long()
    if draw(st.booleans()):
        arguments["labels"] = class_labels(draw, len(real) // choices, choices).flatten()
    return Example(chosen, arguments, real, draw(seeds()))


_KIND = Kind(config, sizes)
_MUTATIONS = (
    "norm eps",
    "other activation",
    "attention scale",
    "rotary base",
    "no mask",
    "wider window",
    "one base for all layers",
)
_OF_A_HEAD = ("attention scale", "other labels")

MODERNBERT = Family(
    "ModernBertConfig",
    config,
    [
        Case("ModernBertModel", backbone(_KIND), PER_TOKEN, _MUTATIONS),
        Case("ModernBertForMaskedLM", masked_lm(_KIND), PER_TOKEN, (*_OF_A_HEAD, "untied", "linear head")),
        Case(
            "ModernBertForSequenceClassification",
            sequence_classification(),
            frozenset(),
            (*_OF_A_HEAD, "other pooling", "linear head"),
        ),
        Case("ModernBertForTokenClassification", token_classification(_KIND), PER_TOKEN, _OF_A_HEAD),
        Case("ModernBertForQuestionAnswering", question_answering(), PER_TOKEN, _OF_A_HEAD),
        Case(
            "ModernBertForMultipleChoice",
            multiple_choice(),
            frozenset(),
            (*_OF_A_HEAD, "other pooling", "linear head"),
        ),
    ],
    smallest={
        "vocab_size": 11,
        "hidden_size": 8,
        "intermediate_size": 6,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
    },
    tied=("decoder.weight",),
)
