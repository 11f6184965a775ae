"""Batches, labels, masks, cuts and texts for the laws, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from jaxtyping import Bool, Int
from torch import Tensor

from minitransformers.nn.losses import IGNORED
from minitransformers.testing.families import MAX_POSITIONS, PADDING, VOCAB_SIZE

MAX_LENGTH = MAX_POSITIONS // 3  # so that there is room for padding

DrawFn = Callable[..., Any]  # hypothesis' own cannot be checked at run time


def seeds() -> SearchStrategy[int]:
    """Seeds of generators."""
    return st.integers(0, 2**16)


@st.composite
def token_ids(
    draw: DrawFn,
    *,
    batch: int | None = None,
    length: int | None = None,
    min_length: int = 1,
    vocab_size: int = VOCAB_SIZE,
) -> Int[Tensor, "batch length"]:
    """Ids of real tokens: none is the padding."""
    batch = draw(st.integers(1, 3)) if batch is None else batch
    length = draw(st.integers(min_length, MAX_LENGTH)) if length is None else length
    token = st.integers(PADDING + 1, vocab_size - 1)
    rows = st.lists(token, min_size=length, max_size=length)
    return torch.tensor(draw(st.lists(rows, min_size=batch, max_size=batch)))


@st.composite
def token_batches(
    draw: DrawFn,
    *,
    padding: str = "right",
    batch: int | None = None,
    min_length: int = 1,
    vocab_size: int = VOCAB_SIZE,
) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` of texts of different lengths; every text has a token.

    Args:
        padding: "right", "left", or "none" for texts of one length.
    """
    ids = draw(token_ids(batch=batch, min_length=min_length, vocab_size=vocab_size))
    rows, length = ids.shape
    mask = torch.ones_like(ids)
    if padding != "none":
        lengths = draw(st.lists(st.integers(1, length), min_size=rows, max_size=rows))
        mask = (torch.arange(length) < torch.tensor(lengths)[:, None]).long()
        mask = mask if padding == "right" else mask.flip(1)
    return {"input_ids": ids.masked_fill(mask == 0, PADDING), "attention_mask": mask}


@st.composite
def labels_of(draw: DrawFn, shape: torch.Size, num_classes: int, *, ignored: Tensor | None = None) -> Int[Tensor, ...]:
    """Class labels, some −100; where `ignored` is 0, as an attention mask is at padding, always −100.

    At least one label counts where one may.
    """
    count = shape.numel()
    drawn = st.lists(st.integers(0, num_classes - 1) | st.just(IGNORED), min_size=count, max_size=count)
    labels = torch.tensor(draw(drawn)).reshape(shape)
    if ignored is not None:
        labels = labels.masked_fill(ignored == 0, IGNORED)
    if (labels == IGNORED).all():
        allowed = torch.ones_like(labels) if ignored is None else ignored
        labels.view(-1)[allowed.reshape(-1).argmax()] = draw(st.integers(0, num_classes - 1))
    return labels


@st.composite
def attention_masks(
    draw: DrawFn, *, batch: int, heads: int, query: int, key: int, may_be_empty: bool = True
) -> Bool[Tensor, "batch_or_1 heads_or_1 query key"]:
    """Bool masks of any pattern; rows that may attend to nothing are among them unless `may_be_empty` is False."""
    shape = (draw(st.sampled_from([1, batch])), draw(st.sampled_from([1, heads])), query, key)
    count = shape[0] * shape[1] * query * key
    mask = torch.tensor(draw(st.lists(st.booleans(), min_size=count, max_size=count))).reshape(shape)
    if may_be_empty:
        rows = draw(st.lists(st.booleans(), min_size=query, max_size=query))
        return mask & torch.tensor(rows)[:, None]
    mask[..., 0] |= ~mask.any(dim=-1)
    return mask


def cut_points(length: int) -> SearchStrategy[tuple[int, ...]]:
    """Where to cut a text into pieces for a cache: ascending, between 1 and length − 1; none at all is possible."""
    if length == 1:
        return st.just(())
    return st.sets(st.integers(1, length - 1)).map(lambda cuts: tuple(sorted(cuts)))


def orders(length: int) -> SearchStrategy[list[int]]:
    """Permutations of the numbers below `length`."""
    return st.permutations(range(length))


def texts() -> SearchStrategy[str]:
    """Text that people type, in any script: words, punctuation, spaces of every kind, accents, emoji, control codes."""
    scripts = st.sampled_from(
        [
            "abcXYZ",
            "äéñøß",
            "αβγ",
            "жщю",
            "אבג",
            "عربي",
            "हिन्दी",
            "漢字かなカナ",
            "한국어",
            "ไทย",
            "🙂👩‍🔬🇫🇷",
            "𝔘𝓃",
            "0123",
            ".,;:!?'\"-–…()",
        ]
    )
    word = scripts.flatmap(lambda letters: st.text(letters, min_size=1, max_size=8)) | st.text(max_size=4)
    space = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "\u3000", ""])
    return st.lists(st.tuples(word, space), max_size=8).map(lambda parts: "".join(a + b for a, b in parts))
