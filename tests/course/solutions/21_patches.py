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
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)


class ImageEmbeddings(nn.Module):
    """A linear map of each patch, a trained class token in front, and a trained vector added at each position."""

    def __init__(self, image_size: int, patch_size: int, channels: int, hidden_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Linear(channels * patch_size**2, hidden_size)
        self.class_token = nn.Parameter(torch.zeros(hidden_size))
        self.positions = nn.Parameter(torch.zeros((image_size // patch_size) ** 2 + 1, hidden_size))

    def forward(self, images: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, 1 + patches, hidden_size)."""
        x = self.projection(patchify(images, self.patch_size))
        return torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1) + self.positions
