"""DistilBERT's position embedding made longer and shorter, as the reference does it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from distilbert_cases import DISTILBERT

import minitransformers as mt
from minitransformers.errors import InputError

IDS = torch.tensor([[3, 1, 4, 1, 5]])


def both(name: str, **fields: Any) -> tuple[Any, Any]:
    """Ours and the reference's with the same weights, for 8 positions."""
    config = {**DISTILBERT.smallest_config(name), "max_position_embeddings": 8, **fields}
    theirs = getattr(transformers, name)(transformers.DistilBertConfig(**config)).eval()
    ours = getattr(mt, name)(mt.DistilBertConfig(**config)).eval()
    ours.load_hf_state_dict({key: tensor.clone() for key, tensor in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("name", [case.name for case in DISTILBERT.classes])
@pytest.mark.parametrize("size", [5, 8, 11])
def test_resized_as_the_reference_does(name: str, size: int, tmp_path: Any) -> None:
    """Old vectors stay; new ones are anew, and trained with the rest. A file has the new size, and is read by both."""
    ours, theirs = both(name)
    before = ours.get_position_embeddings().weight.detach().clone()
    for model in (ours, theirs):
        assert model.resize_position_embeddings(size) is None
        assert model.config.max_position_embeddings == model.get_position_embeddings().num_embeddings == size
        assert model.get_position_embeddings().weight.shape == (size, 8)
        assert model.get_position_embeddings().weight.requires_grad
    kept = min(size, 8)
    assert torch.equal(ours.get_position_embeddings().weight[:kept], before[:kept])
    assert torch.equal(theirs.get_position_embeddings().weight[:kept], before[:kept])
    assert ours.get_position_embeddings().weight[kept:].norm(dim=1).gt(0).all()

    ours.save_pretrained(tmp_path)
    theirs = getattr(transformers, name).from_pretrained(tmp_path).eval()
    ids = torch.arange(1, size + 1)[None] % 11
    ids = ids[:, None] if name.endswith("MultipleChoice") else ids
    torch.testing.assert_close(ours(ids)[0], theirs(ids)[0])  # texts of the new length
    with pytest.raises(InputError, match=f"the model has {size} positions"):
        ours(torch.cat([ids, ids], dim=-1))


@pytest.mark.parametrize("name", ["DistilBertModel", "DistilBertForMaskedLM"])
def test_waves_are_continued(name: str) -> None:
    """The reference's cannot be resized (an AttributeError): one that was built with the new size has the answer."""
    ours, _ = both(name, sinusoidal_pos_embds=True)
    ours.resize_position_embeddings(13)
    config = mt.DistilBertConfig(**{**DISTILBERT.smallest, "max_position_embeddings": 13, "sinusoidal_pos_embds": True})
    longer = mt.DistilBertModel(config).get_position_embeddings()
    torch.testing.assert_close(ours.get_position_embeddings().weight, longer.weight)


@pytest.mark.parametrize("size", [0, -1, True])
def test_sizes_that_are_none(size: Any) -> None:
    ours, _ = both("DistilBertModel")
    with pytest.raises(InputError, match=f"new_num_position_embeddings={size!r} must be a whole number"):
        ours.resize_position_embeddings(size)
    assert ours.config.max_position_embeddings == 8


def test_type_and_training_stay() -> None:
    ours, _ = both("DistilBertModel")
    ours.double().get_position_embeddings().weight.requires_grad_(False)
    ours.resize_position_embeddings(9)
    assert ours.get_position_embeddings().weight.dtype == torch.float64
    assert not ours.get_position_embeddings().weight.requires_grad
    assert ours(IDS).last_hidden_state.isfinite().all()
