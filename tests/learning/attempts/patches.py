"""Cutting images as learners write it: wrong attempts with the cause that must be named, and right ones."""

import torch
from torch import nn
from torch.nn import functional as F


def right(images, patch_size):
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)


def unfolded(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def only_reshaped(images, patch_size):
    batch, _, height, width = images.shape
    return images.reshape(batch, (height // patch_size) * (width // patch_size), -1)


def columns_first(images, patch_size):
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 4, 2, 1, 3, 5).reshape(batch, rows * columns, -1)


def channels_last(images, patch_size):
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)


def pixels_transposed(images, patch_size):
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 5, 3).reshape(batch, rows * columns, -1)


def across(images, patch_size):
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, patch_size, rows, patch_size, columns)
    return cut.permute(0, 3, 5, 1, 2, 4).reshape(batch, rows * columns, -1)


def width_before_height(images, patch_size):
    return right(images.transpose(2, 3), patch_size)


def one_channel(images, patch_size):
    return right(images[:, :1].repeat(1, images.shape[1], 1, 1), patch_size)


def backwards(images, patch_size):
    return right(images, patch_size).flip(1)


WRONG = [
    (only_reshaped, "reshaped without a transpose"),
    (columns_first, "patches are taken column by column"),
    (channels_last, "the channel comes last"),
    (pixels_transposed, "pixels of a patch are taken column by column"),
    (across, "all over the image"),
    (width_before_height, "height and width are exchanged"),
    (one_channel, "only the first channel"),
    (backwards, "from the last to the first"),
]
RIGHT = [right, unfolded]


class RightEmbeddings(nn.Module):
    def __init__(self, image_size, patch_size, channels, hidden_size):
        super().__init__()
        self.projection = nn.Conv2d(channels, hidden_size, patch_size, stride=patch_size)
        self.cls = nn.Parameter(torch.zeros(1, 1, hidden_size))
        self.positions = nn.Parameter(torch.zeros(1, (image_size // patch_size) ** 2 + 1, hidden_size))

    def patches(self, images):
        return self.projection(images).flatten(2).transpose(1, 2)

    def forward(self, images):
        x = self.patches(images)
        return torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.positions


class FlatEmbeddings(nn.Module):
    def __init__(self, image_size, patch_size, channels, hidden_size):
        super().__init__()
        self.size = patch_size
        self.projection = nn.Linear(channels * patch_size**2, hidden_size)
        self.cls = nn.Parameter(torch.zeros(hidden_size))
        self.positions = nn.Embedding((image_size // patch_size) ** 2 + 1, hidden_size)

    def forward(self, images):
        x = self.projection(right(images, self.size))
        return torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1) + self.positions.weight


class NoPositions(RightEmbeddings):
    def forward(self, images):
        x = self.patches(images)
        return torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)


class PositionsTooEarly(RightEmbeddings):
    def forward(self, images):
        x = self.patches(images)
        return torch.cat([self.cls.expand(len(x), -1, -1), x + self.positions[:, : x.shape[1]]], dim=1)


class ClassAtTheEnd(RightEmbeddings):
    def forward(self, images):
        x = self.patches(images)
        return torch.cat([x, self.cls.expand(len(x), -1, -1)], dim=1) + self.positions


class ZerosForClass(RightEmbeddings):
    def forward(self, images):
        x = self.patches(images)
        return torch.cat([torch.zeros_like(x[:, :1]), x], dim=1) + self.positions


class NoClass(RightEmbeddings):
    def forward(self, images):
        x = self.patches(images)
        return x + self.positions[:, : x.shape[1]]


class NoClassParameter(RightEmbeddings):
    def __init__(self, image_size, patch_size, channels, hidden_size):
        super().__init__(image_size, patch_size, channels, hidden_size)
        del self.cls

    def forward(self, images):
        return self.patches(images) + self.positions[:, 1:]


class ColumnByColumn(RightEmbeddings):
    def patches(self, images):
        return self.projection(images).transpose(2, 3).flatten(2).transpose(1, 2)


class NoBias(RightEmbeddings):
    def patches(self, images):
        found = F.conv2d(images, self.projection.weight, stride=self.projection.stride)
        return found.flatten(2).transpose(1, 2)


WRONG_EMBEDDINGS = [
    (NoPositions, "the positions are missing"),
    (PositionsTooEarly, "positions are added before the class token"),
    (ClassAtTheEnd, "the class token stands at the end"),
    (ZerosForClass, "its place holds only the position"),
    (NoClass, "the class token is missing"),
    (NoClassParameter, "the class token is missing"),
    (ColumnByColumn, "patches are taken column by column"),
    (NoBias, "the bias of the projection is missing"),
]
RIGHT_EMBEDDINGS = [RightEmbeddings, FlatEmbeddings]
