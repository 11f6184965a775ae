"""Layers that models written on top of `transformers` import from its utilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function


class Conv1D(nn.Module):
    """x W + b, with W of shape (in, out): the transpose of nn.Linear's, as GPT-2's files have it.

    Args:
        nf: the number of output features.
        nx: the number of input features.
    """

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return x @ self.weight + self.bias

    def extra_repr(self) -> str:
        """The sizes, for print(model)."""
        return f"nf={self.nf}, nx={self.nx}"


class _Activations(Mapping[str, nn.Module]):
    """name -> a new module of that activation."""

    def __getitem__(self, name: str) -> nn.Module:
        return activation_function(name)

    def __iter__(self) -> Iterator[str]:
        return iter(ACTIVATIONS)

    def __len__(self) -> int:
        return len(ACTIVATIONS)


ACT2FN = _Activations()


def get_activation(activation_string: str) -> nn.Module:
    """A new module of the activation of that name.

    Raises:
        UnknownNameError: there is none; the message has the nearest.
    """
    return activation_function(activation_string)


def apply_chunking_to_forward(
    forward_fn: Callable[..., Tensor], chunk_size: int, chunk_dim: int, *input_tensors: Tensor
) -> Tensor:
    """`forward_fn` of the inputs, computed in pieces of `chunk_size` along `chunk_dim`; 0 computes it in one.

    Raises:
        InputError: the inputs differ in that dimension, or it is not a multiple of `chunk_size`.
    """
    if chunk_size <= 0:
        return forward_fn(*input_tensors)
    lengths = {tensor.shape[chunk_dim] for tensor in input_tensors}
    if len(lengths) != 1 or next(iter(lengths)) % chunk_size:
        raise InputError(f"chunk_size={chunk_size} must divide the length of dimension {chunk_dim}, {lengths}.")
    number = next(iter(lengths)) // chunk_size
    pieces = zip(*(tensor.chunk(number, chunk_dim) for tensor in input_tensors), strict=True)
    return torch.cat([forward_fn(*piece) for piece in pieces], dim=chunk_dim)
