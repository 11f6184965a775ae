"""Settings: how a run trains. Plain numbers, so that they can be compared and written down."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minitransformers.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How `train` trains; what belongs to optimizer, schedule and data is set there.

    Attributes:
        steps: how many steps of the optimizer to take in all.
        epochs: how often to go through the data in all. One of the two must be given; with both, what comes first ends
            the run.
        accumulation: how many batches of the data make up one step (micro-batches). Memory is that of one of them;
            loss and gradient are those of all of them in one.
        max_grad_norm: gradients are scaled down to this norm where they exceed it; None never scales.
        precision: "fp32", or "bf16" or "fp16" for matrix products in half precision (autocast; weights stay as they
            are). "fp16" scales the loss, so that small gradients do not vanish.
        gradient_checkpointing: keep only the blocks' inputs, and compute the rest anew in the backward pass.
        compile: run the model through `torch.compile`; True, or the name of one of its backends.
        on_nan: what to do when the loss is not finite: "stop" with an error, or "skip" the step.
        log_every: steps from one record to the next, which has the mean loss since the last; None for none.
        evaluate_every: steps from one evaluation to the next; None for none.
        save_every: steps from one checkpoint to the next; None for none but the last.
        output_dir: where checkpoints go, as `checkpoint-<step>`; None for none.
        keep: how many checkpoints to keep, the best one not counted; None keeps all.
        save_only_model: leave the optimizer's state out of checkpoints. They are smaller; no run can go on from them.
        resume: go on from the newest usable checkpoint in `output_dir`, if there is one (True), or from the directory
            of one checkpoint. False begins anew.
        metric: what `evaluate` returns that tells how good the model is, by default its loss;
            `greater_is_better` says which way.
        keep_best: save the model whenever `metric` is better than ever, and never remove the best checkpoint.
        patience: end the run when `metric` has not been better than ever for so many evaluations in a row.
        min_improvement: by how much `metric` must change to be better.
        show_progress: a bar with loss, tokens per second and time left, on the main process.
    """

    steps: int | None = None
    epochs: int | None = None
    accumulation: int = 1
    max_grad_norm: float | None = 1.0
    precision: str = "fp32"
    gradient_checkpointing: bool = False
    compile: bool | str = False
    on_nan: str = "stop"
    log_every: int | None = 1
    evaluate_every: int | None = None
    save_every: int | None = None
    output_dir: str | Path | None = None
    keep: int | None = 2
    save_only_model: bool = False
    resume: bool | str | Path = True
    metric: str = "loss"
    greater_is_better: bool = False
    keep_best: bool = False
    patience: int | None = None
    min_improvement: float = 0.0
    show_progress: bool = False

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None:
            raise InputError("Settings needs steps=… or epochs=…: how long shall the run be?")
        counts = ("accumulation", "log_every", "evaluate_every", "save_every", "keep", "patience")
        for name, least in [("steps", 0), ("epochs", 0), *((name, 1) for name in counts)]:
            value = getattr(self, name)
            if value is None and name != "accumulation":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{name}={value!r} must be a whole number of at least {least}.")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise InputError(f"max_grad_norm={self.max_grad_norm!r} must be above 0, or None for no clipping.")
        if not self.min_improvement >= 0:
            raise InputError(f"min_improvement={self.min_improvement!r} must be at least 0.")
        for name, known in [("precision", ("fp32", "bf16", "fp16")), ("on_nan", ("stop", "skip"))]:
            if getattr(self, name) not in known:
                raise InputError(f"{name}={getattr(self, name)!r} must be one of {', '.join(map(repr, known))}.")
        if self.output_dir is None and (self.save_every is not None or self.keep_best):
            raise InputError("save_every and keep_best need output_dir=…: where shall the checkpoints go?")

    def as_dict(self) -> dict[str, Any]:
        """All fields, paths as text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
