"""Encoders that compute real tokens only.

A batch is padded to its longest text. The stack of blocks of an encoder that is unpadded gets a packed row of the real
tokens (nn/packed.py), and its output is put back where it belongs. It has zeros at padding.

Two hooks do it, before and after the stack's forward pass: the model's own code does not change.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.nn.masks import AttentionMask


def encoder_stacks(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that run the blocks of an encoder on `(hidden_states, inputs)`; not those inside of another."""
    if list(inspect.signature(model.forward).parameters) == ["hidden_states", "inputs"]:
        yield model
        return
    for child in model.children():
        yield from encoder_stacks(child)


def unpad(stack: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """`pack` where nothing is trained: the training loop decides for itself (training/loop/loss_only.py)."""
    return None if stack.training else pack(stack, arguments)


def pack(stack: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Before the stack: the real tokens as a packed row; None, which changes nothing, where that would not serve."""
    if len(arguments) != 2 or torch.compiler.is_compiling():
        return None
    x, inputs = arguments
    real = _padding(inputs)
    if real is None or x.device.type != "cpu" or not real[:, 0].all():
        return None  # where a text does not begin in the first column, a head may read what is there
    lengths = real.sum(dim=1)
    shortest_first = lengths.argsort(stable=True)  # texts of the same length are neighbours
    row, column = real[shortest_first].nonzero().unbind(dim=1)
    tokens = shortest_first[row] * real.shape[1] + column
    packed = dataclasses.replace(inputs, mask=AttentionMask(lengths=tuple(lengths[shortest_first].tolist())))
    packed.tokens, packed.padded_shape = tokens, x.shape[:2]
    return x.flatten(0, 1)[tokens][None], packed


def pad_again(stack: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    """After the stack: each token's vector at its place in the batch, and zeros at padding."""
    inputs = arguments[1] if len(arguments) == 2 else None
    tokens: Tensor | None = getattr(inputs, "tokens", None)
    if tokens is None or inputs is None:
        return output
    vectors = output.last_hidden_state[0]
    batch, length = inputs.padded_shape
    padded = vectors.new_zeros(batch * length, vectors.shape[-1]).index_copy(0, tokens, vectors)
    output.last_hidden_state = padded.view(batch, length, -1)
    return output


def _padding(inputs: Any) -> Tensor | None:
    """(batch, length) True at real tokens; None where nothing is padded, or where more than that is asked for."""
    mask = inputs.mask
    is_plain = inputs.cache is None and inputs.context is None and not inputs.is_complete_mask
    keeps_nothing = not (inputs.keeps_hidden_states or inputs.keeps_attentions) and inputs.kernel == "sdpa"
    if not (is_plain and keeps_nothing) or mask.allowed is None or mask.bias is not None or mask.allowed.shape[2] != 1:
        return None
    real: Tensor = mask.allowed[:, 0, 0]
    return real
