"""LoRA (Hu et al., 2021): the change of a weight matrix during fine-tuning has a low rank.

    h = W x + (α/r) B A x                                                                     (§4.1, eq. 3)

W (out, in) is frozen; A (r, in) is drawn at random and B (out, r) starts at 0, so that training starts from the model
as it is. After training, W + (α/r) B A can take the place of W: nothing is slower than before.

rsLoRA (Kalajdzievski, 2023) scales by α/√r, which keeps the size of the update the same at every rank. DoRA (Liu et
al., 2024, §4) learns the length m of each row of the weight apart from its direction:

    W' = m · (W + (α/r) B A) / ‖W + (α/r) B A‖                                                  (eq. 5)
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.adapters.linear import AdaptedLinear, LinearAdapterConfig
from minitransformers.adapters.targets import Projections
from minitransformers.configs.fields import positive, probability, size


class LoraLinear(AdaptedLinear):
    """h = W x + b + scaling · B A dropout(x); `lora_A` and `lora_B` are A and B."""

    def add_parameters(self, name: str, model: Any) -> None:
        """A, B and, in DoRA, the lengths m of the rows of W."""
        config: LoraConfig = self.config
        where: Any = {"device": self.weight.device, "dtype": self.adapter_dtype}
        self.lora_dropout = nn.Dropout(config.lora_dropout)
        self.lora_A = nn.Linear(self.in_features, config.r, bias=False, **where)
        self.lora_B = nn.Linear(config.r, self.out_features, bias=False, **where)
        if config.init_lora_weights == "gaussian":
            nn.init.normal_(self.lora_A.weight, std=1 / config.r)
        else:  # the authors' code
            nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        if config.init_lora_weights is not False:
            nn.init.zeros_(self.lora_B.weight)
        if config.use_dora:
            self.lora_magnitude_vector = nn.Parameter(self._lengths().clone())

    @property
    def scaling(self) -> float:
        """α/r or, in rsLoRA, α/√r."""
        config: LoraConfig = self.config
        return config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)

    def _weight(self) -> Tensor:
        """W + scaling · B A."""
        update: Tensor = self.lora_B.weight @ self.lora_A.weight
        return self.weight.to(self.adapter_dtype) + self.scaling * update

    @torch.no_grad()
    def _lengths(self) -> Tensor:
        """‖W + scaling · B A‖ of each row; no gradient flows through it (DoRA, §4.3)."""
        return torch.linalg.vector_norm(self._weight(), dim=1)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        y: Tensor = super().forward(input)
        if self.is_merged:
            return y
        x = self.lora_dropout(input.to(self.adapter_dtype))
        update: Tensor = self.scaling * self.lora_B(self.lora_A(x))
        if not self.config.use_dora:
            return (y + update).to(y.dtype)
        # m/‖W'‖ is 1 at first: the sum below is then y to the last bit
        ratio = self.lora_magnitude_vector / self._lengths()
        without_bias = F.linear(x, self.weight.to(x.dtype))
        return (y + (ratio - 1) * without_bias + ratio * update).to(y.dtype)

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """W + scaling · B A, its rows of length m in DoRA; the bias stays."""
        weight = self._weight()
        if self.config.use_dora:
            weight = weight * (self.lora_magnitude_vector / self._lengths())[:, None]
        return weight, self.bias


class LoraConfig(LinearAdapterConfig):
    """Settings of LoRA, under peft's names.

    Attributes:
        r: the rank, of at least 1.
        lora_alpha: α; the update is scaled by α/r.
        lora_dropout: dropout of the update's input.
        use_rslora: scale by α/√r.
        use_dora: learn the lengths of the weight's rows, too.
        init_lora_weights: True draws A as the authors' code does, "gaussian" as the paper says, from N(0, 1/r²), and B
            is 0; False leaves B random, so that the adapted model differs at first: for tests.
        target_modules: by default the query's and value's projections (§5.1), or the one that computes both.
    """

    method = "LORA"
    layer: ClassVar[type[AdaptedLinear]] = LoraLinear
    r: int = size(8)
    lora_alpha: float = positive(8.0)
    lora_dropout: float = probability(0.0)
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: Literal[True, False, "gaussian"] = True

    def use_defaults(self, projections: Projections) -> None:
        """Queries and values."""
        self.target_modules = sorted({projections.query, projections.value})
