"""Functions of `transformers.trainer_utils` and `trainer_pt_utils` about checkpoints and models on the disk."""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from minitransformers.training.loop.checkpoint_directories import remove_checkpoint


def sort_checkpoints(
    output_dir: str | os.PathLike[str],
    checkpoint_prefix: str = "checkpoint",
    use_mtime: bool = False,
    best_model_checkpoint: str | os.PathLike[str] | None = None,
) -> list[str]:
    """The checkpoints in a directory, the one of the first step first.

    Args:
        output_dir: the directory.
        checkpoint_prefix: of their names, before "-" and the step.
        use_mtime: order them by the time of writing.
        best_model_checkpoint: is moved to the place before the last one.
    """
    found = []
    for path in Path(output_dir).glob(f"{checkpoint_prefix}-*"):
        step = path.name.removeprefix(f"{checkpoint_prefix}-")
        if path.is_dir() and step.isdecimal():
            found.append((path.stat().st_mtime if use_mtime else 0.0, int(step), str(path)))
    paths = [path for *_, path in sorted(found)]
    best = None if best_model_checkpoint is None else str(Path(best_model_checkpoint))
    if best in paths[:-1]:
        paths.remove(best)
        paths.insert(len(paths) - 1, best)
    return paths


def rotate_checkpoints(
    output_dir: str | os.PathLike[str],
    save_total_limit: int | None = None,
    best_model_checkpoint: str | os.PathLike[str] | None = None,
    use_mtime: bool = False,
    checkpoint_prefix: str = "checkpoint",
) -> None:
    """Remove the oldest checkpoints beyond `save_total_limit`, but neither the best nor the latest.

    Args:
        save_total_limit: how many to keep; None or 0 keeps all.
        others: see `sort_checkpoints`.
    """
    paths = sort_checkpoints(output_dir, checkpoint_prefix, use_mtime)
    if not save_total_limit or not paths:
        return
    kept = {paths[-1], *([] if best_model_checkpoint is None else [str(Path(best_model_checkpoint))])}
    number = len(paths) - max(save_total_limit, len(kept & {*paths}))
    for path in [path for path in paths if path not in kept][: max(0, number)]:
        remove_checkpoint(Path(path))


# ---- models ----------------------------------------------------------------------------------------------------------


def get_model_param_count(model: nn.Module, trainable_only: bool = False) -> int:
    """The number of parameters, or of those that require a gradient."""
    return sum(each.numel() for each in model.parameters() if each.requires_grad or not trainable_only)


def get_module_class_from_name(module: nn.Module, name: str) -> type[nn.Module] | None:
    """The class of that name among the modules inside a module; None if there is none."""
    return next((type(each) for each in module.modules() if type(each).__name__ == name), None)
