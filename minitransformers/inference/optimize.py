"""`model.optimize()`: put the fast paths into a model, and take them out again."""

from __future__ import annotations

import inspect
import logging
from collections import Counter

import torch
from torch import nn

from minitransformers.errors import InputError, nearest, warn
from minitransformers.inference.linear import FastLinear, Int8Linear, can_pack, can_quantize
from minitransformers.inference.unpadding import encoder_stacks, pad_again, unpad

logger = logging.getLogger(__name__)

KINDS: dict[str, type[FastLinear]] = {"float32": FastLinear, "int8": Int8Linear}


def optimize(model: nn.Module, weights: str = "float32", *, unpadded: bool = True) -> nn.Module:
    """Make a model faster on a CPU, in place; see `PreTrainedModel.optimize`."""
    if weights not in KINDS:
        raise InputError(f"weights={weights!r} must be one of {list(KINDS)}.{nearest(weights, KINDS)}")
    undo_optimize(model)
    reason = _why_not(model, weights)
    if reason is not None:
        warn(f"The linear layers of {type(model).__name__} stay as they are: {reason}.")
    else:
        _change_linear_layers(model, KINDS[weights])
    stacks = list(encoder_stacks(model)) if unpadded and not _compares_positions(model) else []
    for stack in stacks:
        stack._unpadding_hooks = [stack.register_forward_pre_hook(unpad), stack.register_forward_hook(pad_again)]  # type: ignore[assignment]
    return model


def undo_optimize(model: nn.Module) -> nn.Module:
    """Take out what `optimize` has put in."""
    for module in model.modules():
        if isinstance(module, FastLinear):
            module.forget_copies()
            module.__class__ = nn.Linear  # type: ignore[assignment]
        for hook in vars(module).pop("_unpadding_hooks", ()):
            hook.remove()
    return model


def _change_linear_layers(model: nn.Module, kind: type[FastLinear]) -> None:
    kept: Counter[str] = Counter()
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = kind
        elif isinstance(module, nn.Linear):
            kept[type(module).__name__] += 1
    for name, count in kept.items():
        logger.info("%d layers of the class %s stay as they are: only nn.Linear itself has a fast form.", count, name)


def _compares_positions(model: nn.Module) -> bool:
    """Whether a head normalizes over all positions, padding included: that of question answering."""
    return "start_positions" in inspect.signature(model.forward).parameters


def _why_not(model: nn.Module, weights: str) -> str | None:
    parameter = next((each for each in model.parameters() if each.is_floating_point()), None)
    if parameter is None or not any(type(module) is nn.Linear for module in model.modules()):
        return "there is no nn.Linear in it"
    if parameter.device.type != "cpu":
        return f"the model is on {parameter.device}, whose own kernels are the fast ones"
    if parameter.dtype != torch.float32:
        return f"its weights are {parameter.dtype}; the fast forms are for float32 (model.float())"
    if weights == "int8" and not can_quantize():
        return "this PyTorch has no 8-bit kernels for this CPU"
    if weights == "float32" and not can_pack():
        return "this PyTorch is built without oneDNN"
    return None
