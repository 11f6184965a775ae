"""Checkpoints from which a run goes on exactly: killed at any moment and started again, it ends with the same weights.

A checkpoint is a directory:

    checkpoint-100/
      config.json, model.safetensors …   what `save_pretrained` writes: `from_pretrained` loads it
      training/*.safetensors             weights and, unless `save_only_model`, the optimizer's state by name, written
                                         by torch.distributed.checkpoint: whole, or in pieces, one file a process
      training/run.json                  progress, schedule, scaler, hooks, and what run this is
      training/rank-0.json …             each process's random numbers and place in the data
      training/checksums.json            SHA-256 of each of these files

All of it is written under another name, synchronised to disk, and renamed last. So a directory with such a name is
whole, unless the disk damages it, which the checksums tell: then the one before is taken.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import CheckpointError, TrainingError
from minitransformers.files.saving import write_checkpoint
from minitransformers.training.loop.checkpoint_directories import (
    CHECKSUMS,
    RUN,
    TRAINING,
    checkpoints_in,
    checksum,
    damage,
    files_in,
    read_json,
    remove_checkpoint,
    serial_number,
    synchronise,
    write_json,
)
from minitransformers.training.loop.distributed import (
    all_together,
    as_plain,
    from_main,
    is_sharded,
    rank,
    unwrap,
    whole_weights,
    world_size,
)
from minitransformers.training.loop.random_state import random_state, set_random_state
from minitransformers.training.loop.run import Run
from minitransformers.training.loop.run_tensors import (
    load_tensors,
    named_weights,
    optimizer_numbers,
    read_tensors,
    tensors_of,
    write_tensors,
)

logger = logging.getLogger(__name__)


# ---- saving ----------------------------------------------------------------------------------------------------------


def save_checkpoint(run: Run) -> Path:
    """Write a checkpoint of the run, and remove what `Settings.keep` does not keep; give its directory.

    Every process calls it at the same step.

    Raises:
        TrainingError: it could not be written (the disk is full …). Earlier ones are as they were.
    """
    output_dir = Path(str(run.settings.output_dir))
    final = output_dir / f"checkpoint-{run.progress.step}"
    partial = output_dir / f".{final.name}.partial"
    try:
        all_together(lambda: _make_room(output_dir, partial))
        weights = whole_weights(run.model) if is_sharded(run.model) else None
        all_together(lambda: _write_model(run.model, weights, partial))
        all_together(lambda: _write_numbers(run, partial))
        write_tensors(tensors_of(run), partial)
        all_together(lambda: _publish(partial, final))
    except (OSError, TrainingError) as error:
        if rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise TrainingError(
            f"{final} could not be written: {error}. Earlier checkpoints are as they were: make room on the disk, and "
            f"the same call goes on from the newest."
        ) from error
    all_together(lambda: _remove_old(run, output_dir))
    return final


def _make_room(output_dir: Path, partial: Path) -> None:
    if rank() == 0:
        for left_over in output_dir.glob(".checkpoint-*.partial"):  # by a process that was killed
            shutil.rmtree(left_over)
        (partial / TRAINING).mkdir(parents=True)


def _write_model(model: nn.Module, weights: Mapping[str, Tensor] | None, directory: Path) -> None:
    if rank() != 0:
        return
    with as_plain(model) as plain:
        if hasattr(plain, "save_pretrained"):
            plain.save_pretrained(directory, **({} if weights is None else {"state_dict": weights}))
        else:
            write_checkpoint(directory, weights if weights is not None else named_weights(plain))


def _write_numbers(run: Run, directory: Path) -> None:
    own = {"random": random_state(), "batches": run.batches.state_dict()}
    write_json(directory / TRAINING / f"rank-{rank()}.json", own)
    if rank() == 0:
        numbers = {
            "serial": 1 + max(map(serial_number, checkpoints_in(directory.parent)), default=0),
            "world_size": world_size(),
            "identity": _identity(run),
            "settings": run.settings.as_dict(),
            "progress": asdict(run.progress),
            "optimizer": None if run.settings.save_only_model else optimizer_numbers(run),
            "schedule": None if run.schedule is None else run.schedule.state_dict(),
            "scaler": run.scaler.state_dict(),
            "hooks": [[type(hook).__name__, hook.state_dict()] for hook in run.hooks if hasattr(hook, "state_dict")],
        }
        write_json(directory / RUN, numbers)


def _publish(partial: Path, final: Path) -> None:
    """Synchronise all files, note their checksums, and give the directory its name."""
    if rank() != 0:
        return
    checksums = {str(path.relative_to(partial)): checksum(path) for path in files_in(partial)}
    write_json(partial / CHECKSUMS, checksums)
    for path in [*files_in(partial), partial / TRAINING, partial]:
        synchronise(path)
    replaced = final.with_name(f".{final.name}.replaced")
    if final.exists():  # from before the run went back to an earlier checkpoint, or saved twice at one step
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    partial.rename(final)
    synchronise(final.parent)


def _remove_old(run: Run, output_dir: Path) -> None:
    if rank() != 0:
        return
    checkpoints = checkpoints_in(output_dir)
    kept = checkpoints if run.settings.keep is None else checkpoints[-run.settings.keep :]
    best = output_dir / f"checkpoint-{run.progress.best_step}"
    for directory in checkpoints:
        is_replaced = directory.name.startswith(".")
        if is_replaced or (directory not in kept and directory != best):
            remove_checkpoint(directory)


# ---- going on --------------------------------------------------------------------------------------------------------


def resume(run: Run) -> Path | None:
    """Put the run where the newest usable checkpoint, or the one that `Settings.resume` names, was written.

    Gives its directory, or None where the run begins anew. Loggers forget what came after it.

    Raises:
        CheckpointError: the checkpoint is that of another run, or none can be read.
    """
    directory = from_main(all_together(lambda: _find_checkpoint(run) if rank() == 0 else None))
    if directory is not None:
        numbers = read_json(directory / RUN)
        all_together(lambda: _check_identity(run, numbers, directory))
        _load(run, directory, numbers)
        logger.info("Going on from %s, step %d.", directory, run.progress.step)
    if rank() == 0:
        for each in run.loggers:
            if hasattr(each, "rewind"):
                each.rewind(run.progress.records)
    return directory


def load_weights(model: nn.Module, directory: str | os.PathLike[str]) -> None:
    """Give the model, on one process or in pieces on several, the weights of a checkpoint, such as the best one.

    Raises:
        CheckpointError: the checkpoint is damaged, or that of another model.
    """
    directory = Path(directory)
    problem = damage(directory)
    if problem:
        raise CheckpointError(f"{directory} cannot be read: {problem}.")
    read_tensors({f"model.{name}": tensor for name, tensor in named_weights(unwrap(model)).items()}, directory)


def _find_checkpoint(run: Run) -> Path | None:
    wanted = run.settings.resume
    if wanted is False or (wanted is True and run.settings.output_dir is None):
        return None
    candidates = checkpoints_in(Path(str(run.settings.output_dir)))[::-1]
    candidates.sort(key=lambda directory: serial_number(directory) >= 0)  # what is unreadable first: it must be told of
    if wanted is not True:
        candidates = [Path(wanted)]
    problems: list[str] = []
    for directory in candidates:
        problem = damage(directory)
        if problem is None:
            if problems:
                logger.warning("%s; going on from %s.", "; ".join(problems), directory)
            return directory
        problems.append(f"{directory} cannot be used: {problem}")
    if problems:
        raise CheckpointError(
            f"{'; '.join(problems)}. Name another output_dir, or remove what is damaged, or pass resume=False."
        )
    return None


def _load(run: Run, directory: Path, numbers: Mapping[str, Any]) -> None:
    load_tensors(run, directory, numbers["optimizer"])
    if run.schedule is not None and numbers["schedule"] is not None:
        run.schedule.load_state_dict(numbers["schedule"])
    if run.scaler.is_enabled() and numbers["scaler"]:
        run.scaler.load_state_dict(numbers["scaler"])
    stateful: list[Any] = [hook for hook in run.hooks if hasattr(hook, "load_state_dict")]
    for hook, (_, state) in zip(stateful, numbers["hooks"], strict=False):
        hook.load_state_dict(state)
    for name, value in numbers["progress"].items():
        setattr(run.progress, name, value)
    before = numbers["world_size"]
    own = read_json(directory / TRAINING / f"rank-{rank() % before}.json")
    run.batches.load_state_dict(own["batches"])
    set_random_state(own["random"])
    if before != world_size():
        run.progress.batch = run.batches.count_for(run.progress.rows, or_else=run.progress.batch)
        if rank() >= before:  # a process that there was not: random numbers of its own
            torch.manual_seed(int(torch.randint(2**31, ())) + rank())


def _check_identity(run: Run, numbers: Mapping[str, Any], directory: Path) -> None:
    if numbers["optimizer"] is None:
        raise CheckpointError(
            f"{directory} has the model alone (save_only_model=True): no run can go on from it. Begin a new run with "
            f"that model, from_pretrained({str(directory)!r}), in another output_dir."
        )
    there, here = _flat(numbers["identity"]), _flat(json.loads(json.dumps(_identity(run))))
    different = [
        f"{name} is {there.get(name)!r:.80} there and {here.get(name)!r:.80} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if different:
        more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
        raise CheckpointError(
            f"{directory} is of another run: {'; '.join(different[:3])}{more}. Name another output_dir, or go on with "
            f"the model and optimizer that it was begun with."
        )
    changed = {
        name: (numbers["settings"].get(name), value)
        for name, value in run.settings.as_dict().items()
        if name in ("accumulation", "max_grad_norm", "precision", "on_nan") and numbers["settings"].get(name) != value
    }
    if changed:
        texts = [f"{name} was {before!r} and is {now!r}" for name, (before, now) in changed.items()]
        logger.warning("The run goes on with other settings: %s.", "; ".join(texts))


def _identity(run: Run) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    with as_plain(run.model) as plain:
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
