"""Muon beside AdamW: momentum made orthogonal for the matrices of blocks, AdamW for all other parameters.

    optimizer = MuonWithAdamW(muon_groups(model, weight_decay=0.1), lr=3e-4)
    Trainer(…, optimizers=(optimizer, None))

Muon is PyTorch's (Jordan et al., 2024). Its learning rate is adjusted to the size of AdamW's steps (Liu et al., 2025,
"Muon is scalable for LLM training", §2.2), so one learning rate and weight decay serve both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from minitransformers.errors import InputError
from minitransformers.training.loop.optimizers import decay_parameter_names


def muon_groups(model: nn.Module, weight_decay: float | int = 0.1) -> list[dict[str, Any]]:
    """Parameter groups for `MuonWithAdamW`: matrices of blocks with Muon; with AdamW all others.

    Muon is for weights of linear layers. Embeddings, whatever stands outside of the backbone (heads), biases and norms
    are AdamW's, as Jordan et al. recommend. A parameter that is tied to an embedding is an embedding. Frozen ones are
    left out.

    Args:
        model: its backbone is `model.base_model`; of a module without one, all of it but `get_output_embeddings()`.
        weight_decay: of both; biases and the weights of norms have none.

    Raises:
        InputError: a model without a trained matrix in its backbone.
    """
    matrices = _matrices_of_blocks(model)
    decayed = decay_parameter_names(model)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    others = [(name, parameter) for name, parameter in trained if id(parameter) not in matrices]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for _, parameter in trained if id(parameter) in matrices], "kind": "muon"},
        {"params": [parameter for name, parameter in others if name in decayed], "kind": "adamw"},
        {"params": [parameter for name, parameter in others if name not in decayed], "kind": "adamw"},
    ]
    if not groups[0]["params"]:
        raise InputError(
            f"{type(model).__name__} has no trained weight of a linear layer in its backbone, which Muon could train: "
            "take AdamW."
        )
    for group, decay in zip(groups, (weight_decay, weight_decay, 0.0), strict=True):
        group["weight_decay"] = decay
    return groups


class MuonWithAdamW(Optimizer):
    """One optimizer of two: groups of the `kind` "muon" are trained by `torch.optim.Muon`, others by AdamW.

    State, groups and schedules are those of any optimizer, so checkpoints and the Trainer need to know nothing of it.

    Args:
        groups: see `muon_groups`.
        lr: the learning rate of both.
        momentum, nesterov, ns_steps: of Muon.
        betas, eps: of AdamW.

    Raises:
        InputError: a group without a kind, or with another; a parameter for Muon that is no matrix.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float | int = 3e-4,
        *,
        momentum: float | int = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float | int, float | int] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        of_kind: dict[str, list[dict[str, Any]]] = {"muon": [], "adamw": []}
        for number, group in enumerate(groups):
            if not isinstance(group, dict) or group.get("kind") not in of_kind:
                raise InputError(
                    f"Group {number} needs a kind, 'muon' or 'adamw': make groups with muon_groups(model)."
                )
            if group["kind"] == "muon" and (shapes := [tuple(one.shape) for one in group["params"] if one.ndim != 2]):
                raise InputError(f"Group {number} is for Muon, which trains matrices; it has shapes {shapes}.")
            of_kind[group["kind"]].append(group)
        if not of_kind["muon"] or not of_kind["adamw"]:
            raise InputError("groups must have both kinds, 'muon' and 'adamw': make them with muon_groups(model).")
        self._inner: dict[str, Optimizer] = {
            "muon": torch.optim.Muon(
                of_kind["muon"],
                lr=lr,
                momentum=momentum,
                nesterov=nesterov,
                ns_steps=ns_steps,
                adjust_lr_fn="match_rms_adamw",
            ),
            "adamw": torch.optim.AdamW(of_kind["adamw"], lr=lr, betas=betas, eps=eps),
        }
        super().__init__([group for inner in self._inner.values() for group in inner.param_groups], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for kind, inner in self._inner.items():
            # Loading a state replaces groups and state, so both are handed over at each step.
            inner.param_groups = [group for group in self.param_groups if group["kind"] == kind]
            inner.state = self.state
            inner.step()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_inner": self._inner}  # for copies; checkpoints take state_dict()


def _matrices_of_blocks(model: nn.Module) -> set[int]:
    """The ids of the weights of linear layers in the backbone, none of which is tied to an embedding."""
    get_output = getattr(model, "get_output_embeddings", None)
    excluded = [get_output()] if get_output is not None else []
    excluded += [module for module in model.modules() if isinstance(module, nn.Embedding)]
    tables = {id(module.weight) for module in excluded if isinstance(module, (nn.Embedding, nn.Linear))}
    backbone = getattr(model, "base_model", model)
    linear = (module for module in backbone.modules() if isinstance(module, nn.Linear))
    return {id(module.weight) for module in linear} - tables
