"""Gradient checkpointing: keep only the inputs of blocks, and compute the rest again in the backward pass.

It trades a second forward pass for memory (Chen et al., 2016).
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from minitransformers.configs.checks import refuse_unknown
from minitransformers.errors import InputError

CHECKPOINTING_OPTIONS = (
    "use_reentrant",
    "preserve_rng_state",
    "context_fn",
    "determinism_check",
    "debug",
    "early_stop",
)


class GradientCheckpointingLayer(nn.Module):
    """The base of blocks: runs `forward` under `torch.utils.checkpoint` while training, where that is on."""

    gradient_checkpointing = False
    checkpointing_options: dict[str, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the block."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(super().__call__, *args, **self.checkpointing_options, **kwargs)
        return super().__call__(*args, **kwargs)


class Checkpointing(nn.Module):
    """Turning it on and off, a base of `PreTrainedModel`."""

    supports_gradient_checkpointing = True

    @property
    def is_gradient_checkpointing(self) -> bool:
        """The former name of `is_activation_checkpointing`; deprecated as in transformers."""
        warnings.warn(
            "`is_gradient_checkpointing` is deprecated and will be removed in v6. Use `is_activation_checkpointing`.",
            FutureWarning,
            stacklevel=2,
        )
        return self.is_activation_checkpointing

    @property
    def is_activation_checkpointing(self) -> bool:
        """Whether any block is computed again in the backward pass."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """While training, keep only the blocks' inputs and compute the rest again in the backward pass.

        Args:
            gradient_checkpointing_kwargs: passed to `torch.utils.checkpoint.checkpoint`; default
                `{"use_reentrant": False}`.

        Raises:
            InputError: `use_reentrant` is not False.
            UnknownArgumentError: an entry that `checkpoint` does not have.
        """
        options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        refuse_unknown("gradient_checkpointing_kwargs", options, CHECKPOINTING_OPTIONS)
        if options["use_reentrant"] is not False:
            raise InputError(
                f"gradient_checkpointing_kwargs has use_reentrant={options['use_reentrant']!r}, but blocks take "
                f"arguments by name, which that variant does not support: leave it out, or pass False. The gradients "
                f"are the same."
            )
        for layer in self._checkpointing_layers():
            layer.checkpointing_options = options
            layer.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep everything that the backward pass needs (the default)."""
        for layer in self._checkpointing_layers():
            layer.gradient_checkpointing = False

    def _checkpointing_layers(self) -> list[GradientCheckpointingLayer]:
        return [module for module in self.modules() if isinstance(module, GradientCheckpointingLayer)]
