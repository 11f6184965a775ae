"""Sentence embeddings, similarity and search, against vectors that are pooled and compared by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch

from minitransformers import InputError, pipeline

Saved = Callable[..., str]


def by_hand(embed: Any, text: str, pooling: str) -> torch.Tensor:
    inputs = embed.tokenizer(text, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = embed.model(**inputs)[0][0]
    vector = {"mean": states.mean(0), "cls": states[0], "max": states.amax(0)}[pooling]
    return vector / vector.norm()


@pytest.mark.parametrize(
    ("architecture", "pooling", "side"),
    [("BertModel", "mean", "left"), ("RobertaModel", "cls", "left"), ("GPT2Model", "max", "right")],
)
def test_vectors(saved: Saved, architecture: str, pooling: str, side: str) -> None:
    """Neither the batch nor its padding, on either side, changes a vector or the order."""
    embed = pipeline("sentence-embedding", saved(architecture), pooling=pooling)
    embed.tokenizer.padding_side = side
    drawn = [text or "a" for text in tiny.texts(8)]
    vectors = embed(drawn, return_tensors=True)
    assert vectors.shape == (len(drawn), 16)
    expected = torch.stack([by_hand(embed, text, pooling) for text in drawn])
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
    tiny.assert_same(embed(drawn[0]), vectors[0].tolist())
    long = embed(drawn[0], normalize=False, return_tensors=True)
    torch.testing.assert_close(long / long.norm(), vectors[0], atol=1e-5, rtol=0)


def test_similarity_and_search(saved: Saved) -> None:
    directory = saved("BertModel")
    embed = pipeline("sentence-embedding", directory, return_tensors=True)
    similarity = pipeline("sentence-similarity", directory)
    texts = list(dict.fromkeys(tiny.texts(9, 75)))
    query = "Ada wrote it in the rain"
    cosines = embed(texts) @ embed(query)
    tiny.assert_same(similarity({"source_sentence": query, "sentences": texts}), cosines.tolist())
    tiny.assert_same(similarity(query, texts[3]), cosines[3].item())
    pair = {"source_sentence": query, "sentences": texts[:2]}
    tiny.assert_same(similarity([pair, pair]), [cosines[:2].tolist()] * 2)

    search = pipeline("semantic-search", directory, corpus=texts[:40])
    search.add(texts[40:])
    best = cosines.sort(descending=True).indices[:4].tolist()
    found = search(query, top_k=4)
    expected = [{"corpus_id": place, "score": cosines[place].item(), "text": texts[place]} for place in best]
    tiny.assert_same(found, expected)
    tiny.assert_same(search([query, texts[5]], top_k=1)[1][0]["text"], texts[5])
    assert len(search(query, top_k=10_000)) == len(texts)
    assert search([]) == []


def test_bad_input(saved: Saved) -> None:
    directory = saved("BertModel")
    with pytest.raises(InputError, match="no text to search"):
        pipeline("semantic-search", directory)("query")
    with pytest.raises(InputError, match="pooling='men' must be one of"):
        pipeline("sentence-embedding", directory, pooling="men")
    with pytest.raises(InputError, match="Pass two texts"):
        pipeline("sentence-similarity", directory)({"source_sentence": "a", "sentences": []})
