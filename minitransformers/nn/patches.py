"""Images as sequences: cut into patches, each of which becomes a vector (Dosovitskiy et al., 2020, §3.1)."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def cut_into_patches(
    pixels: Float[Tensor, "batch channels height width"], patch_size: tuple[int, int]
) -> Float[Tensor, "batch patches values"]:
    """The patches of (height, width) `patch_size` as rows of numbers, row by row from the upper left (§3.1, x_p).

    Height and width must be multiples of those of a patch.
    """
    height, width = patch_size
    return rearrange(
        pixels,
        "batch channels (rows height) (columns width) -> batch (rows columns) (channels height width)",
        height=height,
        width=width,
    )


class PatchEmbedding(nn.Module):
    """A vector for each patch: one linear layer over its pixels (eq. 1, E).

    It is written as a convolution whose windows do not overlap, which computes the same faster: for pixels x,
    `linear(cut_into_patches(x), weight.flatten(1), bias)`.

    Args:
        num_channels: of the image, 3 for colours.
        hidden_size: width of the vectors.
        patch_size: (height, width).
    """

    def __init__(self, num_channels: int, hidden_size: int, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Conv2d(num_channels, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixels: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches hidden"]:
        """Embed the patches of images, row by row from the upper left."""
        grid: Tensor = self.projection(pixels)
        return rearrange(grid, "batch hidden rows columns -> batch (rows columns) hidden")


def resize_positions(
    positions: Float[Tensor, "1 patches hidden"], grid: tuple[int, int], new_grid: tuple[int, int]
) -> Float[Tensor, "1 new_patches hidden"]:
    """Positions of a grid of (rows, columns) patches for a grid of another size, by bicubic interpolation (§3.2)."""
    if new_grid == grid:
        return positions
    planes = rearrange(positions, "one (rows columns) hidden -> one hidden rows columns", rows=grid[0])
    resized = F.interpolate(planes, size=new_grid, mode="bicubic", align_corners=False)
    return rearrange(resized, "one hidden rows columns -> one (rows columns) hidden")
