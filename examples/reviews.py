"""Sentences of film reviews and their sentiment, for the examples."""

from __future__ import annotations

import io
import random
import tarfile

from minitransformers.assets import fetch

CLEAR = 1.0  # a review counts if the mean of its 20 ratings, from -4 to 4, is at least so far from 0

Texts = tuple[list[str], list[int]]


def read_reviews(dataset: str | None) -> list[tuple[str, int]]:
    """Texts, each once, with 1 for positive and 0 for negative."""
    if dataset:
        from datasets import load_dataset

        rows = load_dataset(dataset, split="train").shuffle(seed=0)
        return list({row["text"]: int(row["label"]) for row in rows}.items())
    found = {}
    with tarfile.open(fetch("vader-ratings") / "hutto_ICWSM_2014.tar.gz") as archive:
        stream = archive.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
        for line in io.TextIOWrapper(stream, "utf-8", errors="replace"):
            _, mean, text = line.rstrip().split("\t", 2)
            if abs(float(mean)) >= CLEAR:
                found[text] = int(float(mean) > 0)
    return list(found.items())


def split(reviews: list[tuple[str, int]], sizes: list[int], seed: int) -> list[Texts]:
    """Three parts without a text in common."""
    shuffled, parts = random.Random(seed).sample(reviews, min(sum(sizes), len(reviews))), []
    for size in sizes:
        texts, labels = zip(*shuffled[:size], strict=True)
        parts.append((list(texts), list(labels)))
        shuffled = shuffled[size:]
    return parts
