"""Linear layers that keep a second copy of their weight in a form that a CPU multiplies faster.

With few rows, as in decoding or with short inputs, the time of x Wᵀ is that of reading W once. oneDNN's packed order
lets it be read in sequence; 8-bit weights are a quarter of the bytes. Layers keep their `weight`: names, state dicts
and training are as before, and what cannot be done faster is done by `F.linear`.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_ROWS = 64
"""With more rows, a product takes the time of its arithmetic, and packed weights gain nothing."""

SMALLEST = 100_000
"""Entries of a weight: with fewer, the call of an operator takes longer than its arithmetic."""

LayerType = TypeVar("LayerType", bound="FastLinear")

PROBES = 4
"""Number of entries of a weight that are compared before its copy is used."""


class _SecondCopy:
    """What a layer derives from its weight, and how to know that the weight is still the same.

    The version counter of a tensor counts writes to it, but not those through `.data`. Therefore a few entries are
    compared, too: a change of the whole matrix, such as a merged adapter, changes them.
    """

    def __init__(self, weight: Tensor, form: Any) -> None:
        self.form = form
        self._weight, self._version = weight, weight._version
        last, size = weight.numel() - 1, weight.element_size()
        self._address = weight.data_ptr()
        self._entries = [
            ctypes.c_float.from_address(self._address + size * (last * probe // (PROBES - 1)))
            for probe in range(PROBES)
        ]
        self._values = [entry.value for entry in self._entries]

    def is_of(self, weight: Tensor) -> bool:
        """Whether the copy is of this weight as it is now."""
        return (
            weight is self._weight
            and weight._version == self._version
            and weight.data_ptr() == self._address
            and [entry.value for entry in self._entries] == self._values
        )


class FastLinear(nn.Linear):
    """An `nn.Linear` with copies of its weight, made when they are first needed and again after the weight changed.

    They serve float32 on a CPU where no gradient is wanted (`torch.no_grad()`, `torch.inference_mode()`); everything
    else is computed as in `nn.Linear`. A copy takes as much memory as the weight: a model that has read rows one by one
    and several at a time has two. Copies are not saved, copied or pickled with the layer.
    """

    def forward(self, input: Tensor) -> Tensor:
        """x Wᵀ + b for (…, in) vectors."""
        is_traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[no-untyped-call]
        if is_traced or not self._is_served(input):
            return F.linear(input, self.weight, self.bias)
        return self._fast(input)

    def _fast(self, x: Tensor) -> Tensor:
        rows = x.numel() // self.in_features
        if rows == 1 and self.out_features >= 2 * self.in_features:
            return one_row(x, self._copy("transposed", transposed), self.bias)
        if 1 < rows <= MOST_ROWS and self.out_features > 1:
            return packed_linear(x, self._copy("packed", pack), self.bias)
        return F.linear(x, self.weight, self.bias)

    def _copy(self, form: str, make: Callable[[Tensor], Any]) -> Any:
        copies = _COPIES.setdefault(self, {})
        copy = copies.get(form)
        if copy is None or not copy.is_of(self.weight):
            copy = copies[form] = _SecondCopy(self.weight, make(self.weight.detach()))
        return copy.form

    def _is_served(self, x: Tensor) -> bool:
        weight = self.weight
        return (
            not torch.is_grad_enabled()
            and x.dtype == weight.dtype == torch.float32
            and weight.numel() >= SMALLEST
            and weight.device.type == x.device.type == "cpu"
            and not weight.is_inference()  # such a tensor does not count its versions
            and (weight.is_contiguous() or weight.t().is_contiguous())  # GPT-2's files have (in, out)
            and type(weight) is nn.Parameter  # a quantized or a distributed one has rules of its own
            and not torch.is_autocast_enabled("cpu")
            and x.shape[-1] == self.in_features
        )

    def train(self: LayerType, mode: bool = True) -> LayerType:
        """As in every module; a layer that is trained forgets its copies."""
        if mode:
            self.forget_copies()
        super().train(mode)
        return self

    def forget_copies(self) -> None:
        """Free the copies; the next call makes those that it needs."""
        _COPIES.pop(self, None)


# By layer, and not in it: so copies and pickles of a layer, and a layer that becomes one of another class, have none.
_COPIES: WeakKeyDictionary[FastLinear, dict[str, _SecondCopy]] = WeakKeyDictionary()


class Int8Linear(FastLinear):
    """A `FastLinear` that multiplies in 8-bit integers where no gradient is wanted.

    Each row of the weight is rounded to 255 steps of its own size, once, and each call's input to 256 steps between its
    smallest and largest value (dynamic quantization: Jacob et al., 2018, §2). The relative error of a product of normal
    numbers is about 2 %.
    """

    def _fast(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return F.linear(x, self.weight, self.bias)
        output = eight_bit_product(x, self._copy("8 bits", quantize))
        return output if self.bias is None else output.add_(self.bias)


def transposed(weight: Tensor) -> Tensor:
    """(in, out) of (out, in)."""
    return weight.t().contiguous()


def one_row(x: Tensor, transposed: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b for a single vector (…, in), with W as (in, out): a wide W is read in sequence so."""
    row = x.reshape(1, -1)
    output = row @ transposed if bias is None else torch.addmm(bias, row, transposed)
    return output.view(*x.shape[:-1], -1)


def pack(weight: Tensor) -> Tensor:
    """(out, in) in oneDNN's order of blocks: an opaque tensor for `packed_linear`."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 16)
    return packed


def packed_linear(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b with the weight that `pack` gave."""
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), packed, bias, "none", [], "")
    return output


def quantize(weight: Tensor) -> Any:
    """(out, in) as signed 8-bit integers with a step for each row, for `eight_bit_product`."""
    weight = weight.contiguous()
    steps = weight.abs().amax(dim=1).double().clamp(min=torch.finfo(torch.float32).tiny) / 127
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():  # PyTorch announces a successor of this type, which has no kernels for CPUs yet
        warnings.simplefilter("ignore")
        rounded = torch.quantize_per_channel(weight, steps, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None)


def eight_bit_product(x: Tensor, quantized: Any) -> Tensor:
    """x Wᵀ with the weight that `quantize` gave."""
    # x86 before VNNI adds pairs of products in 16 bits. They overflow unless the input has 7 bits only.
    output: Tensor = torch.ops.quantized.linear_dynamic(x.contiguous(), quantized, not torch.cpu._is_vnni_supported())
    return output


def can_pack() -> bool:
    """Whether this PyTorch can multiply with packed weights: built with oneDNN, which is so on x86 and most Arm."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def can_quantize() -> bool:
    """Whether this PyTorch can multiply in 8 bits on this CPU."""
    return torch.backends.quantized.engine not in ("none", "")
