"""Exercise 21: an image as a sequence of tokens."""

import torch
from torch import Tensor, nn


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches, row by row.

    Args:
        images: (batch, channels, height, width); height and width are multiples of patch_size.
        patch_size: side of a patch, in pixels.

    Returns:
        (batch, patches, channels · patch_size²); the numbers of a patch in the order channel, row, column.
    """
    ...  # write this


class ImageEmbeddings(nn.Module):
    """A linear map of each patch, a trained class token in front, and a trained vector added at each position."""

    def __init__(self, image_size: int, patch_size: int, channels: int, hidden_size: int) -> None:
        super().__init__()
        ...  # write this

    def forward(self, images: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, 1 + patches, hidden_size)."""
        ...  # write this
