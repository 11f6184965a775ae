"""The Trainer's search for hyperparameters, with the package optuna.

trainer = Trainer(model_init=lambda trial: BertForSequenceClassification(config), args=args, …)
best = trainer.hyperparameter_search(
    hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-3, log=True)},
    n_trials=10,
    direction="minimize",
)
best.hyperparameters   # {"learning_rate": …}
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from minitransformers.errors import InputError
from minitransformers.training.loop.distributed import from_main, rank, world_size
from minitransformers.training.loop.logs import MissingPackageError
from minitransformers.training.trainer.parts import Parts
from minitransformers.training.trainer.strategies import HPSearchBackend

logger = logging.getLogger(__name__)


class BestRun(NamedTuple):
    """The best trial of a search.

    Attributes:
        run_id: its number, as text.
        objective: its value, or with several directions its values.
        hyperparameters: those that were drawn, by name.
        run_summary: None for optuna.
    """

    run_id: str
    objective: Any
    hyperparameters: dict[str, Any]
    run_summary: Any = None


class TrainerSearch(Parts):
    """Trials: each trains a new model with other arguments."""

    def hyperparameter_search(
        self,
        hp_space: Callable[[Any], dict[str, Any]] | None = None,
        compute_objective: Callable[[dict[str, float]], Any] | None = None,
        n_trials: int = 20,
        direction: str | list[str] = "minimize",
        backend: str | HPSearchBackend | None = None,
        hp_name: Callable[[Any], str] | None = None,
        **kwargs: Any,
    ) -> BestRun | list[BestRun] | None:
        """Train `n_trials` models with arguments that optuna chooses, and return the best trial.

        The Trainer needs `model_init`, of no argument or one, the trial. Afterwards `args` are those of the last trial.

        Args:
            hp_space: (trial) → the values of `TrainingArguments` by name; by default `default_hp_space_optuna`.
            compute_objective: (metrics) → the number that is optimized; by default `default_compute_objective`.
            n_trials: the number of trials.
            direction: "minimize" or "maximize", or a list of these for several objectives.
            backend: "optuna", the default.
            hp_name: (trial) → the name of its directory in `output_dir`; by default "run-" and its number.
            kwargs: `timeout`, `n_jobs`, `gc_after_trial` and `catch` of optuna's `Study.optimize`; others are of its
                `create_study`, such as `sampler`, `pruner` and `storage`.

        Returns:
            The best trial; with several directions, those that no other surpasses; None on other processes than the
            first.

        Raises:
            InputError: no `model_init`, or another backend.
            MissingPackageError: optuna is not installed.
        """
        backend = HPSearchBackend.OPTUNA if backend is None else backend
        if backend != HPSearchBackend.OPTUNA:
            raise InputError(f"backend={str(backend)!r}: the search is with optuna; leave backend out.")
        if self.model_init is None:
            raise InputError("hyperparameter_search creates a model for each trial: pass model_init=… to the Trainer.")
        try:
            import optuna
        except ImportError as error:
            raise MissingPackageError.of("hyperparameter_search", "optuna", "search") from error
        self.hp_search_backend, self.hp_name = backend, hp_name
        self.hp_space = default_hp_space_optuna if hp_space is None else hp_space
        self.compute_objective = default_compute_objective if compute_objective is None else compute_objective
        try:
            if rank() != 0:
                for _ in range(n_trials):
                    self._run_trial(from_main(None))
                return None
            of_optimize = {
                name: kwargs.pop(name) for name in ("timeout", "n_jobs", "gc_after_trial", "catch") if name in kwargs
            }
            several: Any = list(direction) if isinstance(direction, list | tuple) else None
            single: Any = None if several else direction
            study = optuna.create_study(direction=single, directions=several, **kwargs)
            study.optimize(self._shared_trial, n_trials=n_trials, **of_optimize)
        finally:
            self.hp_search_backend = None
        if several:
            return [BestRun(str(each.number), each.values, each.params) for each in study.best_trials]
        return BestRun(str(study.best_trial.number), study.best_value, study.best_trial.params)

    def _shared_trial(self, trial: Any) -> Any:
        """The objective of a trial, with whose values all processes train."""
        if world_size() > 1:
            import optuna

            self.hp_space(trial)
            from_main(optuna.trial.FixedTrial(trial.params, trial.number))
        return self._run_trial(trial)

    def _run_trial(self, trial: Any) -> Any:
        self.objective = None
        self.train(trial=trial)  # type: ignore[attr-defined]
        if self.objective is None:  # there was no evaluation during the training
            self.objective = self.compute_objective(self.evaluate())
        return self.objective

    def call_model_init(self, trial: Any = None) -> nn.Module:
        """A new model of `model_init`, which has no argument, or one: the trial, None outside of a search.

        Raises:
            InputError: `model_init` has more arguments, or returns no model.
        """
        if self.model_init is None:
            raise InputError("The Trainer has no model_init.")
        number = number_of_arguments(self.model_init)
        if number > 1:
            raise InputError(f"model_init must have no argument, or one, the trial; it has {number}.")
        model = self.model_init(*[trial] * number)
        if not isinstance(model, nn.Module):
            raise InputError(f"model_init must return a model, not {model!r:.60}.")
        return model

    def _hp_search_setup(self, trial: Any) -> None:
        """Set the arguments of a trial."""
        self._trial = trial
        if self.hp_search_backend is None or trial is None:
            return
        values: Mapping[str, Any] = self.hp_space(trial)
        unknown = [name for name in values if not hasattr(self.args, name)]
        if unknown:
            logger.warning("hp_space has values that are no arguments of %s: %s.", type(self.args).__name__, unknown)
        known = {name: value for name, value in values.items() if name not in unknown}
        for name, value in known.items():
            present = getattr(self.args, name)
            known[name] = value if present is None or isinstance(value, type(present)) else type(present)(value)
        self.args._set(**known)
        self._train_batch_size = self.args.train_batch_size

    def _note_trial(self, trial: Any) -> None:
        """Write the trial to the state."""
        if trial is not None:
            self.state.is_hyper_param_search = True
            self.state.trial_name = None if self.hp_name is None else self.hp_name(trial)
            self.state.trial_params = dict(getattr(trial, "params", trial))

    def _report_to_hp_search(self, trial: Any, step: int, metrics: dict[str, Any]) -> None:
        """Report the objective at a step, after which optuna may end the trial."""
        if self.hp_search_backend is None or trial is None:
            return
        self.objective = self.compute_objective(copy.copy(metrics))
        if world_size() > 1 or len(getattr(getattr(trial, "study", None), "directions", ())) != 1:
            return
        trial.report(self.objective, step)
        if trial.should_prune():
            import optuna

            self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
            raise optuna.TrialPruned()


def default_compute_objective(metrics: Mapping[str, Any]) -> Any:
    """The sum of all metrics besides the loss and the speed; without any, the loss."""
    others = [
        value
        for name, value in metrics.items()
        if name not in ("eval_loss", "epoch") and not name.endswith(("_runtime", "_per_second"))
    ]
    return sum(others) if others else metrics["eval_loss"]


def default_hp_space_optuna(trial: Any) -> dict[str, Any]:
    """Learning rates of 1e-6 to 1e-4, 1 to 5 epochs, and batches of 4 to 64."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-4, log=True),
        "num_train_epochs": trial.suggest_int("num_train_epochs", 1, 5),
        "seed": trial.suggest_int("seed", 1, 40),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8, 16, 32, 64]),
    }


def number_of_arguments(func: Callable[..., Any]) -> int:
    """The number of arguments of a function that are still to be given."""
    if isinstance(func, partial):
        return len(inspect.signature(func.func).parameters) - len(func.args) - len(func.keywords)
    return len(inspect.signature(func).parameters)
