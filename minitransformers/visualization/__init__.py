"""Pictures of what a model does. The only part of the library that needs matplotlib."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("matplotlib") is None:
    raise ModuleNotFoundError(
        "minitransformers.visualization draws with matplotlib, which is not installed. "
        "`pip install 'minitransformers[demo]'` does it."
    )

from minitransformers.visualization.attention import HeadMap, draw_head, draw_layer, draw_side_by_side
from minitransformers.visualization.charts import draw_head_scores, draw_probabilities, draw_surprise, draw_vectors
from minitransformers.visualization.losses import draw_losses

__all__ = [
    "HeadMap",
    "draw_head",
    "draw_head_scores",
    "draw_layer",
    "draw_losses",
    "draw_probabilities",
    "draw_side_by_side",
    "draw_surprise",
    "draw_vectors",
]
