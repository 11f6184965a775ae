"""The three BERTs of chemical reactions: old-style files without model_type, with all kinds of heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import minitransformers
from minitransformers.assets import fetch

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

CHECKPOINTS = {
    "rxnfp-pretrained": "BertForPreTraining",
    "rxnfp-ft": "BertModel",
    "rxnfp-ft-10k": "BertForSequenceClassification",
}
checkpoints = pytest.mark.parametrize(("asset", "name"), CHECKPOINTS.items())
# Reactions as SMILES, cut into tokens as the vocabulary has them.
REACTIONS = ["C C O . C C ( = O ) O >> C C O C ( C ) = O", "c 1 c c c c c 1 Br . O B ( O ) C >> C c 1 c c c c c 1"]


@torch.no_grad()
def tensors(library: Any, name: str, directory: Any, inputs: dict[str, Tensor], **options: Any) -> list[Tensor]:
    model = getattr(library, name).from_pretrained(directory, **options)
    output = model(**inputs, output_hidden_states=True)
    flat = [part for value in output.values() for part in (value if isinstance(value, tuple) else (value,))]
    return [part for part in flat if isinstance(part, Tensor)]


def inputs_for(directory: Any) -> dict[str, Tensor]:
    tokenizer = minitransformers.BertTokenizer.from_pretrained(directory, do_lower_case=False)
    return dict(tokenizer(REACTIONS, padding=True, return_tensors="pt"))


@checkpoints
def test_loads_clean(asset: str, name: str) -> None:
    """The first lacks `decoder.bias` under that name; it is there as `cls.predictions.bias`."""
    directory = fetch(asset)
    model, info = getattr(minitransformers, name).from_pretrained(directory, output_loading_info=True)
    _, theirs = getattr(transformers, name).from_pretrained(directory, output_loading_info=True)
    assert not any(info.values())
    assert not any(theirs.values())
    assert model.config.hidden_size == 256
    assert len(model.base_model.encoder.layer) == 12


@checkpoints
def test_tokens_are_the_reference_s(asset: str, name: str) -> None:
    directory = fetch(asset)
    for options in ({}, {"do_lower_case": False}):
        ours = minitransformers.BertTokenizer.from_pretrained(directory, **options)(REACTIONS)["input_ids"]
        theirs = transformers.BertTokenizer.from_pretrained(directory, **options)(REACTIONS)["input_ids"]
        assert ours == theirs
    unknown = minitransformers.BertTokenizer.from_pretrained(directory).unk_token_id
    assert [ids.count(unknown) for ids in ours] == [2, 2], "all is known but >>, which BERT's splitting takes apart"


@checkpoints
def test_same_numbers_as_the_reference(asset: str, name: str) -> None:
    """In float64 to rounding; in float32 not further off than the reference's own kernels are apart."""
    directory = fetch(asset)
    inputs = inputs_for(directory)
    real = inputs["attention_mask"].bool()

    def compared(tensor: Tensor) -> Tensor:
        return tensor[real] if tensor.shape[:2] == real.shape else tensor

    ours = tensors(minitransformers, name, directory, inputs, dtype=torch.float64)
    theirs = tensors(transformers, name, directory, inputs, dtype=torch.float64)
    assert len(ours) == len(theirs) >= 14
    for mine, other in zip(ours, theirs, strict=True):
        assert (compared(mine) - compared(other)).abs().max() <= 1e-9

    ours = tensors(minitransformers, name, directory, inputs)
    eager, fused = (
        tensors(transformers, name, directory, inputs, attn_implementation=kernel) for kernel in ("eager", "sdpa")
    )
    for mine, other, kernels_apart in zip(ours, eager, fused, strict=True):
        ulp = torch.finfo(torch.float32).eps * 2.0 ** float(other.abs().max().log2().floor())
        bound = 4 * float((compared(other) - compared(kernels_apart)).abs().max()) + ulp
        assert (compared(mine) - compared(other)).abs().max() <= bound


def test_backbone_and_heads_of_the_pretrained_one() -> None:
    directory = fetch("rxnfp-pretrained")
    backbone, info = minitransformers.BertModel.from_pretrained(directory, output_loading_info=True)
    assert not info["missing_keys"]
    assert all(key.startswith("cls.") for key in info["unexpected_keys"])
    whole = minitransformers.BertForPreTraining.from_pretrained(directory)
    assert whole.cls.predictions.decoder.weight is whole.bert.embeddings.word_embeddings.weight
    inputs = inputs_for(directory)
    with torch.no_grad():
        assert torch.equal(whole.bert(**inputs)[0], backbone(**inputs)[0])


def test_masked_atoms_are_filled_in() -> None:
    """What the model was trained for: it knows most of the tokens that are hidden from it, and the reference agrees."""
    directory = fetch("rxnfp-pretrained")
    tokenizer = minitransformers.BertTokenizer.from_pretrained(directory, do_lower_case=False)
    ids = tokenizer(REACTIONS[0], return_tensors="pt")["input_ids"]
    hidden = ids.repeat(ids.shape[1] - 2, 1)
    positions = torch.arange(1, ids.shape[1] - 1)
    hidden[torch.arange(len(hidden)), positions] = tokenizer.mask_token_id
    with torch.no_grad():
        guesses = [
            library.BertForMaskedLM.from_pretrained(directory)(hidden).logits[torch.arange(len(hidden)), positions]
            for library in (minitransformers, transformers)
        ]
    right = guesses[0].argmax(-1) == ids[0, 1:-1]
    assert right.float().mean() > 0.7
    assert torch.equal(guesses[0].argmax(-1), guesses[1].argmax(-1))


def test_head_for_fifty_classes() -> None:
    """Its config names two labels and says fifty: the number counts, as in the reference."""
    directory = fetch("rxnfp-ft-10k")
    model = minitransformers.AutoModelForSequenceClassification.from_pretrained(directory)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(directory)
    assert type(model).__name__ == type(theirs).__name__ == "BertForSequenceClassification"
    assert model.config.num_labels == theirs.config.num_labels == 50
    assert model.classifier.out_features == 50
    inputs = inputs_for(directory)
    with torch.no_grad():
        ours, expected = model(**inputs).logits, theirs(**inputs).logits
    assert ours.shape == (2, 50)
    assert torch.equal(ours.argmax(-1), expected.argmax(-1))
