"""Tiny models of both libraries with random weights, and their checkpoints in every form that files have."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

import minitransformers
from minitransformers.models.base.pretrained import PreTrainedModel

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

BERT = {
    "vocab_size": 23,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
}
GPT2 = {
    "vocab_size": 23,
    "n_embd": 12,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 16,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
BERT_CLASSES = [
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertLMHeadModel",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
]
GPT2_CLASSES = [
    "GPT2Model",
    "GPT2LMHeadModel",
    "GPT2DoubleHeadsModel",
    "GPT2ForSequenceClassification",
    "GPT2ForTokenClassification",
    "GPT2ForQuestionAnswering",
]
CLASSES = BERT_CLASSES + GPT2_CLASSES


def ours(name: str) -> Any:
    return getattr(minitransformers, name)


def fields(name: str) -> dict[str, Any]:
    if name.startswith("GPT2"):
        return dict(GPT2)
    return {**BERT, "is_decoder": True} if name == "BertLMHeadModel" else dict(BERT)


def our_model(name: str, **overrides: Any) -> Any:
    """Every parameter random, biases and norms too, so that none can be taken for another."""
    config_class = ours("GPT2Config" if name.startswith("GPT2") else "BertConfig")
    return randomised(ours(name)(config_class(**{**fields(name), **overrides})))


def reference_model(name: str, **overrides: Any) -> Any:
    config_class = transformers.GPT2Config if name.startswith("GPT2") else transformers.BertConfig
    return randomised(getattr(transformers, name)(config_class(**{**fields(name), **overrides})))


def randomised(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model.eval()


def write(directory: Path, weights: dict[str, Tensor], config: dict[str, Any], *, file: str = "safetensors") -> Path:
    """A checkpoint of `weights`, as the file or files that `file` names."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    weights = {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}
    single, suffix = ("pytorch_model", "bin") if "bin" in file else ("model", "safetensors")
    if "sharded" not in file:
        _write_file(directory / f"{single}.{suffix}", weights)
        return directory
    places = {}
    for number in range(3):
        shard = f"{single}-{number + 1:05}-of-00003.{suffix}"
        part = dict(list(weights.items())[number::3])
        _write_file(directory / shard, part)
        places |= dict.fromkeys(part, shard)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (directory / f"{single}.{suffix}.index.json").write_text(json.dumps(index))
    return directory


def _write_file(path: Path, weights: dict[str, Tensor]) -> None:
    if path.suffix == ".bin":
        torch.save(weights, path)
    else:
        save_file(weights, path, {"format": "pt"})


def config_of(model: PreTrainedModel | Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(model.config.to_json_string())
    return content


def assert_same_weights(model: PreTrainedModel, expected: dict[str, Tensor], *, but_for: Collection[str] = ()) -> None:
    """The model has exactly the expected tensors, in the reference's names, but for new ones."""
    weights = model.hf_state_dict()
    assert weights.keys() == expected.keys()
    for name in weights.keys() - set(but_for):
        assert weights[name].dtype == expected[name].dtype, name
        assert torch.equal(weights[name], expected[name]), name
