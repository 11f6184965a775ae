"""Tasks on real weights: MiniLM's known similarities, and its features as the reference's pipeline gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from minitransformers import pipeline
from minitransformers.assets import fetch

EATING = "A man is eating food."
OTHERS = ["Someone eats a meal.", "The stock market fell today."]


@pytest.fixture(scope="module")
def directory() -> Path:
    return fetch("minilm")


def test_similarities_are_the_known_ones(directory: Path) -> None:
    found = pipeline("sentence-similarity", directory)({"source_sentence": EATING, "sentences": OTHERS})
    assert found == pytest.approx([0.761, -0.017], abs=5e-4)
    search = pipeline("semantic-search", directory, corpus=OTHERS)
    assert search(EATING, top_k=1)[0]["text"] == OTHERS[0]


def test_features_are_the_references(directory: Path) -> None:
    texts = [EATING, *OTHERS, "東京 😀 naïve", ""]
    ours, theirs = (
        each("feature-extraction", str(directory), device=-1)(texts, return_tensors=True)
        for each in (pipeline, transformers.pipeline)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
