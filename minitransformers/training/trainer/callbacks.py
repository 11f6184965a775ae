"""How to listen to a `Trainer`: the base of callbacks, the state that they read, the control by which they ask.

    class StopWhenGood(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            control.should_training_stop = metrics["eval_accuracy"] > 0.9

Events, arguments and their order are those of `transformers`. Each method is given `args`, `state`, `control`, and by
name `model`, `processing_class`, `optimizer`, `lr_scheduler`, `train_dataloader` and `eval_dataloader`; `on_log` also
`logs`, `on_evaluate` and `on_predict` also `metrics`. The callbacks that come with the library are in
standard_callbacks.py.
"""

from __future__ import annotations

import json
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from minitransformers.errors import CheckpointError, InputError
from minitransformers.files.atomic import write_text
from minitransformers.training.loop.distributed import local_rank, rank
from minitransformers.training.trainer.arguments import TrainingArguments

logger = logging.getLogger(__name__)


@dataclass
class TrainerState:
    """How far a run is.

    Attributes:
        epoch: epochs done, the last one in part.
        global_step: updates done, of `max_steps`.
        logging_steps, eval_steps, save_steps: of the arguments, as whole numbers of steps.
        log_history: all that was logged, with the step it belongs to.
        best_metric, best_global_step, best_model_checkpoint: of the best evaluation so far.
        total_flos: about how many multiplications and additions training has taken (Kaplan et al., 2020, §2.1).
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
        """A state that knows whether this process writes and prints."""
        return cls(is_local_process_zero=local_rank() == 0, is_world_process_zero=rank() == 0, **values)

    def save_to_json(self, json_path: str | os.PathLike[str]) -> None:
        """Write all of it to a file."""
        write_text(json_path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")

    @classmethod
    def load_from_json(cls, json_path: str | os.PathLike[str]) -> TrainerState:
        """Read what `save_to_json` wrote."""
        values = json.loads(Path(json_path).read_text("utf-8"))
        unknown = values.keys() - {each.name for each in fields(cls)}
        if unknown:
            raise CheckpointError(f"{json_path} is not the state of a Trainer: it has {sorted(unknown)}.")
        return cls(**values)

    def compute_steps(self, args: TrainingArguments, max_steps: int) -> None:
        """Take over the arguments' intervals as numbers of steps: one below 1 is a portion of all steps."""
        for name in ("logging_steps", "eval_steps", "save_steps"):
            steps = getattr(args, name)
            if steps is not None:
                setattr(self, name, math.ceil(max_steps * steps) if steps < 1 else steps)


class ExportableState(ABC):
    """A callback whose counters are kept in checkpoints: `state()` gives {"args": …, "attributes": …}."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The arguments it is made with, and the attributes that change."""

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Any:
        """Made anew of what `state()` gave."""
        instance = cls(**state["args"])
        for name, value in state["attributes"].items():
            setattr(instance, name, value)
        return instance


@dataclass
class TrainerControl:
    """What callbacks ask for: a callback sets a field to True, and the `Trainer` sets it back.

    Of several processes, all do what a callback of any of them asks for: they must go the same way.
    """

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False


class TrainerCallback:
    """The base of callbacks: one method for each event of a run, of which a subclass overrides those that it wants.

    A method may change `control`, and return it or nothing.
    """

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """The `Trainer` has been made."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Training begins, or goes on from a checkpoint."""

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Training is over."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """An epoch begins."""

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """An epoch is over."""

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Before the first batch of an update."""

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """After each batch of an update but the last."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Gradients are there, and clipped."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Weights are new; gradients are there still."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """After an update; logging, evaluation and saving come next."""

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """After an evaluation."""

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> Any:
        """After `predict`."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """After a checkpoint was written."""

    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Before something is given to a hub."""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """After something was logged."""

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """After each batch of an evaluation or prediction."""


def name_of_best_metric(args: TrainingArguments) -> str:
    """`metric_for_best_model`, or the loss, by the name under which an evaluation reports it: "eval_" in front."""
    name = args.metric_for_best_model or "loss"
    return name if name.startswith("eval_") else f"eval_{name}"


# Requests that an event clears: they have been carried out, or a new epoch or step begins.
CLEARED: dict[str, tuple[str, ...]] = {
    "on_train_begin": ("should_training_stop",),
    "on_epoch_begin": ("should_epoch_stop",),
    "on_step_begin": ("should_log", "should_evaluate", "should_save"),
    "on_log": ("should_log",),
    "on_evaluate": ("should_evaluate",),
    "on_save": ("should_save",),
}


class CallbackHandler:
    """The callbacks of a run, which it tells of each event in the order in which they were added."""

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks: list[Any] = []
        for callback in callbacks:
            self.add(callback)

    def add(self, callback: Any) -> None:
        """Add a callback; given a class, a new object of it."""
        callback = callback() if isinstance(callback, type) else callback
        missing = [event for event in vars(TrainerCallback) if event.startswith("on_") and not hasattr(callback, event)]
        if missing:
            raise InputError(
                f"{callback!r} cannot be a callback, it has no {missing[0]}(): derive it from TrainerCallback."
            )
        if type(callback) in map(type, self.callbacks):
            logger.warning("There is a %s among the callbacks already; now there are two.", type(callback).__name__)
        self.callbacks.append(callback)

    def pop(self, callback: Any) -> Any:
        """Remove a callback, or the first one of a class, and return it; None where there is none."""
        is_it: Callable[[Any], bool] = (
            (lambda each: isinstance(each, callback)) if isinstance(callback, type) else (lambda each: each == callback)
        )
        found = next((each for each in self.callbacks if is_it(each)), None)
        if found is not None:
            self.callbacks.remove(found)
        return found

    def call(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Tell all callbacks of an event; return the control as they leave it."""
        for name in CLEARED.get(event, ()):
            setattr(control, name, False)
        for callback in self.callbacks:
            control = getattr(callback, event)(args, state, control, **kwargs) or control
        return control
