"""Law 14: one weight under two names stays one, whatever is done to the model. (torch.compile: tests/models.)"""

import copy
import io
import pickle
import tempfile

import pytest
import torch
from families_of_laws import each, named
from hypothesis import given, strategies as st
from torch import nn

from minitransformers.models.t5 import T5Config
from minitransformers.testing import laws, strategies
from minitransformers.testing.comparing import assert_close, assert_gradients_close
from minitransformers.testing.families import WITH_VOCABULARY_HEAD
from minitransformers.testing.weights import draw_weights

TIED = WITH_VOCABULARY_HEAD
# In a T5 the weights say whether anything is tied, and no field.
CAN_BE_UNTIED = [m for m in TIED if m.config_class is not T5Config]
SEVERAL_EMBEDDINGS = named("ForConditionalGeneration")


def through_torch_save(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


def through_files(model, **options):
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory, **options)
        loaded = type(model).from_pretrained(directory)
        for parameter in loaded.parameters():  # the files are gone afterwards
            parameter.data = parameter.data.clone()
    return loaded


def through_state_dict(model, **options):
    other = type(model)(model.config).to(model.dtype).eval()
    other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, **options)
    return other


def through_meta(model):
    """Built without weights, then given them, as checkpoints are loaded."""
    with torch.device("meta"):
        other = type(model)(model.config).to(model.dtype).eval()
    assert laws.sharing(other) == laws.sharing(model)
    other.load_hf_state_dict({name: tensor.clone() for name, tensor in model.hf_state_dict().items()})
    return other


def through_empty(model):
    other = copy.deepcopy(model).to_empty(device="meta")
    assert laws.sharing(other) == laws.sharing(model)
    other = other.to_empty(device="cpu")
    other.load_state_dict(model.state_dict())
    return other


def through_apply(model):
    """What `.cuda()` and other moves do."""
    return model._apply(lambda tensor: tensor.clone())


CHANGES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": through_torch_save,
    "save_pretrained": through_files,
    "save_pretrained in shards": lambda model: through_files(model, max_shard_size=500),
    "state_dict": through_state_dict,
    "state_dict, assigned": lambda model: through_state_dict(model, assign=True),
    "hf_state_dict": through_meta,
    "to_empty": through_empty,
    "a copy of each tensor": through_apply,
    "to": lambda model: model.to("cpu", torch.float64),
    "train, eval, requires_grad": lambda model: model.train().requires_grad_(False).requires_grad_(True).eval(),
    "share_memory": lambda model: model.share_memory(),
    "resized by nothing": lambda model: [model.resize_token_embeddings(model.config.vocab_size), model][1],
    "tied again": lambda model: [model.tie_weights(), model][1],
    "gradient checkpointing": lambda model: [model.gradient_checkpointing_enable(), model][1],
}


def assert_trains_as_one(model, batch):
    """After a step, the shared weight has moved, once, by the sum of both of its gradients."""
    weight = model.get_input_embeddings().weight
    before = weight.detach().clone()
    model.zero_grad()
    with torch.enable_grad():
        model.train()(**batch).loss.backward()
    gradient = weight.grad.clone()
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    model.eval()
    laws.assert_tied(model)
    assert gradient.any()
    assert_close(model.get_output_embeddings().weight, before - 0.5 * gradient)


@pytest.mark.parametrize("change", CHANGES)
@given(st.data())
def test_tying_survives(change, data):
    model = data.draw(strategies.tiny_models(*TIED, tie_word_embeddings=True))
    batch = data.draw(strategies.labelled_batches(model))
    expected = model(**batch)
    changed = CHANGES[change](copy.deepcopy(model))
    laws.assert_tied(changed)
    laws.assert_same_weights(changed, model)
    assert_close(changed(**batch), expected)
    assert_trains_as_one(changed, batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@given(st.data())
def test_tying_survives_another_dtype(dtype, data):
    model = data.draw(strategies.tiny_models(*TIED, tie_word_embeddings=True))
    ways = [
        lambda: copy.deepcopy(model).to(dtype),
        lambda: getattr(copy.deepcopy(model), {"float32": "float", "bfloat16": "bfloat16", "float16": "half"}[name])(),
    ]
    name = str(dtype).removeprefix("torch.")
    for way in ways:
        changed = way()
        laws.assert_tied(changed)
        assert changed.dtype == dtype
        assert_close(
            changed.get_output_embeddings().weight, model.get_input_embeddings().weight.to(dtype), tolerance=0.0
        )
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        laws.assert_tied(type(model).from_pretrained(directory, dtype=dtype))


@given(st.data())
def test_tying_survives_the_meta_device(data):
    model = data.draw(strategies.tiny_models(*TIED, tie_word_embeddings=True)).to("meta")
    laws.assert_tied(model)
    assert model.get_input_embeddings().weight.is_meta
    wrapped = nn.Sequential(model).to_empty(device="cpu")  # inside another module, too
    laws.assert_tied(wrapped[0])


@each(TIED)
@given(st.data())
def test_tying_survives_resizing(classes, data):
    model = data.draw(strategies.tiny_models(*classes, tie_word_embeddings=True))
    batch = data.draw(strategies.labelled_batches(model))
    before = model(**batch)
    size = data.draw(st.integers(strategies.VOCAB_SIZE, 30))
    model.resize_token_embeddings(size, mean_resizing=data.draw(st.booleans()))
    laws.assert_tied(model)
    name = "prediction_logits" if "prediction_logits" in before else "logits"
    assert_close(model(**batch)[name][..., : strategies.VOCAB_SIZE], before[name])
    assert_trains_as_one(model, batch)


@given(st.data())
def test_what_the_config_does_not_tie_is_not_tied_and_stays_so(data):
    model = data.draw(strategies.tiny_models(*CAN_BE_UNTIED, tie_word_embeddings=False))
    changed = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))](copy.deepcopy(model))
    with pytest.raises(AssertionError, match="two parameters"):
        laws.assert_tied(changed)
    laws.assert_same_weights(changed, model)


@given(st.data())
def test_assigning_a_new_embedding_unties_until_it_is_tied_again(data):
    model = data.draw(strategies.tiny_models(*TIED, tie_word_embeddings=True))
    new = nn.Embedding(strategies.VOCAB_SIZE, model.get_input_embeddings().embedding_dim, dtype=torch.float64)
    model.set_input_embeddings(new)
    with pytest.raises(AssertionError, match="two parameters"):
        laws.assert_tied(model)
    model.tie_weights()
    laws.assert_tied(model)
    assert model.get_output_embeddings().weight is new.weight


@given(st.data())
def test_a_checkpoint_that_has_the_tied_weight_under_one_name_only_loads(data):
    """Under any: some files have the embedding alone, some the head alone."""
    model = data.draw(strategies.tiny_models(*TIED, tie_word_embeddings=True))
    state = model.hf_state_dict()
    names = [
        name for name, tensor in state.items() if tensor.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    ]
    assert len(names) >= 2
    only = data.draw(st.sampled_from(names))
    state = {name: tensor.clone() for name, tensor in state.items() if name == only or name not in names}
    other = draw_weights(type(model)(model.config).double(), seed=99)
    report = other.load_hf_state_dict(state)
    assert not report.missing_keys
    laws.assert_tied(other)
    laws.assert_same_weights(other, model)


@given(st.data())
def test_different_weights_in_a_file_are_both_kept_though_the_config_ties_them(data):
    """A checkpoint whose head was trained apart: tying it would lose one of the two."""
    model = data.draw(strategies.tiny_models(*CAN_BE_UNTIED, tie_word_embeddings=False))
    other = type(model)(copy.deepcopy(model.config)).double()
    other.config.tie_word_embeddings = True
    other.tie_weights()
    other.load_hf_state_dict({name: tensor.clone() for name, tensor in model.hf_state_dict().items()})
    laws.assert_same_weights(other, model)
    assert other.config.tie_word_embeddings is False
    laws.assert_same_weights(through_files(other), model)


@given(st.data())
def test_both_gradients_add_up_in_the_one_weight(data):
    """The gradient of the tied weight is the sum of what the two have apart."""
    model = data.draw(strategies.tiny_models(*TIED, tie_word_embeddings=True))
    batch = data.draw(strategies.labelled_batches(model))
    model(**batch).loss.backward()
    shared = model.get_input_embeddings().weight.grad
    apart = copy.deepcopy(model)
    apart.zero_grad()
    head = apart.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach().clone())
    apart(**batch).loss.backward()
    both = apart.get_input_embeddings().weight.grad + head.weight.grad
    assert_gradients_close({"weight": both}, {"weight": shared})
