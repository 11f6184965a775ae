"""Trainer compared with transformers': same data and weights, no dropout; same log, metrics, events, predictions."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from fewer import fewer
from hypothesis import given, strategies as st
from torch.nn import functional as F
from trainers import (
    BOTH,
    CLASSES,
    accuracy,
    assert_same_arrays,
    assert_same_history,
    examples,
    model,
    recorder,
    trainer,
)

import minitransformers

SCHEDULES = [
    ("linear", None),
    ("cosine", None),
    ("constant", None),
    ("constant_with_warmup", None),
    ("cosine_with_restarts", {"num_cycles": 2}),
    ("polynomial", {"power": 2.0}),
    ("inverse_sqrt", None),
    ("cosine_with_min_lr", {"min_lr": 1e-3}),
    ("warmup_stable_decay", {"num_decay_steps": 2}),
]
STEPS = st.sampled_from([1, 2, 3, 0.3, 0.5])
OPTIMIZERS = [  # without Adafactor: see test_adafactor.py
    ("adamw_torch", None),
    ("adamw_torch_fused", None),
    ("sgd", None),
    ("sgd", "momentum=0.9, nesterov=True"),
    ("sgd", "momentum=0.5,dampening=0.1,nesterov=no"),
    ("adagrad", None),
    ("adagrad", "lr_decay=0.1,eps=1e-6"),
    ("rmsprop", None),
    ("rmsprop", "momentum=0.3, alpha=0.9, eps=1e-6, centered=true"),
]


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """Length, batches, schedule, and the steps of logging, evaluation and saving."""
    schedule, options = draw(st.sampled_from(SCHEDULES))
    optim, optim_args = draw(st.sampled_from(OPTIMIZERS))
    run: dict[str, Any] = {
        "size": draw(st.integers(3, 11)),
        "per_device_train_batch_size": draw(st.integers(1, 5)),
        "per_device_eval_batch_size": draw(st.integers(1, 8)),
        "gradient_accumulation_steps": draw(st.integers(1, 3)),
        "lr_scheduler_type": schedule,
        "lr_scheduler_kwargs": options,
        "warmup_steps": draw(st.sampled_from([0, 1, 2, 0.3])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "max_grad_norm": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "optim": optim,
        "optim_args": optim_args,
        "learning_rate": 1e-3,
        "logging_strategy": draw(st.sampled_from(["no", "steps", "epoch"])),
        "logging_steps": draw(STEPS),
        "logging_first_step": draw(st.booleans()),
        "eval_strategy": draw(st.sampled_from(["no", "steps", "epoch"])),
        "eval_steps": draw(st.one_of(st.none(), STEPS)),
        "eval_delay": draw(st.integers(0, 2)),
        "eval_on_start": draw(st.booleans()),
        "seed": draw(st.integers(0, 100)),
        "data_seed": draw(st.one_of(st.none(), st.integers(0, 100))),
        "dataloader_drop_last": False,
        "train_sampling_strategy": draw(st.sampled_from(["random", "sequential"])),
    }
    if draw(st.booleans()):
        run["max_steps"] = draw(st.integers(1, 6))
    else:
        run["num_train_epochs"] = draw(st.sampled_from([1, 2, 0.5, 1.5]))
    if schedule == "warmup_stable_decay":
        run["max_steps"] = draw(st.integers(4, 6))  # the warm-up and decay must fit
    if schedule == "polynomial":
        run["max_steps"] = draw(st.integers(3, 6))  # transformers divides by 0 if the warm-up is the whole run
    return run


def in_both(name: str, **arguments: Any) -> tuple[Any, Any]:
    """Both Trainers, trained: ours, theirs."""
    made = []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            callback = recorder(library)
            each = trainer(library, name, Path(directory), callbacks=[callback], **arguments)
            each.output = each.train()
            each.events = callback.events
            made.append(each)
    theirs, ours = made
    return ours, theirs


@given(run=runs())
def test_same_runs(run: dict[str, Any]) -> None:
    """A causal language model, for which transformers normalizes accumulated batches correctly."""
    ours, theirs = in_both("GPT2LMHeadModel", compute_metrics=accuracy, **run)
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert ours.events == theirs.events
    assert ours.output.global_step == theirs.output.global_step
    assert abs(ours.output.training_loss - theirs.output.training_loss) < 1e-5
    assert list(ours.output.metrics) == list(theirs.output.metrics)
    for field in ("epoch", "global_step", "max_steps", "num_train_epochs", "logging_steps", "train_batch_size"):
        assert getattr(ours.state, field) == getattr(theirs.state, field)
    held_out = examples("GPT2LMHeadModel", 5, seed=9)
    own, their = ours.predict(held_out), theirs.predict(held_out)
    assert_same_arrays(own.predictions, their.predictions)
    assert_same_arrays(own.label_ids, their.label_ids)
    assert list(own.metrics) == list(their.metrics)


@pytest.mark.parametrize(
    "name",
    [
        "BertForMaskedLM",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "GPT2ForSequenceClassification",
        "GPT2ForTokenClassification",
    ],
)
def test_every_task(name: str) -> None:
    options: dict[str, Any] = {} if "QuestionAnswering" in name else {"compute_metrics": accuracy}
    ours, theirs = in_both(name, num_train_epochs=2, eval_strategy="epoch", **options)
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert ours.label_names == theirs.label_names
    held_out = examples(name, 5, seed=9)
    predicted = ours.predict(held_out), theirs.predict(held_out)
    own, their = (each.predictions for each in predicted)
    if "QuestionAnswering" in name:  # a common bias does not change the softmax: its gradient is rounding
        own, their = (tuple(each - each.mean(1, keepdims=True) for each in pair) for pair in (own, their))
    assert_same_arrays(own, their)
    assert_same_arrays(predicted[0].label_ids, predicted[1].label_ids)


def items_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    total = F.cross_entropy(outputs.logits.flatten(0, -2), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / num_items_in_batch


@given(
    name=st.sampled_from(["BertForSequenceClassification", "BertForTokenClassification", "BertForMaskedLM"]),
    batch_size=st.integers(1, 3),
    accumulation=st.integers(2, 4),
    size=st.integers(3, 9),
)
def test_accumulated_batches_are_one_large_batch(name: str, batch_size: int, accumulation: int, size: int) -> None:
    """transformers adds up the means of the batches of these models, unless a loss function divides by the number of
    labels. Our losses are those of that function, with it and without."""
    run = {
        "size": size,
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulation,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
    }
    with_function, theirs = in_both(name, compute_loss_func=items_loss, **run)
    assert_same_history(with_function.state.log_history, theirs.state.log_history)
    with tempfile.TemporaryDirectory() as directory:
        ours = trainer(minitransformers, name, Path(directory), **run)
        ours.train()
    assert_same_history(ours.state.log_history, theirs.state.log_history)


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "BertForTokenClassification", "BertForSequenceClassification"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_label_smoothing(name: str, accumulation: int) -> None:
    run = {"label_smoothing_factor": 0.2, "gradient_accumulation_steps": accumulation, "eval_strategy": "epoch"}
    ours, theirs = in_both(name, num_train_epochs=2, **run)
    assert_same_history(ours.state.log_history, theirs.state.log_history)


def test_several_evaluation_sets_and_inputs_of_metrics() -> None:
    def metrics(prediction: Any) -> dict[str, float]:
        assert prediction.inputs.shape == (*prediction.predictions.shape[:1], 6)
        predictions, _, inputs, losses = prediction
        return {"sum": float(inputs.sum()), "spread": float(losses.std()), "first": float(predictions[0, 0])}

    name, made = "BertForSequenceClassification", []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            each = trainer(
                library,
                name,
                Path(directory),
                compute_metrics=metrics,
                include_for_metrics=["inputs", "loss"],
                eval_strategy="epoch",
                per_device_eval_batch_size=3,
                num_train_epochs=1,
            )
            each.eval_dataset = {"near": examples(name, 5, seed=2), "far": examples(name, 4, seed=3)}
            each.train()
            made.append(each)
    theirs, ours = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert "eval_near_loss" in ours.state.log_history[-3]


def test_lengths_that_differ_between_batches() -> None:
    """Predictions of shorter batches are padded with −100."""
    name, made = "BertForTokenClassification", []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            each = trainer(library, name, Path(directory), per_device_eval_batch_size=2)
            made.append(each.predict([*examples(name, 2, length=3), *examples(name, 3, length=5)]))
    theirs, ours = made
    assert ours.predictions.shape == (5, 5, CLASSES)
    assert_same_arrays(ours.predictions, theirs.predictions)
    assert_same_arrays(ours.label_ids, theirs.label_ids)


def test_unlabelled_data() -> None:
    name, made = "BertForSequenceClassification", []
    unlabelled = [{"input_ids": row["input_ids"]} for row in examples(name, 5)]
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            made.append(trainer(library, name, Path(directory)).predict(unlabelled))
    theirs, ours = made
    assert_same_arrays(ours.predictions, theirs.predictions)
    assert ours.label_ids is None
    assert theirs.label_ids is None
    assert "test_loss" not in ours.metrics


def test_mean_over_predicted_tokens() -> None:
    """GPT-2's first label of a row is never predicted. We divide by the number of the others, like the model itself;
    transformers' Trainer counts the first too."""
    rows = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in examples("GPT2LMHeadModel", 4)]
    made = []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            each = trainer(library, "GPT2LMHeadModel", Path(directory), max_steps=1, learning_rate=0.0)
            each.train_dataset = rows
            each.train()
            made.append(each)
    theirs, ours = (each.state.log_history[0]["loss"] for each in made)
    batch = {key: torch.stack([row[key] for row in rows]) for key in ("input_ids", "labels")}
    own = made[1].model(**batch).loss.item()
    assert abs(ours - own) < 1e-5
    assert abs(theirs - own * 5 / 6) < 1e-5  # of rows of 6 tokens, 5 are predicted


class OwnLoss:
    """A subclass with another loss, as in tutorials."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 2.0, 3.0]))
        return (loss, outputs) if return_outputs else loss


class OwnParts:
    """A subclass with other optimizer, schedule, data and logs."""

    def create_optimizer(self) -> Any:
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.5)
        return self.lr_scheduler

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.train_dataset, batch_size=3, collate_fn=self.collate)

    def collate(self, rows: Any) -> Any:
        return {key: torch.stack([torch.as_tensor(row[key]) for row in rows]) for key in ("input_ids", "labels")}

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        metrics = super().evaluate(*args, **kwargs)
        self.log({"evaluations": 1.0})
        return metrics

    def log(self, logs: Any, start_time: Any = None) -> None:
        super().log({**logs, "noted": 1.0})


@pytest.mark.parametrize("mixin", [OwnLoss, OwnParts])
def test_subclasses(mixin: type) -> None:
    made = []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            kind = type("Own", (mixin, library.Trainer), {})
            each = trainer(
                library,
                "BertForSequenceClassification",
                Path(directory),
                kind=kind,
                eval_strategy="epoch",
                num_train_epochs=2,
            )
            each.train()
            made.append(each)
    theirs, ours = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)


class WithKeywords:
    """An override that passes on what it is given, as in newer tutorials."""

    seen: list[int]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        self.seen.append(int(kwargs["num_items_in_batch"]))
        return super().compute_loss(model, inputs, return_outputs, **kwargs)  # type: ignore[misc]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_keywords_of_compute_loss(accumulation: int) -> None:
    """`**kwargs` has the number of labels in all accumulated batches, like the argument of that name."""
    made = []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            kind = type("Own", (WithKeywords, library.Trainer), {"seen": []})
            each = trainer(
                library,
                "BertForTokenClassification",
                Path(directory),
                kind=kind,
                max_steps=2,
                gradient_accumulation_steps=accumulation,
            )
            each.train()
            each.evaluate()
            made.append(each)
    theirs, ours = made
    assert ours.seen == theirs.seen
    assert len(ours.seen) == {1: 3, 2: 4}[accumulation]  # of three batches, the last is alone; then the evaluation's


class Tuples(torch.nn.Module):
    """A user's own model, which returns (loss, logits, further), or without labels (logits, further)."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone, self.head = backbone, torch.nn.Linear(16, CLASSES)
        torch.nn.init.constant_(self.head.bias, 0.1)
        with torch.no_grad():
            self.head.weight.copy_(torch.linspace(-1, 1, 48).view(CLASSES, 16))

    def copy(self) -> Tuples:
        return copy.deepcopy(self)

    def forward(self, input_ids: Any, labels: Any = None) -> Any:
        hidden = self.backbone(input_ids).last_hidden_state[:, 0]
        logits = self.head(hidden)
        rest = (logits, hidden)
        return rest if labels is None else (F.cross_entropy(logits, labels), *rest)


def test_models_that_return_tuples() -> None:
    made = []
    for library in BOTH:
        own = Tuples(model(library, "BertForSequenceClassification").bert)
        with tempfile.TemporaryDirectory() as directory:
            each = trainer(
                library,
                "BertForSequenceClassification",
                Path(directory),
                model_init=own.copy,
                compute_metrics=lambda prediction: {"mean": float(prediction.predictions[0].mean())},
                eval_strategy="epoch",
                num_train_epochs=2,
            )
            each.train()
            labelled = examples("BertForSequenceClassification", 5, seed=2)
            unlabelled = [{"input_ids": row["input_ids"]} for row in labelled]
            made.append((each, each.predict(labelled), each.predict(unlabelled)))
    (theirs, *their_predictions), (ours, *own_predictions) = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    for own, their in zip(own_predictions, their_predictions, strict=True):
        assert_same_arrays(own.predictions, their.predictions)
        assert [array.shape for array in own.predictions] == [(5, CLASSES), (5, 16)]


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForMaskedLM", "GPT2LMHeadModel"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_return_dict_false_in_the_configuration(name: str, smoothing: float, tmp_path: Path) -> None:
    """Tuples in place of outputs change neither training nor evaluation."""
    made = []
    for return_dict in (True, False):
        each = trainer(
            minitransformers,
            name,
            tmp_path,
            max_steps=3,
            eval_strategy="steps",
            eval_steps=1,
            label_smoothing_factor=smoothing,
            gradient_accumulation_steps=2,
        )
        each.model.config.return_dict = return_dict
        each.train()
        made.append((each, each.predict(examples(name, 5, seed=2)).predictions))
    (named, expected), (plain, predictions) = made
    assert_same_history(plain.state.log_history, named.state.log_history, atol=0.0)
    predictions = predictions[0] if isinstance(predictions, tuple) else predictions
    assert_same_arrays(predictions, expected, atol=0.0)


def test_loss_on_plateau_and_a_best_model() -> None:
    for strategy in ("epoch", "best"):
        ours, theirs = in_both(
            "BertForSequenceClassification",
            compute_metrics=accuracy,
            lr_scheduler_type="reduce_lr_on_plateau",
            lr_scheduler_kwargs={"patience": 0, "factor": 0.5},
            metric_for_best_model="accuracy",
            eval_strategy="epoch",
            save_strategy=strategy,
            load_best_model_at_end=True,
            num_train_epochs=5,
            learning_rate=3e-2,
        )
        assert_same_history(ours.state.log_history, theirs.state.log_history, atol=1e-4)
        assert len({record.get("learning_rate") for record in ours.state.log_history}) > 2
        assert ours.state.best_global_step == theirs.state.best_global_step
        assert ours.events == theirs.events
        held_out = examples("BertForSequenceClassification", 5, seed=9)
        assert_same_arrays(ours.predict(held_out).predictions, theirs.predict(held_out).predictions, atol=1e-4)


@fewer(2)
@given(
    patience=st.integers(1, 3),
    threshold=st.sampled_from([0.0, 0.01, 0.1]),
    rate=st.sampled_from([1e-3, 1e-2, 5e-2]),
    limit=st.one_of(st.none(), st.integers(1, 3)),
)
def test_early_stopping(patience: int, threshold: float, rate: float, limit: int | None) -> None:
    found = []
    for library in BOTH:
        with tempfile.TemporaryDirectory() as directory:
            callback = recorder(library)
            each = trainer(
                library,
                "BertForSequenceClassification",
                Path(directory),
                callbacks=[library.EarlyStoppingCallback(patience, threshold), callback],
                eval_strategy="steps",
                eval_steps=1,
                save_strategy="steps",
                save_steps=2,
                save_total_limit=limit,
                load_best_model_at_end=True,
                learning_rate=rate,
                max_steps=7,
            )
            output = each.train()
            kept = sorted(path.name for path in Path(directory).glob("checkpoint-*"))
            best = each.state.best_model_checkpoint
            found.append(
                (output.global_step, each.state.best_global_step, kept, best and Path(best).name, callback.events)
            )
            history = each.state.log_history
            predictions = each.predict(examples("BertForSequenceClassification", 5, seed=9)).predictions
            found.append((history, predictions))
    theirs, (their_history, their_predictions), ours, (own_history, own_predictions) = found
    assert ours == theirs
    assert_same_history(own_history, their_history, atol=1e-4)
    assert_same_arrays(own_predictions, their_predictions, atol=1e-4)


def test_group_by_length() -> None:
    """Batches of similar lengths, in the same order as in transformers."""
    name, made = "BertForTokenClassification", []
    rows = [row for length in (3, 5, 2, 6, 4, 3, 5) for row in examples(name, 2, seed=length, length=length)]
    seen: list[list[Any]] = [[], []]
    for library, batches in zip(BOTH, seen, strict=True):

        def collate(features: Any, batches: list[Any] = batches) -> Any:
            length = max(len(row["input_ids"]) for row in features)
            batches.append([row["input_ids"].tolist() for row in features])
            return {
                key: torch.stack([F.pad(row[key], (0, length - len(row[key])), value=filler) for row in features])
                for key, filler in (("input_ids", 0), ("labels", -100))
            }

        with tempfile.TemporaryDirectory() as directory:
            each = trainer(
                library,
                name,
                Path(directory),
                data_collator=collate,
                train_sampling_strategy="group_by_length",
                num_train_epochs=2,
                per_device_train_batch_size=2,
            )
            each.train_dataset = rows
            each.train()
            made.append(each)
    theirs, ours = made
    assert seen[0] == seen[1]
    assert_same_history(ours.state.log_history, theirs.state.log_history)
