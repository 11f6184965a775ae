"""GPT-2's table: configurations, inputs and labels for every class."""

from __future__ import annotations

from collections.abc import Callable
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
from mutations import EVERYWHERE, OF_A_HEAD
from task_examples import PROBLEMS, classification_config, language_model_arguments, problem_labels
from torch import Tensor

from minitransformers.nn.feed_forward import ACTIVATIONS

Config = Callable[..., dict[str, Any]]


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3, 5]))
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "n_positions": draw(st.integers(4, 16)),
        "n_embd": heads * draw(st.integers(4, 8)),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": heads,
        "n_inner": draw(st.one_of(st.none(), st.integers(1, 40))),
        "activation_function": draw(st.sampled_from(list(ACTIVATIONS))),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-12, 1e-2])),
        "scale_attn_weights": draw(st.sampled_from([True, True, False])),
        "scale_attn_by_inverse_layer_idx": draw(st.booleans()),
        "reorder_and_upcast_attn": draw(st.sampled_from([False, False, True])),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        "use_cache": draw(st.booleans()),
        **fixed,
    }


def sizes(config: dict[str, Any]) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["n_embd"],
        num_heads=config["n_head"],
        max_length=config["n_positions"],
        num_token_types=config["vocab_size"],  # GPT-2 takes segments from the vocabulary
        pad_token_id=config["pad_token_id"],
        causal=True,
    )


def maybe_use_cache(draw: Draw) -> dict[str, bool]:
    return draw(st.sampled_from([{}, {"use_cache": True}, {"use_cache": False}]))


@st.composite
def backbone(draw: Draw, cross_attention: bool) -> Example:
    chosen = config(draw, add_cross_attention=cross_attention)
    arguments, real = token_inputs(draw, sizes(chosen))
    if cross_attention:
        arguments |= context_inputs(draw, sizes(chosen), len(real))
    return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))


@st.composite
def causal_lm(draw: Draw, cross_attention: bool) -> Example:
    chosen = config(draw, add_cross_attention=cross_attention)
    arguments, real = token_inputs(draw, sizes(chosen))
    if cross_attention:
        arguments |= context_inputs(draw, sizes(chosen), len(real))
    arguments |= language_model_arguments(draw, real, chosen["vocab_size"])
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def double_heads(draw: Draw, config: Config = config, masks: tuple[str, ...] = MASKS) -> Example:
    choices = draw(st.one_of(st.none(), st.integers(1, 4)))  # None: the rows are the choices of one text
    # With several texts the reference takes the last, the first and the mean choice instead of the last, … token.
    pick = draw(st.sampled_from(["last", "first", "mean", "cls_index"])) if choices is None else "cls_index"
    chosen = config(
        draw,
        summary_type=pick,
        summary_use_proj=draw(st.booleans()),
        summary_proj_to_labels=draw(st.booleans()),
        summary_activation=draw(st.sampled_from([None, "tanh", "gelu_new"])),
    )
    if choices is not None:
        masks = MASKS[:5]
    if pick in ("first", "mean"):  # what they look at may be padding
        masks = tuple(kind for kind in masks if kind != "left")
    arguments, real = token_inputs(draw, sizes(chosen), masks, choices=choices)
    if "position_ids" in arguments:  # the only form that the reference takes
        arguments["position_ids"] = arguments["position_ids"].reshape(-1, real.shape[1])
    shape = (len(real),) if choices is None else (len(real) // choices, choices)
    length = real.shape[1]
    if draw(st.booleans()):
        positions = Values(draw(seeds())).ids(length, *shape)
        is_real = real.reshape(*shape, length).take_along_dim(positions[..., None], dim=-1).squeeze(-1)
        arguments["mc_token_ids"] = torch.where(is_real, positions, length - 1)
    if draw(st.booleans()):
        labels = token_labels(draw, real, chosen["vocab_size"], shifted=True)
        arguments["labels"] = None if labels is None else labels.reshape(*shape, length)
    one_score_each = chosen["summary_use_proj"] and chosen["summary_proj_to_labels"]
    if one_score_each and shape[-1] > 1 and draw(st.booleans()):
        arguments["mc_labels"] = class_labels(draw, 1 if choices is None else shape[0], shape[-1])
    return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))


@st.composite
def sequence_classification(
    draw: Draw, problem: str, config: Config = config, masks: tuple[str, ...] = MASKS
) -> Example:
    chosen, num_labels = classification_config(draw, config, problem)
    # Without a padding token it would be unknown where each of several sequences ends.
    max_batch = 1 if chosen["pad_token_id"] is None else 3
    masks = (*masks, "right", "right")  # more of what decides which token is the last
    arguments, real = token_inputs(draw, sizes(chosen), masks, max_batch=max_batch)
    if draw(st.sampled_from([True, True, True, False])):
        arguments["labels"] = problem_labels(draw, problem, len(real), num_labels)
    return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))


@st.composite
def token_classification(draw: Draw) -> Example:
    chosen = config(draw, num_labels=draw(st.integers(2, 7)))
    arguments, real = token_inputs(draw, sizes(chosen))
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["num_labels"])
    return Example(chosen, arguments | maybe_use_cache(draw), real, draw(seeds()))


@st.composite
def question_answering(draw: Draw) -> Example:
    chosen, labelled = config(draw), draw(st.booleans())
    # The loss compares all positions, those of padding too.
    arguments, real = token_inputs(draw, sizes(chosen), WITHOUT_LEFT if labelled else MASKS)
    if labelled:
        arguments |= span_labels(draw, *real.shape)
    return Example(chosen, arguments, real, draw(seeds()))


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})

_CAUSAL = (*EVERYWHERE, "sees the future")
_LANGUAGE_MODEL = (*OF_A_HEAD, "sees the future", "labels not shifted", "untied")

_CASES = [
    Case("GPT2Model", backbone(False), _PER_TOKEN, _CAUSAL, has_cache=True),
    Case(
        "GPT2Model",
        backbone(True),
        _PER_TOKEN,
        (*_CAUSAL, "no mask of the context"),
        "with cross-attention",
        has_cache=True,
    ),
    Case("GPT2LMHeadModel", causal_lm(False), _PER_TOKEN, _LANGUAGE_MODEL, has_cache=True),
    Case(
        "GPT2LMHeadModel",
        causal_lm(True),
        _PER_TOKEN,
        (*_LANGUAGE_MODEL, "no mask of the context"),
        "with cross-attention",
        has_cache=True,
    ),
    Case("GPT2DoubleHeadsModel", double_heads(), _PER_TOKEN, _LANGUAGE_MODEL, has_cache=True),
    Case(
        "GPT2ForSequenceClassification",
        st.one_of([sequence_classification(problem) for problem in PROBLEMS]),
        frozenset(),
        (*OF_A_HEAD, "other padding token"),
        has_cache=True,
    ),
    Case("GPT2ForTokenClassification", token_classification(), _PER_TOKEN, OF_A_HEAD),
    Case("GPT2ForQuestionAnswering", question_answering(), _PER_TOKEN, OF_A_HEAD),
]


# ---- files -----------------------------------------------------------------------------------------------------------


def causal_mask_buffers(config: Any, prefix: str) -> dict[str, Tensor]:
    mask = torch.ones(config.n_positions, config.n_positions, dtype=torch.bool).tril()[None, None]
    blocks = [f"{prefix}h.{layer}.attn" for layer in range(config.n_layer)]
    if config.add_cross_attention:
        blocks += [block.replace("attn", "crossattention") for block in blocks]
    buffers = {f"{block}.bias": mask for block in blocks}
    return {**buffers, **{f"{block}.masked_bias": torch.tensor(-1e4) for block in blocks}}


GPT2 = Family(
    "GPT2Config",
    config,
    _CASES,
    smallest={"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2, "pad_token_id": 0},
    tied=("lm_head.weight",),
    former_buffers=causal_mask_buffers,
    former_fields=lambda config: {"n_ctx": config.n_positions},
)
