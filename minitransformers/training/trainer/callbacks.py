"""Callbacks of a `Trainer`: their base class, and the handler that calls them.

    class StopWhenGood(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **kwargs):
            control.should_training_stop = metrics["eval_accuracy"] > 0.9

Events, arguments and their order are those of `transformers`. Each method receives `args`, `state`, `control`, and by
name `model`, `processing_class`, `optimizer`, `lr_scheduler`, `train_dataloader` and `eval_dataloader`; `on_log` also
`logs`, `on_evaluate` and `on_predict` also `metrics`. The callbacks of this library are in standard_callbacks.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from minitransformers.errors import InputError
from minitransformers.training.trainer.arguments import TrainingArguments
from minitransformers.training.trainer.state import ExportableState as ExportableState, TrainerControl, TrainerState

logger = logging.getLogger(__name__)


class TrainerCallback:
    """The base class of callbacks: one method for each event of a run, to be overridden by subclasses.

    A method may change `control`, and return it or nothing.
    """

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called at the end of `Trainer.__init__`."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called before the first step, also after a resume."""

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called after the last step."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called before an epoch."""

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called after an epoch."""

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called before the first batch of an update."""

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called after each batch of an update except the last."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called when the gradients are computed and clipped."""

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called after the weights were updated, before the gradients are cleared."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called after an update, before logging, evaluation and saving."""

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called after an evaluation."""

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> Any:
        """Called after `predict`."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called after a checkpoint was written."""

    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called before an upload to the hub."""

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        """Called after a record was added to `state.log_history`."""

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> Any:
        """Called after each batch of an evaluation or prediction."""


def name_of_best_metric(args: TrainingArguments) -> str:
    """`metric_for_best_model`, or the loss, with the prefix "eval_" of the metrics of an evaluation."""
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


class CallbackHandler(TrainerCallback):
    """Calls all callbacks at each event, in the order in which they were added.

    Its methods `on_init_end` … `on_prediction_step` call those of the callbacks, and return the control that they
    leave. Assigning another control to `Trainer.control` is up to the caller:

        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    Attributes:
        callbacks: the list.
        model, processing_class, optimizer, lr_scheduler, train_dataloader, eval_dataloader: what callbacks receive by
            name.
    """

    def __init__(
        self,
        callbacks: Sequence[Any],
        model: Any = None,
        processing_class: Any = None,
        optimizer: Any = None,
        lr_scheduler: Any = None,
    ) -> None:
        self.model, self.processing_class = model, processing_class
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.train_dataloader: Any = None
        self.eval_dataloader: Any = None
        self.callbacks: list[Any] = []
        for callback in callbacks:
            self.add_callback(callback)

    def add_callback(self, callback: Any) -> None:
        """Add a callback, or a new object of a class of callbacks."""
        callback = callback() if isinstance(callback, type) else callback
        missing = [event for event in EVENTS if not hasattr(callback, event)]
        if missing:
            raise InputError(
                f"{callback!r} cannot be a callback, it has no {missing[0]}(): derive it from TrainerCallback."
            )
        if type(callback) in map(type, self.callbacks):
            logger.warning("The callbacks already contain a %s; now there are two.", type(callback).__name__)
        self.callbacks.append(callback)

    def pop_callback(self, callback: Any) -> Any:
        """Remove a callback, or the first one of a class, and return it; None if there is none."""
        matches: Callable[[Any], bool] = (
            (lambda each: isinstance(each, callback)) if isinstance(callback, type) else (lambda each: each == callback)
        )
        found = next((each for each in self.callbacks if matches(each)), None)
        if found is not None:
            self.callbacks.remove(found)
        return found

    def remove_callback(self, callback: Any) -> None:
        """Remove a callback, or the first one of a class."""
        self.pop_callback(callback)

    @property
    def callback_list(self) -> str:
        """The names of the callbacks, one a line."""
        return "\n".join(type(each).__name__ for each in self.callbacks)

    def call_event(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Call the method named `event` of all callbacks; return the control that they leave."""
        for name in CLEARED.get(event, ()):
            setattr(control, name, False)
        for callback in self.callbacks:
            method = getattr(callback, event)
            control = method(args, state, control, **{**self._parts(), **kwargs}) or control
        return control

    def _parts(self) -> dict[str, Any]:
        names = ("model", "processing_class", "optimizer", "lr_scheduler", "train_dataloader", "eval_dataloader")
        return {name: getattr(self, name) for name in names}

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> Any:
        """Call `on_log` of all callbacks with the record."""
        return self.call_event("on_log", args, state, control, logs=logs, **kwargs)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> Any:
        """Call `on_evaluate` of all callbacks with the metrics."""
        return self.call_event("on_evaluate", args, state, control, metrics=metrics, **kwargs)

    def on_predict(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any, **kwargs: Any
    ) -> Any:
        """Call `on_predict` of all callbacks with the metrics."""
        return self.call_event("on_predict", args, state, control, metrics=metrics, **kwargs)


EVENTS = [name for name in vars(TrainerCallback) if name.startswith("on_")]


def _calling(event: str) -> Any:
    """The method of `CallbackHandler` for an event without further arguments."""

    def method(
        self: CallbackHandler, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        return self.call_event(event, args, state, control, **kwargs)

    method.__name__, method.__doc__ = event, f"Call `{event}` of all callbacks."
    return method


for _event in EVENTS:
    if _event not in vars(CallbackHandler):
        setattr(CallbackHandler, _event, _calling(_event))
