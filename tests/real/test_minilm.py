"""MiniLM's real weights: the answers that are known, from both forms of its tokenizer, and the reference's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from minitransformers import AutoModel, AutoTokenizer, BertForMaskedLM, BertModel
from minitransformers.assets import fetch

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

EATING, MEAL, MARKET = "A man is eating food.", "Someone eats a meal.", "The stock market fell today."
SENTENCES = [EATING, MEAL, MARKET]
EATING_IDS = [101, 1037, 2158, 2003, 5983, 2833, 1012, 102]


@pytest.fixture(scope="module")
def directory() -> Path:
    return fetch("minilm")


@pytest.fixture(scope="module")
def model(directory: Path) -> Any:
    return BertModel.from_pretrained(directory)


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Any:
    return AutoTokenizer.from_pretrained(directory)


@torch.no_grad()
def sentence_vectors(model: Any, tokenizer: Any) -> Tensor:
    """The mean over the real tokens, at length 1: how this model is meant to be used."""
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    mask = inputs["attention_mask"][..., None]
    means = (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(means, dim=-1)


def test_nothing_is_missing_and_nothing_left_over(directory: Path) -> None:
    model, info = AutoModel.from_pretrained(directory, output_loading_info=True)
    assert type(model) is BertModel
    assert not any(info.values())
    assert model.num_parameters() == 22_713_216
    assert len(model.encoder.layer) == 6


def test_known_ids(tokenizer: Any, directory: Path) -> None:
    assert tokenizer(EATING)["input_ids"] == EATING_IDS
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    ours, expected = (one(SENTENCES, padding=True, return_tensors="pt") for one in (tokenizer, theirs))
    assert ours.keys() == expected.keys()
    for name in expected:
        assert torch.equal(ours[name], expected[name])


def test_known_hidden_state(model: Any) -> None:
    with torch.no_grad():
        output = model(torch.tensor([EATING_IDS]))
    assert output.last_hidden_state.shape == (1, 8, 384)
    assert output.pooler_output.shape == (1, 384)
    expected = torch.tensor([-0.0025505, 0.1176973, 0.0037379, 0.2447082])
    assert torch.allclose(output.last_hidden_state[0, 0, :4], expected, atol=2e-6, rtol=0)


def test_known_similarities(model: Any, tokenizer: Any) -> None:
    vectors = sentence_vectors(model, tokenizer)
    similarities = vectors @ vectors.T
    assert round(float(similarities[0, 1]), 3) == 0.761
    assert round(float(similarities[0, 2]), 3) == -0.017
    assert torch.allclose(similarities.diag(), torch.ones(3), atol=1e-6)


def test_padding_changes_nothing(model: Any, tokenizer: Any) -> None:
    with torch.no_grad():
        inputs = tokenizer(SENTENCES, padding="max_length", max_length=40, return_tensors="pt")
        padded = model(**inputs).last_hidden_state
        for row, sentence in enumerate(SENTENCES):
            alone = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0]
            assert torch.allclose(padded[row, : len(alone)], alone, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("kernel", "dtypes"),
    [("eager", [torch.float64]), ("sdpa", [torch.float64, torch.float32, torch.bfloat16])],
    ids=["eager", "sdpa"],
)
def test_same_numbers_as_the_reference(kernel: str, dtypes: list[torch.dtype], directory: Path, tokenizer: Any) -> None:
    """In float64 to rounding; in float32 and bfloat16 not further off than the reference's kernels are apart."""
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    for dtype in dtypes:
        ours = BertModel.from_pretrained(directory, dtype=dtype, attn_implementation=kernel)
        eager, fused = (
            transformers.BertModel.from_pretrained(directory, dtype=dtype, attn_implementation=theirs)(
                **inputs, output_hidden_states=True
            )
            for theirs in ("eager", "sdpa")
        )
        output = ours(**inputs, output_hidden_states=True)
        real = inputs["attention_mask"].bool()
        pairs = [
            *((o[real], e[real], f[real]) for o, e, f in zip(output[2], eager[2], fused[2], strict=True)),
            (output.pooler_output, eager.pooler_output, fused.pooler_output),
        ]
        assert len(pairs) == 8
        for mine, theirs, other in pairs:
            distance = float((mine - theirs).abs().max())
            if dtype == torch.float64:
                assert distance <= 1e-9
            else:
                ulp = torch.finfo(dtype).eps * 2.0 ** float(theirs.abs().max().float().log2().floor())
                assert distance <= 4 * float((theirs - other).abs().max()) + ulp


@torch.no_grad()
def test_attention_weights_are_the_reference_s(directory: Path, model: Any, tokenizer: Any) -> None:
    inputs = tokenizer(EATING, MEAL, return_tensors="pt")
    theirs = transformers.BertModel.from_pretrained(directory, attn_implementation="eager")
    ours, expected = (one(**inputs, output_attentions=True).attentions for one in (model, theirs))
    assert len(ours) == len(expected) == 6
    for mine, other in zip(ours, expected, strict=True):
        assert mine.shape == (1, 12, 14, 14)
        assert torch.allclose(mine, other, atol=1e-5)
        assert torch.allclose(mine.sum(-1), torch.ones(1, 12, 14), atol=1e-5)


def test_saved_again_it_is_the_same(directory: Path, model: Any, tokenizer: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, info = transformers.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.hf_state_dict().items())
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(EATING)["input_ids"] == AutoTokenizer.from_pretrained(tmp_path)(EATING)["input_ids"] == EATING_IDS


def test_new_head_is_said_to_be_new(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """These weights were trained without a masked-token head: what it fills in would mean nothing."""
    _, info = BertForMaskedLM.from_pretrained(directory, output_loading_info=True)
    assert info["missing_keys"] == {
        "cls.predictions.bias",
        "cls.predictions.decoder.bias",  # the same tensor, under a second name
        *(f"cls.predictions.transform.{part}.{kind}" for part in ("dense", "LayerNorm") for kind in ("weight", "bias")),
    }
    assert "Train the model before you use its results" in caplog.text
