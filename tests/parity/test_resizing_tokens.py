"""resize_token_embeddings makes the reference's rows for new tokens, and draws as often."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

import minitransformers as mt

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
MODELS: dict[str, dict[str, Any]] = {
    "BertForMaskedLM": SMALL,
    "BertForSequenceClassification": SMALL,
    "RobertaForMaskedLM": SMALL,
    "LlamaForCausalLM": SMALL,
    "GPT2LMHeadModel": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    "DistilBertForMaskedLM": {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8},
    "T5ForConditionalGeneration": {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2},
    "BartForConditionalGeneration": {
        **{f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "ffn_dim", "attention_heads")},
        "d_model": 8,
    },
}
# Resizing ties BART's embeddings there, even if the config says that they are not tied.
CASES = [(name, tied) for name in MODELS for tied in (True, False) if tied or not name.startswith("Bart")]


def resized(library: Any, name: str, size: int, **options: bool) -> tuple[dict[str, torch.Tensor], float]:
    config_class = getattr(library, name).config_class
    torch.manual_seed(0)
    model = getattr(library, name)(config_class(vocab_size=20, pad_token_id=1, **MODELS[name]))
    generator = torch.Generator().manual_seed(1)
    for _, parameter in sorted(model.named_parameters()):
        if parameter.ndim < 2 or 20 in parameter.shape:
            parameter.data.normal_(generator=generator)
    torch.manual_seed(2)
    model.resize_token_embeddings(size, **options)
    weights = {key: value for key, value in model.state_dict().items() if size in value.shape}
    return weights, torch.rand(()).item()


@pytest.mark.parametrize("size", [27, 17])
@pytest.mark.parametrize(("name", "tied"), CASES)
def test_new_rows_and_next_draw_are_the_references(name: str, size: int, tied: bool, monkeypatch: Any) -> None:
    monkeypatch.setitem(MODELS, name, MODELS[name] | {"tie_word_embeddings": tied})
    (ours, our_draw), (theirs, their_draw) = (resized(library, name, size) for library in (mt, transformers))
    assert len(theirs) > 0
    assert theirs.keys() <= ours.keys()  # RoBERTa's second name of an untied bias keeps its old size there
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=0)
    assert our_draw == their_draw
