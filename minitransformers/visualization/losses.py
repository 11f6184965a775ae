"""The losses of a training run as a chart: training as a line, evaluations as dots joined by a line.

    draw_losses(trainer.state.log_history, path="loss.png")

In a notebook, the figure is shown as the last value of a cell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minitransformers.errors import InputError
from minitransformers.visualization.files import Picture, check_suffix, save


def draw_losses(
    records: Sequence[Mapping[str, Any]], *, title: str = "", path: str | os.PathLike[str] | None = None
) -> Picture:
    """Draw the losses of a run over its updates.

    Args:
        records: what was logged, in order: dictionaries with "step" and "loss", or with "step" and "eval_loss" (or
            "eval_NAME_loss" with several evaluation sets). Other records are ignored.
        path: also save the picture there, in the format of the suffix (PNG without one).

    Raises:
        InputError: no record has a loss, or matplotlib cannot write such a file.
    """
    if path is not None:
        check_suffix(Path(path))
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name == "loss" or (name.startswith("eval_") and name.endswith("_loss")):
                curves.setdefault(name, []).append((record["step"], value))
    if not curves:
        raise InputError("None of the records has a 'loss' or an 'eval_loss': there is nothing to draw.")
    figure = Picture(figsize=(6.4, 3.6))
    axis = figure.add_subplot()
    for name, points in curves.items():
        steps, losses = zip(*points, strict=True)
        label = "training" if name == "loss" else name.removesuffix("_loss").replace("eval", "evaluation", 1)
        marker = "" if name == "loss" and len(points) > 1 else "o"
        axis.plot(steps, losses, marker=marker, markersize=4, linewidth=1.2, label=label.replace("_", " "))
    axis.set_xlabel("updates", fontsize=8)
    axis.set_ylabel("loss", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, loc="left", fontsize=10)
    if path is not None:
        save(figure, Path(path))
    return figure
