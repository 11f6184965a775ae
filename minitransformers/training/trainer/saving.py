"""The Trainer's methods about files: models, checkpoints, and the state of callbacks in them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minitransformers.errors import CheckpointError
from minitransformers.files.atomic import write_text
from minitransformers.files.saving import write_checkpoint
from minitransformers.training.loop.checkpoint_directories import (
    checkpoints_in,
    is_resharded,
    last_finite,
    remove_checkpoint,
)
from minitransformers.training.loop.checkpoints import load_weights, save_checkpoint
from minitransformers.training.loop.distributed import (
    from_main,
    full_weights,
    is_sharded,
    local_rank,
    rank,
    unwrap,
    with_own_class,
)
from minitransformers.training.loop.hooks import Hooks
from minitransformers.training.loop.weights import named_weights
from minitransformers.training.trainer.parts import Parts
from minitransformers.training.trainer.state import ExportableState, TrainerControl
from minitransformers.training.trainer.strategies import SaveStrategy

logger = logging.getLogger(__name__)

ARGUMENTS = "training_args.json"
STATE = "trainer_state.json"


class TrainerSaving(Parts):
    """Models and checkpoints."""

    _events: Hooks | None = None  # of the run, whose state is in its checkpoints

    # ---- the model ---------------------------------------------------------------------------------------------------

    def save_model(self, output_dir: str | os.PathLike[str] | None = None, _internal_call: bool = False) -> None:
        """Write model, tokenizer and arguments to a directory, by default `output_dir`; with `push_to_hub`, push.

        Checkpoints call this method too, on all processes, with `_internal_call=True`.
        """
        directory = str(self.args.output_path if output_dir is None else output_dir)
        if is_sharded(self.model):
            self._save(directory, state_dict=full_weights(self.model))
        else:
            self._save(directory)
        if self.args.push_to_hub and not _internal_call:
            self.push_to_hub(commit_message="Model save")

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Write model, tokenizer and arguments to a directory, on the first process.

        Args:
            output_dir: the directory, by default that of the arguments.
            state_dict: the weights, by default those of the model.
        """
        if not self.args.should_save:
            return
        directory = self.args.output_path if output_dir is None else Path(output_dir)
        with with_own_class(self.model) as plain:
            if hasattr(plain, "save_pretrained"):
                plain.save_pretrained(directory, **({} if state_dict is None else {"state_dict": state_dict}))
            else:
                write_checkpoint(directory, named_weights(plain) if state_dict is None else dict(state_dict))
        tokenizer = self.processing_class or getattr(self.data_collator, "tokenizer", None)
        if tokenizer is not None:
            tokenizer.save_pretrained(directory)
        write_text(directory / ARGUMENTS, self.args.to_json_string() + "\n")

    def save_state(self) -> None:
        """Write `state` to trainer_state.json in `output_dir`."""
        if rank() == 0:
            self.args.output_path.mkdir(parents=True, exist_ok=True)
            self.state.save_to_json(self.args.output_path / STATE)

    def is_world_process_zero(self) -> bool:
        """Whether this is the process that writes and prints."""
        return rank() == 0

    def is_local_process_zero(self) -> bool:
        """Whether this is the first process of its machine."""
        return local_rank() == 0

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def _get_output_dir(self, trial: Any) -> str:
        """The directory of the run's checkpoints: `output_dir`, or in a search that of the trial in it."""
        if self.hp_search_backend is None or trial is None:
            return str(self.args.output_path)
        name = self.hp_name(trial) if self.hp_name is not None else f"run-{trial.number}"
        return str(self.args.output_path / name)

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        """Write a checkpoint of the run, push it, and remove old ones.

        Args:
            model: as it is trained.
            trial: of a search for hyperparameters.
        """
        if self._run is None or self._events is None:
            raise CheckpointError("A checkpoint is of a run: _save_checkpoint works during train().")
        directory = save_checkpoint(self._run, [self._events])
        if rank() == 0:
            self.state.save_to_json(directory / STATE)
            self._push_from_checkpoint(directory)
            self._remove_old(directory)
        # Set by the process that wrote the checkpoint, and needed by all at the end.
        self.state.best_model_checkpoint = from_main(self.state.best_model_checkpoint)

    def _push_from_checkpoint(self, checkpoint_folder: str | os.PathLike[str]) -> None:
        """Upload a checkpoint, if `hub_strategy` says so."""
        if self.publisher.takes_checkpoint():
            self.control = self.callback_handler.on_push_begin(self.args, self.state, self.control)
            by_steps = self.args.save_strategy == SaveStrategy.STEPS
            position = f"step {self.state.global_step}" if by_steps else f"epoch {int(self.state.epoch)}"
            self.publisher.push_checkpoint(Path(checkpoint_folder), f"Training in progress, {position}")

    def _remove_old(self, latest: Path) -> None:
        """Keep `save_total_limit` checkpoints, and always the best and the latest."""
        limit, best = self.args.save_total_limit, self.state.best_model_checkpoint
        if limit is None:
            return
        found = checkpoints_in(latest.parent)
        kept = {latest, *([] if best is None else [Path(best)]), *last_finite(found)}
        removable = [directory for directory in found if directory not in kept]
        for directory in removable[: max(0, len(found) - max(limit, len(kept)))]:
            remove_checkpoint(directory)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the weights of a checkpoint, in place of those that the run has loaded from it.

        An override may load other weights. This method itself only has to read weights that were split into several
        files after the checkpoint was written.
        """
        model = self.model if model is None else model
        if is_resharded(Path(resume_from_checkpoint)):
            plain = unwrap(model)
            weights = type(plain).from_pretrained(resume_from_checkpoint).state_dict()  # type: ignore[attr-defined]
            plain.load_state_dict(weights)

    def _load_best_model(self) -> None:
        """Load the best model of the run."""
        if self.state.best_model_checkpoint is not None:
            load_weights(self.model, self.state.best_model_checkpoint)

    # ---- callbacks in checkpoints ------------------------------------------------------------------------------------

    def _note_callback_states(self) -> None:
        """Write the states of the control and of callbacks that have one to `state.stateful_callbacks`."""
        states: dict[str, Any] = {}
        for each in [*self.callback_handler.callbacks, self.control]:
            if isinstance(each, ExportableState):
                states.setdefault(type(each).__name__, []).append(each.state())
        self.state.stateful_callbacks = {name: each[0] if len(each) == 1 else each for name, each in states.items()}

    def _load_callback_state(self) -> None:
        """Restore callbacks from `state.stateful_callbacks`; see `restore_callback_states_from_checkpoint`."""
        restore = self.args.restore_callback_states_from_checkpoint
        if restore is False:
            return
        missing = []
        for name, states in self.state.stateful_callbacks.items():
            present = [each for each in [*self.callback_handler.callbacks, self.control] if type(each).__name__ == name]
            if not present:
                missing.append(name)
            for each, saved in zip(present, states if isinstance(states, list) else [states], strict=False):
                if restore:
                    self._replace_callback(each, type(each).from_state(saved))
                elif not isinstance(each, TrainerControl):
                    for attribute, value in saved["attributes"].items():
                        setattr(each, attribute, value)
        if missing:
            logger.warning("The checkpoint has the states of callbacks that this run does not have: %s.", missing)

    def _replace_callback(self, old: Any, new: Any) -> None:
        if isinstance(old, TrainerControl):
            self.control = new
        else:
            callbacks = self.callback_handler.callbacks
            callbacks[next(index for index, each in enumerate(callbacks) if each is old)] = new
