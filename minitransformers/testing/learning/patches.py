"""`check_patches` and `check_image_embeddings`: an image as a sequence of tokens, as in ViT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.learning.judging import (
    CALLABLE,
    CheckError,
    call,
    check_repeatable,
    evaluating,
    judge_outputs,
    table,
    tensor_of,
)
from minitransformers.testing.learning.weights import redraw

PATCHES = (
    "patchify(images, patch_size) -> (batch, patches, channels · patch_size²); images (batch, channels, height, width)"
)
EMBEDDINGS = (
    "ImageEmbeddings(image_size, patch_size, channels, hidden_size) -> module; "
    "module(images) -> (batch, 1 + patches, hidden_size)"
)
PATCH_MISTAKES = {
    "columns first": "patches are taken column by column, not row by row",
    "pixels transposed": "pixels of a patch are taken column by column, not row by row",
    "channels last": "the channel comes last in a patch: the order is channel, row, column",
    "reshape": "the image is reshaped without a transpose: a patch is a strip of pixels",
    "one channel": "only the first channel is read, again and again",
    "reversed": "patches are taken from the last to the first",
    "first image": "every image gets the patches of the first one",
    "across": "pixels are taken at distances of the number of patches, all over the image",
    "height and width": "height and width are exchanged",
}
EMBEDDING_MISTAKES = {
    "no positions": "the positions are missing",
    "positions before": "positions are added before the class token is put in front: it has none, and patches are off",
    "class last": "the class token stands at the end, not in front",
    "no class": "the class token is missing",
    "class zero": "the class token is not added: its place holds only the position",
    "no bias": "the bias of the projection is missing",
    "class from first": "the class token stands in the first image only",
    **PATCH_MISTAKES,
}


def patchify(images: Tensor, size: int, wrong: frozenset[str] = frozenset()) -> Tensor:
    """Patches (batch, patches, channels · size²) in plain steps (Dosovitskiy et al., 2021, §3.1), with `wrong` ones."""
    if "height and width" in wrong:
        images = images.transpose(2, 3)
    if "first image" in wrong:
        images = images[:1].expand_as(images)
    if "one channel" in wrong:
        images = images[:, :1].expand_as(images)
    batch, _, height, width = images.shape
    rows, columns = height // size, width // size
    if "reshape" in wrong:
        return images.reshape(batch, rows * columns, -1)
    found = []
    for row in range(rows):
        for column in range(columns):
            if "across" in wrong:
                patch = images[:, :, row::rows, column::columns]
            else:
                patch = images[:, :, row * size : (row + 1) * size, column * size : (column + 1) * size]
            patch = patch.transpose(2, 3) if "pixels transposed" in wrong else patch
            patch = patch.permute(0, 2, 3, 1) if "channels last" in wrong else patch
            found.append(patch.reshape(batch, -1))
    if "columns first" in wrong:
        found = [found[row * columns + column] for column in range(columns) for row in range(rows)]
    return torch.stack(found[::-1] if "reversed" in wrong else found, 1)


def check_patches(function: Callable[..., Any]) -> None:
    """Check how an image is cut into square patches.

    Patches come row by row. The numbers of a patch have the order of a convolution's weight: channel, row, column.

    Args:
        function: `patchify(images, patch_size)`.

    Raises:
        CheckError: a law is broken.
    """
    one = torch.arange(4.0).reshape(1, 1, 2, 2)
    square = torch.arange(16.0).reshape(1, 1, 4, 4)
    colour = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    inputs = (one, square, colour)

    def run(images: Tensor) -> Tensor:
        return tensor_of(call(function, {"images": images.clone(), "patch_size": 2}, PATCHES), PATCHES)

    judge_outputs(
        [run(images) for images in inputs],
        lambda wrong: (patchify(images, 2, wrong) for images in inputs),
        PATCH_MISTAKES,
        [
            ("An image of the size of a patch is one patch.", "an image 2 × 2"),
            ("A patch is a square of the image, and patches come row by row.", "an image 4 × 4"),
            ("The numbers of a patch come in the order channel, row, column.", "two images of 3 channels, 4 × 6"),
        ],
    )


SIZE, PATCH, CHANNELS, HIDDEN = 4, 2, 3, 5


def image_embeddings(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    first: Tensor | None,
    positions: Tensor | None,
    wrong: frozenset[str] = frozenset(),
) -> Tensor:
    """ViT's embeddings in plain steps, with the mistakes that `wrong` names."""
    x = patchify(images, PATCH, wrong) @ weight.T
    if bias is not None and "no bias" not in wrong:
        x = x + bias
    token = torch.zeros(HIDDEN) if first is None or "class zero" in wrong else first
    front = token.expand(len(x), 1, HIDDEN)
    if "class from first" in wrong:
        front = front * (torch.arange(len(x)) == 0)[:, None, None]
    places = torch.zeros(x.shape[1] + 1, HIDDEN) if positions is None or "no positions" in wrong else positions
    if "positions before" in wrong:
        return torch.cat([front, x + places[: x.shape[1]]], 1)
    if "no class" in wrong:
        return x + places[: x.shape[1]]
    return torch.cat([x, front] if "class last" in wrong else [front, x], 1) + places[: x.shape[1] + 1]


def check_image_embeddings(make: Callable[..., Any]) -> None:
    """Check ViT's embeddings: projected patches, a class token in front, and learned positions.

    Args:
        make: class or function `ImageEmbeddings(image_size, patch_size, channels, hidden_size)`. The projection is an
            `nn.Conv2d` or a linear map of flat patches; the other parameters are found by their shapes.

    Raises:
        CheckError: a law is broken.
    """
    torch.manual_seed(0)
    sizes = {"image_size": SIZE, "patch_size": PATCH, "channels": CHANNELS, "hidden_size": HIDDEN}
    module = call(make, sizes, EMBEDDINGS)
    if not isinstance(module, nn.Module):
        raise CheckError(CALLABLE, f"it makes a {type(module).__name__}, not a module", f"expected: {EMBEDDINGS}")
    redraw(module)
    flat = {tuple(n for n in p.shape if n != 1): p.detach().squeeze() for p in module.parameters()}
    count, numbers = (SIZE // PATCH) ** 2, CHANNELS * PATCH**2
    weight = flat.get((HIDDEN, CHANNELS, PATCH, PATCH), flat.get((HIDDEN, numbers)))
    shown = table(["shape"], {name: [tuple(p.shape)] for name, p in module.named_parameters()} or {"none": ["-"]})
    if weight is None:
        raise CheckError("There is a projection of patches.", "no parameter has its shape", shown)
    vectors = {n: p.detach().reshape(HIDDEN) for n, p in module.named_parameters() if p.numel() == HIDDEN}
    bias = next((vector for name, vector in vectors.items() if name.endswith("bias")), None)
    token = next((vector for name, vector in vectors.items() if not name.endswith("bias")), None)
    positions = flat.get((count + 1, HIDDEN), flat.get((count, HIDDEN)))
    if token is None:
        raise CheckError("There is a class token, one trained vector.", EMBEDDING_MISTAKES["no class"], shown)
    if positions is None:
        raise CheckError("There is a trained vector for each position.", EMBEDDING_MISTAKES["no positions"], shown)
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(2, CHANNELS, SIZE, SIZE, generator=draw)
    dark = torch.zeros(1, CHANNELS, SIZE, SIZE)
    inputs = (dark, images)

    def run(given: Tensor) -> Tensor:
        return tensor_of(call(module, {"images": given}, EMBEDDINGS), EMBEDDINGS)

    with evaluating(module):
        check_repeatable(lambda: run(images))
        judge_outputs(
            [run(given) for given in inputs],
            lambda wrong: (
                image_embeddings(given, weight.reshape(HIDDEN, -1), bias, token, positions, wrong) for given in inputs
            ),
            EMBEDDING_MISTAKES,
            [
                ("The class token comes first, and each place has its position.", "a dark image"),
                ("Patches are projected, row by row.", "two images"),
            ],
        )
