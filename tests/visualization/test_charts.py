"""The charts' numbers, read back from their axes, are the model's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from minitransformers import InputError
from minitransformers.visualization import draw_head_scores, draw_probabilities, draw_surprise, draw_vectors


class Tokenizer:
    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [f"Ġ{index}" for index in ids]


def test_bars_are_the_most_probable_tokens(tmp_path: Path) -> None:
    probabilities = torch.tensor([0.1, 0.6, 0.05, 0.25])
    figure = draw_probabilities(probabilities, Tokenizer(), top_k=3, path=tmp_path / "mask.png")
    (axis,) = figure.axes
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.6, 0.25, 0.1])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["␣1", "␣3", "␣0"]
    assert (tmp_path / "mask.png").stat().st_size > 1000
    with pytest.raises(InputError, match="Pass logits"):
        draw_probabilities(torch.tensor([1.0, 2.0]), Tokenizer())
    with pytest.raises(InputError, match="top_k=0"):
        draw_probabilities(probabilities, Tokenizer(), top_k=0)


def test_surprise_is_the_negative_logarithm_of_the_next_token() -> None:
    logits = torch.randn(4, 5)
    ids = torch.tensor([3, 1, 4, 0])
    (axis,) = draw_surprise(logits, ids, ["a", "b", "c", "d"]).axes
    bits = [-float(logits[at].softmax(-1)[ids[at + 1]].log2()) for at in range(3)]
    assert [bar.get_height() for bar in axis.patches] == pytest.approx(bits, rel=1e-5)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["b", "c", "d"]
    with pytest.raises(InputError, match="one length"):
        draw_surprise(logits, ids, ["a"])


def test_a_grid_has_a_cell_for_each_head() -> None:
    scores = torch.rand(3, 2)
    axis, _ = draw_head_scores(scores, title="scores").axes
    assert torch.equal(torch.tensor(axis.images[0].get_array().data), scores)
    assert [text.get_text() for text in axis.texts] == [f"{value:.2f}" for value in scores.flatten().tolist()]


def test_vectors_keep_their_distances_in_the_plane() -> None:
    flat = torch.randn(6, 2, dtype=torch.float64)
    turned = flat @ torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64)).Q.T  # a plane in five dimensions
    (axis,) = draw_vectors(turned, list("abcdef")).axes
    points = torch.tensor(axis.collections[0].get_offsets())
    assert torch.allclose(torch.cdist(points, points), torch.cdist(flat, flat), atol=1e-4)
    assert "100%" in axis.get_xlabel()
    with pytest.raises(InputError, match="as many labels"):
        draw_vectors(turned, ["a"])
