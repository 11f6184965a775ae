"""Options of the Trainer: half precision, memory, compilation, reports, compared with transformers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from trainers import BOTH, accuracy, assert_same_history, examples, trainer, without_timings

import minitransformers
from minitransformers import (
    CheckpointError,
    DataCollatorForLanguageModeling,
    InputError,
    TrainerCallback,
    UnknownArgumentError,
)
from minitransformers.models.base.checkpointing import GradientCheckpointingLayer

NAMES = ["BertForSequenceClassification", "GPT2LMHeadModel"]
EPOCHS = {"num_train_epochs": 2, "eval_strategy": "epoch", "compute_metrics": accuracy}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(name: str, precision: str, tmp_path: Path) -> None:
    """Within half a percent of transformers, also on the CPU; but different from single precision."""
    made = [trainer(library, name, tmp_path, **{precision: True}, **EPOCHS) for library in BOTH]
    plain = trainer(minitransformers, name, tmp_path, **EPOCHS)
    for each in (*made, plain):
        each.train()
    theirs, ours = made
    records = [each.state.log_history for each in (ours, theirs, plain)]
    for own, their, single in zip(*records, strict=True):
        assert list(own) == list(their)
        for key in own.keys() & {"loss", "eval_loss", "train_loss"}:
            assert own[key] == pytest.approx(their[key], rel=5e-3)
            assert own[key] != single[key]
    held_out = examples(name, 5, seed=9)
    own, their = (each.predict(held_out).predictions for each in (ours, theirs))
    assert own.dtype == their.dtype == np.float32
    np.testing.assert_allclose(own, their, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_recomputed_blocks(name: str, tmp_path: Path) -> None:
    made, calls = [], []
    for library in BOTH:
        options = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
        made.append(trainer(library, name, tmp_path, **options, **EPOCHS))
    block = next(module for module in made[1].model.modules() if isinstance(module, GradientCheckpointingLayer))
    block.register_forward_pre_hook(lambda module, _: calls.append(module.training))
    for each in made:
        each.train()
    assert_same_history(made[1].state.log_history, made[0].state.log_history)
    assert (calls.count(True), calls.count(False)) == (2 * 6, 2)  # of 6 steps in training, and 2 evaluations of 1 batch


def test_reentrant_checkpointing_is_refused(tmp_path: Path) -> None:
    made = trainer(
        minitransformers,
        NAMES[0],
        tmp_path,
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": True},
    )
    with pytest.raises(InputError, match=r"has use_reentrant=True, .* leave it out, or pass False"):
        made.train()
    made.args.activation_checkpointing_kwargs = {"use_rentrant": False}
    with pytest.raises(UnknownArgumentError, match=r"takes no argument 'use_rentrant'.*Did you mean 'use_reentrant'\?"):
        made.train()


def test_compiled(run_script: Any, tmp_path: Path) -> None:
    run_script("compiled_trainer.py", tmp_path)


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves in TensorBoard's file."""
    (file,) = (path for path in directory.rglob("events.out.tfevents*") if path.is_file())
    events = EventAccumulator(str(file))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard(tmp_path: Path) -> None:
    """The curves and names of transformers, with all records."""
    found = []
    for library in BOTH:
        directory = tmp_path / library.__name__
        made = trainer(library, NAMES[0], directory, report_to="tensorboard", **EPOCHS)
        made.train()
        found.append(curves(directory))
    theirs, ours = found
    assert ours.keys() == theirs.keys()
    for name in theirs:
        if not name.endswith(("runtime", "per_second")):
            assert ours[name] == [(step, pytest.approx(value, rel=1e-4, abs=1e-5)) for step, value in theirs[name]]
    for record in made.state.log_history:
        for name, value in record.items():
            if name != "step":
                curve = name.replace("eval_", "eval/") if name.startswith("eval_") else f"train/{name}"
                assert (record["step"], pytest.approx(value)) in ours[curve], name


def test_the_loss_curve_follows_the_run(tmp_path: Path) -> None:
    pictures = []

    class Look(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pictures.append(image.imread(Path(args.output_dir) / "loss.png"))

    options = {"report_to": ["loss_curve"], "run_name": "a run", "callbacks": [Look()], **EPOCHS}
    made = trainer(minitransformers, NAMES[0], tmp_path, **options)
    made.train()
    pictures.append(image.imread(tmp_path / "loss.png"))
    assert len(pictures) == 3
    assert all(len(np.unique(picture)) > 10 for picture in pictures)
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


def test_a_seeded_collator_is_resumed(tmp_path: Path) -> None:
    """It is wrapped by one that drops columns; its draws in the second epoch equal those of an uninterrupted run."""
    name = "BertForMaskedLM"
    tokenizer = minitransformers.BertTokenizer({f"w{index}": index for index in range(27)} | SPECIAL)

    def make(directory: Path, **options: Any) -> Any:
        collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.4, seed=3)
        made = trainer(
            minitransformers, name, directory, data_collator=collator, save_strategy="steps", save_steps=1, **options
        )
        made.train_dataset = [{"input_ids": row["input_ids"], "text": "…"} for row in examples(name, 10)]
        return made

    whole = make(tmp_path / "whole", max_steps=6)
    whole.train()
    make(tmp_path / "parts", max_steps=6, callbacks=[StopAt(4)]).train()
    resumed = make(tmp_path / "parts", max_steps=6)
    resumed.train(resume_from_checkpoint=True)
    assert without_timings(resumed.state.log_history)[:-1] == without_timings(whole.state.log_history)[:-1]


SPECIAL = {"[PAD]": 27, "[UNK]": 28, "[CLS]": 29, "[SEP]": 30, "[MASK]": 31}


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop |= state.global_step == self.step


def test_fp16_is_resumed(tmp_path: Path) -> None:
    """The scale of the loss is part of a checkpoint."""
    options = {"fp16": True, "max_steps": 5, "save_strategy": "steps", "save_steps": 1, "report_to": ["jsonl"]}
    whole = trainer(minitransformers, NAMES[0], tmp_path / "whole", **options)
    whole.train()
    trainer(minitransformers, NAMES[0], tmp_path / "parts", callbacks=[StopAt(2)], **options).train()
    resumed = trainer(minitransformers, NAMES[0], tmp_path / "parts", **options)
    resumed.train(resume_from_checkpoint=True)
    scale = json.loads((tmp_path / "parts" / "checkpoint-5" / "training" / "run.json").read_text())["scaler"]
    assert scale["_growth_tracker"] == 5
    for own, their in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert own.equal(their)


def test_checkpoints_with_only_the_model(tmp_path: Path) -> None:
    """They hold the best model in half the size; no run can resume from them."""
    options = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True, "learning_rate": 0.1}
    made = {}
    for only_model in (False, True):
        for library in BOTH:
            directory = tmp_path / f"{library.__name__}-{only_model}"
            each = trainer(library, NAMES[0], directory, save_only_model=only_model, num_train_epochs=2, **options)
            each.train()
            made[library.__name__, only_model] = each
    ours, theirs = made["minitransformers", True], made["transformers", True]
    assert_same_history(ours.state.log_history, theirs.state.log_history, atol=1e-4)
    assert Path(ours.state.best_model_checkpoint).name == Path(theirs.state.best_model_checkpoint).name
    held_out = examples(NAMES[0], 5, seed=9)
    own = ours.predict(held_out).predictions
    np.testing.assert_array_equal(own, made["minitransformers", False].predict(held_out).predictions)
    np.testing.assert_allclose(own, theirs.predict(held_out).predictions, atol=1e-4)
    whole, alone = (tmp_path / f"minitransformers-{only_model}" / "checkpoint-6" for only_model in (False, True))
    assert {path.name for path in whole.iterdir()} == {path.name for path in alone.iterdir()}
    sizes = [sum(path.stat().st_size for path in each.rglob("*.safetensors")) for each in (whole, alone)]
    assert sizes[1] < 0.6 * sizes[0]
    again = trainer(minitransformers, NAMES[0], alone.parent, **options)
    with pytest.raises(CheckpointError, match=r"holds only the model .*Start a new run with that model"):
        again.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("name", NAMES)
def test_noise_on_embeddings(name: str, tmp_path: Path) -> None:
    """The same draws as in transformers; none in evaluation, and none after training."""
    made = []
    for library in BOTH:
        each = trainer(library, name, tmp_path, neftune_noise_alpha=50.0, seed=5, **EPOCHS)
        each.train()
        made.append(each)
    plain = trainer(minitransformers, name, tmp_path, seed=5, **EPOCHS)
    plain.train()
    theirs, ours = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    assert ours.state.log_history[0]["loss"] != plain.state.log_history[0]["loss"]
    assert not ours.model.get_input_embeddings()._forward_hooks
    held_out = examples(name, 5, seed=9)
    own, their = (each.predict(held_out).predictions for each in (ours, theirs))
    np.testing.assert_allclose(own, their, atol=1e-4)


def test_noise_without_embeddings(tmp_path: Path) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(32, 3)

        def forward(self, input_ids: Any = None, labels: Any = None) -> Any:
            logits = self.table(input_ids).mean(1)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    options = minitransformers.TrainingArguments(str(tmp_path), neftune_noise_alpha=5.0, use_cpu=True)
    made = minitransformers.Trainer(Bare(), options, train_dataset=examples(NAMES[0], 4))
    with pytest.raises(InputError, match=r"Bare has no get_input_embeddings\(\): add that method"):
        made.train()


@pytest.mark.parametrize("counted", [True, "all", "non_padding"])
@pytest.mark.parametrize("padding_from", ["mask", "tokenizer", "nothing"])
def test_counted_tokens(counted: Any, padding_from: str, tmp_path: Path) -> None:
    made = []
    for library in BOTH:
        each = trainer(
            library, NAMES[1], tmp_path, include_num_input_tokens_seen=counted, gradient_accumulation_steps=2, **EPOCHS
        )
        rows = [
            {**row, "input_ids": row["input_ids"].masked_fill(row["input_ids"] > 20, 0)} for row in each.train_dataset
        ]
        if padding_from == "mask":
            rows = [{**row, "attention_mask": (row["input_ids"] > 5).long()} for row in rows]
        if padding_from == "tokenizer":
            each.processing_class = SimpleNamespace(pad_token_id=0)
        each.train_dataset = rows
        each.train()
        made.append(each)
    theirs, ours = made
    assert_same_history(ours.state.log_history, theirs.state.log_history)
    seen = [record["num_input_tokens_seen"] for record in ours.state.log_history]
    assert seen == [record["num_input_tokens_seen"] for record in theirs.state.log_history]
    assert seen[-1] == ours.state.num_input_tokens_seen
    assert (seen[-1] == 2 * 10 * 6) == (counted != "non_padding" or padding_from == "nothing")
    assert "train_tokens_per_second" in ours.state.log_history[0]
