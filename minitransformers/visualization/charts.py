"""Charts of a model's numbers: probabilities, surprise per token, a score for each head, and vectors in the plane.

    draw_probabilities(logits[0, mask_position].softmax(-1), tokenizer, path="mask.png")
    draw_surprise(logits[0], input_ids[0], tokens)
    draw_head_scores(previous_token_scores(activations.attentions), title="Weight on the token before")
    draw_vectors(model.get_input_embeddings().weight[ids], words)

In a notebook, the figure is shown as the last value of a cell. The numbers drawn are the model's own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.visualization.files import Picture, check_suffix, save

_VISIBLE = str.maketrans({"Ġ": "␣", "▁": "␣", "Ċ": "↵", "\n": "↵"})


def draw_probabilities(
    probabilities: Float[Tensor, " vocabulary"],
    tokenizer: Any,
    *,
    top_k: int = 10,
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw the most probable tokens as bars, for instance those of a masked place or of the next token.

    Args:
        probabilities: of all tokens; `logits.softmax(-1)` at one position.
        tokenizer: names the tokens, by `convert_ids_to_tokens`.
        top_k: how many bars.
        title: above the bars.
        path: also save the picture there, in the format of the suffix (PNG without one).

    Raises:
        InputError: logits in place of probabilities, `top_k` below 1, or a suffix that matplotlib cannot write.
    """
    if probabilities.numel() == 0 or bool((probabilities < 0).any()) or abs(float(probabilities.sum()) - 1) > 0.01:
        raise InputError(
            f"probabilities must be at least 0 and sum to 1, not to {float(probabilities.sum()):.3g}. "
            "Pass logits.softmax(-1)."
        )
    if top_k < 1:
        raise InputError(f"top_k={top_k} must be at least 1.")
    best = probabilities.detach().float().cpu().topk(min(top_k, len(probabilities)))
    names = [_shown(token) for token in tokenizer.convert_ids_to_tokens(best.indices.tolist())]
    figure, axis = _figure(5.2, 0.5 + 0.3 * len(names), title, path)
    axis.barh(range(len(names)), best.values.tolist(), color="#4c72b0")
    axis.set_yticks(range(len(names)), names, parse_math=False)
    axis.invert_yaxis()
    for row, value in enumerate(best.values.tolist()):
        axis.text(value, row, f" {value:.3f}", va="center", fontsize=8)
    axis.set_xlim(0, 1.15 * max(best.values.tolist()))
    axis.set_xlabel("probability", fontsize=8)
    return _saved(figure, path)


def draw_surprise(
    logits: Float[Tensor, "length vocabulary"],
    input_ids: Int[Tensor, " length"],
    tokens: Sequence[str],
    *,
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw −log₂ p of each token given those before it: how many bits it tells a causal language model.

    Args:
        logits: of one text, as the model returns them; those at position t are of the token t + 1.
        input_ids: the text.
        tokens: a label for each token, `tokenizer.convert_ids_to_tokens(input_ids)`.
        title, path: see `draw_probabilities`.

    Raises:
        InputError: fewer than two tokens, or another number of tokens than of ids or logits.
    """
    if not 2 <= len(input_ids) == len(tokens) == len(logits):
        raise InputError(
            f"logits, input_ids and tokens must have one length of at least 2, not {len(logits)}, {len(input_ids)} "
            f"and {len(tokens)}."
        )
    log_probabilities = logits[:-1].detach().float().log_softmax(-1)
    bits = -log_probabilities.gather(1, input_ids[1:, None]).squeeze(1).cpu() / torch.log(torch.tensor(2.0))
    figure, axis = _figure(max(4.0, 0.32 * len(bits)), 2.6, title, path)
    axis.bar(range(len(bits)), bits.tolist(), color="#c44e52")
    axis.set_xticks(range(len(bits)), [_shown(token) for token in tokens[1:]], rotation=90, parse_math=False)
    axis.set_ylabel("surprise (bits)", fontsize=8)
    return _saved(figure, path)


def draw_head_scores(
    scores: Float[Tensor, "layers heads"],
    *,
    title: str = "",
    label: str = "score",
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw a grid with a number for each head of each layer, such as those of `interpret.previous_token_scores`.

    Args:
        scores: one number for each head.
        title, path: see `draw_probabilities`.
        label: what the numbers are; beside the bar of colours.
    """
    array = scores.detach().float().cpu().numpy()
    layers, heads = array.shape
    figure, axis = _figure(1.8 + 0.5 * heads, 1.0 + 0.42 * layers, title, path)
    image = axis.imshow(array, cmap="Blues", aspect="auto")
    norm: Any = image.norm
    for (layer, head), value in zip(((a, b) for a in range(layers) for b in range(heads)), array.ravel(), strict=True):
        colour = "white" if norm(value) > 0.6 else "black"
        axis.text(head, layer, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(range(heads))
    axis.set_yticks(range(layers))
    axis.set_xlabel("head", fontsize=8)
    axis.set_ylabel("layer", fontsize=8)
    figure.colorbar(image, ax=axis).set_label(label, fontsize=8)
    return _saved(figure, path)


def draw_vectors(
    vectors: Float[Tensor, "number width"],
    labels: Sequence[str],
    *,
    title: str = "",
    path: str | os.PathLike[str] | None = None,
) -> Picture:
    """Draw vectors as points in the plane of their two principal components, in which they differ most.

    Args:
        vectors: at least 2, for instance rows of an embedding or pooled sentences.
        labels: one for each vector.
        title, path: see `draw_probabilities`.

    Raises:
        InputError: fewer than two vectors, or another number of labels.
    """
    if not 2 <= len(vectors) == len(labels):
        raise InputError(f"There must be as many labels as vectors, at least 2: {len(labels)} and {len(vectors)}.")
    centred = (vectors - vectors.mean(0)).detach().float().cpu()
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    points = torch.nn.functional.pad(left * sizes, (0, 1))[:, :2]  # one vector component is a line
    share = float((sizes[:2] ** 2).sum() / (sizes**2).sum().clamp(min=1e-30))
    figure, axis = _figure(5.6, 4.2, title, path)
    axis.scatter(points[:, 0].tolist(), points[:, 1].tolist(), s=14, color="#4c72b0")
    for (x, y), label in zip(points.tolist(), labels, strict=True):
        axis.annotate(_shown(label), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=8, parse_math=False)
    axis.margins(0.12)
    axis.set_xlabel(f"two components with {share:.0%} of the variance", fontsize=8)
    return _saved(figure, path)


def _shown(token: str) -> str:
    return token.translate(_VISIBLE)


def _figure(wide: float, high: float, title: str, path: str | os.PathLike[str] | None) -> tuple[Picture, Axes]:
    if path is not None:
        check_suffix(Path(path))
    figure = Picture(figsize=(wide, high), layout="constrained")
    axis = figure.add_subplot()
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title, loc="left", fontsize=10, parse_math=False)
    return figure, axis


def _saved(figure: Picture, path: str | os.PathLike[str] | None) -> Picture:
    if path is not None:
        save(figure, Path(path))
    return figure
