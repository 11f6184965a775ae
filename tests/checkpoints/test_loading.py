"""Loading: any class from any checkpoint, all forms of files and names, dtypes, ties, new heads, the report."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
import transformers
from hypothesis import given, strategies as st
from torch import Tensor

import minitransformers
from minitransformers import BertConfig, BertModel, GPT2Config, GPT2Model
from minitransformers.errors import CheckpointError, ConfigError, InputError, MissingFileError, UnknownArgumentError

SECOND_NAME = "cls.predictions.decoder.bias"  # the reference has `cls.predictions.bias` under this name, too


@pytest.fixture(scope="module")
def reference_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a checkpoint that the reference has saved, by class name."""
    made: dict[str, Path] = {}

    def checkpoint(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            tiny.reference_model(name).save_pretrained(made[name])
        return made[name]

    return checkpoint


def messages(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """What loading has said; not what a class says of its config."""
    sources = ("minitransformers.files", "minitransformers.models.base.token_embeddings")
    records = [record for record in caplog.records if record.name.startswith(sources)]
    return [record.getMessage() for record in records if record.levelno >= level]


# ---- between the libraries and the classes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [(saved, loaded) for family in (tiny.BERT_CLASSES, tiny.GPT2_CLASSES) for saved in family for loaded in family],
)
def test_any_class_from_any_checkpoint_of_the_family(
    saved: str, loaded: str, reference_checkpoints: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """The same weights and the same report as in the reference; new weights are warned about once, unused ones not."""
    directory = reference_checkpoints(saved)
    options = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    theirs, their_info = getattr(transformers, loaded).from_pretrained(directory, **options)
    model, info = tiny.ours(loaded).from_pretrained(directory, **options)
    assert info.keys() == their_info.keys()
    assert info["missing_keys"] == set(their_info["missing_keys"])
    assert info["unexpected_keys"] == set(their_info["unexpected_keys"])
    assert info["mismatched_keys"] == set(their_info["mismatched_keys"])
    assert info["error_msgs"] == []
    mismatched = {name for name, _, _ in info["mismatched_keys"]}
    tiny.assert_same_weights(model, theirs.state_dict(), but_for=set(their_info["missing_keys"]) | mismatched)
    assert not model.training

    warnings = messages(caplog)
    if info["missing_keys"] or mismatched:
        (warning,) = warnings
        assert str(directory) in warning
        assert all(name in warning for name in info["missing_keys"] | mismatched)
        assert "Train the model before you use its results" in warning
    else:
        assert not warnings


@pytest.mark.parametrize("name", tiny.CLASSES)
@pytest.mark.parametrize("tied", [True, False])
def test_reference_loads_what_we_save(name: str, tied: bool, tmp_path: Path) -> None:
    model = tiny.our_model(name, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    theirs, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(model, theirs.state_dict())
    assert theirs.config.architectures == model.config.architectures == [name]
    assert theirs.config.tie_word_embeddings is tied
    again, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(again, theirs.state_dict())
    assert again.config == model.config


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel"])
def test_cross_attention_passes_between_the_libraries(name: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name, add_cross_attention=True)
    theirs.save_pretrained(tmp_path)
    model, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(model, theirs.state_dict())
    model.save_pretrained(tmp_path)
    _, info = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel"])
def test_a_decoder_may_get_its_cross_attention_anew(
    name: str, reference_checkpoints: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """As encoder-decoder models are put together of two that have been trained apart."""
    model, info = tiny.ours(name).from_pretrained(
        reference_checkpoints(name), add_cross_attention=True, output_loading_info=True
    )
    theirs, their_info = getattr(transformers, name).from_pretrained(
        reference_checkpoints(name), add_cross_attention=True, output_loading_info=True
    )
    assert info["missing_keys"] == set(their_info["missing_keys"])
    assert all("cross" in key for key in info["missing_keys"])
    assert len(messages(caplog)) == 1
    tiny.assert_same_weights(model, theirs.state_dict(), but_for=info["missing_keys"])


# ---- forms of files and names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["safetensors", "sharded safetensors", "bin", "sharded bin"])
@pytest.mark.parametrize("name", ["BertForPreTraining", "GPT2LMHeadModel"])
def test_every_form_of_file(name: str, file: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name)
    tiny.write(tmp_path, theirs.state_dict(), tiny.config_of(theirs), file=file)
    model, info = tiny.ours(name).from_pretrained(str(tmp_path), output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(model, theirs.state_dict())
    assert model.name_or_path == str(tmp_path)


def legacy_bert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that conversion from TensorFlow gave, and the buffer that was once stored."""
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    renamed.pop(SECOND_NAME, None)
    return {**renamed, "bert.embeddings.position_ids": torch.arange(16)[None]}


def legacy_gpt2(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    masks = {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 16, 16).tril() for layer in range(2)}
    values = {f"transformer.h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(2)}
    return {**masks, **values, **weights}


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {prefix + name: tensor for name, tensor in weights.items()}


def compiled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As of a model one of whose layers went through torch.compile."""
    pattern = re.compile(r"(encoder\.layer|\bh)\.1\.")
    return {pattern.sub(r"\1.1._orig_mod.", name): tensor for name, tensor in weights.items()}


RENAMINGS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "data parallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled, then data parallel": prefixed("module._orig_mod."),
    "data parallel, then compiled": prefixed("_orig_mod.module."),
    "one layer compiled": compiled,
}


@pytest.mark.parametrize("how", RENAMINGS)
@pytest.mark.parametrize("name", ["BertForPreTraining", "BertModel", "GPT2LMHeadModel", "GPT2Model"])
def test_names_that_wrappers_have_changed(name: str, how: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name)
    tiny.write(tmp_path, RENAMINGS[how](theirs.state_dict()), tiny.config_of(theirs))
    model, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(model, theirs.state_dict())


@pytest.mark.parametrize("file", ["safetensors", "bin"])
@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMaskedLM", "GPT2LMHeadModel"])
def test_old_names(name: str, file: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name)
    legacy = legacy_gpt2 if name.startswith("GPT2") else legacy_bert
    tiny.write(tmp_path, legacy(theirs.state_dict()), tiny.config_of(theirs), file=file)
    model, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), "buffers of old files are not even called unused"
    tiny.assert_same_weights(model, theirs.state_dict())


@pytest.mark.parametrize(
    ("saved", "loaded", "base"),
    [
        ("BertForMaskedLM", "BertForMaskedLM", "bert."),
        ("BertForPreTraining", "BertModel", "bert."),
        ("GPT2LMHeadModel", "GPT2LMHeadModel", "transformer."),
        ("GPT2ForSequenceClassification", "GPT2Model", "transformer."),
    ],
)
def test_prefix_of_the_backbone_may_be_missing(saved: str, loaded: str, base: str, tmp_path: Path) -> None:
    """The published GPT-2 is such a file: a language model whose names are the bare backbone's."""
    theirs = tiny.reference_model(saved)
    weights = {name.removeprefix(base): tensor for name, tensor in theirs.state_dict().items()}
    tiny.write(tmp_path, weights, tiny.config_of(theirs))
    expected = getattr(transformers, loaded).from_pretrained(tmp_path)
    model, info = tiny.ours(loaded).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    tiny.assert_same_weights(model, expected.state_dict())


@pytest.mark.parametrize("name", ["BertModel", "GPT2Model"])
def test_prefix_of_the_backbone_may_be_there_without_a_head(name: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name)
    tiny.write(tmp_path, prefixed(f"{theirs.base_model_prefix}.")(theirs.state_dict()), tiny.config_of(theirs))
    model, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    tiny.assert_same_weights(model, theirs.state_dict())


def test_old_names_read_by_the_reference_give_the_same(tmp_path: Path) -> None:
    """A whole checkpoint of transformers 2, as one: old names, bin, a config without model_type."""
    theirs = tiny.reference_model("BertForPreTraining")
    content = {key: value for key, value in tiny.config_of(theirs).items() if key in tiny.BERT}
    tiny.write(tmp_path, legacy_bert(theirs.state_dict()), content, file="bin")
    model = minitransformers.BertForPreTraining.from_pretrained(tmp_path)
    again = transformers.BertForPreTraining.from_pretrained(tmp_path)
    tiny.assert_same_weights(model, again.state_dict())
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.allclose(model(ids).prediction_logits, again(ids).prediction_logits, atol=1e-5)


def test_subfolder(tmp_path: Path) -> None:
    theirs = tiny.reference_model("BertModel")
    theirs.save_pretrained(tmp_path / "inner" / "most")
    model = BertModel.from_pretrained(tmp_path, subfolder="inner/most")
    tiny.assert_same_weights(model, theirs.state_dict())
    with pytest.raises(MissingFileError, match=r"config\.json"):
        BertModel.from_pretrained(tmp_path, subfolder="inner")


# ---- tied weights ---------------------------------------------------------------------------------------------------

TIES = {
    "BertForMaskedLM": ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    "BertForPreTraining": ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    "GPT2LMHeadModel": ("lm_head.weight", "transformer.wte.weight"),
    "GPT2DoubleHeadsModel": ("lm_head.weight", "transformer.wte.weight"),
}
tied_models = pytest.mark.parametrize("name", TIES)


def is_tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


@tied_models
@pytest.mark.parametrize("present", ["head", "embedding", "both"])
def test_tied_weight_under_either_name(name: str, present: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name)
    weights = dict(theirs.state_dict())
    head, embedding = TIES[name]
    if present != "both":
        del weights[embedding if present == "head" else head]
    tiny.write(tmp_path, weights, tiny.config_of(theirs))
    model, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert is_tied(model)
    assert model.config.tie_word_embeddings
    tiny.assert_same_weights(model, theirs.state_dict())
    assert model.num_parameters() == theirs.num_parameters()


@tied_models
def test_different_weights_for_what_the_config_ties(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are kept, as in the reference, and the model says so, in its config too."""
    theirs = tiny.reference_model(name)
    weights = dict(theirs.state_dict())
    head, embedding = TIES[name]
    weights[head] = weights[head] + 1
    tiny.write(tmp_path, weights, tiny.config_of(theirs))
    again = getattr(transformers, name).from_pretrained(tmp_path)
    model = tiny.ours(name).from_pretrained(tmp_path)
    assert not is_tied(model)
    assert torch.equal(model.hf_state_dict()[head], weights[head])
    assert torch.equal(model.hf_state_dict()[embedding], weights[embedding])
    tiny.assert_same_weights(model, again.state_dict())
    (warning,) = messages(caplog)
    assert "tie_word_embeddings is now False" in warning
    assert model.config.tie_word_embeddings is False
    model.save_pretrained(tmp_path / "again")
    tiny.assert_same_weights(tiny.ours(name).from_pretrained(tmp_path / "again"), weights)
    _, info = getattr(transformers, name).from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(info.values())


@tied_models
def test_untied_by_the_config(name: str, tmp_path: Path) -> None:
    theirs = tiny.reference_model(name, tie_word_embeddings=False)
    theirs.save_pretrained(tmp_path)
    model, info = tiny.ours(name).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert not is_tied(model)
    # The reference keeps two biases then, and computes with the second.
    tiny.assert_same_weights(model, theirs.state_dict(), but_for={"cls.predictions.bias"})
    tied = tiny.ours(name).from_pretrained(tmp_path, tie_word_embeddings=True)
    assert not is_tied(tied), "the file has two different ones"


def test_untied_head_that_the_file_lacks_is_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = tiny.reference_model("GPT2Model")
    theirs.save_pretrained(tmp_path)
    model, info = minitransformers.GPT2LMHeadModel.from_pretrained(
        tmp_path, tie_word_embeddings=False, output_loading_info=True
    )
    assert info["missing_keys"] == {"lm_head.weight"}
    assert not is_tied(model)
    assert "lm_head.weight" in messages(caplog)[0]


# ---- dtypes ---------------------------------------------------------------------------------------------------------


def dtypes(model: torch.nn.Module) -> set[torch.dtype]:
    return {tensor.dtype for tensor in model.state_dict().values()}


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "asked", [None, "auto", "float16", "torch.bfloat16", torch.float32, torch.float64], ids=lambda asked: str(asked)
)
def test_dtype(stored: torch.dtype, asked: Any, tmp_path: Path) -> None:
    """What is asked for; else what config.json says; a new head comes in the same."""
    theirs = tiny.reference_model("BertModel").to(stored)
    theirs.save_pretrained(tmp_path)
    name = "BertForTokenClassification"
    model = tiny.ours(name).from_pretrained(tmp_path, dtype=asked)
    plain = asked.removeprefix("torch.") if isinstance(asked, str) else asked
    expected = getattr(transformers, name).from_pretrained(tmp_path, dtype="auto" if asked is None else plain)
    assert dtypes(model) == {expected.dtype} == {model.dtype}
    assert model.config.dtype == expected.config.dtype == model.dtype
    new = {"classifier.weight", "classifier.bias"}
    tiny.assert_same_weights(model, expected.state_dict(), but_for=new)
    older = tiny.ours(name).from_pretrained(tmp_path, torch_dtype=asked)
    assert dtypes(older) == dtypes(model)


@pytest.mark.parametrize("stored", [torch.float16, torch.float32, torch.float64], ids=str)
def test_dtype_of_the_file_where_the_config_does_not_say(stored: torch.dtype, tmp_path: Path) -> None:
    theirs = tiny.reference_model("BertModel").to(stored)
    content = {key: value for key, value in tiny.config_of(theirs).items() if "dtype" not in key}
    tiny.write(tmp_path, theirs.state_dict(), content)
    model = BertModel.from_pretrained(tmp_path)
    assert dtypes(model) == {stored}
    assert transformers.BertModel.from_pretrained(tmp_path).dtype == stored


def test_dtype_of_the_config_wins_over_the_file_s(tmp_path: Path) -> None:
    theirs = tiny.reference_model("BertModel")
    tiny.write(tmp_path, theirs.state_dict(), {**tiny.config_of(theirs), "dtype": "bfloat16"})
    model = BertModel.from_pretrained(tmp_path)
    tiny.assert_same_weights(model, transformers.BertModel.from_pretrained(tmp_path).state_dict())
    assert dtypes(model) == {torch.bfloat16}
    assert dtypes(BertModel.from_pretrained(tmp_path, dtype="float32")) == {torch.float32}


@pytest.mark.parametrize("file", ["safetensors", "bin"])
def test_mixed_dtypes_become_one(file: str, tmp_path: Path) -> None:
    """A model of two dtypes could not be run: the first weight's counts, as in the reference."""
    theirs = tiny.reference_model("BertModel")
    weights = {name: tensor.half() if "dense" in name else tensor for name, tensor in theirs.state_dict().items()}
    content = {key: value for key, value in tiny.config_of(theirs).items() if "dtype" not in key}
    tiny.write(tmp_path, weights, content, file=file)
    model = BertModel.from_pretrained(tmp_path)
    expected = transformers.BertModel.from_pretrained(tmp_path)
    assert dtypes(model) == {torch.float32}
    tiny.assert_same_weights(model, expected.state_dict())


@pytest.mark.usefixtures("annotations_are_not_checked")
@pytest.mark.parametrize("dtype", ["banana", "int8", torch.int64, 16, "nn", torch.bool])
def test_dtype_that_no_weight_can_have(dtype: Any, reference_checkpoints: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r"dtype=.* must be torch\.flo") as caught:
        BertModel.from_pretrained(reference_checkpoints("BertModel"), dtype=dtype)
    assert repr(dtype) in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.complex64], ids=str)
def test_weights_that_are_no_plain_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    """As of quantized checkpoints, whose numbers mean nothing without their scales."""
    theirs = tiny.reference_model("BertModel")
    name = "encoder.layer.1.attention.self.query.weight"
    weights = {**theirs.state_dict(), name: theirs.state_dict()[name].to(dtype)}
    tiny.write(tmp_path, weights, tiny.config_of(theirs))
    for options in ({}, {"dtype": "float32"}):
        with pytest.raises(
            CheckpointError, match=f"'{re.escape(name)}' is {dtype}.*original of a quantized checkpoint"
        ):
            BertModel.from_pretrained(tmp_path, **options)


# ---- what is missing, too much, or of another size ------------------------------------------------------------------


def test_new_head_of_another_size(reference_checkpoints: Callable[[str], Path], caplog: Any) -> None:
    directory = reference_checkpoints("BertForSequenceClassification")
    with pytest.raises(CheckpointError) as caught:
        minitransformers.BertForSequenceClassification.from_pretrained(directory, num_labels=5)
    for part in ("'classifier.weight' has shape (2, 12)", "(5, 12)", "'classifier.bias'", str(directory)):
        assert part in str(caught.value)
    assert "pass ignore_mismatched_sizes=True" in str(caught.value)
    assert not messages(caplog)

    arguments: Any = {"num_labels": 5, "ignore_mismatched_sizes": True, "output_loading_info": True}
    model, info = minitransformers.BertForSequenceClassification.from_pretrained(directory, **arguments)
    theirs, their_info = transformers.BertForSequenceClassification.from_pretrained(directory, **arguments)
    assert info["mismatched_keys"] == their_info["mismatched_keys"]
    assert info["missing_keys"] == set(their_info["missing_keys"]) == set()
    assert model.classifier.weight.shape == (5, 12)
    assert model.config.num_labels == 5
    (warning,) = messages(caplog)
    assert "classifier.bias, classifier.weight" in warning
    tiny.assert_same_weights(model, theirs.state_dict(), but_for={"classifier.weight", "classifier.bias"})
    assert model(torch.tensor([[1, 2]])).logits.shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "overrides", "parts"),
    [
        ("BertModel", {"vocab_size": 25}, ["'embeddings.word_embeddings.weight' has shape (23, 12)", "(25, 12)"]),
        ("BertModel", {"max_position_embeddings": 8}, ["position_embeddings.weight' has shape (16, 12)", "(8, 12)"]),
        ("BertModel", {"intermediate_size": 24}, ["'encoder.layer.0.intermediate.dense.bias'", "(20,)", "(24,)"]),
        ("GPT2Model", {"n_positions": 8}, ["'wpe.weight' has shape (16, 12)", "GPT2Model needs (8, 12)"]),
        ("GPT2Model", {"n_inner": 24}, ["'h.0.mlp.c_fc.weight' has shape (12, 48)", "needs (12, 24)"]),
        ("GPT2LMHeadModel", {"n_embd": 24}, ["'transformer.h.0.attn.c_attn.weight' has shape (12, 36)", "and 20 more"]),
    ],
)
@pytest.mark.parametrize("ignore", [False, True])
def test_backbone_of_another_size(
    name: str, overrides: Any, parts: list[str], ignore: bool, reference_checkpoints: Callable[[str], Path]
) -> None:
    with pytest.raises(CheckpointError) as caught:
        tiny.ours(name).from_pretrained(reference_checkpoints(name), ignore_mismatched_sizes=ignore, **overrides)
    for part in [*parts, "Is config.json from another model, or overridden by an argument?"]:
        assert part in str(caught.value)


def test_more_layers_than_the_file_has(reference_checkpoints: Callable[[str], Path]) -> None:
    with pytest.raises(CheckpointError) as caught:
        BertModel.from_pretrained(reference_checkpoints("BertForMaskedLM"), num_hidden_layers=3)
    for part in ("lacks 16 weight(s)", "'encoder.layer.2.attention.self.query.weight'", "and 8 more", "BertModel"):
        assert part in str(caught.value)


def test_fewer_layers_than_the_file_has(reference_checkpoints: Callable[[str], Path]) -> None:
    """The first layers, as people do to shrink a model; the others are unused."""
    model, info = BertModel.from_pretrained(
        reference_checkpoints("BertModel"), num_hidden_layers=1, output_loading_info=True
    )
    assert len(model.encoder.layer) == 1
    assert len(info["unexpected_keys"]) == 16
    assert all(name.startswith("encoder.layer.1.") for name in info["unexpected_keys"])


@pytest.mark.parametrize(
    ("checkpoint", "loaded"), [("GPT2LMHeadModel", "BertModel"), ("BertForMaskedLM", "GPT2LMHeadModel")]
)
def test_checkpoint_of_another_family(
    checkpoint: str, loaded: str, reference_checkpoints: Callable[[str], Path]
) -> None:
    directory = reference_checkpoints(checkpoint)
    family = tiny.ours(loaded).config_class
    with pytest.raises(ConfigError, match=f"{family.__name__} is for '{family.model_type}'"):
        tiny.ours(loaded).from_pretrained(directory)
    with pytest.raises(CheckpointError, match=f"has none of the weights of {loaded}, for instance"):
        tiny.ours(loaded).from_pretrained(directory, config=family(**tiny.fields(loaded)))


def test_unused_weights_are_not_warned_about(
    reference_checkpoints: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        BertModel.from_pretrained(reference_checkpoints("BertForPreTraining"))
    assert not messages(caplog)
    (note,) = messages(caplog, logging.INFO)
    assert "not used by BertModel: cls.predictions.bias" in note


@given(data=st.data())
def test_loads_if_and_only_if_the_backbone_is_whole(data: st.DataObject) -> None:
    """Any part of a checkpoint, with some shapes changed: what is missing decides, and the error names it."""
    name = data.draw(st.sampled_from(["BertForTokenClassification", "GPT2ForTokenClassification"]))
    source = tiny.our_model(name)
    weights = {key: tensor.clone() for key, tensor in source.hf_state_dict().items()}
    heads = {"classifier.weight", "classifier.bias"}
    dropped = data.draw(st.sets(st.sampled_from(sorted(weights)), max_size=3))
    for key in dropped:
        del weights[key]
    reshaped = data.draw(st.sets(st.sampled_from(sorted(weights)), max_size=2))
    for key in reshaped:
        weights[key] = torch.zeros(7, *weights[key].shape[1:])
    ignore = data.draw(st.booleans())

    model = tiny.our_model(name)
    before = copy.deepcopy(model.hf_state_dict())
    wrong = (dropped | reshaped) - heads | (set() if ignore else reshaped)
    if not wrong:
        report = model.load_hf_state_dict(weights, ignore_mismatched_sizes=ignore)
        assert report.missing_keys == dropped
        assert {key for key, _, _ in report.mismatched_keys} == reshaped
        tiny.assert_same_weights(model, source.hf_state_dict(), but_for=dropped | reshaped)
    else:
        with pytest.raises(CheckpointError) as caught:
            model.load_hf_state_dict(weights, ignore_mismatched_sizes=ignore)
        assert any(repr(key) in str(caught.value) for key in wrong)
        tiny.assert_same_weights(model, before)


# ---- new values -----------------------------------------------------------------------------------------------------


def assert_normal(tensor: Tensor, std: float) -> None:
    """Drawn from N(0, std²), as far as that many numbers tell."""
    tensor = tensor.detach().double()
    assert abs(tensor.mean()) < 5 * std / tensor.numel() ** 0.5
    assert tensor.std() == pytest.approx(std, rel=5 / tensor.numel() ** 0.5)


def test_new_weights_are_initialized_as_in_the_family(tmp_path: Path) -> None:
    BertModel(BertConfig(**{**tiny.BERT, "hidden_size": 96})).save_pretrained(tmp_path / "bert")
    model = minitransformers.BertForPreTraining.from_pretrained(tmp_path / "bert", initializer_range=0.3)
    head, transform = model.cls.predictions, model.cls.predictions.transform
    assert_normal(transform.dense.weight, 0.3)
    assert_normal(model.cls.seq_relationship.weight, 0.3)
    for bias in (transform.dense.bias, head.bias, transform.LayerNorm.bias, model.cls.seq_relationship.bias):
        assert not bias.any()
    assert (transform.LayerNorm.weight == 1).all()
    assert head.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert head.decoder.bias is head.bias

    GPT2Model(GPT2Config(**{**tiny.GPT2, "n_embd": 96, "initializer_range": 0.3})).save_pretrained(tmp_path / "gpt2")
    decoder = minitransformers.GPT2LMHeadModel.from_pretrained(tmp_path / "gpt2", add_cross_attention=True)
    cross = decoder.transformer.h[1].crossattention
    assert_normal(cross.q_attn.weight, 0.3)
    assert_normal(cross.c_attn.weight, 0.3)
    assert not cross.c_attn.bias.any()
    assert (decoder.transformer.h[1].ln_cross_attn.weight == 1).all()


def test_new_weights_differ_from_load_to_load_unless_seeded(reference_checkpoints: Callable[[str], Path]) -> None:
    def head() -> Tensor:
        directory = reference_checkpoints("BertModel")
        weight: Tensor = minitransformers.BertForTokenClassification.from_pretrained(directory).classifier.weight
        return weight

    assert not torch.equal(head(), head())
    torch.manual_seed(3)
    first = head()
    torch.manual_seed(3)
    assert torch.equal(first, head())


def test_every_parameter_is_trainable_and_none_is_on_meta(reference_checkpoints: Callable[[str], Path]) -> None:
    for name in tiny.CLASSES:
        saved = "GPT2Model" if name.startswith("GPT2") else "BertModel"
        model = tiny.ours(name).from_pretrained(reference_checkpoints(saved))
        assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in model.parameters())
        assert all(type(parameter) is torch.nn.Parameter for parameter in model.parameters())
        assert model.get_input_embeddings().padding_idx == (0 if saved == "BertModel" else None)


# ---- arguments ------------------------------------------------------------------------------------------------------


def test_pooler_may_be_left_out(reference_checkpoints: Callable[[str], Path]) -> None:
    directory = reference_checkpoints("BertModel")
    for model, info in (
        BertModel.from_pretrained(directory, add_pooling_layer=False, output_loading_info=True),
        BertModel.from_pretrained(directory, False, output_loading_info=True),
    ):
        assert model.pooler is None
        assert info["unexpected_keys"] == {"pooler.dense.weight", "pooler.dense.bias"}
        assert list(model(torch.tensor([[1, 2]]))) == ["last_hidden_state"]


def test_config_argument(reference_checkpoints: Callable[[str], Path], tmp_path: Path) -> None:
    directory = reference_checkpoints("BertModel")
    config = BertConfig(**tiny.BERT, num_labels=7, hidden_act="relu")
    before = copy.deepcopy(config)
    name = minitransformers.BertForSequenceClassification
    model = name.from_pretrained(directory, config=config)
    assert model.config.hidden_act == "relu"
    assert model.classifier.out_features == 7
    model = name.from_pretrained(directory, config=config, num_labels=3, attn_implementation="eager")
    assert model.config.num_labels == model.classifier.out_features == 3
    assert model.config.attn_implementation == "eager"
    model.config.pad_token_id = 5
    assert config == before, "the caller's configuration stays as it was"
    assert config.attn_implementation is None
    config.save_pretrained(tmp_path)
    assert name.from_pretrained(directory, config=str(tmp_path), num_labels=4).config.num_labels == 4
    assert name.from_pretrained(directory, config=tmp_path).config.hidden_act == "relu"


def test_config_overrides(reference_checkpoints: Callable[[str], Path]) -> None:
    model = minitransformers.GPT2ForSequenceClassification.from_pretrained(
        reference_checkpoints("GPT2Model"),
        num_labels=4,
        problem_type="multi_label_classification",
        output_hidden_states=True,
        attn_implementation="eager",
        pad_token_id=3,
    )
    assert model.score.out_features == model.config.num_labels == 4
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.attn_implementation == "eager"
    assert model.config.pad_token_id == 3
    output = model(torch.tensor([[1, 2]]), labels=torch.ones(1, 4))
    assert len(output.hidden_states) == 3
    assert output.loss.isfinite()


def test_labels_of_a_fine_tuned_checkpoint_come_along(tmp_path: Path) -> None:
    labels = {0: "no", 1: "yes", 2: "perhaps"}
    tiny.our_model("BertForSequenceClassification", id2label=labels).save_pretrained(tmp_path)
    model = minitransformers.BertForSequenceClassification.from_pretrained(tmp_path)
    assert model.config.id2label == labels
    assert model.config.label2id == {"no": 0, "yes": 1, "perhaps": 2}


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        ({"num_label": 3}, "'num_labels'"),
        ({"ignore_mismatched_size": True}, "'ignore_mismatched_sizes'"),
        ({"add_pooling_layers": False}, "'add_pooling_layer'"),
        ({"atn_implementation": "eager"}, "'attn_implementation'"),
        ({"hiden_size": 3}, "'hidden_size'"),
    ],
)
def test_unknown_argument(arguments: Any, near: str, reference_checkpoints: Callable[[str], Path]) -> None:
    for config in (None, BertConfig(**tiny.BERT)):
        with pytest.raises(UnknownArgumentError) as caught:
            BertModel.from_pretrained(reference_checkpoints("BertModel"), config=config, **arguments)
        assert repr(next(iter(arguments))) in str(caught.value)
        assert f"Did you mean {near}?" in str(caught.value)


@pytest.mark.usefixtures("annotations_are_not_checked")
@pytest.mark.parametrize("name", [None, 3, b"bytes", "", ["a"]])
def test_name_that_is_none(name: Any) -> None:
    for loader in (BertModel, BertConfig, minitransformers.AutoModel, minitransformers.AutoConfig):
        message = "name_or_path must be a directory or the name of a hub's repository"
        with pytest.raises(InputError, match=message):
            loader.from_pretrained(name)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"'config\.json' in the directory"):
        BertModel.from_pretrained(tmp_path)
    BertConfig(**tiny.BERT).save_pretrained(tmp_path)
    with pytest.raises(MissingFileError, match=r"no weights in the directory.*model\.safetensors.*It has config\.json"):
        BertModel.from_pretrained(tmp_path)
    with pytest.raises(MissingFileError, match="There is no directory '/no/such/directory'"):
        BertModel.from_pretrained("/no/such/directory")


# ---- state dicts in memory ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.CLASSES)
def test_state_dicts_pass_between_the_libraries(name: str) -> None:
    theirs, model = tiny.reference_model(name), tiny.our_model(name)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    report = model.load_hf_state_dict(theirs.state_dict())
    assert not any(vars(report).values())
    tiny.assert_same_weights(model, theirs.state_dict())
    assert not theirs.load_state_dict(model.hf_state_dict()).missing_keys
    ids = torch.tensor([[3, 4, 5]])[None] if "Multiple" in name or "Double" in name else torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        assert torch.allclose(model(ids)[0], theirs(ids)[0], atol=1e-5)


def test_state_dict_may_be_given_another_dtype() -> None:
    theirs, model = tiny.reference_model("BertModel"), tiny.our_model("BertModel")
    model.load_hf_state_dict(theirs.state_dict(), dtype=torch.float64)
    tiny.assert_same_weights(model, theirs.double().state_dict())


def test_state_dict_shares_its_tensors() -> None:
    source, model = tiny.our_model("GPT2LMHeadModel"), tiny.our_model("GPT2LMHeadModel")
    model.load_hf_state_dict(source.hf_state_dict())
    with torch.no_grad():
        source.transformer.h[0].attn.c_attn.weight.zero_()
    assert not model.transformer.h[0].attn.c_attn.weight.any()


def test_report_is_json_once_its_sets_are_lists(reference_checkpoints: Callable[[str], Path]) -> None:
    _, info = tiny.ours("BertForMaskedLM").from_pretrained(reference_checkpoints("BertModel"), output_loading_info=True)
    assert json.dumps({key: sorted(value) for key, value in info.items()})
