"""Optimizers, and the parameters with weight decay.

    optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=0.01), lr=5e-5)

Matrices, including embeddings, have weight decay; biases, and the weights of norms, which start at 1, have none
(Devlin et al., 2018, released code).
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

# Also by name, because a user's own norm need not be an nn.LayerNorm. `bias` may stand anywhere in the name: a table of
# relative position biases has no decay either.
WITHOUT_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)", re.IGNORECASE)


class OptimizerNames(StrEnum):
    """The names of the optimizers: those for which `transformers` needs no further package."""

    ADAMW_TORCH = "adamw_torch"
    ADAMW_TORCH_FUSED = "adamw_torch_fused"
    ADAFACTOR = "adafactor"
    SGD = "sgd"
    ADAGRAD = "adagrad"
    RMSPROP = "rmsprop"


# The options that `optim_args`, such as "momentum=0.9, nesterov=True", may set. Other optimizers have none.
OPTIONS: dict[OptimizerNames, dict[str, type]] = {
    OptimizerNames.SGD: {"momentum": float, "dampening": float, "nesterov": bool},
    OptimizerNames.ADAGRAD: {"lr_decay": float, "eps": float},
    OptimizerNames.RMSPROP: {"momentum": float, "alpha": float, "eps": float, "centered": bool},
}

BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def parameter_groups(
    model: nn.Module, weight_decay: float | int, decayed: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for a `torch.optim` optimizer: one with `weight_decay`, and one without.

    A shared parameter, such as a tied embedding, occurs once; parameters with `requires_grad=False` are left out. As in
    `transformers`, there are always both groups, even if one is empty, and the parameters are in the model's order.
    `decayed` are the names of the parameters in the first group, by default `decay_parameter_names(model)`.
    """
    decayed = decay_parameter_names(model) if decayed is None else decayed
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for name, parameter in trained if name in decayed], "weight_decay": weight_decay},
        {"params": [parameter for name, parameter in trained if name not in decayed], "weight_decay": 0.0},
    ]


def decay_parameter_names(model: nn.Module) -> set[str]:
    """The names of the parameters with weight decay: all except biases and the weights of norms."""
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
    """Create the optimizer of that name.

    Args:
        groups: parameter groups, see `parameter_groups`.
        name: one of `OptimizerNames`; both AdamWs (Loshchilov & Hutter, 2017, algorithm 2) compute the same, the fused
            one in one kernel.
        betas, eps: of AdamW; the others have PyTorch's defaults.
        optim_args: further options of "sgd", "adagrad" and "rmsprop" as text; see `OPTIONS`.
    """
    kind, options = optimizer_class(name, learning_rate=learning_rate, betas=betas, eps=eps, optim_args=optim_args)
    optimizer: Optimizer = kind(groups, **options)
    return optimizer


def optimizer_class(
    name: str | OptimizerNames,
    *,
    learning_rate: float | int,
    betas: tuple[float | int, float | int],
    eps: float | int,
    optim_args: str | None,
) -> tuple[Any, dict[str, Any]]:
    """The class of the optimizer of that name, and its arguments besides the parameters; see `create_optimizer`."""
    options: dict[str, Any] = {"lr": learning_rate, **read_options(name, optim_args)}
    match optimizer_name(name):
        case OptimizerNames.ADAMW_TORCH:
            return torch.optim.AdamW, {**options, "betas": betas, "eps": eps}
        case OptimizerNames.ADAMW_TORCH_FUSED:
            return torch.optim.AdamW, {**options, "betas": betas, "eps": eps, "fused": True}
        case OptimizerNames.ADAFACTOR:
            return Adafactor, {**options, "scale_parameter": False, "relative_step": False}
        case OptimizerNames.SGD:
            return torch.optim.SGD, options
        case OptimizerNames.ADAGRAD:
            return torch.optim.Adagrad, options
        case OptimizerNames.RMSPROP:
            return torch.optim.RMSprop, options


def read_options(name: str | OptimizerNames, optim_args: str | None) -> dict[str, Any]:
    """Parse the options of an optimizer, such as "momentum=0.9, nesterov=True".

    Raises:
        InputError: an unknown option, or a value that it cannot have.
    """
    known = OPTIONS.get(optimizer_name(name), {})
    options: dict[str, Any] = {}
    for pair in optim_args.replace(" ", "").split(",") if optim_args else ():
        key, _, text = pair.partition("=")
        if key == "weight_decay":
            raise InputError(f"optim_args={optim_args!r}: pass weight_decay={text} as a separate argument.")
        if key not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no options: leave optim_args out"
            raise InputError(
                f"optim_args={optim_args!r}: {name!s} has no option {key!r}; it {takes}.{nearest(key, known)}"
            )
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
            f"There is no optimizer {str(name)!r}: choose one of {', '.join(names)}, or create one from "
            f"`parameter_groups(model, weight_decay)`.{nearest(str(name), names)}"
        ) from None
