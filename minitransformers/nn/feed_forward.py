"""The position-wise feed-forward network (Vaswani et al., 2017, §3.3), and activations by the names configs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import UnknownNameError, nearest


def gelu_formula(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · Φ(x), Φ being the normal distribution function (Hendrycks & Gimpel, 2016, §2): BERT's activation."""
    return x * 0.5 * (1.0 + torch.erf(x / 2**0.5))


def gelu_tanh_formula(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), the approximation that GPT-2 was trained with (§2, eq. 3)."""
    return 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), a cheap approximation of GELU (Hendrycks & Gimpel, 2016, §2)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply it to every element."""
        return x * torch.sigmoid(1.702 * x)


class ClippedGELU(nn.Module):
    """GELU within −10 … 10, for quantization."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply it to every element."""
        return F.gelu(x).clip(-10, 10)


class SquaredReLU(nn.Module):
    """max(x, 0)² (So et al., 2021, §4)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply it to every element."""
        return F.relu(x).square()


_tanh_gelu = partial(nn.GELU, approximate="tanh")

# Several names stand for one function: they denote different implementations elsewhere, which give the same numbers.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_python": nn.GELU,
    "gelu_new": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_accurate": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "gelu_python_tanh": _tanh_gelu,
    "gelu_10": ClippedGELU,
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "relu2": SquaredReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


def activation_function(name: str) -> nn.Module:
    """A new module of the activation of that name.

    Raises:
        UnknownNameError: there is none; the message has the nearest name.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError(
            f"There is no activation {name!r}; there are {', '.join(ACTIVATIONS)}.{nearest(name, ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]()


class FeedForward(nn.Module):
    """output(activation(intermediate(x))), at every position alike (Vaswani et al., 2017, eq. 2).

    Args:
        hidden_size: width of input and output.
        intermediate_size: width in between, four times `hidden_size` in most models.
        activation: a name from `ACTIVATIONS`.
        dropout: on what is in between, as T5 and BART have it.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: str = "gelu",
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.intermediate = nn.Linear(hidden_size, intermediate_size, bias=bias)
        self.activation = activation_function(activation)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(intermediate_size, hidden_size, bias=bias)

    def forward(self, hidden_states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Transform every position by itself."""
        projected: Tensor = self.output(self.dropout(self.activation(self.intermediate(hidden_states))))
        return projected


class GatedFeedForward(nn.Module):
    """output(activation(gate(x)) · intermediate(x)): a second projection says how much of the first passes.

    GEGLU with `activation="gelu"`, SwiGLU with "silu" (Shazeer, 2020, eq. 6): the network of T5 v1.1 and Llama.

    Args:
        hidden_size, intermediate_size, activation, dropout: see `FeedForward`.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: str = "silu",
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden_size, intermediate_size, bias=bias)
        self.intermediate = nn.Linear(hidden_size, intermediate_size, bias=bias)
        self.activation = activation_function(activation)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(intermediate_size, hidden_size, bias=bias)

    def forward(self, hidden_states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """Transform every position by itself."""
        passed = self.activation(self.gate(hidden_states)) * self.intermediate(hidden_states)
        projected: Tensor = self.output(self.dropout(passed))
        return projected
