"""A resumed run ends with the same weights and the same log, bit for bit, as an uninterrupted one."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from trainers import trainer, without_timings

import minitransformers
from minitransformers import CheckpointError, EarlyStoppingCallback, TrainerCallback

NAME = "BertForSequenceClassification"
STRATEGIES = {
    "plain": {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1, "logging_steps": 2},
    "accumulated": {
        "max_steps": 5,
        "gradient_accumulation_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.3,
        "logging_steps": 3,
    },
    "best": {
        "num_train_epochs": 3,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": {"patience": 0},
        "learning_rate": 5e-2,
    },
}


class Stop(TrainerCallback):
    """Interrupts a run after the checkpoint of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= self.step:
            raise KeyboardInterrupt


def with_dropout(directory: Path, **arguments: Any) -> Any:
    """With dropout, whose random numbers a resumed run must continue."""
    made = trainer(minitransformers, NAME, directory, report_to=["jsonl"], **arguments)
    for module in made.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    return made


@functools.cache
def uninterrupted(strategy: str) -> tuple[Any, Any, Any]:
    """The Trainer, the output of `train`, and the log file of a run without an interruption."""
    with tempfile.TemporaryDirectory() as directory:
        whole = with_dropout(Path(directory), **STRATEGIES[strategy])
        return whole, whole.train(), written_log(directory)


def written_log(directory: str) -> list[dict[str, Any]]:
    lines = (Path(directory) / "log.jsonl").read_text().splitlines()
    return without_timings([json.loads(line) for line in lines])


@given(strategy=st.sampled_from(sorted(STRATEGIES)), stop=st.integers(1, 4), later=st.booleans())
def test_a_resumed_run_equals_an_uninterrupted_one(strategy: str, stop: int, later: bool) -> None:
    arguments = STRATEGIES[strategy]
    whole, expected, expected_log = uninterrupted(strategy)
    with tempfile.TemporaryDirectory() as directory:
        stopped = with_dropout(Path(directory), callbacks=[Stop(stop + later)], **arguments)
        with pytest.raises(KeyboardInterrupt):
            stopped.train()
        checkpoints = sorted(Path(directory).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        resumed = with_dropout(Path(directory), **arguments)
        # From the last checkpoint, or from the one before, whose later records and checkpoints are overwritten.
        output = resumed.train(resume_from_checkpoint=True if not later else checkpoints[-2:][0])
        assert output.global_step == expected.global_step
        assert output.training_loss == expected.training_loss
        for (name, own), their in zip(
            resumed.model.state_dict().items(), whole.model.state_dict().values(), strict=True
        ):
            assert own.equal(their), name
        assert without_timings(resumed.state.log_history) == without_timings(whole.state.log_history)
        assert written_log(directory) == expected_log == without_timings(whole.state.log_history)
        for field in ("epoch", "total_flos", "best_metric", "best_global_step"):
            assert getattr(resumed.state, field) == getattr(whole.state, field)


def test_resuming_a_model_from_a_file(tmp_path: Path) -> None:
    """GPT-2's matrices are transposed in transformers' files. They are loaded without a copy, so not contiguous."""
    arguments = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = trainer(minitransformers, "GPT2LMHeadModel", tmp_path / "one", **arguments)
    assert not all(weight.is_contiguous() for weight in whole.model.parameters())
    whole.train()
    resumed = trainer(minitransformers, "GPT2LMHeadModel", tmp_path / "one", **arguments)
    resumed.train(resume_from_checkpoint=tmp_path / "one" / "checkpoint-2")
    loaded = minitransformers.GPT2LMHeadModel.from_pretrained(tmp_path / "one" / "checkpoint-4")
    for model in (resumed.model, loaded):
        for (name, own), their in zip(model.state_dict().items(), whole.model.state_dict().values(), strict=True):
            assert own.equal(their), name


def test_early_stopping_continues_counting(tmp_path: Path) -> None:
    arguments = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "load_best_model_at_end": True,
        "max_steps": 20,
        "learning_rate": 0.0,  # no evaluation is better than the first
    }
    whole = trainer(minitransformers, NAME, tmp_path / "one", callbacks=[EarlyStoppingCallback(4)], **arguments)
    assert whole.train().global_step == 5
    callbacks = [EarlyStoppingCallback(4), Stop(3)]
    with pytest.raises(KeyboardInterrupt):
        trainer(minitransformers, NAME, tmp_path / "two", callbacks=callbacks, **arguments).train()
    resumed = trainer(minitransformers, NAME, tmp_path / "two", callbacks=[EarlyStoppingCallback(4)], **arguments)
    assert resumed.train(resume_from_checkpoint=True).global_step == 5


def test_a_checkpoint_is_a_model_that_can_be_loaded(tmp_path: Path) -> None:
    made = trainer(minitransformers, NAME, tmp_path, max_steps=3, save_strategy="steps", save_steps=2)
    made.train()
    loaded = minitransformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "checkpoint-3")
    for (name, own), their in zip(loaded.state_dict().items(), made.model.state_dict().values(), strict=True):
        assert own.equal(their), name
    state = minitransformers.TrainerState.load_from_json(tmp_path / "checkpoint-3" / "trainer_state.json")
    assert state.global_step == 3
    assert [record["step"] for record in state.log_history] == [1, 2, 3]
    made.save_model(tmp_path / "final")
    assert {"config.json", "model.safetensors", "training_args.json"} <= {
        path.name for path in (tmp_path / "final").iterdir()
    }


def test_a_longer_run_resumes_from_a_finished_one(tmp_path: Path) -> None:
    arguments = {"save_strategy": "epoch", "lr_scheduler_type": "constant"}
    trainer(minitransformers, NAME, tmp_path, num_train_epochs=1, **arguments).train()
    longer = trainer(minitransformers, NAME, tmp_path, num_train_epochs=2, **arguments)
    assert longer.train(resume_from_checkpoint=True).global_step == 6
    assert [record["step"] for record in longer.state.log_history[:-1]] == [1, 2, 3, 4, 5, 6]


def test_training_twice_and_model_init(tmp_path: Path) -> None:
    def fresh() -> Any:
        return minitransformers.BertForSequenceClassification(
            minitransformers.BertConfig(
                vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_labels=3
            )
        )

    made = trainer(minitransformers, NAME, tmp_path, model_init=fresh, max_steps=2)
    first = made.train().training_loss
    assert made.train().training_loss == first, "each call starts with a new model of the same seed"
    again = trainer(minitransformers, NAME, tmp_path, max_steps=2)
    first = again.train().training_loss
    assert again.train().training_loss != first, "the model is trained further"


def test_checkpoints_that_cannot_be_resumed(tmp_path: Path) -> None:
    made = trainer(minitransformers, NAME, tmp_path, max_steps=1)
    with pytest.raises(CheckpointError, match=r"there is no checkpoint in output_dir="):
        made.train(resume_from_checkpoint=True)
    with pytest.raises(CheckpointError, match=r"resume_from_checkpoint='.*nowhere' is not a directory"):
        made.train(resume_from_checkpoint=str(tmp_path / "nowhere"))
    trainer(minitransformers, "BertForTokenClassification", tmp_path, max_steps=1, save_strategy="steps").train()
    with pytest.raises(CheckpointError, match="belongs to another run"):
        made.train(resume_from_checkpoint=True)
