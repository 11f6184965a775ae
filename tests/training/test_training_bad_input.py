"""Errors of a run are raised before it starts, or leave earlier checkpoints intact."""

import errno
import math
import resource

import pytest
import torch
from tiny_runs import bert, go, loader, same, texts, weights
from torch.utils.data import DataLoader

from minitransformers.errors import CheckpointError, InputError, TrainingError
from minitransformers.training import Settings, evaluate, load_weights, parallelize
from minitransformers.training.loop import checkpoints
from minitransformers.training.loop.objective import normalized_loss


@pytest.fixture
def largest_file():
    """Limits the size of files of this process, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 5_000, 12_000, 30_000])
def test_a_full_disk(size, largest_file, tmp_path):
    """While config.json, weights, numbers or optimizer state are written: the previous checkpoint is unchanged."""
    go(tmp_path / "run", 2)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert max(map(len, files.values())) > 30_000
    largest_file(size)
    with pytest.raises(TrainingError, match=r"checkpoint-4 could not be written.*make room on the disk"):
        go(tmp_path / "run", 4)
    largest_file(resource.RLIM_INFINITY)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == files
    run = go(tmp_path / "run", 4)
    assert [record["step"] for record in run.history] == [3, 4]
    assert same(weights(run), weights(go(tmp_path / "whole", 4)))


def test_no_space_left_at_the_last_moment(tmp_path, monkeypatch):
    """While files are flushed to the disk; the error includes that of the system."""

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    go(tmp_path, 2)
    monkeypatch.setattr(checkpoints, "synchronise", full)
    with pytest.raises(TrainingError, match="No space left on device") as raised:
        go(tmp_path, 4)
    assert isinstance(raised.value.__cause__, OSError)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def broken(value):
    """The model's loss, except for one micro-batch of step 3."""
    calls = []

    def loss(model, batch, counts):
        calls.append(1)
        return normalized_loss(model, batch, counts) * (value if len(calls) == 5 else 1.0)

    return loss


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run(value, tmp_path):
    """Before the weights change, and with the number of the step."""
    model = bert()
    with pytest.raises(TrainingError, match=rf"loss of step 3 is {value}.*on_nan='skip'"):
        go(tmp_path, 5, model=model, loss=broken(value), save_every=2)
    assert same(dict(model.state_dict()), weights(go(None, 2)))
    assert go(tmp_path, 5).history[0]["step"] == 3


def test_a_loss_that_is_not_finite_can_be_skipped():
    """The step is counted, and changes nothing; records have the number of skipped steps."""
    run = go(None, 4, loss=broken(math.nan), on_nan="skip")
    assert all(value.isfinite().all() for value in run.model.state_dict().values())
    assert [record.get("skipped", 0) for record in run.history] == [0, 0, 1, 1]
    assert [math.isfinite(record["loss"]) for record in run.history] == [True, True, False, True]
    assert run.progress.step == 4


@pytest.mark.parametrize(
    "batches", [[], DataLoader([], batch_size=2), DataLoader(texts(2), batch_size=3, drop_last=True)]
)
def test_no_data(batches):
    with pytest.raises(InputError, match="batches is empty"):
        go(None, 2, batches=batches)
    with pytest.raises(InputError, match="batches is empty"):
        evaluate(bert(), batches)


def test_no_labels():
    """In the validation data, or in all data."""
    rows = torch.stack(list(texts(2)))
    with pytest.raises(InputError, match="all are −100"):
        evaluate(bert(), [{"input_ids": rows, "labels": torch.full_like(rows, -100)}])
    with pytest.raises(InputError, match=r"BertForMaskedLM gave no loss for a batch with \['input_ids'\]"):
        go(None, 1, batches=[{"input_ids": rows}])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "steps=… or epochs=…"),
        ({"steps": -1}, "steps=-1"),
        ({"steps": 1, "accumulation": 0}, "accumulation=0"),
        ({"steps": 1, "keep": 0, "output_dir": "x"}, "keep=0"),
        ({"steps": 1, "max_grad_norm": 0.0}, "max_grad_norm=0.0"),
        ({"steps": 1, "max_grad_norm": math.nan}, "max_grad_norm=nan"),
        ({"steps": 1, "on_nan": "ignore"}, "on_nan='ignore'"),
        ({"steps": 1, "save_every": 2}, "output_dir=…"),
        ({"steps": 1, "keep_best": True}, "output_dir=…"),
        ({"steps": 1, "min_improvement": -1.0}, "min_improvement=-1.0"),
    ],
)
def test_invalid_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_nothing_to_train():
    with pytest.raises(InputError, match="no parameter that requires a gradient"):
        go(None, 1, model=bert().requires_grad_(False))


def test_unknown_kind_of_parallel_training():
    with pytest.raises(InputError, match="kind='zero3'"):
        parallelize(bert(), "zero3")


def test_parallelize_under_plain_python_returns_the_model():
    """The same script runs without torchrun."""
    model = bert()
    assert parallelize(model, "fsdp", device="cpu") is model


def test_output_dir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, TrainingError), match="file"):
        go(tmp_path / "file", 2, batches=loader())


def test_not_a_checkpoint(tmp_path):
    """A directory with a checkpoint's name, without a checkpoint in it."""
    bert().save_pretrained(tmp_path / "checkpoint-3")
    with pytest.raises(CheckpointError, match=r"training/checksums.json is missing"):
        load_weights(bert(), tmp_path / "checkpoint-3")
