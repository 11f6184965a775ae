"""Whatever a model is called with, it gives an output or an error of this library, never one from inside PyTorch."""

from __future__ import annotations

from typing import Any

import bad_input_models as tiny
import pytest
import torch
from hypothesis import event, given, strategies as st
from torch import Tensor

from minitransformers import MinitransformersError
from minitransformers.models.base.pretrained import PreTrainedModel

DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn),
    *(torch.complex64, torch.complex128),
]
# What each argument should be; a draw takes it from there more or less far.
USUAL = {
    "inputs_embeds": ((2, 4, tiny.HIDDEN), torch.float32),
    "encoder_hidden_states": ((2, 5, tiny.HIDDEN), torch.float32),
    "encoder_attention_mask": ((2, 5), torch.int64),
    "logits_to_keep": ((2,), torch.int64),
    "next_sentence_label": ((2,), torch.int64),
    "start_positions": ((2,), torch.int64),
    "end_positions": ((2,), torch.int64),
    "mc_labels": ((2,), torch.int64),
    "mc_token_ids": ((2, 3), torch.int64),
}
ONE_LABEL_A_ROW = ("BertForNextSentencePrediction", "ForSequenceClassification", "BertForMultipleChoice")


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    wrong = draw(st.sampled_from(["nothing", "nothing", "nothing", "shape", "dtype", "values", "all"]))
    if wrong in ("shape", "all"):
        shape = draw(changed(shape))
    if wrong in ("dtype", "all"):
        dtype = draw(st.sampled_from(DTYPES))
    low, high = (0, 2)
    if wrong in ("values", "all"):
        low, high = draw(st.sampled_from([(0, 8), (-3, 40), (-100, -99)]))
    values = torch.randint(low, high, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    tensor = values.to(torch.int16 if dtype.is_floating_point else dtype).to(dtype)
    return tensor.mT.contiguous().mT if tensor.ndim > 1 and draw(st.booleans()) else tensor


@st.composite
def changed(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with one length changed, or a dimension more or less."""
    lengths = list(shape)
    how = draw(st.sampled_from(["length", "length", "more", "fewer", "any"]))
    if how == "any":
        return tuple(draw(st.lists(st.integers(0, 5), max_size=5)))
    at = draw(st.integers(0, len(lengths) - 1))
    if how == "length":
        lengths[at] = draw(st.sampled_from([0, 1, lengths[at] + 1, 9]))
    elif how == "more":
        lengths.insert(at, draw(st.sampled_from([1, 2, 3, 4])))
    else:
        del lengths[at]
    return tuple(lengths)


@st.composite
def calls(draw: st.DrawFn, name: str, model: PreTrainedModel) -> dict[str, Any]:
    """Arguments of a call: an input, and some of the rest."""
    taken = set(model._forward_arguments) - {"past_key_values", "num_items_in_batch"}
    choices = (2, 3) if name in tiny.CHOICES else (2,)
    arguments: dict[str, Any] = {}
    first = draw(st.sampled_from(["input_ids", "input_ids", "input_ids", "inputs_embeds"]))
    others = draw(st.lists(st.sampled_from(sorted(taken - {"input_ids", "inputs_embeds"})), max_size=3, unique=True))
    for argument in [first, *others]:
        if argument.startswith(("output_", "use_cache")):
            arguments[argument] = draw(st.booleans())
            continue
        shape, dtype = USUAL.get(argument, ((2, 4), torch.int64))
        if argument == "labels" and name.endswith(ONE_LABEL_A_ROW):
            shape = (2,)
        elif argument == "attention_mask" and draw(st.booleans()):
            shape, dtype = (2, 1, 4, 4), torch.bool
        elif len(choices) > 1 and len(shape) > 1 and not argument.startswith("mc_"):
            shape = (*choices, *shape[1:])
        if argument == "inputs_embeds" and draw(st.integers(0, 9)) == 0:
            arguments["input_ids"] = draw(tensors((*choices, 4), torch.int64))
        odd = st.sampled_from([None, [[1, 2]], 2, "text", (), 1.5])
        drawn = draw(st.integers(0, 19))
        arguments[argument] = draw(odd) if drawn == 0 else draw(tensors(shape, dtype))
    return arguments


@pytest.mark.parametrize("name", tiny.ENCODERS + tiny.DECODERS + tiny.WITHOUT_CACHE + tiny.CHOICES)
@pytest.mark.filterwarnings("ignore")
@given(data=st.data())
def test_an_output_or_an_error_of_ours(name: str, data: st.DataObject) -> None:
    overrides: dict[str, Any] = {}
    if name in ("BertLMHeadModel", "GPT2Model", "GPT2LMHeadModel"):
        overrides = {"add_cross_attention": True}
    if name.endswith("SequenceClassification"):
        problems = [None, "regression", "single_label_classification", "multi_label_classification"]
        overrides = {"num_labels": data.draw(st.integers(2, 4)), "problem_type": data.draw(st.sampled_from(problems))}
    model = tiny.model(name, **overrides)
    arguments = data.draw(calls(name, model))
    with tiny.layers_that_ran() as ran, torch.no_grad():
        error = None
        try:
            output = model(**arguments)
        except MinitransformersError as raised:
            error = raised
    event("works" if error is None else "is refused")
    if error is None:
        assert all(value is not None for value in output.values())
    else:
        assert not ran, f"{ran[0]} had computed before: {error}"
