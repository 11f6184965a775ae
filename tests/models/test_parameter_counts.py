"""The published sizes, to the last parameter: made on the meta device, which holds no numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

import minitransformers as mt

# Class, fields of the published config.json that are not the defaults, and the number of parameters.
PUBLISHED: dict[str, tuple[str, dict[str, Any], int]] = {
    "bert-base-uncased": ("BertModel", {}, 109_482_240),
    "gpt2": ("GPT2LMHeadModel", {}, 124_439_808),
    "roberta-base": ("RobertaModel", {"max_position_embeddings": 514, "type_vocab_size": 1}, 124_645_632),
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
