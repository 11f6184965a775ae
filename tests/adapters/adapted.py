"""Tiny models with adapters, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minitransformers.adapters import (
    AdapterConfig,
    BottleneckConfig,
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    add_adapter,
)
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import CLASSES

LINEAR: dict[str, Callable[[], AdapterConfig]] = {
    "lora": lambda: LoraConfig(r=2, lora_alpha=3),
    "lora-all": lambda: LoraConfig(r=2, lora_alpha=3, target_modules="all-linear"),
    "rslora": lambda: LoraConfig(r=2, use_rslora=True),
    "dora": lambda: LoraConfig(r=2, use_dora=True),
    "ia3": IA3Config,
}
BOTTLENECKS: dict[str, Callable[[], AdapterConfig]] = {
    "houlsby": lambda: BottleneckConfig(bottleneck_size=3, non_linearity="gelu"),  # of which no unit is dead
    "pfeiffer": lambda: BottleneckConfig(bottleneck_size=3, placement="pfeiffer"),
}
VIRTUAL: dict[str, Callable[[], AdapterConfig]] = {
    "prefix": lambda: PrefixTuningConfig(num_virtual_tokens=3),
    "prefix-mlp": lambda: PrefixTuningConfig(num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=5),
    "prompt": lambda: PromptTuningConfig(num_virtual_tokens=3),
}
METHODS = {**LINEAR, **BOTTLENECKS, **VIRTUAL}

# A classifier or, in families without one, the model of language or of images
ONE_OF_EACH_FAMILY = list({model.config_class: model for model in CLASSES if "ForToken" not in model.__name__}.values())
HAVE_NO_CACHE = ("Albert", "DistilBert", "ModernBert", "OpenAIGPT", "ViT", "Dinov2", "T5Encoder", "T5ForToken")


def can_have(model_class: Any, method: str) -> bool:
    """Whether the family can have an adapter of the method."""
    if method.startswith("prefix"):
        return not model_class.__name__.startswith(HAVE_NO_CACHE)
    return method != "prompt" or "input_ids" in model_class._forward_arguments


def adapted(model_class: Any, method: str, *, seed: int = 1, **options: Any) -> Any:
    """A tiny model with an adapter whose weights are drawn."""
    model = add_adapter(tiny_model(model_class, **options), METHODS[method]())
    return draw_adapter(model, seed)


@torch.no_grad()
def draw_adapter(model: Any, seed: int) -> Any:
    """Give every trained parameter a random value."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@torch.no_grad()
def outputs(model: Any, **options: Any) -> dict[str, Tensor]:
    """All tensors of the output for a batch with padding and labels."""
    output = model(**example_batch(model, **options))
    return {name: value for name, value in output.items() if isinstance(value, Tensor)}
