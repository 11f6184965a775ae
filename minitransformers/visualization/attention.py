"""Attention weights as labelled heat maps: who looks at whom (Clark et al., 2019, "What does BERT look at?", figure 1).

    attentions = model(**inputs, output_attentions=True).attentions     # a tuple: one tensor a layer
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    draw_head(attentions, tokens, layer=2, head=0, path="head.png")

In a notebook, the figure is shown as the last value of a cell.

A row is a query, the token that looks; a column is a key, the token looked at; a row of weights sums to 1. The numbers
drawn are the model's own. Cells that are exactly 0, such as later tokens in a causal model, are grey. Colours follow
the square root of the weight, because a linear scale would leave all keys but the strongest (often [CLS]) white.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from torch import Tensor

from minitransformers.errors import InputError, warn
from minitransformers.visualization.files import Picture, check_suffix, save

# Lengths in inches, sizes of text in points (72 to the inch).
LARGEST_CELL, SMALLEST_MAP = 0.42, 1.8
LARGEST_MAP, LARGEST_MAP_BESIDE_OTHERS, LARGEST_MAP_IN_GRID = 11.0, 7.0, 2.9
SMALLEST_CELL_WITH_NUMBER = 0.3
HEADING_SIZE, TITLE_SIZE, LABEL_SIZE, SMALLEST_LABEL_SIZE = 12.0, 10.0, 9.0, 5.0
WIDTH_OF_LETTER, WIDTH_OF_IDEOGRAPH = 0.6, 1.0  # as parts of the size, on average
LONGEST_LABEL = 16  # characters

# How tokenizers spell white space, and how it is shown.
SHOWN_AS = str.maketrans({"Ġ": "␣", "▁": "␣", "Ċ": "↵", "ĉ": "⇥", "\n": "↵", "\t": "⇥"})


@dataclass(frozen=True, eq=False)
class HeadMap:
    """The weights of one head, (query, key), with the labels of rows and columns.

    `tokens` label the rows, and the columns too unless there are `key_tokens` (for cross-attention, or where a cache
    makes more keys than queries).
    """

    weights: Tensor
    tokens: Sequence[str]
    title: str = ""
    key_tokens: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_weights(self.weights, ("query", "key"))
        _check_tokens("tokens", self.tokens, "queries", self.weights.shape[0])
        _check_tokens(
            "tokens" if self.key_tokens is None else "key_tokens", self.columns, "keys", self.weights.shape[1]
        )

    @property
    def columns(self) -> Sequence[str]:
        """The labels of the columns."""
        return self.tokens if self.key_tokens is None else self.key_tokens

    def array(self) -> Float[np.ndarray, "query key"]:
        """The weights as they are drawn; bfloat16, which NumPy lacks, as float32, which holds all its values."""
        weights = self.weights.detach().cpu()
        return (weights.float() if weights.dtype == torch.bfloat16 else weights).numpy()


def draw_head(
    attentions: Tensor | Sequence[Tensor],
    tokens: Sequence[str],
    *,
    head: int,
    layer: int | None = None,
    batch: int = 0,
    key_tokens: Sequence[str] | None = None,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw one head.

    Args:
        attentions: a model's `attentions` (a tuple with one tensor for each layer), or one layer's weights, of shape
            (batch, heads, query, key) or (heads, query, key).
        tokens: as many as there are queries, in order.
        head: index of the head, from 0; −1 is the last.
        layer: index of the layer in a tuple.
        batch: index of the row of the batch.
        key_tokens: labels of the columns, if they differ from those of the rows.
        title: replaces the numbers of layer and head.
        path: also save the picture there, in the format of the suffix (PNG without one).

    Raises:
        InputError: wrong shapes, indices, tokens or suffix; raised before anything is drawn.
    """
    heads = _layer_weights(attentions, layer, batch)
    head = _index("head", head, len(heads))
    title = _name(attentions, layer, f"head {head}") if title is None else title
    return _draw([HeadMap(heads[head], tokens, title, key_tokens)], path=path)


def draw_layer(
    attentions: Tensor | Sequence[Tensor],
    tokens: Sequence[str],
    *,
    layer: int | None = None,
    batch: int = 0,
    key_tokens: Sequence[str] | None = None,
    title: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw all heads of a layer as a grid with one scale of colours. The arguments are those of `draw_head`."""
    heads = _layer_weights(attentions, layer, batch)
    title = _name(attentions, layer, f"{len(heads)} heads") if title is None else title
    maps = [HeadMap(weights, tokens, f"head {number}", key_tokens) for number, weights in enumerate(heads)]
    return _draw(maps, columns=math.ceil(math.sqrt(len(maps))), title=title, largest_map=LARGEST_MAP_IN_GRID, path=path)


def draw_side_by_side(*maps: HeadMap, title: str = "", path: str | os.PathLike[str] | None = None) -> Picture:
    """Draw heads of any models beside each other with one scale of colours, such as bidirectional beside causal.

        draw_side_by_side(
            HeadMap(bert.attentions[3][0, 5], bert_tokens, "BERT: all tokens see all tokens"),
            HeadMap(gpt2.attentions[3][0, 5], gpt2_tokens, "GPT-2: a token sees itself and earlier tokens"),
            path="masks.png",
        )

    Args:
        maps: from left to right.
        title: above all of them.
        path: see `draw_head`.
    """
    if not maps:
        raise InputError("draw_side_by_side needs at least one HeadMap, and got none.")
    return _draw(maps, columns=len(maps), title=title, largest_map=LARGEST_MAP_BESIDE_OTHERS, path=path)


# ------------------------------------------------------------------------------------------------------------- drawing


def _draw(
    maps: Sequence[HeadMap],
    *,
    columns: int = 1,
    title: str = "",
    largest_map: float = LARGEST_MAP,
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """All maps in a grid, with cells of one size and one scale of colours."""
    if path is not None:
        check_suffix(Path(path))
    longest = max(max(each.weights.shape) for each in maps)
    cell = min(max(LARGEST_CELL, SMALLEST_MAP / longest), largest_map / longest)
    labels = _Labels(maps, title, cell)
    highest = max(float(each.weights.detach().max()) for each in maps) or 1.0
    # Only 0 is below the smallest positive number, and has its own colour.
    scale = PowerNorm(gamma=0.5, vmin=float(np.finfo(np.float32).tiny), vmax=highest)
    colours = matplotlib.colormaps["Blues"].with_extremes(under="0.88")
    figure, axes, bar = _arrange(maps, columns, cell, labels, title)
    for number, (axis, each) in enumerate(zip(axes, maps, strict=True)):
        image = axis.imshow(each.array(), norm=scale, cmap=colours, interpolation="nearest")
        axis.set_title(labels.readable(each.title), loc="left", **labels.type_of(TITLE_SIZE))
        if number % columns == 0:
            axis.set_ylabel("query (looks)", fontsize=8)
        if number + columns >= len(maps):
            axis.set_xlabel("key (is looked at)", fontsize=8)
        labels.write(axis, each)
        if cell >= SMALLEST_CELL_WITH_NUMBER:
            _write_numbers(axis, each.array(), scale)
    figure.colorbar(image, cax=bar).set_label("attention weight (grey: exactly 0)", fontsize=8)
    bar.tick_params(labelsize=8)
    if path is not None:
        save(figure, Path(path))
    return figure


def _arrange(
    maps: Sequence[HeadMap], columns: int, cell: float, labels: _Labels, title: str
) -> tuple[Picture, list[Axes], Axes]:
    """A figure with axes for each map and for the bar of colours.

    The layout is computed here, in inches, because matplotlib's would give maps of different lengths cells of
    different sizes.
    """
    sizes = [(each.weights.shape[1] * cell, each.weights.shape[0] * cell) for each in maps]
    rows = [sizes[start : start + columns] for start in range(0, len(maps), columns)]
    titles = [len(each.title) * TITLE_SIZE * WIDTH_OF_LETTER / 72 for each in maps]
    widths = [max(*(wide for wide, _ in sizes[n::columns]), *titles[n::columns]) for n in range(columns)]
    heights = [max(high for _, high in row) for row in rows]
    beside, above, heading, colour_bar = labels.inches + 0.35, 0.4, 0.4 if title else 0.0, 1.0
    page_width = sum(widths) + columns * beside + colour_bar
    page_height = sum(heights) + len(rows) * (above + beside) + heading
    figure = Picture(figsize=(page_width, page_height))
    if title:
        left, top = beside / page_width, 1 - 0.1 / page_height
        figure.suptitle(labels.readable(title), x=left, y=top, ha="left", va="top", **labels.type_of(HEADING_SIZE))

    def place(left: float, top: float, wide: float, high: float) -> Axes:
        """Axes whose upper left corner has this distance from that of the page."""
        below = page_height - top - high
        return figure.add_axes((left / page_width, below / page_height, wide / page_width, high / page_height))

    axes = []
    for number, (wide, high) in enumerate(sizes):
        row, column = divmod(number, columns)
        left = sum(widths[:column]) + (column + 1) * beside
        top = heading + above + sum(heights[:row]) + row * (above + beside)
        axes.append(place(left, top, wide, high))
    bar = place(page_width - colour_bar + 0.2, heading + above, 0.15, min(3.5, page_height - heading - above - beside))
    return figure, axes, bar


def _write_numbers(axis: Axes, array: Float[np.ndarray, "query key"], scale: PowerNorm) -> None:
    """The weights in the cells, to two places; those below 0.005 are left out."""
    for (row, column), weight in np.ndenumerate(array):
        if weight >= 0.005:
            colour = "white" if scale(weight) > 0.6 else "black"
            number = f"{weight:.2f}".removeprefix("0")
            axis.text(column, row, number, ha="center", va="center", fontsize=7, color=colour)


class _Labels:
    """Labels of the axes: readable characters, a size that fits the cells, and gaps if there are too many."""

    def __init__(self, maps: Sequence[HeadMap], title: str, cell: float) -> None:
        tokens = [token for each in maps for token in (*each.tokens, *each.columns)]
        titles = [title, *(each.title for each in maps)]
        self.fonts, self.missing = _fonts_for("".join(tokens + titles).translate(SHOWN_AS))
        self.size = min(LABEL_SIZE, max(SMALLEST_LABEL_SIZE, cell * 72 * 0.8))
        self.step = math.ceil(self.size * 1.1 / (cell * 72))
        position = 0.0 if self.step == 1 else 5 * WIDTH_OF_LETTER  # a space and up to four digits
        self.inches = (max(_width(self.label(token)) for token in tokens) + position) * self.size / 72 + 0.1

    def readable(self, text: str) -> str:
        """The text with white space made visible, and codes for characters that cannot be shown."""
        return "".join(
            f"U+{ord(character):04X}" if character in self.missing or not character.isprintable() else character
            for character in text.translate(SHOWN_AS)
        )

    def label(self, token: str) -> str:
        """The token as it is written beside its row or column, shortened if it is long."""
        shown = self.readable(token)
        return shown if len(shown) <= LONGEST_LABEL else shown[: LONGEST_LABEL - 1] + "…"

    def type_of(self, size: float) -> dict[str, Any]:
        """Keyword arguments of matplotlib for text of this size."""
        # "$" is a token, not the beginning of a formula.
        return {"fontsize": size, "family": self.fonts, "parse_math": False}

    def write(self, axis: Axes, each: HeadMap) -> None:
        self._write(axis.set_xticks, each.columns, rotation=90)
        self._write(axis.set_yticks, each.tokens, rotation=0)
        axis.tick_params(length=0 if self.step == 1 else 2)

    def _write(self, set_ticks: Callable[..., Sequence[object]], tokens: Sequence[str], rotation: int) -> None:
        places = range(0, len(tokens), self.step)
        set_ticks(
            list(places),
            # With gaps, positions tell equal tokens apart.
            [self.label(tokens[place]) + (f" {place}" if self.step > 1 else "") for place in places],
            rotation=rotation,
            **self.type_of(self.size),
        )


def _width(text: str) -> float:
    """About how wide the text is, as a multiple of its size."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return wide * WIDTH_OF_IDEOGRAPH + (len(text) - wide) * WIDTH_OF_LETTER


def _fonts_for(text: str) -> tuple[list[str], set[str]]:
    """Fonts that together have the characters of `text`, and the characters that no installed font has.

    Matplotlib would warn of each such character each time; here there is one warning, and codes in their place.
    """
    fonts = [str(name) for name in matplotlib.rcParams["font.family"]]
    default = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=fonts)))
    missing = {
        character for character in set(text) if character.isprintable() and not default.get_char_index(ord(character))
    }
    if missing:
        installed = {
            font.name: font.fname for font in font_manager.fontManager.ttflist if "Last Resort" not in font.name
        }
        for name in sorted(installed, key=lambda name: ("Sans" not in name, name)):
            font = font_manager.get_font(installed[name])
            found = {character for character in missing if font.get_char_index(ord(character))}
            if found:
                fonts.append(name)
                missing -= found
    if missing:
        some = "".join(sorted(missing)[:10])
        warn(
            f"No installed font has the characters {some}; they are written as codes. Install one that has them, "
            "for instance from the Noto family, and remove matplotlib's font cache."
        )
    return fonts, missing


# -------------------------------------------------------------------------------------------------------------- checks


def _layer_weights(
    attentions: Tensor | Sequence[Tensor], layer: int | None, batch: int
) -> Float[Tensor, "heads query key"]:
    """The weights of one layer for one row of the batch."""
    if isinstance(attentions, Tensor):
        if layer is not None:
            raise InputError(
                f"layer={layer!r} chooses from a tuple of layers, but attentions is one tensor of shape "
                f"{tuple(attentions.shape)}. Leave layer out, or pass the model's whole `attentions`."
            )
        weights = attentions
    else:
        if not attentions or any(not isinstance(each, Tensor) for each in attentions):
            raise InputError(
                f"attentions must be a tensor or a tuple of tensors, not {attentions!r:.80}. Call the model with "
                "output_attentions=True."
            )
        if layer is None:
            raise InputError(
                f"attentions has {len(attentions)} layers: say which with layer=0 to {len(attentions) - 1}."
            )
        weights = attentions[_index("layer", layer, len(attentions))]
    if weights.dim() == 3:
        _check_weights(weights, ("heads", "query", "key"))
        weights = weights[None]
    _check_weights(weights, ("batch", "heads", "query", "key"))
    return weights[_index("batch", batch, len(weights))]


def _check_weights(weights: Tensor, axes: tuple[str, ...]) -> None:
    wanted = f"({', '.join(axes)})"
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        what = weights.dtype if isinstance(weights, Tensor) else type(weights).__name__
        raise InputError(f"weights must be a floating-point tensor {wanted}, not {what}.")
    if weights.dim() != len(axes) or weights.numel() == 0:
        raise InputError(f"weights must have the shape {wanted}, none of them 0, not {tuple(weights.shape)}.")
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        raise InputError(
            f"weights must be finite and not negative, but lie between {weights.min().item():.4g} and "
            f"{weights.max().item():.4g}. Are they scores before the softmax?"
        )


def _check_tokens(argument: str, tokens: Sequence[str], axis: str, length: int) -> None:
    if isinstance(tokens, str) or not all(isinstance(token, str) for token in tokens):
        raise InputError(
            f"{argument} must be a list of strings, not {tokens!r:.80}. "
            "`tokenizer.convert_ids_to_tokens(input_ids[0])` makes one of ids."
        )
    if len(tokens) != length:
        raise InputError(f"{argument} has {len(tokens)} entries, but the weights have {length} {axis}.")


def _index(argument: str, index: int, length: int) -> int:
    """`index` counted from 0, where −1 is the last."""
    if not -length <= index < length:
        raise InputError(f"{argument}={index} is out of range: there are {length}, counted from 0 to {length - 1}.")
    return index % length


def _name(attentions: Tensor | Sequence[Tensor], layer: int | None, heads: str) -> str:
    return heads if layer is None else f"layer {_index('layer', layer, len(attentions))}, {heads}"
