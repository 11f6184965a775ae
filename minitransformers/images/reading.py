"""Images of any kind as tensors (channels, height, width): PIL images, arrays and tensors, with or without opacity.

PIL itself is not imported: any object with the methods of a PIL image can be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from minitransformers.errors import InputError


def as_list(images: Any) -> list[Any]:
    """The single images of an image, a batch, or nested lists of them.

    Raises:
        InputError: there are none.
    """
    if isinstance(images, (list, tuple)):
        found = [image for each in images for image in as_list(each)]
    elif isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        found = list(images)
    else:
        found = [images]
    if not found:
        raise InputError("There are no images: pass at least one.")
    return found


def read_image(image: Any, data_format: str | None, convert_rgb: bool | None) -> Tensor:
    """The pixels of an image as a tensor (channels, height, width).

    Args:
        image: a PIL image, an array or a tensor.
        data_format: "channels_first" or "channels_last"; None infers it from the shape.
        convert_rgb: make three channels of one or four; transparent parts are shown on white.

    Raises:
        InputError: an object that is not an image, or a shape that no image has.
    """
    if not isinstance(image, (np.ndarray, Tensor)):
        if not (hasattr(image, "convert") and hasattr(image, "mode")):  # as PIL images have
            raise InputError(
                f"An image must be a PIL image, an array or a tensor, got {type(image).__name__}: open files with "
                f"PIL.Image.open(path)."
            )
        image = np.array(_in_colors(image) if convert_rgb else image)
        data_format = "channels_last"
    pixels = torch.from_numpy(np.array(image, order="C")) if isinstance(image, np.ndarray) else image
    if pixels.is_complex() or pixels.dtype == torch.bool:
        raise InputError(f"An image must hold numbers such as 0 … 255, got {pixels.dtype}.")
    pixels = _channels_first(pixels, data_format)
    if not pixels.numel():
        raise InputError(f"An image has shape {tuple(pixels.shape)}, which has no pixels.")
    if convert_rgb and len(pixels) == 1:
        return pixels.expand(3, -1, -1)
    return _on_white(pixels) if convert_rgb and len(pixels) == 4 else pixels


def _channels_first(pixels: Tensor, data_format: str | None) -> Tensor:
    """(height, width), (height, width, channels) or (channels, height, width) as the last of these.

    If `data_format` is None, the channels are the first dimension whose length they can have.
    """
    if pixels.ndim == 2:
        return pixels[None]
    shape = tuple(pixels.shape)
    if pixels.ndim != 3:
        raise InputError(
            f"An image has shape {shape}; expected (height, width), (height, width, channels) or "
            f"(channels, height, width)."
        )
    if data_format is None:
        if shape[0] not in (1, 3, 4) and shape[-1] not in (1, 3, 4):
            raise InputError(
                f"An image has shape {shape}, in which neither the first nor the last dimension can "
                f"be channels (1, 3 or 4): pass input_data_format='channels_first' or 'channels_last'."
            )
        data_format = "channels_first" if shape[0] in (1, 3, 4) else "channels_last"
    return pixels if data_format == "channels_first" else pixels.permute(2, 0, 1)


def _in_colors(image: Any) -> Any:
    """A PIL image in RGB; transparent parts are shown on white."""
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = image.copy()
    white.paste((255, 255, 255, 255), (0, 0, *image.size))
    white.alpha_composite(image)
    return white.convert("RGB")


def _on_white(pixels: Tensor) -> Tensor:
    """Red, green, blue and opacity as three channels: opacity · color + (1 − opacity) · white."""
    white = 1 if pixels.is_floating_point() else 255
    if white == 1 and not ((pixels >= 0) & (pixels <= 1)).all():
        raise InputError("An image of floating-point numbers with opacity must hold numbers from 0 to 1.")
    colors, opacity = pixels[:3].double(), pixels[3:].double() / white
    mixed = opacity * colors + (1 - opacity) * white
    return (mixed if white == 1 else mixed.round()).to(pixels.dtype)
