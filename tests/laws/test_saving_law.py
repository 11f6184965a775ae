"""Law 9: what is saved is what is loaded, and weight names go both ways without loss."""

import tempfile
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from safetensors import safe_open

from minitransformers.checkpoints.rules import Renamed, WeightTable, rename, transpose
from minitransformers.models.bert import BertConfig, BertForPreTraining, BertModel
from minitransformers.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.weights import draw_weights

ALL = [*strategies.BERT_CLASSES, *strategies.GPT2_CLASSES]
HEADS = [c for c in ALL if c not in (BertModel, GPT2Model)]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def class_name(model_class):
    return model_class.__name__


@st.composite
def variants(draw, model_class, **fixed):
    """A model of the class, with cross-attention or without, in any dtype."""
    if draw(st.booleans()):
        decoder = {"is_decoder": True} if model_class.config_class is BertConfig else {}
        fixed = {**decoder, "add_cross_attention": True, **fixed}
    return draw(strategies.tiny_models(model_class, dtype=draw(st.sampled_from(DTYPES)), **fixed))


# ---- files -----------------------------------------------------------------------------------------------------------


def check_files(model, batch, max_shard_size):
    with tempfile.TemporaryDirectory() as directory:
        loaded = laws.assert_saved_and_loaded_equal(model, directory, batch, max_shard_size=max_shard_size)
        assert not loaded.training
        # Once more from what was loaded, in one piece, over the files that its weights are mapped to.
        again = laws.assert_saved_and_loaded_equal(loaded, directory, batch)
        laws.assert_same_weights(again, model)


@pytest.mark.parametrize("classes", [strategies.BERT_CLASSES, strategies.GPT2_CLASSES], ids=["bert", "gpt2"])
@given(st.data())
def test_saved_and_loaded_is_the_same_model(classes, data):
    model = data.draw(variants(data.draw(st.sampled_from(classes))))
    batch = data.draw(strategies.labelled_batches(model))
    check_files(model, batch, data.draw(st.sampled_from(["50GB", 1, "1KB", "3KB"])))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("model_class", ALL, ids=class_name)
def test_saved_and_loaded_is_the_same_model_of_every_class(model_class, tied):
    sizes = {"vocab_size": 13, "hidden_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = draw_weights(model_class(model_class.config_class(**sizes, tie_word_embeddings=tied)), seed=0)
    ids = torch.tensor([[1, 2, 3, 4]])
    check_files(model, {"input_ids": ids[:, None] if "Choice" in class_name(model_class) else ids}, "2KB")


@given(st.data())
def test_a_loaded_model_can_be_trained_and_saved_over_itself(data):
    model = data.draw(variants(data.draw(st.sampled_from(HEADS))))
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        before = Path(directory, "model.safetensors").read_bytes()
        loaded = type(model).from_pretrained(directory)
        with torch.no_grad():
            for weight in loaded.parameters():
                weight.add_(1)
        assert Path(directory, "model.safetensors").read_bytes() == before  # training writes to memory alone
        laws.assert_saved_and_loaded_equal(loaded, directory)


@given(st.data())
def test_a_config_is_loaded_as_it_was_saved(data):
    config = data.draw(st.one_of(strategies.bert_configs(), strategies.gpt2_configs()))
    config.num_labels = data.draw(st.integers(1, 5))
    with tempfile.TemporaryDirectory() as directory:
        config.save_pretrained(directory)
        assert type(config).from_pretrained(directory) == config


@given(st.data())
def test_tied_weights_are_in_the_file_once(data):
    model = data.draw(strategies.tiny_models(GPT2LMHeadModel, BertForPreTraining))
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        with safe_open(Path(directory, "model.safetensors"), framework="pt") as file:
            numbers = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    assert numbers == model.num_parameters() + (
        # BERT's output bias has two names in the reference, which are both written where nothing is tied.
        model.config.vocab_size if isinstance(model, BertForPreTraining) and not model.config.tie_word_embeddings else 0
    )


# ---- in memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", ALL, ids=class_name)
@given(st.data())
def test_the_references_names_and_back_is_the_same_model(model_class, data):
    model = data.draw(variants(model_class))
    other = draw_weights(model_class(model.config).to(model.dtype), seed=99)
    state = {name: tensor.clone() for name, tensor in model.hf_state_dict().items()}
    report = other.load_hf_state_dict(state)
    assert not report.missing_keys | report.unexpected_keys | report.mismatched_keys
    laws.assert_same_weights(other, model)


@pytest.mark.parametrize("model_class", HEADS, ids=class_name)
@given(st.data())
def test_backbone_and_head_load_from_each_others_files(model_class, data):
    """The backbone's prefix may be there or not, in the file or in the model."""
    base_class = {BertConfig: BertModel, GPT2Config: GPT2Model}[model_class.config_class]
    model = data.draw(
        strategies.tiny_models(model_class, is_decoder=False) if base_class is BertModel else variants(model_class)
    )
    base = base_class(
        model.config, **({"add_pooling_layer": model.bert.pooler is not None} if base_class is BertModel else {})
    )
    base.load_hf_state_dict({name: tensor.clone() for name, tensor in model.hf_state_dict().items()})
    laws.assert_same_weights(base, model.base_model)

    new = draw_weights(model_class(model.config).to(model.dtype), seed=99)
    new.load_hf_state_dict({name: tensor.clone() for name, tensor in base.hf_state_dict().items()})
    laws.assert_same_weights(new.base_model, base)


# ---- names -----------------------------------------------------------------------------------------------------------


def on_meta(model_class, **fields):
    with torch.device("meta"):
        return model_class(model_class.config_class(**fields))


def large(model_class, cross_attention):
    """A model with layer numbers of two digits, and without weights."""
    if model_class.config_class is GPT2Config:
        return on_meta(model_class, n_layer=12, add_cross_attention=cross_attention)
    is_decoder = cross_attention or model_class.__name__ == "BertLMHeadModel"
    return on_meta(model_class, is_decoder=is_decoder, add_cross_attention=cross_attention)


@pytest.mark.parametrize("cross_attention", [False, True])
@pytest.mark.parametrize("model_class", ALL, ids=class_name)
def test_weight_names_are_a_bijection(model_class, cross_attention):
    model = large(model_class, cross_attention)
    names = list(model.state_dict())
    laws.assert_names_bijective(model.weights, names)
    prefix = f"{model.base_model_prefix}."
    laws.assert_names_bijective(model.weights, [name.removeprefix(prefix) for name in names])
    laws.assert_names_bijective(model.weights, [prefix + name.removeprefix(prefix) for name in names])


@pytest.mark.parametrize("cross_attention", [False, True])
@pytest.mark.parametrize("model_class", ALL, ids=class_name)
def test_the_names_are_the_references(model_class, cross_attention):
    """Every name of the reference is one of ours and back, and none is left over on either side."""
    model = large(model_class, cross_attention)
    reference_class = getattr(transformers, model_class.__name__)
    reference_config = getattr(transformers, model_class.config_class.__name__)
    fields = {name: value for name, value in model.config.to_diff_dict().items() if name != "model_type"}
    with torch.device("meta"):
        reference = reference_class(reference_config(**fields))
    theirs = {name: tuple(tensor.shape) for name, tensor in reference.state_dict().items()}
    table = model.weights
    ours = {name: tuple(tensor.shape) for name, tensor in model.hf_state_dict().items()}
    assert ours == theirs
    for name in theirs.keys() - table.doubles.keys():
        read = table.to_ours(name)
        assert read is not None
        assert table.to_theirs(read.name) == Renamed(name, read.transposed)


@given(st.data())
def test_the_prefix_of_the_backbone_may_be_there_or_not_and_stays(data):
    model = large(data.draw(st.sampled_from(ALL)), cross_attention=data.draw(st.booleans()))
    prefix = f"{model.base_model_prefix}."
    bare = data.draw(st.sampled_from(sorted(model.base_model.state_dict())))
    table = model.weights
    short, long = table.to_theirs(bare), table.to_theirs(prefix + bare)
    assert long == Renamed(prefix + short.name, short.transposed)
    assert table.to_ours(prefix + short.name) == Renamed(prefix + bare, short.transposed)


@given(st.data())
def test_names_that_wrappers_change_are_read_as_if_they_had_not(data):
    model = large(data.draw(st.sampled_from(ALL)), cross_attention=False)
    name = data.draw(st.sampled_from(sorted(model.hf_state_dict())))
    table = model.weights
    expected = table.to_ours(name)
    assert table.to_ours(f"_orig_mod.{name}") == expected
    assert table.to_ours(f"module.{name}") == expected
    assert table.to_ours(f"module._orig_mod.{name}") == expected


@given(st.data())
def test_old_names_of_norms_are_read_and_never_written(data):
    model = large(data.draw(st.sampled_from(strategies.BERT_CLASSES)), cross_attention=data.draw(st.booleans()))
    norms = [name for name in model.hf_state_dict() if "LayerNorm." in name]
    name = data.draw(st.sampled_from(norms))
    old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    assert old != name
    assert model.weights.to_ours(old) == model.weights.to_ours(name)
    assert not any(written.endswith(("gamma", "beta")) for written in model.hf_state_dict())


PARTS = st.text("abcxyz_0123456789", min_size=1, max_size=5)


@given(layer=PARTS, kind=PARTS, base=PARTS, other=st.lists(PARTS, min_size=1, max_size=4))
def test_placeholders_stand_for_any_part_and_other_names_stay(layer, kind, base, other):
    table = WeightTable(
        rename("h.{layer}.ln.{kind}", "blocks.{layer}.norm.{kind}"),
        transpose("h.{layer}.w", "blocks.{layer}.weight"),
        base=base,
    )
    assert table.to_ours(f"h.{layer}.ln.{kind}") == Renamed(f"blocks.{layer}.norm.{kind}")
    assert table.to_ours(f"{base}.h.{layer}.w") == Renamed(f"{base}.blocks.{layer}.weight", True)
    assert table.to_ours(f"h.{layer}.{layer}.w") == Renamed(f"h.{layer}.{layer}.w")  # a placeholder is one part
    names = [f"blocks.{layer}.norm.{kind}", f"{base}.blocks.{layer}.weight", f"head.{'.'.join(other)}"]
    laws.assert_names_bijective(table, names)


def test_a_saved_checkpoint_has_the_references_names_alone(tmp_path):
    model = draw_weights(GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=4, n_layer=2, n_head=2, n_positions=8)), 0)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    expected = model.hf_state_dict()
    del expected["lm_head.weight"]  # tied
    assert_close(saved, expected, tolerance=0.0)
