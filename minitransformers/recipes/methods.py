"""Which parameters a recipe trains: all, the head, or those of an adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from minitransformers.adapters import (
    AdapterConfig,
    BottleneckConfig,
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    add_adapter,
)
from minitransformers.adapters.attaching import head_names
from minitransformers.errors import InputError, UnknownNameError, nearest
from minitransformers.models.base.pretrained import PreTrainedModel

ModelType = TypeVar("ModelType", bound=PreTrainedModel)


class Method(NamedTuple):
    """How much is trained.

    Attributes:
        about: a line of help.
        learning_rate: at its highest, where a recipe does not say.
        adapter: makes the adapter's settings from a rank (for LoRA), its size (bottlenecks) or its length (prefixes).
        size: the rank, size or length where a recipe does not say.
    """

    about: str
    learning_rate: float
    adapter: Callable[[int], AdapterConfig] | None = None
    size: int = 8


def _lora(rank: int, **options: Any) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=2 * rank, **options)


METHODS: dict[str, Method] = {
    "full": Method("all parameters", 1e-4),
    "head": Method("only the head, on a frozen model", 5e-3),
    "lora": Method("low-rank changes of the attention's matrices", 2e-3, _lora),
    "dora": Method("LoRA with the size of each row apart", 2e-3, lambda size: _lora(size, use_dora=True)),
    "ia3": Method("factors for keys, values and feed-forward layers", 1e-2, lambda size: IA3Config()),
    "bottleneck": Method(
        "small layers behind the sub-layers", 1e-3, lambda size: BottleneckConfig(bottleneck_size=size), 16
    ),
    "prefix": Method(
        "keys and values before the text in each layer",
        1e-2,
        lambda size: PrefixTuningConfig(num_virtual_tokens=size),
        10,
    ),
    "prompt": Method("vectors before the text", 3e-2, lambda size: PromptTuningConfig(num_virtual_tokens=size), 10),
}
"""By the name that a recipe gives. The rates are starting points that did well with MiniLM on a few thousand texts."""


def choose_parameters(model: ModelType, method: str, size: int | None = None) -> ModelType:
    """Freeze what `method` does not train, and add its adapter; the model is changed in place.

    Args:
        method: a name of `METHODS`.
        size: rank, bottleneck size, or number of virtual tokens.

    Raises:
        UnknownNameError: there is no such method.
        InputError: "head" for a model whose head is its vocabulary, or that has none.
    """
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise UnknownNameError(f"method={method!r} is not one of {known}.{nearest(method, METHODS)}")
    chosen = METHODS[method]
    if chosen.adapter is not None:
        return add_adapter(model, chosen.adapter(chosen.size if size is None else size))
    if method == "head":
        heads = tuple(f"{name}." for name in head_names(model))
        if not heads:
            raise InputError(f"method='head': {type(model).__name__} has no head of its own; choose 'full' or 'lora'.")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(heads))
    return model
