"""Tables of checkpoint names: what each kind of rule does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.files.checkpoint_names import CheckpointNames, drop, former, stored, transpose
from minitransformers.testing import laws

TABLE = CheckpointNames(
    former("{module...}.gamma", "{module...}.weight"),
    former("output_bias", "decoder.bias"),
    stored("h.{layer}.c.{kind}", "blocks.{layer}.inner.{kind}"),
    stored("h.{layer}.{rest...}", "blocks.{layer}.rest.{rest...}"),
    drop("mask"),
    drop("blocks.{layer}.rest.mask"),
    transpose("blocks.{layer}.inner.weight"),
    base="base",
)


@pytest.mark.parametrize(
    ("in_file", "name"),
    [
        ("h.3.c.weight", "blocks.3.inner.weight"),
        ("base.h.3.c.weight", "base.blocks.3.inner.weight"),
        ("h.12.c.bias", "blocks.12.inner.bias"),
        ("h.0.a.b.c", "blocks.0.rest.a.b.c"),
        ("other.h.0.c.weight", "other.h.0.c.weight"),
        ("h.0", "h.0"),
        ("hx3xcxweight", "hx3xcxweight"),
        ("the.same.in.both", "the.same.in.both"),
    ],
)
def test_stored_names_are_read_and_written(in_file: str, name: str) -> None:
    assert TABLE.module_name(in_file) == name
    assert TABLE.file_name(name) == in_file


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("output_bias", "decoder.bias"),
        ("base.output_bias", "base.decoder.bias"),
        ("base.h.7.c.gamma", "base.blocks.7.inner.weight"),  # rules apply one after the other
        ("norm.gamma", "norm.weight"),
        ("gamma", "gamma"),  # the placeholder stands for at least one part
    ],
)
def test_former_names_are_only_read(old: str, name: str) -> None:
    assert TABLE.module_name(old) == name
    assert TABLE.file_name(name) != old or old == name


@pytest.mark.parametrize("name", ["mask", "base.mask", "h.7.mask", "base.h.7.mask"])
def test_dropped_names_lead_to_no_module(name: str) -> None:
    assert TABLE.module_name(name) is None


def test_matrices_are_transposed_wherever_they_are_marked() -> None:
    state = {"blocks.0.inner.weight": torch.ones(2, 3), "base.blocks.10.inner.weight": torch.ones(2, 3)}
    others = {"blocks.0.inner.bias": torch.ones(2), "blocks.0.rest.inner.weight": torch.ones(2, 3)}
    turned = TABLE.transposed({**state, **others})
    assert {name: tuple(tensor.shape) for name, tensor in turned.items()} == {
        **dict.fromkeys(state, (3, 2)),
        "blocks.0.inner.bias": (2,),
        "blocks.0.rest.inner.weight": (2, 3),
    }
    assert turned["blocks.0.inner.weight"].data_ptr() == state["blocks.0.inner.weight"].data_ptr()


@pytest.mark.parametrize("wrapped", ["module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}"])
def test_wrappers_prefixes_are_no_part_of_a_name(wrapped: str) -> None:
    assert TABLE.module_name(wrapped.format("h.3.c.weight")) == "blocks.3.inner.weight"
    assert TABLE.file_name(wrapped.format("blocks.3.inner.weight")) == "h.3.c.weight"
    assert TABLE.is_transposed(wrapped.format("blocks.3.inner.weight"))
    assert TABLE.file_name("base.blocks.7._orig_mod.inner.bias") == "base.h.7.c.bias"


PART = st.text("abcxyz_0123456789", min_size=1, max_size=5)


@given(layer=PART, kind=PART, base=PART, other=st.lists(PART, min_size=1, max_size=4))
def test_placeholders_stand_for_any_part_and_other_names_stay(
    layer: str, kind: str, base: str, other: list[str]
) -> None:
    table = CheckpointNames(
        stored("h.{layer}.ln.{kind}", "blocks.{layer}.norm.{kind}"), transpose("h.{layer}.w"), base=base
    )
    assert table.module_name(f"{base}.h.{layer}.ln.{kind}") == f"{base}.blocks.{layer}.norm.{kind}"
    assert table.is_transposed(f"{base}.h.{layer}.w")
    assert not table.is_transposed(f"h.{layer}.{layer}.w")  # this placeholder is one part
    laws.assert_names_bijective(
        table, [f"blocks.{layer}.norm.{kind}", f"{base}.h.{layer}.w", f"head.{'.'.join(other)}"]
    )
