"""Optimizers, and which parameters they pull towards 0.

    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=0.01), lr=5e-5)

Weight decay is for the matrices: biases, and the weights of norms, which start at 1, have none (Devlin et al., 2018,
released code). Embeddings are matrices too.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from minitransformers.errors import InputError, nearest
from minitransformers.training.loop.adafactor import Adafactor

# Also by name: norms that people write themselves are no nn.LayerNorm. `bias` is anywhere in the name, so that a
# table of relative position biases counts as biases.
WITHOUT_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)


class OptimizerNames(StrEnum):
    """The optimizers by name: those for which `transformers` needs no further package."""

    ADAMW_TORCH = "adamw_torch"
    ADAMW_TORCH_FUSED = "adamw_torch_fused"
    ADAFACTOR = "adafactor"
    SGD = "sgd"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"


# What may be said of them in a text, "momentum=0.9, nesterov=True"; of the others nothing.
OPTIONS: dict[OptimizerNames, dict[str, type]] = {
    OptimizerNames.SGD: {"momentum": float, "dampening": float, "nesterov": bool},
    OptimizerNames.ADAGRAD: {"lr_decay": float, "eps": float},
    OptimizerNames.RMSPROP: {"momentum": float, "alpha": float, "eps": float, "centered": bool},
}

BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parameter_groups(
    model: nn.Module, weight_decay: float | int, decayed: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """What a `torch.optim` optimizer takes: a group with `weight_decay`, and one without.

    A parameter that is shared, such as a tied embedding, is in them once; one with `requires_grad=False` is not. As in
    `transformers`, both groups are there even if empty, and the parameters stand in the model's order. `decayed` are
    the names of those in the first group, by default `decay_parameter_names(model)`.
    """
    decayed = decay_parameter_names(model) if decayed is None else decayed
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for name, parameter in trained if name in decayed], "weight_decay": weight_decay},
        {"params": [parameter for name, parameter in trained if name not in decayed], "weight_decay": 0.0},
    ]


def decay_parameter_names(model: nn.Module) -> set[str]:
    """The names of the parameters that are pulled towards 0: all but biases and the weights of norms."""
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    return {
        name
        for name, _ in model.named_parameters()
        if not WITHOUT_DECAY.search(name) and name.rpartition(".")[0] not in norms
    }


def create_optimizer(
    groups: list[dict[str, Any]],
    name: str | OptimizerNames = "adamw_torch_fused",
    *,
    learning_rate: float | int = 5e-5,
    betas: tuple[float | int, float | int] = (0.9, 0.999),
    eps: float | int = 1e-8,
    optim_args: str | None = None,
) -> Optimizer:
    """The optimizer of that name.

    Args:
        groups: what `parameter_groups` gives.
        name: one of `OptimizerNames`; both AdamWs (Loshchilov & Hutter, 2017, algorithm 2) compute the same, the fused
            one in one kernel.
        betas, eps: AdamW's; the others have PyTorch's defaults.
        optim_args: what else there is to say of "sgd", "adagrad" and "rmsprop"; see `OPTIONS`.
    """
    options = read_options(name, optim_args)
    match optimizer_name(name):
        case OptimizerNames.ADAMW_TORCH:
            return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=eps)
        case OptimizerNames.ADAMW_TORCH_FUSED:
            return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=True)
        case OptimizerNames.ADAFACTOR:
            return Adafactor(groups, lr=learning_rate, scale_parameter=False, relative_step=False)
        case OptimizerNames.SGD:
            return torch.optim.SGD(groups, lr=learning_rate, **options)
        case OptimizerNames.ADAGRAD:
            return torch.optim.Adagrad(groups, lr=learning_rate, **options)
        case OptimizerNames.RMSPROP:
            return torch.optim.RMSprop(groups, lr=learning_rate, **options)


def read_options(name: str | OptimizerNames, optim_args: str | None) -> dict[str, Any]:
    """The arguments that a text such as "momentum=0.9, nesterov=True" has for the optimizer of that name.

    Raises:
        InputError: it has no such argument, or the argument no such value.
    """
    known = OPTIONS.get(optimizer_name(name), {})
    options: dict[str, Any] = {}
    for pair in optim_args.replace(" ", "").split(",") if optim_args else ():
        key, _, text = pair.partition("=")
        if key == "weight_decay":
            raise InputError(f"optim_args={optim_args!r}: weight_decay is an argument of its own, weight_decay={text}.")
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none: leave optim_args out"
            raise InputError(f"optim_args={optim_args!r}: {name!s} has no {key!r}; it {takes}.{nearest(key, known)}")
        try:
            options[key] = BOOLEANS[text.lower()] if known[key] is bool else float(text)
        except (KeyError, ValueError):
            expected = "True or False" if known[key] is bool else "a number"
            raise InputError(f"optim_args={optim_args!r}: {key} must be {expected}, not {text!r}.") from None
    return options


def optimizer_name(name: str | OptimizerNames) -> OptimizerNames:
    """The optimizer's name as an `OptimizerNames`."""
    try:
        return OptimizerNames(name)
    except ValueError:
        names = [kind.value for kind in OptimizerNames]
        raise InputError(
            f"There is no optimizer {str(name)!r} here: choose one of {', '.join(names)}, or make one of "
            f"`parameter_groups(model, weight_decay)`.{nearest(str(name), names)}"
        ) from None
