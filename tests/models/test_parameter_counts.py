"""The published sizes, to the last parameter: made on the meta device, which holds no numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

import minitransformers as mt
from minitransformers.cli import main
from minitransformers.models.shapes import SHAPES

# Class, fields of the published config.json that are not the defaults, and the number of parameters.
PUBLISHED: dict[str, tuple[str, dict[str, Any], int]] = {
    "bart-base": (
        "BartModel",
        {
            "d_model": 768,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 12,
            "decoder_attention_heads": 12,
            "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072,
        },
        139_420_416,
    ),
    "bert-base-uncased": ("BertModel", {}, 109_482_240),
    "gpt2": ("GPT2LMHeadModel", {}, 124_439_808),
    "openai-gpt": ("OpenAIGPTLMHeadModel", {}, 116_534_784),
    "albert-base-v2": (
        "AlbertModel",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        11_683_584,
    ),
    "distilbert-base-uncased": ("DistilBertModel", {}, 66_362_880),
    "google/vit-base-patch16-224": ("ViTForImageClassification", {"num_labels": 1000}, 86_567_656),
    "facebook/dinov2-base": ("Dinov2Model", {"image_size": 518}, 86_580_480),
    "t5-small": ("T5ForConditionalGeneration", {}, 60_506_624),
    "roberta-base": ("RobertaModel", {"max_position_embeddings": 514, "type_vocab_size": 1}, 124_645_632),
    "gpt-neo-125m": (
        "GPTNeoForCausalLM",
        {"hidden_size": 768, "num_layers": 12, "num_heads": 12, "attention_types": [[["global", "local"], 6]]},
        125_198_592,
    ),
    "pythia-160m": (
        "GPTNeoXForCausalLM",
        {
            "vocab_size": 50304,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        },
        162_322_944,
    ),
    "Llama-2-7b": ("LlamaForCausalLM", {}, 6_738_415_616),
    "Mistral-7B": ("MistralForCausalLM", {}, 7_241_732_096),
    "Qwen2-0.5B": (
        "Qwen2ForCausalLM",
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
        494_032_768,
    ),
    "ModernBERT-base": ("ModernBertForMaskedLM", {}, 149_655_232),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts(name: str) -> None:
    model_class, fields, count = PUBLISHED[name]
    for library in (mt, transformers):
        config = getattr(library, model_class).config_class(**fields)
        with torch.device("meta"):
            made = getattr(library, model_class)(config)
        assert sum(parameter.numel() for parameter in made.parameters()) == count
        assert made.num_parameters() == count


# ---- the table of GPT's sizes ----------------------------------------------------------------------------------------

COUNTED = {
    "openai-gpt": 116_534_784,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "GPT-3 Small": 125_226_240,
    "GPT-3 Medium": 355_871_744,
    "GPT-3 Large": 760_300_032,
    "GPT-3 XL": 1_315_723_264,
    "GPT-3 2.7B": 2_651_553_280,
    "GPT-3 6.7B": 6_658_404_352,
    "GPT-3 13B": 12_853_386_240,
    "GPT-3 175B": 174_604_259_328,
}


@pytest.mark.parametrize("name", SHAPES)
def test_sizes_of_gpt(name: str) -> None:
    """The count, which is the sum of the weights' sizes written out, near what the paper prints."""
    shape = SHAPES[name]
    width, vocabulary = shape.hidden_size, 40_478 if name == "openai-gpt" else 50_257
    block = 4 * width * width + 8 * width * width + 13 * width  # attention, feed-forward, biases and two norms
    last_norm = 0 if name == "openai-gpt" else 2 * width
    by_hand = (vocabulary + shape.positions) * width + shape.layers * block + last_norm
    model = shape.model_on_meta()
    assert model.num_parameters() == by_hand == COUNTED[name]
    assert all(parameter.is_meta for parameter in model.parameters())  # nothing was allocated
    if shape.printed is not None:
        printed = float(shape.printed[:-1]) * {"M": 1e6, "B": 1e9}[shape.printed[-1]]
        assert abs(by_hand / printed - 1) < 0.07


@pytest.mark.parametrize("name", ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"])
def test_the_numbers_in_the_paper_are_those_of_the_first_vocabulary(name: str) -> None:
    config: Any = SHAPES[name].config()
    config.vocab_size = 40_478
    with torch.device("meta"):
        count = mt.GPT2LMHeadModel(config).num_parameters()
    assert f"{count / 1e6:.0f}M" == SHAPES[name].printed


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shapes"]) == 0
    printed = capsys.readouterr().out
    for name, count in COUNTED.items():
        assert name in printed
        assert f" {count:,} " in printed
