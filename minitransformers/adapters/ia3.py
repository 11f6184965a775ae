"""(IA)³, Infused Adapter by Inhibiting and Amplifying Inner Activations (Liu et al., 2022, §3.3): learnt scales.

    softmax(Q (l_k ⊙ K)ᵀ/√d) (l_v ⊙ V)        and        W₂ (l_ff ⊙ f(W₁ x))

Three vectors a block, which start at 1: one scales the output of the key's projection, one that of the value's, and one
the input of the feed-forward network's second layer. They can be merged into the weights.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minitransformers.adapters.linear import AdaptedLinear, LinearAdapterConfig
from minitransformers.adapters.targets import Projections, matches, projections_of


class ScaledLinear(AdaptedLinear):
    """l ⊙ (W x + b) or, where `scales_input` in the feed-forward network, W (l ⊙ x) + b; `ia3_l` is l."""

    scales_input: bool

    def add_parameters(self, name: str, model: Any) -> None:
        """l as a column (out, 1) or a row (1, in), so that l ⊙ W scales W's rows or its columns."""
        self.scales_input = matches(name, self.config.feedforward_modules)
        shape = (1, self.in_features) if self.scales_input else (self.out_features, 1)
        self.ia3_l = nn.Parameter(torch.ones(shape, dtype=self.adapter_dtype, device=self.weight.device))

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        if self.is_merged:
            return super().forward(input)
        scale = self.ia3_l.flatten()
        if self.scales_input:
            return super().forward((scale * input).to(input.dtype))
        y = super().forward(input)
        return (scale * y).to(y.dtype)

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """l ⊙ W and, where the output is scaled, l ⊙ b."""
        if self.bias is None or self.scales_input:
            return self.ia3_l * self.weight, self.bias
        return self.ia3_l * self.weight, self.ia3_l.flatten() * self.bias


class IA3Config(LinearAdapterConfig):
    """Settings of (IA)³, under peft's names.

    Attributes:
        target_modules: by default the projections of keys and values and the feed-forward network's second layer. A
            layer that computes queries, keys and values together is scaled whole.
        feedforward_modules: which of them have their input scaled; ends of names or a regular expression. By default
            the second layer of the feed-forward network.
    """

    method = "IA3"
    layer: ClassVar[type[AdaptedLinear]] = ScaledLinear
    feedforward_modules: list[str] | str | None = None

    def use_defaults(self, projections: Projections) -> None:
        """Keys, values and the feed-forward network's second layer."""
        self.target_modules = sorted({projections.key, projections.value, projections.feed_forward_output})
        if projections.not_feed_forward and self.exclude_modules is None:
            self.exclude_modules = [projections.not_feed_forward]

    def attach(self, model: Any, *, is_strict: bool = True) -> None:
        """Put a scale beside the weight of each layer that is meant."""
        if self.feedforward_modules is None:
            self.feedforward_modules = [projections_of(model).feed_forward_output]
        super().attach(model, is_strict=is_strict)
