"""The tables of weight names: what each kind of rule does, and that both families' tables lose nothing."""

from __future__ import annotations

import pytest
import tiny_models as tiny
import torch
from hypothesis import given, strategies as st

from minitransformers.files import weight_names as rules
from minitransformers.files.weight_names import Renamed, WeightTable
from minitransformers.models import bert, gpt2

TABLE = WeightTable(
    rules.drop("h.{layer}.mask"),
    rules.alias("{module...}.gamma", of="{module...}.weight"),
    rules.transpose("h.{layer}.c.weight", "blocks.{layer}.inner.weight"),
    rules.rename("h.{layer}.c.{kind}", "blocks.{layer}.inner.{kind}"),
    rules.rename("h.{layer}.{rest...}", "blocks.{layer}.rest.{rest...}"),
    rules.rename("bias", "decoder.bias"),
    rules.double("decoder.second_bias", of="bias"),
    rules.tie("decoder.weight", to="base.embedding.weight"),
    base="base",
)


@pytest.mark.parametrize(
    ("theirs", "ours", "transposed"),
    [
        ("h.3.c.weight", "blocks.3.inner.weight", True),
        ("base.h.3.c.weight", "base.blocks.3.inner.weight", True),
        ("h.12.c.bias", "blocks.12.inner.bias", False),
        ("h.0.a.b.c", "blocks.0.rest.a.b.c", False),
        ("other.h.0.c.weight", "other.h.0.c.weight", False),
        ("h.0", "h.0", False),
        ("agrees.in.both", "agrees.in.both", False),
        ("bias", "decoder.bias", False),
    ],
)
def test_reading_and_writing(theirs: str, ours: str, transposed: bool) -> None:
    assert TABLE.to_ours(theirs) == Renamed(ours, transposed)
    assert TABLE.to_theirs(ours) == Renamed(theirs, transposed)


def test_what_is_only_read() -> None:
    assert TABLE.to_ours("base.h.7.mask") is None
    assert (
        TABLE.to_ours("base.h.7.c.gamma")
        == TABLE.to_ours("base.h.7.c.weight")
        == Renamed("base.blocks.7.inner.weight", True)
    )
    assert TABLE.to_ours("decoder.second_bias") == Renamed("decoder.bias")
    for wrapped in ("module.bias", "_orig_mod.bias", "module._orig_mod.bias", "_orig_mod.module.bias"):
        assert TABLE.to_ours(wrapped) == Renamed("decoder.bias"), wrapped
    assert TABLE.to_theirs("base.blocks.7._orig_mod.inner.bias") == Renamed("base.h.7.c.bias")
    assert TABLE.ties == {"decoder.weight": "base.embedding.weight"}
    assert TABLE.doubles == {"decoder.second_bias": "bias"}


def test_dots_of_a_pattern_are_dots() -> None:
    assert TABLE.to_ours("hx3xcxweight") == Renamed("hx3xcxweight")


@pytest.mark.parametrize("name", tiny.CLASSES)
def test_every_name_of_the_reference_goes_there_and_back(name: str) -> None:
    fields = {"add_cross_attention": True} if name in ("BertLMHeadModel", "GPT2LMHeadModel") else {}
    theirs = tiny.reference_model(name, tie_word_embeddings=False, **fields).state_dict()
    model = tiny.our_model(name, tie_word_embeddings=False, **fields)
    table = model.weights
    theirs = {key: tensor for key, tensor in theirs.items() if key not in table.doubles}
    ours = {key: table.to_ours(key) for key in theirs}
    assert {renamed.name for renamed in ours.values()} == set(model.state_dict()), "all of ours, each once"
    assert len({renamed.name for renamed in ours.values()}) == len(ours)
    for key, renamed in ours.items():
        assert table.to_theirs(renamed.name) == Renamed(key, renamed.transposed)
        shape = theirs[key].shape[::-1] if renamed.transposed else theirs[key].shape
        assert model.state_dict()[renamed.name].shape == shape


PART = st.text("abcxyz_019", min_size=1, max_size=4)


@pytest.mark.parametrize("table", [bert.WEIGHTS, gpt2.WEIGHTS], ids=["bert", "gpt2"])
@given(data=st.data())
def test_tables_are_bijections(table: WeightTable, data: st.DataObject) -> None:
    """Whatever stands for the placeholders, and with or without the backbone's prefix."""
    moves = [rule for rule in table.rules if rule.kind in ("rename", "transpose")]
    rule = data.draw(st.sampled_from(moves))
    parts = {name: data.draw(PART) for name in ("layer", "part", "kind", "rest")}
    prefix = data.draw(st.sampled_from(["", f"{table.base}."]))
    theirs, ours = prefix + rule.theirs.format(**parts), prefix + rule.ours.format(**parts)
    read = table.to_ours(theirs)
    assert read is not None
    assert table.to_theirs(read.name) == Renamed(theirs, read.transposed)
    written = table.to_theirs(ours)
    assert table.to_ours(written.name) == Renamed(ours, written.transposed)


def test_transposed_weights_are_transposed_once() -> None:
    model = tiny.our_model("GPT2Model")
    fused = model.blocks[0].self_attention.query_key_value.weight
    assert fused.shape == (36, 12)
    assert torch.equal(model.hf_state_dict()["h.0.attn.c_attn.weight"], fused.t())
