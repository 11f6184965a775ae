"""T5's table: configurations for every class."""

from __future__ import annotations

from typing import Any

import torch
from cases import Case, Family
from drawing import Draw, Sizes
from encoder_decoder_cases import (
    backbone,
    encoder_alone,
    language_model,
    question_answering,
    sequence_classification,
    shifted_labels,
)
from hypothesis import strategies as st
from mutations import OF_A_HEAD
from task_examples import PROBLEMS

from minitransformers.nn.feed_forward import ACTIVATIONS


def config(draw: Draw, **fixed: Any) -> dict[str, Any]:
    buckets = draw(st.sampled_from([4, 6, 8, 9, 32]))
    activation = draw(st.sampled_from(["relu", "gelu", "gelu_new", *ACTIVATIONS]))
    vocab_size = draw(st.integers(5, 60))
    return {
        "vocab_size": vocab_size,
        "d_model": draw(st.integers(4, 20)),
        "d_kv": draw(st.integers(2, 6)),
        "d_ff": draw(st.integers(1, 30)),
        "num_layers": draw(st.integers(1, 3)),
        "num_decoder_layers": draw(st.sampled_from([None, 1, 2, 3])),
        "num_heads": draw(st.integers(1, 4)),
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": draw(st.integers(buckets // 2 + 1, buckets + 4)),
        "layer_norm_epsilon": draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        "feed_forward_proj": draw(st.sampled_from([activation, f"gated-{activation}", "gated-gelu"])),
        "tie_word_embeddings": draw(st.booleans()),  # which says whether the output is scaled
        "pad_token_id": draw(st.sampled_from([0, 3])),
        "eos_token_id": draw(st.sampled_from([1, 2])),
        "decoder_start_token_id": draw(st.sampled_from([0, 4])),
        "use_cache": draw(st.booleans()),
        **fixed,
    }


def sizes(config: dict[str, Any], part: str) -> Sizes:
    return Sizes(
        vocab_size=config["vocab_size"],
        hidden_size=config["d_model"],
        num_heads=config["num_heads"],
        max_length=14,
        num_token_types=0,
    )


# ---- the table -------------------------------------------------------------------------------------------------------

_PER_TOKEN = frozenset({"last_hidden_state", "logits", "start_logits", "end_logits"})

_EVERYWHERE = (
    "norm eps",
    "other GELU",
    "attention scale",
    "attention scaled by width",
    "bucket off by one",
    "no mask",
    "training mode",
)
_WITH_DECODER = (*_EVERYWHERE, "encoder looks one way", "decoder looks both ways", "sees the future")
_LANGUAGE_MODEL = (*OF_A_HEAD, "no mask of the target", "output scaled otherwise", "untied")

_CASES = [
    Case("T5Model", backbone(config, sizes), _PER_TOKEN, (*_WITH_DECODER, "no mask of the target"), has_cache=True),
    Case(
        "T5ForConditionalGeneration",
        language_model(config, sizes),
        _PER_TOKEN,
        _LANGUAGE_MODEL,
        has_cache=True,
    ),
    Case(
        "T5ForConditionalGeneration",
        shifted_labels(config, sizes),
        _PER_TOKEN,
        ("labels not shifted", "other start", "other padding token"),
        "from labels",
    ),
    Case("T5EncoderModel", encoder_alone(config, sizes, classes=False), _PER_TOKEN, _EVERYWHERE),
    Case(
        "T5ForTokenClassification",
        encoder_alone(config, sizes, classes=True),
        _PER_TOKEN,
        OF_A_HEAD,
    ),
    Case(
        "T5ForSequenceClassification",
        st.one_of([sequence_classification(config, sizes, problem) for problem in PROBLEMS]),
        frozenset(),
        (*OF_A_HEAD, "other start", "linear head"),
    ),
    Case("T5ForQuestionAnswering", question_answering(config, sizes), _PER_TOKEN, OF_A_HEAD),
]

T5 = Family(
    "T5Config",
    config,
    _CASES,
    smallest={
        "vocab_size": 11,
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 6,
        "num_layers": 1,
        "num_heads": 2,
        "relative_attention_num_buckets": 8,
        "decoder_start_token_id": 0,
    },
    parts=("T5EncoderModel", "T5ForTokenClassification"),
    tied=(
        "lm_head.weight",
        *(f"{prefix}{part}.embed_tokens.weight" for prefix in ("", "transformer.") for part in ("encoder", "decoder")),
    ),
    former_buffers=lambda config, prefix: {
        f"{prefix}decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.zeros(
            config.relative_attention_num_buckets, config.num_heads
        )
    },
    former_fields=lambda config: {"n_positions": 512, "output_past": True},
)
