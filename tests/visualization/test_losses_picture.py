"""A chart's numbers are the run's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.image import imread

from minitransformers import InputError
from minitransformers.visualization import draw_losses

RECORDS = [
    {"loss": 2.0, "learning_rate": 0.1, "step": 2},
    {"eval_loss": 1.8, "eval_accuracy": 0.5, "step": 2},
    {"loss": 1.5, "learning_rate": 0.05, "step": 4},
    {"eval_loss": 1.75, "eval_accuracy": 0.6, "step": 4},
    {"train_loss": 1.75, "train_runtime": 3.0, "step": 4},
]


def test_the_lines_are_the_records(tmp_path: Path) -> None:
    figure = draw_losses(RECORDS, title="fine-tuning", path=tmp_path / "new" / "loss.png")
    (axis,) = figure.axes
    drawn = {line.get_label(): [tuple(point) for point in line.get_xydata()] for line in axis.lines}
    assert drawn == {"training": [(2, 2.0), (4, 1.5)], "evaluation": [(2, 1.8), (4, 1.75)]}
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["training", "evaluation"]
    assert axis.get_title(loc="left") == "fine-tuning"
    picture = imread(tmp_path / "new" / "loss.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.05


def test_several_evaluation_sets() -> None:
    figure = draw_losses([{"eval_in_domain_loss": 1.0, "eval_new_loss": 2.0, "step": 1}])
    assert [line.get_label() for line in figure.axes[0].lines] == ["evaluation in domain", "evaluation new"]


def test_nothing_to_draw_and_nowhere_to_draw_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to draw"):
        draw_losses([{"train_loss": 1.0, "step": 3}])
    with pytest.raises(InputError, match=r"ends in '.txt'"):
        draw_losses(RECORDS, path=tmp_path / "loss.txt")
    assert not list(tmp_path.iterdir())
