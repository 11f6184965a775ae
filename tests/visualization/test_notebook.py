"""Pictures in a notebook: shown as the value of a cell, and drawn without warnings where gradients are on."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from minitransformers import BertConfig, BertModel, InputError
from minitransformers.visualization import HeadMap, draw_head, draw_layer, draw_losses, draw_side_by_side

TOKENS = ["[CLS]", "a", "b", "[SEP]"]


def attentions() -> tuple[torch.Tensor, ...]:
    """With gradients, as a cell has them that calls the model without `no_grad`."""
    config = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    torch.manual_seed(0)
    return BertModel(config).eval()(torch.tensor([[1, 2, 3, 4]]), output_attentions=True).attentions


PICTURES: list[Callable[[], Figure]] = [
    lambda: draw_head(attentions(), TOKENS, layer=1, head=0),
    lambda: draw_layer(attentions(), TOKENS, layer=1),
    lambda: draw_side_by_side(HeadMap(attentions()[0][0, 0], TOKENS), HeadMap(attentions()[1][0, 1], TOKENS)),
    lambda: draw_losses([{"loss": 2.0, "step": 1}, {"loss": 1.0, "step": 2}]),
]


@pytest.mark.parametrize("draw", PICTURES)
def test_a_notebook_gets_a_picture_and_no_warning(draw: Callable[[], Figure]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        content = figure._repr_png_()  # type: ignore[attr-defined]  # what notebooks ask a value for
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        width, height = figure.get_size_inches() * figure.dpi
        assert 0.5 * width < image.width < 1.5 * width
        assert 0.5 * height < image.height < 1.5 * height
        assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 50


def test_show_says_how_to_see_the_picture() -> None:
    with pytest.raises(InputError, match=r"display\(figure\).*savefig"):
        PICTURES[0]().show()
