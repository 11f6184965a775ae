"""Checkpoints for exact resuming: a run that is killed at any moment and started again ends with the same weights.

A checkpoint is a directory:

    checkpoint-100/
      config.json, model.safetensors …   written by `save_pretrained`, for `from_pretrained`
      training/*.safetensors             the optimizer's state by name, unless `save_only_model`, and weights that the
                                         model's files do not hold exactly, such as those of a sharded model; written by
                                         torch.distributed.checkpoint: whole, or in shards, one file per process
      training/run.json                  progress, schedule, scaler, hooks, and the identity of the run
      training/rank-0.json …             each process's random states and position in the data
      training/checksums.json            SHA-256 of each of these files

The directory is written under another name, flushed to the disk, and renamed last. A directory with a checkpoint's name
is therefore complete, unless the disk damages it. The checksums detect that, and the checkpoint before it is used.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minitransformers.errors import CheckpointError, TrainingError
from minitransformers.files.saving import write_checkpoint
from minitransformers.training.loop.checkpoint_directories import (
    CHECKSUMS,
    RUN,
    TRAINING,
    checkpoints_in,
    checksum,
    files_in,
    find_damage,
    is_finite,
    last_finite,
    read_json,
    remove_checkpoint,
    serial_number,
    synchronise,
    write_json,
)
from minitransformers.training.loop.distributed import (
    from_main,
    full_weights,
    is_sharded,
    on_all_ranks,
    rank,
    unwrap,
    with_own_class,
    world_size,
)
from minitransformers.training.loop.hooks import Hooks, call_hooks
from minitransformers.training.loop.model_files import read_weights, weights_in_files
from minitransformers.training.loop.output_lock import locked
from minitransformers.training.loop.progress import Progress
from minitransformers.training.loop.random_state import random_state, set_random_state
from minitransformers.training.loop.restoring import checked, checked_count, checked_state, restoring
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.run_tensors import (
    load_tensors,
    optimizer_numbers,
    read_tensors,
    tensors_of,
    write_tensors,
)
from minitransformers.training.loop.settings import Settings
from minitransformers.training.loop.weights import has_finite_weights, named_weights

logger = logging.getLogger(__name__)


# ---- saving ----------------------------------------------------------------------------------------------------------


def save_checkpoint(run: Run, hooks: Sequence[Hooks] = ()) -> Path:
    """Write a checkpoint of the run and of the hooks that have a state, and return its directory.

    Older checkpoints than `Settings.keep` allows are removed. Every process calls this function at the same step.

    Raises:
        TrainingError: it could not be written, for example to a full disk. Earlier checkpoints are unchanged.
    """
    output_dir = Path(str(run.settings.output_dir))
    final = output_dir / f"checkpoint-{run.progress.step}"
    with writing(final) as partial:
        save_model = next((hook.save_model for hook in hooks if hasattr(hook, "save_model")), _save_model)
        on_all_ranks(lambda: save_model(run, partial))
        is_finite = has_finite_weights(run.model)
        # No rank holds whole weights of a sharded model.
        weights = {} if is_sharded(run.model) or rank() != 0 else named_weights(unwrap(run.model))
        placed = from_main(on_all_ranks(lambda: weights_in_files(weights, partial)))
        numbers = {"finite": is_finite, "weights": placed, **run_numbers(run, hooks)}
        on_all_ranks(lambda: write_numbers(run, partial, numbers))
        write_tensors(tensors_of(run, placed), partial)
        on_all_ranks(lambda: rename_to_final(partial, final) if rank() == 0 else None)
    on_all_ranks(lambda: remove_old(run.settings.keep, run.progress.best_step, output_dir) if rank() == 0 else None)
    return final


@contextmanager
def writing(final: Path) -> Iterator[Path]:
    """Make the directory in which a checkpoint is written, and remove it after an error.

    Raises:
        TrainingError: in place of an error of the system, such as a full disk.
    """
    partial = final.with_name(f".{final.name}.partial")
    try:
        on_all_ranks(lambda: _make_directory(final.parent, partial))
        yield partial
    except (OSError, TrainingError) as error:
        if rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise TrainingError(
            f"{final} could not be written: {error}. Earlier checkpoints are unchanged: make room on the disk, and the "
            f"same call resumes from the newest one."
        ) from error


def _make_directory(output_dir: Path, partial: Path) -> None:
    if rank() == 0:
        for unfinished in output_dir.glob(".checkpoint-*.partial"):  # left by a process that was killed
            shutil.rmtree(unfinished)
        (partial / TRAINING).mkdir(parents=True)


def _save_model(run: Run, directory: Path) -> None:
    weights = full_weights(run.model) if is_sharded(run.model) else None
    if rank() != 0:
        return
    with with_own_class(run.model) as plain:
        if hasattr(plain, "save_pretrained"):
            plain.save_pretrained(directory, **({} if weights is None else {"state_dict": weights}))
        else:
            write_checkpoint(directory, weights if weights is not None else named_weights(plain))


def run_numbers(run: Run, hooks: Sequence[Hooks]) -> dict[str, Any]:
    """The numbers of run.json."""
    output_dir = Path(str(run.settings.output_dir))
    return {
        "serial": 1 + max(map(serial_number, checkpoints_in(output_dir)), default=0),
        "world_size": world_size(),
        "identity": _identity(run),
        "settings": run.settings.as_dict(),
        "progress": asdict(run.progress),
        "optimizer": None if run.settings.save_only_model else optimizer_numbers(run),
        "schedule": None if run.schedule is None else run.schedule.state_dict(),
        "scaler": run.scaler.state_dict(),
        "hooks": [[type(hook).__name__, hook.state_dict()] for hook in hooks if hasattr(hook, "state_dict")],
    }


def write_numbers(run: Run, directory: Path, numbers: Mapping[str, Any] | None = None) -> None:
    """Write the numbers of this process, and on the main process, those of the run."""
    own = {"random": random_state(), "batches": run.batches.state_dict(run.progress)}
    write_json(directory / TRAINING / f"rank-{rank()}.json", own)
    if rank() == 0 and numbers is not None:
        write_json(directory / RUN, numbers)


def rename_to_final(partial: Path, final: Path) -> None:
    """Write the checksums, flush all files to the disk, and give the directory its final name."""
    checksums = {str(path.relative_to(partial)): checksum(path) for path in files_in(partial)}
    write_json(partial / CHECKSUMS, checksums)
    for path in [*files_in(partial), partial / TRAINING, partial]:
        synchronise(path)
    replaced = final.with_name(f".{final.name}.replaced")
    if final.exists():  # the run was resumed from an earlier checkpoint, or saved twice at this step
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    partial.rename(final)
    synchronise(final.parent)


def remove_old(keep: int | None, best_step: int | None, output_dir: Path) -> None:
    """Remove all checkpoints but the last ones, the best one, and the last one with finite weights."""
    checkpoints = checkpoints_in(output_dir)
    kept = checkpoints if keep is None else checkpoints[-keep:]
    kept = [*kept, *last_finite(checkpoints)]
    best = output_dir / f"checkpoint-{best_step}"
    for directory in checkpoints:
        is_replaced = directory.name.startswith(".")
        if is_replaced or (directory not in kept and directory != best):
            remove_checkpoint(directory)


@contextmanager
def owning_output_dir(settings: Settings) -> Iterator[None]:
    """Hold the lock of `output_dir` during the run, unless the settings say otherwise.

    Raises:
        CheckpointError: another run holds it.
    """
    with ExitStack() as stack:
        if settings.is_guarded:
            directory = Path(str(settings.output_dir))
            on_all_ranks(lambda: stack.enter_context(locked(directory)) if rank() == 0 else None)
        yield


# ---- resuming --------------------------------------------------------------------------------------------------------


def resume(run: Run, hooks: Sequence[Hooks] = (), loggers: Sequence[Any] = ()) -> Path | None:
    """Restore the run from the newest usable checkpoint, or from the one that `Settings.resume` names.

    Loggers remove the records after the checkpoint. Returns its directory, or None for a run that starts from the
    beginning.

    Raises:
        CheckpointError: the checkpoint belongs to another run, or none can be read.
    """
    directory = from_main(on_all_ranks(lambda: _find_checkpoint(run.settings) if rank() == 0 else None))
    if directory is not None:
        with restoring(str(directory)):
            numbers = read_json(directory / RUN)
            on_all_ranks(lambda: _check_identity(run, numbers, directory))
            _load(run, hooks, directory, numbers)
        call_hooks(hooks, "on_resume", run, directory)
        logger.info("Resuming from %s, step %d.", directory, run.progress.step)
    if rank() == 0:
        for each in loggers:
            if hasattr(each, "rewind"):
                each.rewind(run.progress.records)
    return directory


def load_weights(model: nn.Module, directory: str | os.PathLike[str]) -> None:
    """Load the weights of a checkpoint, such as the best one, into the model, whole or sharded.

    Raises:
        CheckpointError: the checkpoint is damaged, or belongs to another model.
    """
    directory = Path(directory)
    problem = find_damage(directory)
    if problem:
        raise CheckpointError(f"{directory} cannot be read: {problem}.")
    with restoring(str(directory)):
        placed = read_json(directory / RUN).get("weights", {})
        read_weights(model, directory, placed)
        weights = named_weights(unwrap(model)).items()
        read_tensors({f"model.{name}": tensor for name, tensor in weights if name not in placed}, directory)


def _find_checkpoint(settings: Settings) -> Path | None:
    wanted = settings.resume
    if wanted is False or (wanted is True and settings.output_dir is None):
        return None
    candidates = checkpoints_in(Path(str(settings.output_dir)))[::-1]
    candidates.sort(key=lambda directory: serial_number(directory) >= 0)  # unreadable ones first, for the warning
    if wanted is not True:
        candidates = [Path(wanted)]
    problems: list[str] = []
    for directory in candidates:
        problem = find_damage(directory)
        if problem is None and not is_finite(directory):
            problem = "its weights are not finite"
        if problem is None:
            if problems:
                logger.warning("%s; resuming from %s.", "; ".join(problems), directory)
            return directory
        problems.append(f"{directory} cannot be used: {problem}")
    if problems:
        raise CheckpointError(
            f"{'; '.join(problems)}. Choose another output_dir, remove the damaged directories, or pass resume=False."
        )
    return None


def _load(run: Run, hooks: Sequence[Hooks], directory: Path, numbers: Mapping[str, Any]) -> None:
    load_tensors(run, directory, numbers["optimizer"], numbers.get("weights", {}))
    if run.schedule is not None and numbers["schedule"] is not None:
        present = run.schedule.state_dict()
        run.schedule.load_state_dict(checked_state("schedule", numbers["schedule"], present, run.schedule))
    if run.scaler.is_enabled() and numbers["scaler"]:
        scaler = checked("scaler", numbers["scaler"], run.scaler.state_dict())
        if not 0 < scaler["scale"] < math.inf:
            raise CheckpointError(f"scaler.scale is {scaler['scale']} in the checkpoint; it must be a positive number.")
        run.scaler.load_state_dict(scaler)
    stateful: list[Any] = [hook for hook in hooks if hasattr(hook, "load_state_dict")]
    for hook, (_, state) in zip(stateful, numbers["hooks"], strict=False):
        hook.load_state_dict(state)
    for name, value in checked_state("progress", numbers["progress"], asdict(Progress()), run.progress).items():
        is_count = type(getattr(run.progress, name, None)) is int
        setattr(run.progress, name, checked_count(name, value) if is_count else value)
    if run.progress.stopped:
        _extend(run, numbers["settings"])
    before = checked_count("world_size", numbers["world_size"], least=1)
    own = read_json(directory / TRAINING / f"rank-{rank() % before}.json")
    run.batches.load_state_dict(own["batches"], run.progress)
    set_random_state(own["random"])
    if rank() >= before:  # a new process, which needs random numbers of its own
        torch.manual_seed(int(torch.randint(2**31, ())) + rank())


def _extend(run: Run, before: Mapping[str, Any]) -> None:
    """Let a run that was ended early go on if it has other limits now, and otherwise say why it does not."""
    now = run.settings.as_dict()
    if any(before.get(limit) != now[limit] for limit in ("steps", "epochs", "patience")):
        run.progress.stopped, run.progress.waited = False, 0
        return
    logger.warning(
        "The run was ended early after step %d, by patience or a hook, and trains no further. To go on, change steps, "
        "epochs or patience in its settings.",
        run.progress.step,
    )


def _check_identity(run: Run, numbers: Mapping[str, Any], directory: Path) -> None:
    if numbers["optimizer"] is None:
        raise CheckpointError(
            f"{directory} holds only the model (save_only_model=True): no run can resume from it. Start a new run with "
            f"that model, from_pretrained({str(directory)!r}), in another output_dir."
        )
    saved, present = _flat(numbers["identity"]), _flat(json.loads(json.dumps(_identity(run))))
    different = [
        f"{name} is {saved.get(name)!r:.80} in the checkpoint and {present.get(name)!r:.80} in this run"
        for name in sorted(saved.keys() | present.keys())
        if saved.get(name) != present.get(name)
    ]
    if different:
        more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
        raise CheckpointError(
            f"{directory} belongs to another run: {'; '.join(different[:3])}{more}. Choose another output_dir, or "
            f"resume with the model and optimizer of that run."
        )
    changed = {
        name: (numbers["settings"].get(name), value)
        for name, value in run.settings.as_dict().items()
        if name in ("accumulation", "max_grad_norm", "precision", "on_nan") and numbers["settings"].get(name) != value
    }
    if changed:
        texts = [f"{name} was {before!r} and is {now!r}" for name, (before, now) in changed.items()]
        logger.warning("The run resumes with other settings: %s.", "; ".join(texts))


def _identity(run: Run) -> dict[str, Any]:
    """The values that must be equal for a run to resume."""
    with with_own_class(run.model) as plain:
        name, config = type(plain).__name__, getattr(plain, "config", None)
    fields = config.to_dict() if config is not None and hasattr(config, "to_dict") else {}
    volatile = ("architectures", "dtype", "transformers_version", "_name_or_path")
    return {
        "model": name,
        "config": {key: value for key, value in fields.items() if key not in volatile},
        "shape": {key: list(tensor.shape) for key, tensor in named_weights(unwrap(run.model)).items()},
        "optimizer": type(run.optimizer).__name__,
        "parameter groups": [len(group["params"]) for group in run.optimizer.param_groups],
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
