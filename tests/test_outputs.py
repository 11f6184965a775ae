"""Outputs: the reference's names in its order, read by attribute, key and index, through copies and pytrees."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.utils._pytree as pytree
import transformers
from accelerate.utils.operations import ConvertOutputsToFp32, convert_to_fp32, send_to_device
from hypothesis import given, strategies as st
from transformers import modeling_outputs
from transformers.models.albert import modeling_albert
from transformers.models.bert import modeling_bert
from transformers.models.electra import modeling_electra
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.openai import modeling_openai

from minitransformers import outputs as our_outputs
from minitransformers.errors import InputError, UnknownNameError
from minitransformers.models.bert import BertConfig, BertModel
from minitransformers.outputs import MaskedLMOutput, ModelOutput, SequenceClassifierOutput

CLASSES = [
    value
    for value in vars(our_outputs).values()
    if isinstance(value, type) and issubclass(value, ModelOutput) and value is not ModelOutput
]


# What the reference collects while a model runs, and adds to an output at its end whatever the order of the fields.
# In an encoder–decoder the parts collect, not the whole.
COLLECTED = ("hidden_states", "attentions", "cross_attentions")


def collected(output_class: type[ModelOutput]) -> tuple[str, ...]:
    return () if output_class.__name__.startswith("Seq2Seq") else COLLECTED


def reference(ours: type[ModelOutput]) -> Any:
    modules = (modeling_outputs, modeling_albert, modeling_bert, modeling_electra, modeling_gpt2, modeling_openai)
    return next(getattr(module, ours.__name__) for module in modules if hasattr(module, ours.__name__))


@st.composite
def values(draw: st.DrawFn, output_class: type[ModelOutput]) -> dict[str, Any]:
    """Some of the class's fields, each a tensor or a tuple of tensors as it should be."""
    names = [field.name for field in dataclasses.fields(output_class)]
    chosen = draw(st.lists(st.sampled_from(names), unique=True))
    tensor = st.integers(0, 9).map(torch.tensor)
    several = st.lists(tensor, max_size=3).map(tuple)
    return {name: draw(several if name.endswith(("states", "attentions")) else tensor) for name in chosen}


@pytest.mark.parametrize("output_class", CLASSES, ids=lambda output_class: output_class.__name__)
def test_fields_and_their_order_are_the_reference_s(output_class: type[ModelOutput]) -> None:
    ours = [(field.name, field.default) for field in dataclasses.fields(output_class)]
    theirs = [(field.name, field.default) for field in dataclasses.fields(reference(output_class))]
    assert ours == sorted(theirs, key=lambda field: field[0] in collected(output_class))


@pytest.mark.parametrize("output_class", CLASSES, ids=lambda output_class: output_class.__name__)
@given(data=st.data())
def test_read_as_the_reference_is_read(output_class: type[ModelOutput], data: st.DataObject) -> None:
    given_values = data.draw(values(output_class))
    ours = output_class(**given_values)
    theirs = reference(output_class)(**{name: ours[name] for name in ours if name not in collected(output_class)})
    for name in ours:
        theirs[name] = ours[name]
    assert list(ours) == list(theirs) == list(ours.keys())
    assert len(ours) == len(theirs) == len(given_values)
    assert ours.to_tuple() == theirs.to_tuple() == tuple(ours.values())
    assert list(ours.items()) == list(theirs.items())
    assert dict(ours) == {**ours} == dict(theirs)
    for field in dataclasses.fields(output_class):
        name = field.name
        assert getattr(ours, name) is getattr(theirs, name)
        assert (name in ours) == (name in theirs)
        assert ours.get(name, 7) is theirs.get(name, 7)
        if name in theirs:
            assert ours[name] is theirs[name]
    for index in range(-len(theirs), len(theirs)):
        assert ours[index] is theirs[index]
        assert ours[index:] == theirs[index:]
        assert ours[:index] == theirs[:index]
    for index in (len(theirs), -len(theirs) - 1):
        with pytest.raises(IndexError):
            ours[index]


def test_what_is_none_is_left_out() -> None:
    output = SequenceClassifierOutput(logits=torch.ones(1, 2))
    assert output.loss is None
    assert list(output) == ["logits"]
    assert output[0] is output.logits
    assert "loss" not in output
    assert output.get("loss") is None
    assert not SequenceClassifierOutput()
    with pytest.raises(UnknownNameError, match=r"SequenceClassifierOutput has no 'loss'; it has \['logits'\]"):
        output["loss"]


def test_unknown_name_is_refused_with_the_nearest() -> None:
    output = MaskedLMOutput(logits=torch.ones(1))
    with pytest.raises(UnknownNameError, match=r"MaskedLMOutput has no 'logit'.* Did you mean 'logits'\?") as caught:
        output["logit"]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownNameError, match=r"has no field 'logit'. Did you mean 'logits'\?"):
        output["logit"] = 3
    with pytest.raises(AttributeError):
        output.logit  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        MaskedLMOutput(logit=3)  # type: ignore[call-arg]


def test_fields_may_be_assigned() -> None:
    output = MaskedLMOutput(logits=torch.ones(1))
    output["loss"] = torch.tensor(2.0)
    output.logits = torch.zeros(1)
    assert list(output) == ["loss", "logits"]
    assert (output.loss, output[1]) == (torch.tensor(2.0), torch.zeros(1))
    output.loss = None
    assert list(output) == ["logits"]


@pytest.mark.parametrize("output_class", CLASSES, ids=lambda output_class: output_class.__name__)
@given(data=st.data())
def test_pytrees_copies_and_pickles(output_class: type[ModelOutput], data: st.DataObject) -> None:
    output = output_class(**data.draw(values(output_class)))
    leaves, _ = pytree.tree_flatten(output)
    assert len(leaves) == sum(len(value) if isinstance(value, tuple) else 1 for value in output.values())
    doubled = pytree.tree_map(lambda leaf: leaf * 2, output)
    assert type(doubled) is output_class
    assert doubled.keys() == output.keys()
    assert doubled.to_tuple() == pytree.tree_map(lambda leaf: leaf * 2, output.to_tuple())
    for other in (copy.copy(output), copy.deepcopy(output), pickle.loads(pickle.dumps(output))):
        assert type(other) is output_class
        assert other.items() == output.items()


def test_an_output_of_ones_own() -> None:
    @dataclasses.dataclass
    class Own(ModelOutput):
        score: torch.Tensor | None = None
        why: torch.Tensor | None = None

        def total(self) -> torch.Tensor:
            return sum(self.to_tuple())

    output = pytree.tree_map(lambda leaf: leaf + 1, Own(score=torch.zeros(1)))
    assert isinstance(output, Own)
    assert list(output) == ["score"]
    assert output["score"] == output.total() == 1
    assert list(Own(torch.zeros(1), why=torch.zeros(2))) == ["score", "why"]


def test_repr_has_a_line_for_each_field() -> None:
    """A notebook that ends in an output shows types and shapes, and not whole tensors."""
    hidden = torch.zeros(2, 7, 8)
    loss = torch.tensor(1.25, requires_grad=True)
    output = MaskedLMOutput(loss, torch.ones(2, 7, 30522), hidden_states=(hidden, hidden, hidden))
    expected = """\
MaskedLMOutput(
    loss=1.25 (float32),
    logits=float32[2, 7, 30522],
    hidden_states=(float32[2, 7, 8], … 3 in all),
)"""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(output) == str(output) == expected
    assert repr(MaskedLMOutput(logits=torch.ones(3, dtype=torch.int64))) == "MaskedLMOutput(logits=int64[3])"
    assert repr(MaskedLMOutput()) == "MaskedLMOutput()"


def test_repr_of_numbers_without_a_value() -> None:
    on_meta = MaskedLMOutput(loss=torch.ones((), device="meta"))
    assert repr(on_meta) == "MaskedLMOutput(loss=float32[] on meta)"
    seen = []
    torch.func.vmap(lambda number: (seen.append(repr(MaskedLMOutput(loss=number))), number)[1])(torch.ones(2))
    assert seen == ["MaskedLMOutput(loss=float32[])"]
    assert repr(MaskedLMOutput(loss=torch.tensor(True))) == "MaskedLMOutput(loss=True (bool))"


def test_an_output_is_a_dictionary() -> None:
    """Libraries ask `isinstance(output, dict)` before they cast, gather or move tensors."""
    output = MaskedLMOutput(logits=torch.ones(1))
    assert isinstance(output, OrderedDict)
    assert isinstance(modeling_outputs.MaskedLMOutput(logits=torch.ones(1)), OrderedDict)
    for change in (output.pop, output.setdefault, output.update, output.popitem, output.clear, output.__delitem__):
        with pytest.raises(InputError, match="fields of a MaskedLMOutput are fixed: assign None"):
            change("logits")
    with pytest.raises(AttributeError, match=r"MaskedLMOutput has no field 'logit'. Did you mean 'logits'\?"):
        output.logit  # type: ignore[attr-defined]


@pytest.mark.usefixtures("annotations_are_not_checked")
@pytest.mark.parametrize("module", [our_outputs, modeling_outputs], ids=["ours", "theirs"])
def test_other_libraries_map_functions_over_outputs(module: Any) -> None:
    output = module.MaskedLMOutput(loss=torch.tensor(1.0), logits=torch.ones(2, 3, dtype=torch.bfloat16))
    for wide in (convert_to_fp32(output), ConvertOutputsToFp32(lambda: output)()):
        assert type(wide) is module.MaskedLMOutput
        assert (list(wide), wide.logits.dtype, wide[1].dtype) == (["loss", "logits"], torch.float32, torch.float32)
    moved = send_to_device(output, "meta")
    assert type(moved) is module.MaskedLMOutput
    assert moved.logits.is_meta
    # What torch.nn.parallel.scatter_gather.gather does with dictionaries.
    gathered = type(output)((name, torch.stack([output[name], output[name]])) for name in output)
    assert type(gathered) is module.MaskedLMOutput
    assert (gathered.loss.shape, gathered["logits"].shape) == ((2,), (2, 2, 3))


def test_a_model_s_output_as_output_and_as_tuple() -> None:
    values = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertModel(BertConfig(**values)).eval()
    reference_model = transformers.BertModel(transformers.BertConfig(**values, attn_implementation="eager")).eval()
    ids = torch.tensor([[1, 2, 3]])
    for arguments in ({}, {"output_hidden_states": True}, {"output_attentions": True, "output_hidden_states": True}):
        ours, theirs = model(ids, **arguments), reference_model(ids, **arguments)
        # Theirs has empty cross-attentions, of a model that has no cross-attention.
        assert list(ours) == [name for name, value in theirs.items() if value != ()]
        as_tuple = model(ids, **arguments, return_dict=False)
        assert type(as_tuple) is tuple
        assert len(as_tuple) == len(ours)
        assert torch.equal(as_tuple[0], ours.last_hidden_state)
    model.config.return_dict = False
    assert type(model(ids)) is tuple
    assert list(model(ids, return_dict=True)) == ["last_hidden_state", "pooler_output"]
