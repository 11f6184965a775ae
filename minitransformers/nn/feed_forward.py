"""The position-wise feed-forward network (Vaswani et al., 2017, §3.3), and activations by the names configs use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import UnknownNameError, nearest

Activation = Callable[[Tensor], Tensor]


def gelu_formula(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · Φ(x), Φ being the normal distribution function (Hendrycks & Gimpel, 2016, §2): BERT's activation."""
    return x * 0.5 * (1.0 + torch.erf(x / 2**0.5))


def gelu_tanh_formula(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), the approximation that GPT-2 was trained with (§2, eq. 3)."""
    return 0.5 * x * (1.0 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _clipped_gelu(x: Tensor) -> Tensor:
    return F.gelu(x).clip(-10, 10)


def _squared_relu(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _linear(x: Tensor) -> Tensor:
    return x


_tanh_gelu = partial(F.gelu, approximate="tanh")

# Several names stand for one function: the implementations that they once told apart give the same numbers.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "gelu_new": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_accurate": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "gelu_python_tanh": _tanh_gelu,
    "gelu_10": _clipped_gelu,
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "relu2": _squared_relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": _linear,
}


def activation_function(name: str) -> Activation:
    """The activation of that name.

    Raises:
        UnknownNameError: there is none; the message has the nearest name.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError(
            f"There is no activation {name!r}; there are {', '.join(ACTIVATIONS)}.{nearest(name, ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


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
