"""Adafactor: an adaptive optimizer with little more memory than SGD (Shazeer & Stern, 2018).

    Adafactor(model.parameters(), lr=1e-3, scale_parameter=False, relative_step=False)  # an ordinary learning rate
    Adafactor(model.parameters(), warmup_init=True)  # the paper's rate, from the step and the size of the weights

Adam keeps a mean of the squared gradients of every weight. For a matrix with n rows and m columns, Adafactor keeps the
means over its rows and over its columns: n + m numbers in place of n·m. Arguments and results are those of
`transformers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minitransformers.errors import InputError

HALF = (torch.float16, torch.bfloat16)


class Adafactor(Optimizer):
    r"""The update of a weight X with gradient G at step t (algorithms 4 and 5, with the values of algorithm 6):

        ρ = min(10⁻², 1/√t)                    the relative step size, or `lr`
        α = max(ε₂, RMS(X)) ρ                  the step size
        β₂ = 1 − t^decay_rate
        R = β₂ R + (1 − β₂) (G² + ε₁) 1ₘ/m     means of rows
        C = β₂ C + (1 − β₂) 1ₙᵀ (G² + ε₁)/n    means of columns
        V = R C / mean(R)                      for a vector, V = β₂ V + (1 − β₂) (G² + ε₁)
        U = G / √V
        Û = U / max(1, RMS(U) / d)
        X = X − α Û

    A tensor with more dimensions is a batch of matrices, in its last two dimensions. State and updates of
    half-precision weights are computed in float32.

    Args:
        params: parameters, or parameter groups, which may have settings of their own.
        lr: the learning rate if `relative_step` is False.
        eps: ε₁ and ε₂.
        clip_threshold: d.
        decay_rate: negative; the mean of squares covers more steps as training advances (§7.2).
        beta1: decay of a running mean over updates; None keeps no running mean, and saves its memory.
        weight_decay: each step subtracts this fraction of the weights, times the step size.
        scale_parameter: whether α is relative to the size of the weights; otherwise α = ρ.
        relative_step: whether ρ depends on the step.
        warmup_init: whether ρ = min(10⁻⁶ t, 1/√t), which starts small.

    Raises:
        InputError: an invalid value, or sharded parameters.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | int | None = None,
        eps: tuple[float | int, float | int] = (1e-30, 1e-3),
        clip_threshold: float | int = 1.0,
        decay_rate: float | int = -0.8,
        beta1: float | int | None = None,
        weight_decay: float | int = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "eps": eps,
            "clip_threshold": clip_threshold,
            "decay_rate": decay_rate,
            "beta1": beta1,
            "weight_decay": weight_decay,
            "scale_parameter": scale_parameter,
            "relative_step": relative_step,
            "warmup_init": warmup_init,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which may have settings of its own."""
        super().add_param_group(param_group)
        _check(self.param_groups[-1])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all weights that have a gradient; `closure` recomputes the gradients and returns the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: Tensor, group: dict[str, Any]) -> None:
        if weight.grad is None or weight.grad.is_sparse:
            raise InputError("Adafactor needs dense gradients: leave sparse=True of nn.Embedding out.")
        is_half = weight.dtype in HALF
        x, gradient = (weight.float(), weight.grad.float()) if is_half else (weight, weight.grad)
        state = self.state[weight] or self._begin(weight, gradient, group)
        state["step"] += 1
        state["RMS"] = _rms(x)
        alpha = step_size(group, state)
        beta2 = 1 - math.pow(state["step"], group["decay_rate"])

        squares = gradient**2 + group["eps"][0]
        if gradient.ndim >= 2:
            rows, columns = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
            rows.mul_(beta2).add_(squares.mean(dim=-1), alpha=1 - beta2)
            columns.mul_(beta2).add_(squares.mean(dim=-2), alpha=1 - beta2)
            # 1/√V as a product of two factors: the entries of V may underflow.
            update = (rows / rows.mean(dim=-1, keepdim=True)).rsqrt()[..., :, None] * columns.rsqrt()[..., None, :]
        else:
            update = state["exp_avg_sq"].mul_(beta2).add_(squares, alpha=1 - beta2).rsqrt()
        update = update.mul_(gradient)
        update = update.div_((_rms(update) / group["clip_threshold"]).clamp_(min=1)).mul_(alpha)
        if group["beta1"] is not None:
            update = state["exp_avg"].mul_(group["beta1"]).add_(update, alpha=1 - group["beta1"])
        if group["weight_decay"]:
            x.add_(x, alpha=float(-group["weight_decay"] * alpha))
        x.sub_(update)
        if is_half:
            weight.copy_(x)

    def _begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """The state before the first step."""
        state: dict[str, Any] = self.state[weight]
        state["step"] = 0
        if group["beta1"] is not None:
            state["exp_avg"] = torch.zeros_like(gradient)
        if gradient.ndim >= 2:
            *others, rows, columns = gradient.shape
            state["exp_avg_sq_row"] = gradient.new_zeros(*others, rows)
            state["exp_avg_sq_col"] = gradient.new_zeros(*others, columns)
        else:
            state["exp_avg_sq"] = torch.zeros_like(gradient)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state exactly; torch would round the state of half-precision weights to their type."""
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for number, weight in zip(numbers, weights, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                if isinstance(value, Tensor):
                    self.state[weight][name] = value.to(weight.device, copy=True)


class AdafactorSchedule(LambdaLR):
    """A schedule that reports Adafactor's own step sizes, in each group that of the first weight.

    Args:
        optimizer: an Adafactor.
        initial_lr: the value before the first step.
    """

    def __init__(self, optimizer: Optimizer, initial_lr: float | int = 0.0) -> None:
        if not isinstance(optimizer, Adafactor):
            raise InputError(f"AdafactorSchedule reads the steps of an Adafactor, not of {type(optimizer).__name__}.")
        for group in optimizer.param_groups:
            group["initial_lr"] = initial_lr
        super().__init__(optimizer, lambda _: 1.0)
        for group in optimizer.param_groups:
            del group["initial_lr"]

    def get_lr(self) -> list[Any]:
        """The current step sizes."""
        pairs = zip(self.optimizer.param_groups, self.base_lrs, strict=True)
        return [_last_step_size(self.optimizer, group, initial) for group, initial in pairs]


def get_adafactor_schedule(optimizer: Optimizer, initial_lr: float | int = 0.0) -> AdafactorSchedule:
    """Create an `AdafactorSchedule`."""
    return AdafactorSchedule(optimizer, initial_lr)


def step_size(group: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
    """α of the weight with that state."""
    rho = group["lr"]
    if group["relative_step"]:
        rho = min(1e-6 * state["step"] if group["warmup_init"] else 1e-2, 1 / math.sqrt(state["step"]))
    return max(group["eps"][1], state["RMS"]) * rho if group["scale_parameter"] else rho


def _last_step_size(optimizer: Optimizer, group: Mapping[str, Any], otherwise: Any) -> Any:
    state = optimizer.state.get(group["params"][0]) if group["params"] else None
    return float(step_size(group, state)) if state else otherwise


def _rms(x: Tensor) -> Tensor:
    rms: Tensor = x.norm(2) / x.numel() ** 0.5
    return rms


def _check(group: Mapping[str, Any]) -> None:
    """Check the settings of a group."""
    lr, relative = group["lr"], group["relative_step"]
    if lr is not None and relative:
        raise InputError(f"lr={lr!r} has no effect with relative_step=True: leave lr out, or set relative_step=False.")
    if lr is None and not relative:
        raise InputError("lr=None needs relative_step=True: pass lr, such as lr=1e-3.")
    if group["warmup_init"] and not relative:
        raise InputError("warmup_init=True needs relative_step=True: a schedule can warm lr up.")
    eps = group["eps"]
    if not (isinstance(eps, tuple | list) and len(eps) == 2 and all(each >= 0 for each in eps)):
        raise InputError(f"eps={eps!r} must be two numbers of at least 0: ε₁ and ε₂.")
    for name, is_valid, expected in (
        ("lr", lr is None or lr >= 0, "of at least 0"),
        ("clip_threshold", group["clip_threshold"] > 0, "above 0"),
        ("decay_rate", group["decay_rate"] <= 0, "of at most 0, such as -0.8"),
        ("beta1", group["beta1"] is None or 0 <= group["beta1"] < 1, "from 0 to below 1, or None"),
        ("weight_decay", group["weight_decay"] >= 0, "of at least 0"),
    ):
        if not is_valid:
            raise InputError(f"{name}={group[name]!r} must be a number {expected}.")
    if any(hasattr(weight, "placements") for weight in group["params"]):  # DTensor, as FSDP2 makes
        raise InputError(
            "Adafactor cannot train sharded parameters, because it needs the means of whole rows and columns: use "
            "parallelize(model, 'ddp'), or another optimizer, such as torch.optim.AdamW."
        )
