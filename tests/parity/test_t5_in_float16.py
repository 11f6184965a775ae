"""T5 loaded in float16: which weights stay float32, what that is for, and the reference's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cases import Case, Pair
from comparing import YARDSTICK, distance, distance_of_gradients
from hypothesis import given, strategies as st
from t5_cases import T5

import minitransformers as mt

EVERYTHING = {"output_hidden_states": True, "output_attentions": True}
CLASSES = {case.name: case for case in T5.classes}
WRITER, ENCODER = CLASSES["T5ForConditionalGeneration"], CLASSES["T5EncoderModel"]


def loaded(pair: Pair, path: Path, dtype: torch.dtype) -> Pair:
    """The same pair, both models loaded in `dtype` from a file in float32."""
    pair.reference.float().save_pretrained(path)
    pair.dtype = dtype
    pair.reference = pair.case.reference.from_pretrained(path, dtype=dtype, attn_implementation="eager")
    pair.ours = pair.case.ours.from_pretrained(path, dtype=dtype)
    return pair


@pytest.mark.parametrize("case", [WRITER, ENCODER], ids=repr)
@given(data=st.data())
def test_rounds_no_worse_than_the_reference(case: Case, data: st.DataObject, tmp_path_factory: Any) -> None:
    """The types of all weights and outputs are the reference's; the numbers as near as weights off by a last place."""
    example = data.draw(case.examples)
    pair = loaded(Pair(case, example, torch.float16), tmp_path_factory.mktemp("t5"), torch.float16)
    wide = {name for name, weight in pair.ours.hf_state_dict().items() if weight.dtype == torch.float32}
    assert wide == {name for name, weight in pair.reference.state_dict().items() if weight.dtype == torch.float32}
    assert all(name.endswith(".DenseReluDense.wo.weight") for name in wide)
    assert wide

    outputs, gradients = pair.run_reference(**EVERYTHING)
    nudged, nudged_gradients = pair.run_the_reference_nudged(**EVERYTHING)
    allowed = YARDSTICK * distance(nudged, outputs, torch.float16) + 1
    allowed_of_gradients = YARDSTICK * distance_of_gradients(nudged_gradients, gradients, torch.float16) + 1
    for kernel, further in (("eager", EVERYTHING), ("sdpa", {"output_hidden_states": True})):
        ours, our_gradients = pair.run_ours(kernel, **further)
        assert {name: t.dtype for name, t in ours.items()} == {name: outputs[name].dtype for name in ours}
        assert distance(ours, outputs, torch.float16) <= allowed
        assert distance_of_gradients(our_gradients, gradients, torch.float16) <= allowed_of_gradients


def large_t5() -> mt.T5EncoderModel:
    """An encoder whose first network gives numbers of about 200,000, and whose second one takes them back."""
    config = {**T5.smallest_config("T5EncoderModel"), "num_layers": 2}
    torch.manual_seed(0)
    model = mt.T5EncoderModel(mt.T5Config(**config)).eval()
    first, second = model.encoder.block
    with torch.no_grad():
        first.layer[1].DenseReluDense.wo.weight.fill_(6e4)
        second.layer[1].DenseReluDense.wo.weight.normal_()
    return model


@torch.no_grad()
def test_what_overflows_float16_is_kept(tmp_path: Path) -> None:
    """Loaded in float16 the model is the one in float32, as far as float16 tells; converted to it, it is another."""
    model, ids = large_t5(), torch.tensor([[3, 1, 4, 1, 5]])
    model.save_pretrained(tmp_path)
    wide = model(ids, output_hidden_states=True)
    assert wide.hidden_states[1].abs().max() > torch.finfo(torch.float16).max
    half = mt.T5EncoderModel.from_pretrained(tmp_path, dtype=torch.float16)(ids, output_hidden_states=True)
    converted = mt.T5EncoderModel.from_pretrained(tmp_path).half()(ids, output_hidden_states=True)
    assert half.last_hidden_state.dtype == converted.last_hidden_state.dtype == torch.float16
    torch.testing.assert_close(half.hidden_states[1].float(), wide.hidden_states[1], rtol=1e-2, atol=0)
    torch.testing.assert_close(half.last_hidden_state.float(), wide.last_hidden_state, rtol=0, atol=1e-2)
    assert converted.hidden_states[1].isfinite().all()  # brought back
    assert (converted.hidden_states[1].float() - wide.hidden_states[1]).abs().max() > 1e4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
def test_types_are_the_references_and_survive_a_file(feed_forward: str, dtype: torch.dtype, tmp_path: Path) -> None:
    config = {**T5.smallest_config(WRITER.name), "feed_forward_proj": feed_forward}
    WRITER.reference(WRITER.reference.config_class(**config)).save_pretrained(tmp_path)
    theirs = WRITER.reference.from_pretrained(tmp_path, dtype=dtype)
    ours = WRITER.ours.from_pretrained(tmp_path, dtype=dtype)
    expected = {name: weight.dtype for name, weight in theirs.state_dict().items()}
    assert types(ours) == expected
    assert ours.dtype == ours.config.dtype == theirs.dtype == dtype
    ours.save_pretrained(tmp_path)
    assert types(WRITER.ours.from_pretrained(tmp_path)) == expected
    assert {name: w.dtype for name, w in WRITER.reference.from_pretrained(tmp_path).state_dict().items()} == expected


def types(model: Any) -> dict[str, torch.dtype]:
    return {name: weight.dtype for name, weight in model.hf_state_dict().items()}


def test_it_writes_texts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    WRITER.reference(WRITER.reference.config_class(**T5.smallest_config(WRITER.name))).save_pretrained(tmp_path)
    ids = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    written = [
        model.from_pretrained(tmp_path, dtype=torch.float16).generate(ids, max_new_tokens=6, do_sample=False)
        for model in (WRITER.ours, WRITER.reference)
    ]
    assert torch.equal(*written)
