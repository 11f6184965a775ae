"""GPT's table: as GPT-2's, but without a cache, and with masks of two dimensions only."""

from __future__ import annotations

from typing import Any

import torch
from cases import Case, Family
from drawing import MASKS, Draw, Example, seeds, token_inputs
from gpt2_cases import double_heads, sequence_classification, sizes
from hypothesis import strategies as st
from mutations import EVERYWHERE, OF_A_HEAD
from task_examples import PROBLEMS, language_model_arguments

PADDING_MASKS = MASKS[:5]


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    heads = draw(st.sampled_from([1, 2, 3, 5]))
    return {
        "vocab_size": draw(st.integers(5, 60)),
        "n_positions": draw(st.integers(4, 16)),
        "n_embd": heads * draw(st.integers(4, 8)),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": heads,
        "afn": draw(st.sampled_from(["gelu", "relu", "silu", "swish"])),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-12, 1e-2])),
        "pad_token_id": draw(st.sampled_from([0, 3, None])),
        "tie_word_embeddings": draw(st.booleans()),
        **fixed,
    }


@st.composite
def backbone(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen), PADDING_MASKS)
    return Example(chosen, arguments, real, draw(seeds()))


@st.composite
def causal_lm(draw: Draw) -> Example:
    chosen = config(draw)
    arguments, real = token_inputs(draw, sizes(chosen), PADDING_MASKS)
    arguments |= language_model_arguments(draw, real, chosen["vocab_size"])
    return without_cache(Example(chosen, arguments, real, draw(seeds())))


def without_cache(example: Example) -> Example:
    example.arguments.pop("use_cache", None)
    mask = example.arguments.get("attention_mask")
    if mask is not None:  # of choices, which the reference takes in this form only
        example.arguments["attention_mask"] = mask.flatten(0, -2)
    return example


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state", "logits"})

_CAUSAL = (*EVERYWHERE, "sees the future")
_LANGUAGE_MODEL = (*OF_A_HEAD, "sees the future", "labels not shifted", "untied")

_CASES = [
    Case("OpenAIGPTModel", backbone(), _PER_TOKEN, _CAUSAL),
    Case("OpenAIGPTLMHeadModel", causal_lm(), _PER_TOKEN, _LANGUAGE_MODEL),
    Case(
        "OpenAIGPTDoubleHeadsModel",
        double_heads(config, PADDING_MASKS).map(without_cache),
        _PER_TOKEN,
        _LANGUAGE_MODEL,
    ),
    Case(
        "OpenAIGPTForSequenceClassification",
        st.sampled_from(list(PROBLEMS))
        .flatmap(lambda problem: sequence_classification(problem, config, PADDING_MASKS))
        .map(without_cache),
        frozenset(),
        (*OF_A_HEAD, "other padding token"),
    ),
]


OPENAI_GPT = Family(
    "OpenAIGPTConfig",
    config,
    _CASES,
    smallest={"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2, "pad_token_id": 0},
    tied=("lm_head.weight",),
    former_buffers=lambda config, prefix: {
        f"{prefix}h.{layer}.attn.bias": torch.ones(1, 1, config.n_positions, config.n_positions).tril()
        for layer in range(config.n_layer)
    },
    former_fields=lambda config: {"n_ctx": config.n_positions, "n_special": 0, "predict_special_tokens": True},
)
