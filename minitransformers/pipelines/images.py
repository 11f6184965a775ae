"""Images from files and from the web, as PIL images."""

from __future__ import annotations

import base64
import binascii
import io
import urllib.request
from pathlib import Path
from typing import Any

from minitransformers.errors import InputError


def load_image(image: Any, timeout: float | int | None = None) -> Any:
    """Open an image that is given by a path, an address, or as base64 text; others are returned as they are.

    Args:
        image: a path, "https://…", base64 text, or an image of any kind that an image processor takes.
        timeout: seconds to wait for an answer from the web; None for as long as it takes.

    Raises:
        InputError: nothing of that name, or no image.
        ImportError: Pillow is missing.
    """
    if not isinstance(image, (str, Path)):
        return image
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError("Opening image files needs Pillow: pip install pillow.") from None
    source = str(image)
    try:
        if source.startswith(("http://", "https://")):
            with urllib.request.urlopen(source, timeout=timeout) as answer:
                opened = Image.open(io.BytesIO(answer.read()))
        elif Path(source).is_file():
            opened = Image.open(source)
        else:
            opened = Image.open(io.BytesIO(_from_base64(source)))
        return ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError) as error:
        raise InputError(f"{source[:80]!r} is neither the path nor the address of an image: {error}.") from error


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.removeprefix("data:").partition("base64,")[2] or text, validate=True)
    except binascii.Error:
        raise ValueError("there is no such file") from None
