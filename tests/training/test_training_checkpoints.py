"""Checkpoints: their content, which ones are kept; and the records, hooks and epochs of a run."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_runs import bert, go, gpt2, loader, same, texts, weights

from minitransformers.errors import InputError, TrainingError
from minitransformers.training import Hooks, Settings, train
from minitransformers.training.loop import checkpoints
from minitransformers.training.loop.logs import JsonLines


@pytest.mark.parametrize("make", [bert, gpt2])
def test_a_checkpoint_can_be_loaded_by_from_pretrained(make, tmp_path):
    """Here and in transformers; all other files are in training/, in safetensors and JSON."""
    model = make()
    rows = torch.stack(list(texts()))
    batches = [{"input_ids": rows, "labels": rows}]
    run = go(tmp_path / "run", 2, model=model, batches=batches)
    checkpoint = tmp_path / "run/checkpoint-2"
    model.save_pretrained(tmp_path / "saved")
    for path in (tmp_path / "saved").iterdir():
        assert (checkpoint / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in checkpoint.iterdir()} == {
        "training", *(path.name for path in (tmp_path / "saved").iterdir())
    }  # fmt: skip
    loaded = type(model).from_pretrained(checkpoint)
    assert same(dict(loaded.state_dict()), weights(run))
    reference = getattr(transformers, type(model).__name__).from_pretrained(checkpoint).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(rows).logits, reference(rows).logits, rtol=1e-4, atol=1e-5)
    for path in checkpoint.rglob("*.*"):
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert path.suffix == ".safetensors"
            with safe_open(path, "pt") as file:
                assert file.keys()


def names(directory):
    return sorted(path.name for path in Path(directory).iterdir())


@pytest.mark.parametrize(("keep", "expected"), [(1, [6]), (2, [4, 6]), (None, [2, 4, 6])], ids=["one", "two", "all"])
def test_the_last_are_kept(keep, expected, tmp_path):
    go(tmp_path, 6, save_every=2, keep=keep)
    assert names(tmp_path) == [f"checkpoint-{step}" for step in expected]


def test_the_last_step_is_saved(tmp_path):
    go(tmp_path, 3)
    assert names(tmp_path) == ["checkpoint-3"]


def measured(values):
    """An `evaluate` that returns these losses, one after the other."""
    return lambda model, batches, settings: {"loss": values.pop(0)}


def go_measured(directory, values, **settings):
    model = bert()
    optimizer = torch.optim.AdamW(model.parameters())
    settings = Settings(output_dir=directory, steps=len(values), evaluate_every=1, **settings)
    return train(model, optimizer, None, loader(), settings, validation=[], evaluate=measured([*values]))


def test_the_best_is_kept(tmp_path):
    """It is saved immediately, whatever `save_every` is, and never removed."""
    run = go_measured(tmp_path, [3.0, 2.0, 1.0, 4.0, 5.0, 6.0], keep_best=True, keep=1, save_every=5)
    assert (run.progress.best, run.progress.best_step) == (1.0, 3)
    assert names(tmp_path) == ["checkpoint-3", "checkpoint-6"]


@pytest.mark.parametrize(
    ("values", "settings", "last"),
    [
        ([3.0, 2.0, 2.5, 2.1, 2.2, 0.0], {"patience": 2}, 4),
        ([3.0, 2.0, 2.5, 1.9, 2.2, 2.0], {"patience": 2}, 6),
        ([3.0, 2.9, 2.8, 0.1], {"patience": 2, "min_improvement": 0.5}, 3),
        ([1.0, 2.0, 1.0, 1.5, 9.0], {"patience": 2, "greater_is_better": True}, 4),
        ([float("nan"), float("nan"), 1.0], {"patience": 2}, 2),
    ],
)
def test_early_stopping(values, settings, last, tmp_path):
    """After this many evaluations without an improvement; the run is saved, and starting it again does nothing."""
    run = go_measured(tmp_path, values, **settings)
    assert run.progress.step == last
    assert names(tmp_path) == [f"checkpoint-{last}"]
    again = go_measured(tmp_path, values, **settings)
    assert not again.history


def test_unknown_metric(tmp_path):
    with pytest.raises(InputError, match=r"metric='bleu' is not among .*'loss'"):
        go_measured(tmp_path, [1.0], patience=1, metric="bleu")


def test_records(tmp_path):
    """Their loss is the mean since the last record, without skipped steps."""
    every, third = go(None, 6).history, go(None, 6, log_every=3).history
    assert [record["step"] for record in third] == [3, 6]
    for number, record in enumerate(third):
        mean = sum(each["loss"] for each in every[3 * number : 3 * number + 3]) / 3
        assert record["loss"] == pytest.approx(mean)
        assert record["grad_norm"] == every[3 * number + 2]["grad_norm"]
    assert [record["learning_rate"] for record in every] == pytest.approx([1e-2 / (1 + step) for step in range(6)])
    assert [record["epoch"] for record in every] == [0.4, 0.8, 1.0, 1.4, 1.8, 2.0]
    assert not go(None, 6, log_every=None).history


class Events(Hooks):
    """Records events, and requests an evaluation, a checkpoint and the end."""

    def __init__(self):
        self.events = []

    def __getattribute__(self, name):
        if name.startswith("on_") and not name.startswith(("on_step_end",)):
            self.events.append(name.removeprefix("on_"))
        return super().__getattribute__(name)

    def on_step_end(self, run):
        self.events.append("step_end")
        if run.progress.step == 2:
            run.should_evaluate = run.should_save = True
        run.progress.stopped = run.progress.step == 4


def test_hooks(tmp_path):
    """Hooks are called in order, and their requests are carried out."""
    hook = Events()
    rows = torch.stack(list(texts(2)))
    batches = [{"input_ids": rows, "labels": rows}] * 3
    go(tmp_path, 100, batches=batches, validation=batches, log_every=None, hooks=[hook])
    step = ["step_begin", "substep_end", "pre_optimizer_step", "optimizer_step", "step_end"]
    short = [event for event in step if event != "substep_end"]
    first = [*step, *short, "log", "evaluate", "save", "epoch_end"]
    assert hook.events == [
        "train_begin", "epoch_begin", *first, "epoch_begin", *step, *short, "epoch_end", "train_end"
    ]  # fmt: skip
    assert names(tmp_path) == ["checkpoint-2"]


class AtTheEnd(Hooks):
    """Requests an evaluation and a checkpoint at the end of each epoch, as many scripts do."""

    def on_epoch_end(self, run):
        run.should_evaluate = run.should_save = True


@pytest.mark.parametrize("steps", [3, 4], ids=["at an epoch's end", "in an epoch's middle"])
def test_restarting_a_finished_run_does_nothing(steps, tmp_path):
    """A run that gets more steps later equals one that had them from the start."""
    lines = {}
    for name, parts in (("parts", [steps, steps, 8, 8]), ("whole", [8])):
        for part in parts:
            logger = JsonLines(tmp_path / f"{name}.jsonl")
            go(tmp_path / name, part, validation=loader(), hooks=[AtTheEnd()], loggers=[logger])
            lines.setdefault(name, []).append((tmp_path / f"{name}.jsonl").read_text().splitlines())
    first, again, more, more_again = lines["parts"]
    assert first == again
    assert more == more_again
    (whole,) = lines["whole"]
    extra = [line for line in more if line not in whole]  # the record of the end in the middle of the epoch
    assert [line for line in more if line in whole] == whole
    assert len(extra) == (1 if steps == 4 else 0)


def test_epochs(tmp_path):
    """The given number, each with all batches; a last step with fewer batches is a step."""
    run = go(tmp_path, None, epochs=2, accumulation=4)
    assert names(tmp_path) == ["checkpoint-4"]  # saved, although at step 4 it was unknown that it is the last
    assert not go(tmp_path, None, epochs=2, accumulation=4).history
    assert (run.progress.step, run.progress.epoch, run.num_steps) == (4, 2, 4)
    assert go(None, 3, epochs=2).progress.step == 3
    assert not go(None, 0).history


def test_the_bar(capsys):
    """Steps, tokens per second, loss and remaining time."""
    go(None, 3, show_progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "tokens/s, loss " in shown
    assert "<" in shown  # elapsed time < remaining time


def test_a_user_module(tmp_path):
    """Any module with a loss can be trained; its weights are saved under their own names."""

    class Regression(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.register_buffer("scale", torch.tensor(3.0))

        def forward(self, x, labels):
            return {"loss": (self.scale * self.layer(x).squeeze(-1) - labels).square().mean()}

    def build():
        torch.manual_seed(0)
        return Regression()

    batches = [{"x": torch.randn(4, 2), "labels": torch.randn(4)} for _ in range(3)]
    whole = go(tmp_path / "whole", 4, model=build(), batches=batches)
    half = go(tmp_path / "parts", 2, model=build(), batches=batches)
    with safe_open(tmp_path / "parts/checkpoint-2/model.safetensors", "pt") as file:
        assert {name: file.get_tensor(name).tolist() for name in file.keys()} == {  # noqa: SIM118
            name: value.tolist() for name, value in half.model.state_dict().items()
        }
    parts = go(tmp_path / "parts", 4, model=build(), batches=batches)
    assert same(weights(whole), weights(parts))


@pytest.mark.parametrize("make", [bert, gpt2])
def test_weights_are_written_once(make, tmp_path):
    """In the model's files, also where matrices are transposed there; what these do not hold is kept beside them."""
    rows = torch.stack(list(texts()))
    batches = [{"input_ids": rows, "labels": rows}]
    run = go(tmp_path, 1, model=make(), batches=batches)
    (file,) = (tmp_path / "checkpoint-1/training").glob("*.safetensors")
    with safe_open(file, "pt") as opened:
        assert not [name for name in opened.keys() if name.startswith("model.")]  # noqa: SIM118
    placed = json.loads((tmp_path / "checkpoint-1/training/run.json").read_text())["weights"]
    assert any(placed.values()) == (make is gpt2)
    again = go(tmp_path, 1, model=make(), batches=batches)
    assert same(weights(again), weights(run))


class OtherFiles(Hooks):
    """Writes half of the weights."""

    def save_model(self, run, directory):
        state = run.model.state_dict()
        save_file({name: state[name].clone() for name in [*state][::2]}, directory / "model.safetensors")


def test_weights_that_the_files_of_the_model_lack(tmp_path):
    """They are written to training/."""
    rows = torch.stack(list(texts()))
    batches = [{"input_ids": rows, "labels": rows}]
    whole = go(tmp_path / "whole", 3, batches=batches, hooks=[OtherFiles()])
    go(tmp_path / "parts", 2, batches=batches, hooks=[OtherFiles()])
    parts = go(tmp_path / "parts", 3, batches=batches, hooks=[OtherFiles()])
    assert same(weights(whole), weights(parts))
    sharing = json.loads((tmp_path / "parts/checkpoint-3/training/run.json").read_text())["weights"]
    assert 0 < len(sharing) < len(weights(parts))


class Saved(Hooks):
    """Notes which checkpoints are complete when `on_save` is called."""

    def __init__(self):
        self.seen = []

    def on_save(self, run, directory):
        self.seen.append((directory.name, (directory / "training/checksums.json").exists()))


@pytest.mark.parametrize("make", [bert, gpt2])
def test_checkpoints_in_the_background(make, tmp_path):
    """The same files as otherwise, of the moment when they were due, though the weights have changed meanwhile."""
    rows = torch.stack(list(texts()))
    batches = [{"input_ids": rows, "labels": rows}] * 3
    hook = Saved()
    go(tmp_path / "plain", 6, model=make(), batches=batches, save_every=2, keep=None)
    go(
        tmp_path / "background",
        6,
        model=make(),
        batches=batches,
        save_every=2,
        keep=None,
        async_save=True,
        hooks=[hook],
    )
    assert hook.seen == [(f"checkpoint-{step}", True) for step in (2, 4, 6)]
    for step in (2, 4, 6):
        one, other = (tmp_path / name / f"checkpoint-{step}" for name in ("plain", "background"))
        assert {path.relative_to(one) for path in one.rglob("*")} == {p.relative_to(other) for p in other.rglob("*")}
        assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
        numbers = [json.loads((path / "training/run.json").read_text()) for path in (one, other)]
        for each in numbers:
            each.pop("settings")
        assert numbers[0] == numbers[1]
    shutil.rmtree(tmp_path / "background/checkpoint-6")
    resumed = go(tmp_path / "background", 6, model=make(), batches=batches, async_save=True)
    assert [record["step"] for record in resumed.history] == [5, 6]
    assert (tmp_path / "background/checkpoint-6/model.safetensors").read_bytes() == (
        one / "model.safetensors"
    ).read_bytes()


def test_a_checkpoint_in_the_background_that_cannot_be_written(tmp_path, monkeypatch):
    """An error of the run, at the latest at its end; earlier checkpoints are unchanged."""

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    go(tmp_path, 2)
    monkeypatch.setattr(checkpoints, "synchronise", full)
    with pytest.raises(TrainingError, match=r"checkpoint-4 could not be written: .*No space left on device"):
        go(tmp_path, 4, async_save=True)
    monkeypatch.undo()
    assert go(tmp_path, 4, async_save=True).history[0]["step"] == 3
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-4"]
