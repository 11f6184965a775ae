"""TrainerState, the one state of a `Trainer`, and TrainerControl, the requests of its callbacks."""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from minitransformers.errors import CheckpointError
from minitransformers.files.atomic import write_text
from minitransformers.training.loop.distributed import local_rank, rank
from minitransformers.training.trainer.arguments import TrainingArguments


class ExportableState(ABC):
    """An object whose counters are kept in checkpoints: `state()` returns {"args": …, "attributes": …}."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The arguments of the constructor, and the attributes that change."""

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Any:
        """A new object with the state that `state()` returned."""
        instance = cls(**state["args"])
        for name, value in state["attributes"].items():
            setattr(instance, name, value)
        return instance


@dataclass
class TrainerState:
    """The progress and the records of a run, which callbacks read and checkpoints keep.

    Attributes:
        epoch: epochs done, including the fraction of the current one.
        global_step: updates done, of `max_steps`.
        logging_steps, eval_steps, save_steps: the intervals of the arguments in steps.
        log_history: all logged records, each with its step.
        best_metric, best_global_step, best_model_checkpoint: of the best evaluation so far.
        total_flos: approximate number of floating-point operations of the training (Kaplan et al., 2020, §2.1).
    """

    epoch: float | int = 0
    global_step: int = 0
    max_steps: int = 0
    logging_steps: int | float = 500
    eval_steps: int | float = 500
    save_steps: int | float = 500
    train_batch_size: int | None = None
    num_train_epochs: int = 0
    num_input_tokens_seen: int = 0
    total_flos: float | int = 0
    log_history: list[dict[str, Any]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, Any] | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_this_process(cls, **values: Any) -> TrainerState:
        """A new state, with the fields for the rank of this process."""
        return cls(is_local_process_zero=local_rank() == 0, is_world_process_zero=rank() == 0, **values)

    def save_to_json(self, json_path: str | os.PathLike[str]) -> None:
        """Write all fields to a file."""
        write_text(json_path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")

    @classmethod
    def load_from_json(cls, json_path: str | os.PathLike[str]) -> TrainerState:
        """Read a file that `save_to_json` wrote."""
        values = json.loads(Path(json_path).read_text("utf-8"))
        unknown = values.keys() - {each.name for each in fields(cls)}
        if unknown:
            raise CheckpointError(f"{json_path} is not the state of a Trainer: it has the unknown {sorted(unknown)}.")
        return cls(**values)

    def compute_steps(self, args: TrainingArguments, max_steps: int) -> None:
        """Set the intervals of the arguments; one below 1 is a fraction of all steps."""
        for name in ("logging_steps", "eval_steps", "save_steps"):
            steps = getattr(args, name)
            if steps is not None:
                setattr(self, name, math.ceil(max_steps * steps) if steps < 1 else steps)


@dataclass
class TrainerControl(ExportableState):
    """Requests of callbacks: a callback sets a field to True, and the `Trainer` resets it.

    All processes do what a callback of any of them requests, because they must run the same steps.
    """

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False

    def state(self) -> dict[str, Any]:
        """The requests, as they are in a checkpoint."""
        return {"args": asdict(self), "attributes": {}}
