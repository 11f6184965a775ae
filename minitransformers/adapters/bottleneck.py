"""Bottleneck adapters (Houlsby et al., 2019, §2.1; Pfeiffer et al., 2021): small networks between the layers.

    h ← h + W_up f(W_down h)

W_down (m, d) and W_up (d, m) with m ≪ d; all weights start near 0, so that the adapter starts near the identity. h is
the output of a sub-layer, after its projection and before it is added to the sub-layer's input. Houlsby's adapters are
two a block, behind the attention and behind the feed-forward network, and the norms are trained with them; Pfeiffer's
are one a block, behind the feed-forward network.

In a block that normalizes after adding, Pfeiffer's search chose W_down to read h once it is normalized; here it reads h
itself, which is the same computation in every family. peft has no such adapters: files are read here alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from minitransformers.adapters.linear import AdaptedLinear, LinearAdapterConfig
from minitransformers.adapters.targets import Projections
from minitransformers.configs.fields import choice, size
from minitransformers.nn.feed_forward import ACTIVATIONS, activation_function


class LinearWithBottleneck(AdaptedLinear):
    """h + W_up f(W_down h) for h = W x + b."""

    def add_parameters(self, name: str, model: Any) -> None:
        """The two layers: N(0, 0.01²), cut at two standard deviations, and biases of 0 (Houlsby, §3.6)."""
        config: BottleneckConfig = self.config
        where: Any = {"device": self.weight.device, "dtype": self.adapter_dtype}
        self.adapter_down = nn.Linear(self.out_features, config.bottleneck_size, **where)
        self.adapter_up = nn.Linear(config.bottleneck_size, self.out_features, **where)
        self.adapter_act = activation_function(config.non_linearity)
        for linear in (self.adapter_down, self.adapter_up):
            nn.init.trunc_normal_(linear.weight, std=0.01, a=-0.02, b=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        y: Tensor = super().forward(input)
        h = y.to(self.adapter_dtype)
        h = h + self.adapter_up(self.adapter_act(self.adapter_down(h)))
        return h.to(y.dtype)  # type: ignore[no-any-return]


class BottleneckConfig(LinearAdapterConfig):
    """Settings of bottleneck adapters.

    Attributes:
        placement: "houlsby" (two a block, norms trained) or "pfeiffer" (one a block).
        bottleneck_size: m, the width inside.
        non_linearity: f; Pfeiffer's is "relu".
        train_norms: train the norms, too; None means where the placement is Houlsby's.
        target_modules: the layers whose output is adapted; None means those of `placement`.
    """

    method = "BOTTLENECK"
    layer: ClassVar[type[AdaptedLinear]] = LinearWithBottleneck
    placement: str = choice("houlsby", ("houlsby", "pfeiffer"))
    bottleneck_size: int = size(64)
    non_linearity: str = choice("relu", ACTIVATIONS)
    train_norms: bool | None = None

    def use_defaults(self, projections: Projections) -> None:
        """The layers that end the sub-layers."""
        self.target_modules = [projections.feed_forward_output]
        if self.placement == "houlsby":
            self.target_modules.extend(projections.attention_outputs)
        elif projections.not_feed_forward and self.exclude_modules is None:
            self.exclude_modules = [projections.not_feed_forward]

    def trained_besides(self, model: Any) -> list[str]:
        """The norms of the backbone (Houlsby, §2.1)."""
        if not (self.placement == "houlsby" if self.train_norms is None else self.train_norms):
            return []
        return [name for name, module in model.named_modules() if "norm" in type(module).__name__.lower()]
