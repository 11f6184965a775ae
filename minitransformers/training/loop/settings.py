"""Settings of the training loop: plain values, which checkpoints store and compare."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minitransformers.configs.checks import check_choice, check_count, check_number, check_positive
from minitransformers.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `train`; the optimizer, the schedule and the data have settings of their own.

    Attributes:
        steps: number of optimizer steps.
        epochs: number of passes over the data. One of `steps` and `epochs` is required; with both, the run ends at the
            limit that it reaches first.
        accumulation: number of batches of the data (micro-batches) in one step. They need the memory of one batch, and
            give the loss and gradient of all of them in one batch.
        max_grad_norm: gradients with a larger norm are scaled down to this norm; None never scales.
        precision: "fp32", or "bf16" or "fp16" for matrix products in half precision (autocast; the weights keep their
            type). "fp16" also scales the loss, because small gradients would round to 0.
        gradient_checkpointing: keep only the inputs of the blocks, and recompute the rest in the backward pass.
        compile: run the model through `torch.compile`; True, or the name of a backend.
        on_nan: action for a loss or a gradient that is not finite: "stop" with an error, or "skip" the step.
        log_every: steps between records of the mean loss; None for no records.
        evaluate_every: steps between evaluations; None for no evaluations.
        save_every: steps between checkpoints; None for a checkpoint at the end only.
        output_dir: directory of the checkpoints, `checkpoint-<step>`; None for no checkpoints.
        keep: number of checkpoints to keep, without the best one; None keeps all.
        save_only_model: leave the optimizer's state out of checkpoints. They are smaller, but no run can resume from
            them.
        async_save: let a thread write checkpoints while the training goes on. It needs memory for a copy of weights and
            optimizer state; not for sharded models.
        owns_output_dir: refuse to run while another run uses `output_dir`, and write a checkpoint after SIGTERM.
        resume: resume from the newest usable checkpoint in `output_dir`, if there is one (True), or from the directory
            of one checkpoint. False starts from the beginning.
        metric: the metric of `evaluate` that decides which model is best; see `greater_is_better`.
        keep_best: save the model whenever `metric` improves, and never remove the best checkpoint.
        patience: end the run after this many evaluations in a row without a better `metric`.
        min_improvement: the smallest change of `metric` that counts as better.
        show_progress: show a progress bar with loss, tokens per second and remaining time, on the main process.
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
    async_save: bool = False
    owns_output_dir: bool = True
    resume: bool | str | Path = True
    metric: str = "loss"
    greater_is_better: bool = False
    keep_best: bool = False
    patience: int | None = None
    min_improvement: float = 0.0
    show_progress: bool = False

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None:
            raise InputError("Settings needs steps=… or epochs=…, the length of the run.")
        counts = ("accumulation", "log_every", "evaluate_every", "save_every", "keep", "patience")
        for name, least in [("steps", 0), ("epochs", 0), *((name, 1) for name in counts)]:
            if getattr(self, name) is not None or name == "accumulation":
                check_count(name, getattr(self, name), least=least)
        if self.max_grad_norm is not None:
            check_positive("max_grad_norm", self.max_grad_norm, otherwise=", or None for no clipping")
        check_number("min_improvement", self.min_improvement, least=0)
        check_choice("precision", self.precision, ("fp32", "bf16", "fp16"))
        check_choice("on_nan", self.on_nan, ("stop", "skip"))
        if self.output_dir is None and (self.save_every is not None or self.keep_best):
            raise InputError("save_every and keep_best need output_dir=…, the directory of the checkpoints.")

    @property
    def is_guarded(self) -> bool:
        """Whether the run holds the lock of its output directory."""
        return self.owns_output_dir and self.output_dir is not None

    def as_dict(self) -> dict[str, Any]:
        """All fields, with paths as strings."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
