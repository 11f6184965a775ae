"""AdaptedLinear: a linear layer with an adapter beside its weight, which can be merged into the weight.

The layer stays the object that it was, under its name, with its own parameters and hooks: only its class changes. So
everything that finds layers by name or holds on to them goes on working, and state dicts keep the model's names.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minitransformers.adapters.config import AdapterConfig
from minitransformers.adapters.targets import Projections, find_linear_layers, projections_of
from minitransformers.errors import InputError


class AdaptedLinear(nn.Linear):
    """y = W x + b, and what a method adds to it."""

    config: Any
    _before_merging: tuple[Tensor, Tensor | None] | None

    @property
    def is_merged(self) -> bool:
        """Whether the adapter is in the weight, so that `forward` is that of the layer alone."""
        return self._before_merging is not None

    @property
    def adapter_dtype(self) -> torch.dtype:
        """The type of the adapter's weights: the layer's own, but float32 beside half precision."""
        return torch.promote_types(self.weight.dtype, torch.float32)

    def add_parameters(self, name: str, model: Any) -> None:
        """Create the adapter's parameters; `name` is the layer's in `model`."""

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the linear layer that computes the same.

        Raises:
            InputError: there is none.
        """
        raise InputError(
            f"{type(self.config).__name__}: the adapter is not linear, and cannot be merged into a weight."
        )

    @torch.no_grad()
    def merge(self) -> None:
        """Put the adapter into the weight, and keep a copy of the weight for `unmerge`."""
        weight, bias = self.merged()
        self._before_merging = self.weight.data, None if self.bias is None else self.bias.data
        self.weight.data = weight.to(self.weight.dtype)
        if self.bias is not None and bias is not None:
            self.bias.data = bias.to(self.bias.dtype)

    def unmerge(self) -> None:
        """Give back the weight as it was, to the last bit."""
        if self._before_merging is not None:
            self.weight.data, bias = self._before_merging
            if self.bias is not None and bias is not None:
                self.bias.data = bias
            self._before_merging = None


class LinearAdapterConfig(AdapterConfig):
    """The base of methods that change linear layers.

    Attributes:
        target_modules: which layers: ends of their names (["query", "value"]), a regular expression for whole names,
            "all-linear" for all but the one that scores the vocabulary, or None for those that the paper adapts.
        exclude_modules: ends of names, or a regular expression, of layers to leave out.
    """

    layer: ClassVar[type[AdaptedLinear]] = AdaptedLinear
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None

    def use_defaults(self, projections: Projections) -> None:
        """Set `target_modules`, which is None, to the layers that the paper adapts."""

    def attach(self, model: Any, *, is_strict: bool = True) -> None:
        """Put an adapter beside the weight of each layer that is meant."""
        if self.target_modules is None:
            self.use_defaults(projections_of(model))
        assert self.target_modules is not None
        layers = find_linear_layers(
            model,
            self.target_modules,
            self.exclude_modules,
            besides=self.modules_to_save or (),
            is_strict=is_strict,
        )
        if self.target_modules == "all-linear":
            self.target_modules = sorted(layers)
        for name, linear in layers.items():
            linear.__class__ = self.layer
            adapted: Any = linear
            adapted.config, adapted._before_merging = self, None
            adapted.add_parameters(name, model)

    def detach(self, model: Any) -> None:
        """Let the layers be plain ones again."""
        for layer in adapted_layers(model):
            layer._modules.clear()
            for name in set(layer._parameters) - {"weight", "bias"}:
                del layer._parameters[name]
            for name in ("config", "scales_input", "_before_merging"):
                vars(layer).pop(name, None)
            layer.__class__ = nn.Linear  # type: ignore[assignment]


def adapted_layers(model: Any) -> list[AdaptedLinear]:
    """The layers of `model` that have an adapter."""
    return [module for module in model.modules() if isinstance(module, AdaptedLinear)]
