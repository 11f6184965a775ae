"""Checkpoints from which a run goes on exactly: killed at any moment and started again, it ends with the same weights.

A checkpoint is a directory:

    checkpoint-100/
      config.json, model.safetensors …   what `save_pretrained` writes: `from_pretrained` loads it
      training/*.safetensors             weights and the optimizer's state by name, written by
                                         torch.distributed.checkpoint: whole, or in pieces, one file a process
      training/run.json                  progress, schedule, scaler, hooks, and what run this is
      training/rank-0.json …             each process's random numbers and place in the data
      training/checksums.json            SHA-256 of each of these files

All of it is written under another name, synchronised to disk, and renamed last. So a directory with such a name is
whole, unless the disk damages it, which the checksums tell: then the one before is taken.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.checkpoints.saving import write_checkpoint
from minitransformers.errors import CheckpointError, TrainingError
from minitransformers.training.distributed import (
    all_together,
    as_plain,
    from_main,
    is_distributed,
    is_sharded,
    rank,
    unwrap,
    whole_weights,
    world_size,
)
from minitransformers.training.randomness import random_state, set_random_state
from minitransformers.training.run import Run

logger = logging.getLogger(__name__)

TRAINING = "training"
RUN, CHECKSUMS = f"{TRAINING}/run.json", f"{TRAINING}/checksums.json"


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
        _write_tensors(_tensors(run), partial / TRAINING)
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
            write_checkpoint(directory, weights if weights is not None else _named_weights(plain))


def _write_numbers(run: Run, directory: Path) -> None:
    own = {"random": random_state(), "batches": run.batches.state_dict()}
    _write_json(directory / TRAINING / f"rank-{rank()}.json", own)
    if rank() == 0:
        numbers = {
            "serial": 1 + max(map(_serial, _checkpoints(directory.parent)), default=0),
            "world_size": world_size(),
            "identity": _identity(run),
            "settings": run.settings.as_dict(),
            "progress": asdict(run.progress),
            "optimizer": _optimizer_numbers(run),
            "schedule": None if run.schedule is None else run.schedule.state_dict(),
            "scaler": run.scaler.state_dict(),
            "hooks": [[type(hook).__name__, hook.state_dict()] for hook in run.hooks if hasattr(hook, "state_dict")],
        }
        _write_json(directory / RUN, numbers)


def _publish(partial: Path, final: Path) -> None:
    """Synchronise all files, note their checksums, and give the directory its name."""
    if rank() != 0:
        return
    checksums = {str(path.relative_to(partial)): _checksum(path) for path in _files(partial)}
    _write_json(partial / CHECKSUMS, checksums)
    for path in [*_files(partial), partial / TRAINING, partial]:
        _synchronise(path)
    replaced = final.with_name(f".{final.name}.replaced")
    if final.exists():  # from before the run went back to an earlier checkpoint, or saved twice at one step
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    partial.rename(final)
    _synchronise(final.parent)


def _remove_old(run: Run, output_dir: Path) -> None:
    if rank() != 0:
        return
    checkpoints = sorted(_checkpoints(output_dir), key=_serial)
    kept = checkpoints if run.settings.keep is None else checkpoints[-run.settings.keep :]
    best = output_dir / f"checkpoint-{run.progress.best_step}"
    for directory in checkpoints:
        is_replaced = directory.name.startswith(".")
        if is_replaced or (directory not in kept and directory != best):
            doomed = output_dir / f".{directory.name.strip('.')}.partial"
            directory.rename(doomed)  # so that no half of it is ever taken for a checkpoint
            shutil.rmtree(doomed)


# ---- going on --------------------------------------------------------------------------------------------------------


def resume(run: Run) -> Path | None:
    """Put the run where the newest usable checkpoint, or the one that `Settings.resume` names, was written.

    Gives its directory, or None where the run begins anew. Loggers forget what came after it.

    Raises:
        CheckpointError: the checkpoint is that of another run, or none can be read.
    """
    directory = from_main(all_together(lambda: _find_checkpoint(run) if rank() == 0 else None))
    if directory is not None:
        numbers = _read_json(directory / RUN)
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
    problem = _damage(directory)
    if problem:
        raise CheckpointError(f"{directory} cannot be read: {problem}.")
    _read_tensors({f"model.{name}": tensor for name, tensor in _named_weights(unwrap(model)).items()}, directory)


def _find_checkpoint(run: Run) -> Path | None:
    wanted = run.settings.resume
    if wanted is False or (wanted is True and run.settings.output_dir is None):
        return None
    candidates = sorted(_checkpoints(Path(str(run.settings.output_dir))), key=_serial, reverse=True)
    candidates.sort(key=lambda directory: _serial(directory) >= 0)  # what is unreadable first: it must be told of
    if wanted is not True:
        candidates = [Path(wanted)]
    problems: list[str] = []
    for directory in candidates:
        problem = _damage(directory)
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
    _load_tensors(run, directory, numbers["optimizer"])
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
    own = _read_json(directory / TRAINING / f"rank-{rank() % before}.json")
    run.batches.load_state_dict(own["batches"])
    set_random_state(own["random"])
    if before != world_size():
        run.progress.batch = run.batches.count_for(run.progress.rows, or_else=run.progress.batch)
        if rank() >= before:  # a process that there was not: random numbers of its own
            torch.manual_seed(int(torch.randint(2**31, ())) + rank())


def _check_identity(run: Run, numbers: Mapping[str, Any], directory: Path) -> None:
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
        "shape": {key: list(tensor.shape) for key, tensor in _named_weights(unwrap(run.model)).items()},
        "optimizer": type(run.optimizer).__name__,
        "parameter groups": [len(group["params"]) for group in run.optimizer.param_groups],
    }


# ---- tensors: torch.distributed.checkpoint, in safetensors files -----------------------------------------------------


def _named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers that are saved, by name; tied ones once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in found.values()}


def _parameter_names(run: Run) -> list[str]:
    """The name of each parameter that the optimizer has, in its order."""
    names = {id(parameter): name for name, parameter in unwrap(run.model).named_parameters()}
    return [
        names.get(id(parameter), f"unnamed-{index}")
        for index, parameter in enumerate(p for group in run.optimizer.param_groups for p in group["params"])
    ]


def _tensors(run: Run) -> dict[str, Tensor]:
    """Everything in the run that is a tensor, by name; in pieces where the model is."""
    tensors = {f"model.{name}": tensor for name, tensor in _named_weights(unwrap(run.model)).items()}
    names = _parameter_names(run)
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[index]}.{key}": v for key, v in state.items() if isinstance(v, Tensor)}
    return tensors


def _optimizer_numbers(run: Run) -> dict[str, Any]:
    """What the optimizer keeps besides tensors: the settings of its groups, and numbers."""
    state = run.optimizer.state_dict()
    return {
        "groups": [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]],
        "numbers": {
            name: {key: value for key, value in state["state"].get(index, {}).items() if not isinstance(value, Tensor)}
            for index, name in enumerate(_parameter_names(run))
        },
    }


def _load_tensors(run: Run, directory: Path, optimizer: Mapping[str, Any]) -> None:
    weights = {f"model.{name}": tensor for name, tensor in _named_weights(unwrap(run.model)).items()}
    names, current = _parameter_names(run), run.optimizer.state_dict()
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    tensors = {}
    for file_name, (size, dtype) in _stored(directory).items():
        for index, name in enumerate(names):  # pragma: no branch
            prefix = f"optimizer.{name}."
            if file_name.startswith(prefix) and "." not in file_name.removeprefix(prefix):
                parameter = parameters[index]
                is_like = tuple(parameter.shape) == size
                tensor = torch.empty_like(parameter, dtype=dtype) if is_like else torch.empty(size, dtype=dtype)
                tensors[file_name] = tensor.detach()
                state.setdefault(index, dict(optimizer["numbers"][name]))[file_name.removeprefix(prefix)] = tensor
                break
    _read_tensors({**weights, **tensors}, directory)
    groups = [
        {**{key: tuple(v) if isinstance(v, list) and key == "betas" else v for key, v in saved.items()}, "params": ids}
        for saved, ids in zip(optimizer["groups"], [g["params"] for g in current["param_groups"]], strict=True)
    ]
    run.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _write_tensors(tensors: dict[str, Tensor], directory: Path) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    with _quietly_alone():
        checkpoint.save(
            tensors,
            storage_writer=HuggingFaceStorageWriter(str(directory), save_distributed=True),
            no_dist=not is_distributed(),
        )


def _read_tensors(tensors: dict[str, Tensor], directory: Path) -> None:
    """Fill the tensors in place."""
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    try:
        with _quietly_alone():
            checkpoint.load(
                tensors,
                storage_reader=HuggingFaceStorageReader(str(directory / TRAINING)),
                no_dist=not is_distributed(),
            )
    except TrainingError as error:
        raise CheckpointError(f"{directory} cannot be loaded: {error}") from error


@contextmanager
def _quietly_alone() -> Iterator[None]:
    """Without a warning that this is a single process, and with errors that are an Exception."""
    from torch.distributed.checkpoint import CheckpointException

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            yield
        except CheckpointException as error:
            raise TrainingError(str(next(iter(error.failures.values()))[0])) from error


def _stored(directory: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Name, size and type of each tensor in a checkpoint, put together from its pieces."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    entries: dict[str, Any] = HuggingFaceStorageReader(str(directory / TRAINING)).read_metadata().state_dict_metadata
    return {name: (tuple(entry.size), entry.properties.dtype) for name, entry in entries.items()}


# ---- files -----------------------------------------------------------------------------------------------------------


def _checkpoints(output_dir: Path) -> list[Path]:
    """The directories in `output_dir` that have a checkpoint's name, or had one until a newer one took it."""
    names = re.compile(r"checkpoint-\d+|\.checkpoint-\d+\.replaced")
    found = output_dir.iterdir() if output_dir.is_dir() else iter(())
    return sorted(path for path in found if path.is_dir() and names.fullmatch(path.name))


def _serial(directory: Path) -> int:
    """Checkpoints are numbered in the order in which they were written, whatever their steps; −1 for unreadable."""
    try:
        return int(_read_json(directory / RUN)["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1


def _damage(directory: Path) -> str | None:
    """What is wrong with a checkpoint's files; None for nothing."""
    try:
        checksums = _read_json(directory / CHECKSUMS)
        for name, expected in checksums.items():
            if _checksum(directory / name) != expected:
                return f"{name} is damaged (its checksum is not the one noted)"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).relative_to(directory)} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return None


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _synchronise(path: Path) -> None:
    """Let the disk have what was written to a file, or to a directory where the system can do that."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, default=_plain_number, indent=1) + "\n", "utf-8")


def _plain_number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
