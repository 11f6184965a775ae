"""Attributes and options of the Trainer that scripts use, in both libraries."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from trainers import BOTH, accuracy, assert_same_history, examples, model, trainer, without_timings

import minitransformers
from minitransformers import EarlyStoppingCallback, InputError, Trainer, TrainerCallback, TrainingArguments
from minitransformers.errors import TrainingError
from minitransformers.training.loop.logs import MissingPackageError
from minitransformers.training.trainer.state import ExportableState

BERT, GPT2 = "BertForSequenceClassification", "GPT2LMHeadModel"


def test_attributes(tmp_path: Path) -> None:
    """What callbacks and scripts read, before, during and after training."""
    found = []
    for library in BOTH:
        seen: list[Any] = []

        class Look(library.TrainerCallback):  # type: ignore[name-defined,misc]
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                assert kwargs["model"] is made.model  # noqa: B023
                assert kwargs["optimizer"].param_groups[0]["lr"] == made.get_learning_rates()[0]  # noqa: B023
                seen.append((made.is_in_train, made.get_learning_rates(), state.global_step))  # noqa: B023

        made = trainer(library, BERT, tmp_path, max_steps=2, callbacks=[Look()], label_smoothing_factor=0.1)
        before = (made.optimizer is None, made.is_in_train, made.model_wrapped is made.model)
        with pytest.raises(ValueError, match=r"optimizer"):
            made.get_learning_rates()
        made.train()
        first = next(made.model.parameters())
        group = made.get_optimizer_group(first)
        found.append(
            [
                before,
                seen,
                made.is_in_train,
                made.get_num_trainable_parameters(),
                [len(each) for each in made.get_optimizer_group()],
                [len(group["params"]), group["weight_decay"]],
                made.place_model_on_device,
                made.label_names,
                made.label_smoother.epsilon,
                made.hp_search_backend,
                made.get_total_train_batch_size(made.args),
                made.num_examples(made.get_train_dataloader()),
                type(made.get_decay_parameter_names(made.model)),
                made.args.n_gpu,
                made.args.parallel_mode.value,
                str(made.args.ddp_timeout_delta),
                made.args.train_batch_size,
                made.args.mixed_precision,
                made.callback_handler.callback_list.split()[0],
                made._get_learning_rate(),
                made.is_world_process_zero(),
                made.is_local_process_zero(),
                type(made).metrics_format(
                    {"train_runtime": 3725.257, "total_flos": 2.0**31, "loss": 0.123456, "epoch": 1}
                ),
            ]
        )
    assert found[1] == found[0]


def test_the_accelerator(tmp_path: Path) -> None:
    for library in BOTH:
        made = trainer(library, BERT, tmp_path)
        accelerator = made.accelerator
        assert (accelerator.num_processes, accelerator.process_index) == (1, 0)
        assert accelerator.is_main_process
        assert accelerator.is_local_main_process
        assert accelerator.device == torch.device("cpu")
        assert str(accelerator.mixed_precision) == "no"
        accelerator.wait_for_everyone()
        assert accelerator.unwrap_model(made.model) is made.model
        tensor = torch.arange(3)
        assert accelerator.gather(tensor).tolist() == accelerator.gather_for_metrics(tensor).tolist() == [0, 1, 2]
        assert accelerator.gather_for_metrics(["a"], use_gather_object=True) == ["a"]
        assert accelerator.reduce(torch.tensor(2.0), reduction="mean").item() == 2
        assert accelerator.pad_across_processes(torch.ones(1, 2), dim=1, pad_index=-100).shape == (1, 2)
        accelerator.save({"a": tensor}, tmp_path / "object.pt")
        assert torch.load(tmp_path / "object.pt")["a"].tolist() == [0, 1, 2]
        weight = nn.Parameter(torch.tensor(3.0))
        accelerator.backward(weight**2)
        assert weight.grad.item() == 6
        assert accelerator.clip_grad_norm_([weight], 1.0).item() == 6
        assert weight.grad.item() == pytest.approx(1)
        with accelerator.autocast(), accelerator.no_sync(made.model), accelerator.main_process_first():
            assert accelerator.get_state_dict(made.model).keys() == made.model.state_dict().keys()
        linear = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(linear.parameters(), 0.1)
        prepared, second = accelerator.prepare(linear, optimizer)
        assert prepared is linear
        assert second.param_groups[0]["lr"] == 0.1
        assert accelerator.free_memory(tensor) == [None] or accelerator.free_memory(tensor) == (None,)


def test_events_can_be_called_by_hand(tmp_path: Path) -> None:
    for library in BOTH:
        calls: list[Any] = []

        class Note(library.TrainerCallback):  # type: ignore[name-defined,misc]
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                calls.append((logs, kwargs["model"] is made.model))  # noqa: B023
                control.should_save = True

            def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
                calls.append(metrics)  # noqa: B023

            def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                calls.append(sorted(kwargs))  # noqa: B023

        made = trainer(library, BERT, tmp_path, callbacks=[Note()])
        handler, parts = made.callback_handler, (made.args, made.state, made.control)
        assert handler.on_log(*parts, {"loss": 1.0}).should_save
        handler.on_evaluate(*parts, {"eval_loss": 2.0})
        handler.on_epoch_begin(*parts)
        handler.call_event("on_log", *parts, logs={"a": 1})
        names = ["eval_dataloader", "lr_scheduler", "model", "optimizer", "processing_class", "train_dataloader"]
        assert calls == [({"loss": 1.0}, True), {"eval_loss": 2.0}, names, ({"a": 1}, True)]
        assert isinstance(made.pop_callback(Note), Note)
        assert made.pop_callback(Note) is None
        assert isinstance(handler, library.TrainerCallback)


def test_batches_of_another_kind(tmp_path: Path) -> None:
    """A collator's tuples reach an own `compute_loss`."""
    found = []
    for library in BOTH:

        class Tuples(library.Trainer):  # type: ignore[name-defined,misc]
            def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
                ids, labels = inputs
                output = model(input_ids=ids, labels=labels)
                return (output.loss, output) if return_outputs else output.loss

        made = trainer(library, BERT, tmp_path, kind=Tuples, max_steps=3, remove_unused_columns=False)
        made.data_collator = lambda rows: (
            torch.stack([row["input_ids"] for row in rows]),
            torch.stack([row["labels"] for row in rows]),
        )
        made.train()
        found.append(made.state.log_history)
    assert_same_history(found[1], found[0])


def test_a_smoother_of_ones_own(tmp_path: Path) -> None:
    from transformers.trainer_pt_utils import LabelSmoother as Theirs

    from minitransformers.trainer_pt_utils import LabelSmoother

    for shift in (False, True):
        logits, labels = torch.randn(2, 5, 7), torch.randint(7, (2, 5))
        labels[0, :2] = -100
        for number in (None, 3, torch.tensor(4)):
            own, their = (
                kind(epsilon=0.2)({"logits": logits}, labels, shift_labels=shift, num_items_in_batch=number)
                for kind in (LabelSmoother, Theirs)
            )
            torch.testing.assert_close(own, their)
    made = []
    for library, kind in zip(BOTH, (Theirs, LabelSmoother), strict=True):
        each = trainer(library, BERT, tmp_path, max_steps=2)
        each.label_smoother = kind(epsilon=0.3)
        each.train()
        made.append(each.state.log_history)
    assert_same_history(made[1], made[0])


# ---- callbacks in checkpoints ----------------------------------------------------------------------------------------


def counting(library: Any) -> Any:
    exportable = (
        ExportableState if library is minitransformers else sys.modules["transformers.trainer_callback"].ExportableState
    )

    class Counting(library.TrainerCallback, exportable):  # type: ignore[name-defined,misc]
        def __init__(self, unit: int = 1) -> None:
            self.unit, self.number = unit, 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.number += self.unit

        def state(self) -> dict[str, Any]:
            return {"args": {"unit": self.unit}, "attributes": {"number": self.number}}

    return Counting


@pytest.mark.parametrize("restore", [True, False])
def test_states_of_callbacks(restore: bool, tmp_path: Path) -> None:
    """Arguments and counters come from the checkpoint, or both from the new callback."""
    options = {"save_strategy": "epoch", "eval_strategy": "epoch", "num_train_epochs": 3, "learning_rate": 0.0}
    options |= {"metric_for_best_model": "loss", "restore_callback_states_from_checkpoint": restore}
    found = []
    for library in BOTH:
        directory, kind = tmp_path / library.__name__, counting(library)
        callbacks = [library.EarlyStoppingCallback(3), kind(2)]
        trainer(library, BERT, directory, callbacks=callbacks, **options).train()
        stored = json.loads((directory / "checkpoint-6" / "trainer_state.json").read_text())["stateful_callbacks"]
        again = trainer(library, BERT, directory, callbacks=[library.EarlyStoppingCallback(1), kind()], **options)
        control = again.control
        again.train(resume_from_checkpoint=str(directory / "checkpoint-6"))
        stopping, counter = again.pop_callback(library.EarlyStoppingCallback), again.pop_callback(kind)
        found.append(
            [
                stored,
                (stopping.early_stopping_patience, stopping.early_stopping_patience_counter),
                (counter.unit, counter.number),
                again.state.global_step,
                again.control is control,
            ]
        )
    assert found[1] == found[0]
    assert found[1][2] == ((2, 18) if restore else (1, 3))


def test_counters_are_restored_by_default(tmp_path: Path) -> None:
    """Not the arguments, so that a resumed run can have others."""
    options = {"save_strategy": "epoch", "num_train_epochs": 2}
    kind = counting(minitransformers)
    trainer(minitransformers, BERT, tmp_path, callbacks=[kind(2)], **options).train()
    again = trainer(minitransformers, BERT, tmp_path, callbacks=[kind(5)], **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    counter = again.pop_callback(kind)
    assert (counter.unit, counter.number) == (5, 3 * 2 + 3 * 5)


# ---- options ---------------------------------------------------------------------------------------------------------


class RunningAccuracy:
    """`compute_metrics` for batch_eval_metrics: collects, and answers at the end."""

    def __init__(self) -> None:
        self.right: list[Any] = []

    def __call__(self, prediction: Any, compute_result: bool) -> dict[str, float]:
        assert isinstance(prediction.predictions, torch.Tensor)
        self.right += (prediction.predictions.argmax(-1) == prediction.label_ids).tolist()
        return {"accuracy": float(np.mean(self.right)), "batch_is_last": float(compute_result)}


def test_metrics_batch_by_batch(tmp_path: Path) -> None:
    found = []
    for library in BOTH:
        options = {"batch_eval_metrics": True, "per_device_eval_batch_size": 3}
        made = trainer(library, BERT, tmp_path, compute_metrics=RunningAccuracy(), **options)
        metrics = {name: value for name, value in made.evaluate().items() if "_per_" not in name and "time" not in name}
        predictions = made.predict(examples(BERT, 5)).predictions
        found.append((metrics, None if predictions is None else predictions.shape))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    assert found[1][1] == found[0][1]
    assert found[1][0]["eval_batch_is_last"] == 1


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_evaluation_in_half_precision(kind: str, tmp_path: Path) -> None:
    made = []
    for library in BOTH:
        each = trainer(library, BERT, tmp_path, **{f"{kind}_full_eval": True}, max_steps=2, eval_strategy="steps")
        each.train()
        assert next(each.model.parameters()).dtype == torch.float32
        output = each.predict(examples(BERT, 5))
        assert next(each.model.parameters()).dtype == getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}[kind])
        made.append((each, output))
    (theirs, expected), (ours, output) = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert output.predictions.dtype == expected.predictions.dtype
    np.testing.assert_allclose(output.predictions, expected.predictions, atol=2e-2)


def test_losses_that_are_not_finite_are_logged(tmp_path: Path) -> None:
    class Bad(Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            return loss * math.nan if self.state.global_step == 1 and self.is_in_train else loss

    for filtered in (True, False):
        made = trainer(minitransformers, BERT, tmp_path, kind=Bad, max_steps=3, logging_nan_inf_filter=filtered)
        made.args.logging_steps = 3
        made.train()
        assert math.isnan(made.state.log_history[0]["loss"]) is not filtered
        assert math.isfinite(made.state.log_history[1]["train_loss"])


def test_json_text_for_a_schedule(tmp_path: Path) -> None:
    made = []
    for library in BOTH:
        options = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": '{"min_lr": "0.004"}'}
        each = trainer(library, BERT, tmp_path, max_steps=4, **options)
        each.train()
        made.append(each.state.log_history)
    assert_same_history(made[1], made[0])


def test_smaller_batches_when_memory_is_short(tmp_path: Path) -> None:
    """Both try 8, 7, 6 … examples, until 5 fit."""
    found = []
    for library in BOTH:
        tried: list[int] = []

        class Short(library.Trainer):  # type: ignore[name-defined,misc]
            def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
                tried.append(len(inputs["input_ids"]))  # noqa: B023
                if tried[-1] > 5:  # noqa: B023
                    raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB.")
                return super().training_step(model, inputs, num_items_in_batch)

        options = {"per_device_train_batch_size": 8, "auto_find_batch_size": True, "num_train_epochs": 1}
        made = trainer(library, BERT, tmp_path, kind=Short, **options)
        made.train()
        found.append(
            (tried, made.state.global_step, made.state.train_batch_size, without_timings(made.state.log_history))
        )
    assert found[1][:3] == found[0][:3]
    assert_same_history(found[1][3], found[0][3])

    class Never(Trainer):
        def training_step(self, *args: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(TrainingError, match="No executable batch size found, reached zero"):
        trainer(minitransformers, BERT, tmp_path, kind=Never, auto_find_batch_size=True).train()


# ---- search ----------------------------------------------------------------------------------------------------------


def space(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True),
        "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [2, 5]),
    }


@pytest.mark.parametrize("takes_trial", [True, False])
def test_the_search_finds_the_same_arguments(takes_trial: bool, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for library in BOTH:
        trials: list[Any] = []

        def with_trial(trial: Any) -> Any:
            trials.append(None if trial is None else trial.number)  # noqa: B023
            return model(library, BERT)  # noqa: B023

        made = trainer(
            library,
            BERT,
            tmp_path / library.__name__,
            model_init=with_trial if takes_trial else lambda: model(library, BERT),  # noqa: B023
            num_train_epochs=1,
            eval_strategy="epoch",
            save_strategy="epoch",
            compute_metrics=accuracy,
        )
        best = made.hyperparameter_search(
            space,
            compute_objective=None if takes_trial else lambda metrics: metrics["eval_loss"],
            n_trials=3,
            direction="maximize" if takes_trial else "minimize",
            backend="optuna",
            hp_name=None if takes_trial else lambda trial: f"trial_{trial.number}",
            sampler=optuna.samplers.RandomSampler(seed=1),
        )
        directories = sorted(path.name for path in (tmp_path / library.__name__).iterdir() if path.is_dir())
        found.append((best, directories, trials, made.state.trial_params, made.state.is_hyper_param_search))
    (theirs, *expected), (ours, *rest) = found
    assert rest[:3] == expected[:3]
    assert rest[0] == [f"run-{n}" if takes_trial else f"trial_{n}" for n in range(3)]
    assert rest[1] == ([None, 0, 1, 2] if takes_trial else [])
    assert (ours.run_id, ours.hyperparameters) == (theirs.run_id, theirs.hyperparameters)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-4)


def test_a_search_needs_a_way_to_create_models(tmp_path: Path, monkeypatch: Any) -> None:
    made = trainer(minitransformers, BERT, tmp_path)
    with pytest.raises(InputError, match=r"pass model_init=… to the Trainer"):
        made.hyperparameter_search(n_trials=1)
    with pytest.raises(InputError, match=r"backend='ray': the search is with optuna"):
        made.hyperparameter_search(backend="ray")
    with pytest.raises(InputError, match=r"model_init must have no argument, or one, the trial; it has 2"):
        trainer(minitransformers, BERT, tmp_path, model_init=lambda one, two: None)
    made = trainer(minitransformers, BERT, tmp_path, model_init=lambda: model(minitransformers, BERT))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'minitransformers\[search\]'"):
        made.hyperparameter_search(n_trials=1)


# ---- wandb -----------------------------------------------------------------------------------------------------------


class FakeWandb(SimpleNamespace):
    """The functions of wandb that the callback calls, each noted."""

    def __init__(self) -> None:
        super().__init__(run=None, config={}, calls=[])

    def init(self, **options: Any) -> None:
        self.run = SimpleNamespace(summary={})
        self.calls.append(("init", options))
        self.config = type(
            "Config", (dict,), {"update": lambda own, values, allow_val_change: dict.update(own, values)}
        )()

    def define_metric(self, name: str, **options: Any) -> None:
        self.calls.append(("define_metric", name, options))

    def log(self, values: dict[str, Any]) -> None:
        self.calls.append(("log", values))


def test_records_go_to_wandb(tmp_path: Path, monkeypatch: Any) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    options = {"report_to": "wandb", "run_name": "mine", "max_steps": 2, "eval_strategy": "epoch"}
    made = trainer(minitransformers, BERT, tmp_path, **options)
    made.train()
    assert fake.calls[0] == ("init", {"project": "huggingface", "name": "mine"})
    assert fake.config["max_steps"] == 2
    assert fake.config["hidden_size"] == 16
    assert fake.config["model/num_parameters"] == made.model.num_parameters()
    logged = [values for name, *rest in fake.calls if name == "log" for values in rest]
    losses = [record["loss"] for record in made.state.log_history if "loss" in record]
    assert [(values["train/loss"], values["train/global_step"]) for values in logged[:2]] == [
        *zip(losses, (1, 2), strict=True)
    ]
    assert any("eval/loss" in values for values in logged)
    assert fake.run.summary["train_loss"] == made.state.log_history[-1]["train_loss"]


def test_wandb_must_be_installed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackageError, match=r"report_to='wandb' needs the package wandb"):
        trainer(minitransformers, BERT, tmp_path, report_to="wandb")


# ---- arguments -------------------------------------------------------------------------------------------------------

SETTERS: list[tuple[str, dict[str, Any]]] = [
    ("set_training", {"learning_rate": 1e-4, "batch_size": 32, "num_epochs": 2}),
    ("set_evaluate", {"strategy": "steps", "steps": 100, "batch_size": 3, "delay": 2}),
    ("set_testing", {"batch_size": 32, "loss_only": True}),
    ("set_save", {"strategy": "epoch", "total_limit": 3}),
    ("set_logging", {"strategy": "steps", "steps": 100, "first_step": True}),
    ("set_push_to_hub", {"model_id": "me/mine", "strategy": "end"}),
    ("set_optimizer", {"name": "sgd", "beta1": 0.8, "learning_rate": 0.1}),
    ("set_lr_scheduler", {"name": "cosine", "warmup_steps": 0.05}),
    ("set_dataloader", {"train_batch_size": 16, "num_workers": 2, "sampler_seed": 4, "ignore_data_skip": True}),
]


@pytest.mark.parametrize(("name", "arguments"), SETTERS)
def test_setters(name: str, arguments: dict[str, Any]) -> None:
    """With given arguments, and with the defaults; all fields afterwards, and what is logged of them."""
    for given in (arguments, {key: arguments[key] for key in arguments if key == "model_id"}):
        ours, theirs = (
            getattr(library.TrainingArguments("run", use_cpu=True, disable_tqdm=True), name)(**given)
            for library in (minitransformers, BOTH[0])
        )
        assert isinstance(ours, TrainingArguments)
        own, their = ours.to_sanitized_dict(), theirs.to_sanitized_dict()
        assert own.keys() == their.keys()
        differing = {key for key in own if own[key] != their[key]}
        assert differing <= {
            "restore_callback_states_from_checkpoint",
            "accelerator_config",  # without use_configured_state there, once it is read
            "debug",  # "" here
            "report_to" if name == "set_logging" else "debug",  # an empty list here, "none" there
            "hub_token",  # a placeholder only where there is a token
            *(["eval_delay"] if name == "set_evaluate" and not given else []),  # None there, with which it fails
        }
    with pytest.raises(InputError):
        TrainingArguments("run").set_evaluate("steps", steps=0)


def test_fields_that_change_nothing() -> None:
    args = TrainingArguments(
        "run", local_rank=2, debug=[], deepspeed="", project="mine", eval_use_gather_object=True, ddp_timeout=60
    )
    assert args.ddp_timeout_delta.total_seconds() == 60
    assert args.accelerator_config.even_batches is True
    assert TrainingArguments("run", accelerator_config={"non_blocking": True}).to_dict()["accelerator_config"][
        "non_blocking"
    ]
    args = TrainingArguments("run", accelerator_config='{"even_batches": "false"}', tf32=False)
    assert args.accelerator_config.even_batches is False
    with pytest.raises(minitransformers.UnknownArgumentError, match=r"Did you mean 'even_batches'\?"):
        TrainingArguments("run", accelerator_config={"even_batch": True})


def test_workers(tmp_path: Path) -> None:
    """`dataloader_in_order`, `dataloader_multiprocessing_context`, persistent workers: the same batches."""
    options = {"dataloader_num_workers": 1, "dataloader_in_order": False, "dataloader_persistent_workers": True}
    made = trainer(minitransformers, BERT, tmp_path, dataloader_multiprocessing_context="fork", **options)
    loader = made.get_eval_dataloader()
    assert loader.in_order is False
    assert made.get_eval_dataloader() is loader
    assert made.evaluate()["eval_loss"] == pytest.approx(
        trainer(minitransformers, BERT, tmp_path).evaluate()["eval_loss"]
    )


def test_early_stopping_is_a_state(tmp_path: Path) -> None:
    callback = EarlyStoppingCallback.from_state(EarlyStoppingCallback(4, 0.1).state())
    assert (callback.early_stopping_patience, callback.early_stopping_threshold) == (4, 0.1)
    assert isinstance(callback, TrainerCallback)
    control = minitransformers.TrainerControl(should_log=True)
    assert minitransformers.TrainerControl.from_state(control.state()) == control
