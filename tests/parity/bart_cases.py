"""BART's table: configurations for every class."""

from __future__ import annotations

from typing import Any

import torch
from cases import Case, Family
from drawing import Draw, Example, Sizes, context_inputs, seeds, token_inputs, token_labels
from encoder_decoder_cases import (
    backbone,
    language_model,
    question_answering,
    sequence_classification,
    shifted_labels,
    use_cache,
)
from hypothesis import strategies as st
from mutations import OF_A_HEAD
from task_examples import PROBLEMS

from minitransformers.nn.feed_forward import ACTIVATIONS


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 3]))
    if fixed.get("num_labels") == 2:  # whose number the reference leaves out of its file, and then reads as 3
        fixed = {**fixed, "id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
        del fixed["num_labels"]
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "d_model": heads[0] * heads[1] * draw(st.integers(2, 4)),
        "encoder_layers": draw(st.integers(1, 3)),
        "decoder_layers": draw(st.integers(1, 3)),
        "encoder_attention_heads": heads[0],
        "decoder_attention_heads": heads[1],
        "encoder_ffn_dim": draw(st.integers(1, 30)),
        "decoder_ffn_dim": draw(st.integers(1, 30)),
        "activation_function": draw(st.sampled_from(["gelu", *ACTIVATIONS])),
        "max_position_embeddings": draw(st.integers(4, 14)),
        "scale_embedding": draw(st.booleans()),
        "pad_token_id": draw(st.sampled_from([1, 0])),
        "eos_token_id": draw(st.sampled_from([2, 3])),
        "decoder_start_token_id": draw(st.sampled_from([2, 4])),
        "tie_word_embeddings": draw(st.sampled_from([True, True, False])),
        "use_cache": draw(st.booleans()),
        **fixed,
    }


def sizes(config: dict[str, Any], part: str) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["d_model"],
        num_heads=config[f"{part}_attention_heads"],
        max_length=config["max_position_embeddings"],
        num_token_types=1,
        causal=part == "decoder",
    )


@st.composite
def causal_lm(draw: Draw) -> Example:
    """The decoder alone, with or without something to attend to."""
    layers = draw(st.integers(1, 3))  # more of the decoder than of the encoder, and the reference's cache is too short
    chosen = config(draw, encoder_layers=layers, decoder_layers=layers)
    arguments, real = token_inputs(draw, sizes(chosen, "decoder"))
    arguments = {name: value for name, value in arguments.items() if name not in ("position_ids", "token_type_ids")}
    arguments |= context_inputs(draw, sizes(chosen, "decoder"), len(real)) | use_cache(draw)
    if draw(st.booleans()):
        arguments["labels"] = token_labels(draw, real, chosen["vocab_size"])
    elif draw(st.booleans()):
        arguments["logits_to_keep"] = draw(st.integers(0, real.shape[1])) if real.all() else 1
    return Example(chosen, arguments, real, draw(seeds()))


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})

_EVERYWHERE = (
    "norm eps",
    "other GELU",
    "attention scale",
    "position offset",
    "embeddings scaled otherwise",
    "no mask",
    "sees the future",
    "training mode",
)
_LANGUAGE_MODEL = (*OF_A_HEAD, "no mask of the target", "untied", "no bias of the logits")

_CASES = [
    Case("BartModel", backbone(config, sizes), _PER_TOKEN, (*_EVERYWHERE, "no mask of the target"), has_cache=True),
    Case(
        "BartForConditionalGeneration",
        language_model(config, sizes),
        _PER_TOKEN,
        _LANGUAGE_MODEL,
        has_cache=True,
    ),
    Case(
        "BartForConditionalGeneration",
        shifted_labels(config, sizes),
        _PER_TOKEN,
        ("labels not shifted", "other start", "other padding token"),
        "from labels",
    ),
    Case(
        "BartForSequenceClassification",
        st.one_of([sequence_classification(config, sizes, problem) for problem in PROBLEMS]),
        frozenset(),
        (*OF_A_HEAD, "other start", "linear head"),
    ),
    Case("BartForQuestionAnswering", question_answering(config, sizes), _PER_TOKEN, OF_A_HEAD),
    Case(
        "BartForCausalLM",
        causal_lm(),
        _PER_TOKEN,
        (*OF_A_HEAD, "sees the future", "untied", "no mask of the context"),
        has_cache=True,
    ),
]

BART = Family(
    "BartConfig",
    config,
    _CASES,
    smallest={
        "vocab_size": 11,
        "d_model": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 6,
        "decoder_ffn_dim": 6,
        "max_position_embeddings": 8,
    },
    parts=("BartForCausalLM",),
    tied=("lm_head.weight", "model.encoder.embed_tokens.weight", "encoder.embed_tokens.weight"),
    former_buffers=lambda config, prefix: {
        f"{prefix}{part}.version": torch.tensor([3.0]) for part in ("encoder", "decoder")
    },
    former_fields=lambda config: {"add_bias_logits": False, "normalize_before": False, "classif_dropout": 0.0},
)
