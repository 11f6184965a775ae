"""What tokenizers and collators put into a batch, and models do not use: ignored by every class, in both libraries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import minitransformers as mt
from minitransformers.errors import InputError, UnknownArgumentError
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import CLASSES, OF_IMAGES

LIBRARIES = pytest.mark.parametrize("library", [mt, transformers], ids=["ours", "theirs"])
TEXTS = [model for model in CLASSES if model not in OF_IMAGES and hasattr(transformers, model.__name__)]
# The reference adds a mask of choices to the scores of texts, whose shapes do not fit.
FAILS_THERE = ("OpenAIGPTDoubleHeadsModel",)
# In these, token types choose vectors that are added, or there is but one type.
WITHOUT_SEGMENTS = ("distilbert", "modernbert", "gpt_neox", "llama", "mistral", "qwen2", "t5", "bart")


def twin(model: Any) -> Any:
    """The same model of the reference."""
    theirs = getattr(transformers, type(model).__name__)
    config = theirs.config_class(**model.config.to_dict())
    twin = theirs(config).to(model.dtype).eval()
    twin.load_state_dict(model.hf_state_dict())
    return twin


def first(output: Any) -> Tensor:
    loss: Tensor | None = output.get("loss")
    return output[0] if loss is None else loss


@torch.no_grad()
@pytest.mark.parametrize("model_class", TEXTS, ids=lambda model: model.__name__)
def test_extras_change_nothing(model_class: Any) -> None:
    ours = tiny_model(model_class)
    batch = example_batch(ours)
    shape = batch["input_ids"].shape
    extras = {
        "special_tokens_mask": torch.ones(shape, dtype=torch.long),
        "offset_mapping": torch.zeros(*shape, 2, dtype=torch.long),
        "length": torch.full(shape[:1], 5),
        "overflow_to_sample_mapping": torch.arange(shape[0]),
        "cache_position": torch.arange(shape[-1]),
    }
    nones = dict.fromkeys(("head_mask", "cache_position", "special_tokens_mask", "output_attentions", "return_dict"))
    if ours.config.model_type in WITHOUT_SEGMENTS:
        extras["token_type_ids"] = torch.ones(shape, dtype=torch.long)
    for model in (ours,) if model_class.__name__ in FAILS_THERE else (ours, twin(ours)):
        expected = first(model(**batch))
        assert torch.equal(first(model(**batch, **extras)), expected)
        assert torch.equal(first(model(**batch, **nones)), expected)


def test_a_misspelt_argument_is_no_extra() -> None:
    model = tiny_model(mt.BertModel)
    batch = example_batch(model)
    with pytest.raises(UnknownArgumentError, match="'special_token_masks'"):
        model(**batch, offset_mapping=None, special_token_masks=1)
    with pytest.raises(UnknownArgumentError, match=r"'attention_masks'\. Did you mean 'attention_mask'"):
        model(batch["input_ids"], attention_masks=batch["attention_mask"])
    with pytest.raises(UnknownArgumentError, match="'head_mask'"):  # which would change numbers
        model(**batch, head_mask=torch.ones(2, 3))


# ---- labels ----------------------------------------------------------------------------------------------------------


@LIBRARIES
def test_a_discriminator_takes_any_label_where_the_mask_is_zero(library: Any) -> None:
    ours = tiny_model(mt.ElectraForPreTraining)
    batch = example_batch(ours)
    model = ours if library is mt else twin(ours)
    padding = batch["attention_mask"] == 0
    assert padding.any()
    expected = model(**batch).loss
    for label in (-100, 1, 0):
        assert_close(model(**{**batch, "labels": batch["labels"].masked_fill(padding, label)}).loss, expected)


def test_a_discriminator_refuses_such_labels_elsewhere() -> None:
    model = tiny_model(mt.ElectraForPreTraining)
    batch = example_batch(model)
    batch["labels"][0, 0] = -100
    with pytest.raises(InputError, match="labels holds -100; expected classes 0 … 1"):
        model(**batch)


CAUSAL = [m for m in TEXTS if m.__name__.endswith(("LMHeadModel", "ForCausalLM")) and m.__name__ != "BartForCausalLM"]


@pytest.mark.parametrize("model_class", CAUSAL, ids=lambda model: model.__name__)
def test_labels_that_are_shifted_already(model_class: Any) -> None:
    ours = tiny_model(model_class)
    batch = example_batch(ours)
    labels = batch.pop("labels")
    shifted = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], -100)], dim=1)
    for model in (ours, twin(ours)):
        expected = model(**batch, labels=labels).loss
        assert_close(model(**batch, labels=labels, shift_labels=shifted).loss, expected)
        other = model(**batch, labels=labels, shift_labels=labels, num_items_in_batch=4).loss
        mine = ours(**batch, labels=labels, shift_labels=labels, num_items_in_batch=4).loss
        assert_close(other.double(), mine, tolerance=1e-6)  # the reference computes losses in float32
        assert (other - expected).abs() > 1e-3
    with pytest.raises(InputError, match="shift_labels has shape"):
        ours(**batch, labels=labels, shift_labels=labels[:, 1:])


# ---- a forward of a user's own ---------------------------------------------------------------------------------------


@LIBRARIES
def test_a_forward_that_takes_anything(library: Any) -> None:
    """A subclass that only looks at what comes by is called with all of it."""
    seen: list[Any] = []

    class Own(library.BertForMaskedLM):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            seen.append((len(args), sorted(kwargs)))
            return super().forward(*args, **kwargs)

    ours = tiny_model(mt.BertForMaskedLM)
    config = library.BertConfig(**ours.config.to_dict())
    model = Own(config).to(ours.dtype).eval()
    model.load_state_dict(ours.state_dict())
    batch = example_batch(ours)
    ids = batch.pop("input_ids")
    assert_close(model(ids, **batch).loss, ours(ids, **batch).loss)
    loss, logits = model(ids, **batch, return_dict=False)[:2]
    assert_close(loss, ours(ids, **batch).loss)
    assert logits.shape == (2, 5, 13)
    assert seen[0] == (1, ["attention_mask", "labels"])
