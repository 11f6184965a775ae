"""A resumed run ends with the same weights and the same log, bit for bit, as an uninterrupted one."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import VOCAB_SIZE, bert, go, loader, masked, same, texts, weights
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from minitransformers.data import ShuffledBatchSampler
from minitransformers.errors import CheckpointError
from minitransformers.training import Hooks, load_weights
from minitransformers.training.loop.logs import JsonLines


def test_a_run_that_is_killed_repeatedly_equals_an_uninterrupted_one(run_script, tmp_path):
    """24 kills with SIGKILL, 8 of them in each stage of a save: nothing is lost or repeated."""
    report = json.loads(run_script("killed_training.py", tmp_path, 1, 24, 8))
    assert sum(report["killed"].values()) == 24
    assert sum(count for stage, count in report["killed"].items() if stage != "at a random time") == 8
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    log = (whole / "log.jsonl").read_text()
    assert (killed / "log.jsonl").read_text() == log
    records = [json.loads(line) for line in log.splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, 67))
    assert report["steps"] > 66  # some were lost, and repeated
    names = sorted(path.name for path in whole.glob("*checkpoint*"))
    assert names == sorted(path.name for path in killed.glob("*checkpoint*"))  # and no unfinished files are left
    for name in names:
        assert_same_checkpoint(whole / name, killed / name)


def assert_same_checkpoint(one, other):
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    for path in (one / "training").iterdir():
        if path.suffix == ".safetensors":  # whose header has no fixed order
            assert same(load_file(path), load_file(other / "training" / path.name))
        elif path.name != "checksums.json":
            ours, theirs = json.loads(path.read_text()), json.loads((other / "training" / path.name).read_text())
            for numbers in (ours, theirs):
                numbers.get("settings", {}).pop("output_dir", None)
            assert ours == theirs


class Drawing:
    """A collator with a generator of its own, whose state is kept."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(3)

    def __call__(self, rows):
        ids = torch.stack(list(rows))
        chosen = torch.rand(ids.shape, generator=self.generator) < 0.4
        return {"input_ids": ids.masked_fill(chosen, 1), "labels": ids.masked_fill(~chosen, -100)}


class Counted(Dataset):
    """Counts how often an example is read, also by workers."""

    def __init__(self):
        self.rows, self.number = texts(), torch.zeros(1, dtype=torch.long).share_memory_()

    @property
    def reads(self):
        return int(self.number)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.number += 1
        return self.rows[index]


class CountedStream(IterableDataset):
    """Has a state, as streams of `datasets` have."""

    def __init__(self):
        self.rows, self.reads, self.first, self.used = texts(), 0, 0, 0

    def __iter__(self):
        first, self.first = self.first, 0
        for self.used, row in enumerate(self.rows[first:], first + 1):  # noqa: B020
            self.reads += 1
            yield row

    def state_dict(self):
        return {"used": self.used, "tensor": torch.arange(3)}

    def load_state_dict(self, state):
        assert state["tensor"].tolist() == [0, 1, 2]
        self.first = state["used"]


def jumping():
    data = Counted()
    return DataLoader(data, batch_sampler=ShuffledBatchSampler(len(data), 3, seed=4), collate_fn=Drawing())


SOURCES = {
    "PyTorch's random numbers": loader,
    "a loader's generator": lambda: loader(generator=torch.Generator().manual_seed(2)),
    "a sampler's generator": lambda: loader(
        shuffle=False, sampler=RandomSampler(texts(), generator=torch.Generator().manual_seed(2))
    ),
    "a collator's generator": lambda: loader(collate_fn=Drawing()),
    "workers": lambda: loader(num_workers=2),
    "a generator in workers": lambda: loader(num_workers=3, collate_fn=Drawing()),
    "a sampler that jumps": jumping,
    "a list": lambda: [masked(texts()[start : start + 3]) for start in range(0, 12, 3)],
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_resumed_run_equals_an_uninterrupted_one(source, tmp_path):
    """In the middle of an epoch, for all sources of random numbers, including those of the validation data."""

    def start(directory, steps):
        torch.manual_seed(2)
        np.random.seed(2)
        batches = SOURCES[source]()
        validation = DataLoader(texts(4), batch_size=2, collate_fn=getattr(batches, "collate_fn", masked))
        log = JsonLines(directory / "log.jsonl")
        return go(
            directory, steps, batches=batches, validation=validation, evaluate_every=2, log_every=3, loggers=[log]
        )

    whole = start(tmp_path / "whole", 8)
    start(tmp_path / "parts", 4)
    parts = start(tmp_path / "parts", 8)
    assert same(weights(whole), weights(parts))
    assert same(whole.optimizer.state_dict()["state"][0], parts.optimizer.state_dict()["state"][0])
    assert parts.history == whole.history[-len(parts.history) :]
    assert (tmp_path / "whole/log.jsonl").read_text() == (tmp_path / "parts/log.jsonl").read_text()
    # Random numbers have an effect:
    if source != "a list":
        assert len({record["loss"] for record in whole.history if "loss" in record}) > 1


def counted(**options):
    return DataLoader(Counted(), batch_size=3, collate_fn=masked, **options)


@pytest.mark.parametrize(
    "make",
    [
        jumping,
        lambda: counted(shuffle=True),
        lambda: counted(shuffle=True, num_workers=2),
        lambda: DataLoader(CountedStream(), batch_size=3, collate_fn=masked),
    ],
    ids=["a sampler of minitransformers", "shuffle=True", "workers", "a stream with a state"],
)
def test_nothing_is_read_twice(make, tmp_path):
    """The time to resume does not depend on the place in the epoch."""
    whole = go(tmp_path / "whole", 3, batches=make())
    go(tmp_path / "parts", 2, batches=make())  # 4 of the epoch's 5 batches
    batches = make()
    parts = go(tmp_path / "parts", 3, batches=batches)
    assert batches.dataset.reads == 2
    assert same(weights(whole), weights(parts))


def test_evaluation_does_not_change_training(tmp_path):
    """Although it draws random numbers."""
    validation = loader(batch_size=5)
    with_evaluation = go(None, 6, validation=validation, evaluate_every=1)
    assert same(weights(with_evaluation), weights(go(None, 6)))


class Stop(Hooks):
    """Ends a run early, and asks for a checkpoint of its end."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, run):
        if run.progress.step == self.step:
            run.progress.stopped = run.should_save = True


@pytest.mark.parametrize("step", [2, 3, 5], ids=["within an epoch", "at its end", "in the next"])
def test_a_run_that_was_ended_early_can_be_extended(step, tmp_path, caplog):
    """With more steps it goes on as if it had not ended; with the same it says that it does not."""
    ended = go(tmp_path / "ended", 6, hooks=[Stop(step)])
    assert ended.progress.step == step
    with caplog.at_level("WARNING"):
        again = go(tmp_path / "ended", 6)
    assert again.progress.step == step
    assert f"ended early after step {step}, by patience or a hook" in caplog.text
    assert same(weights(again), weights(ended))
    extended = go(tmp_path / "ended", 8)
    assert extended.progress.step == 8
    assert same(weights(extended), weights(go(tmp_path / "whole", 8)))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped at step 4, with checkpoints at 2 and 4, and the weights of an uninterrupted run at 6."""
    directory = tmp_path_factory.mktemp("stopped")
    expected = weights(go(directory / "whole", 6, save_every=2))
    go(directory / "stopped", 4, save_every=2)
    return directory / "stopped", expected


FILES = [
    "config.json",
    "model.safetensors",
    "training/shard-00001-model-00001-of-00001.safetensors",
    "training/run.json",
    "training/rank-0.json",
    "training/checksums.json",
]
DAMAGES = {
    "one bit": lambda content: (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    ),
    "cut short": lambda content: content[:-5],
    "empty": lambda content: b"",
    "removed": None,
}
ALL_DAMAGES = [("one bit", name) for name in FILES]
ALL_DAMAGES += [(how, FILES[index]) for how in ("cut short", "empty", "removed") for index in (1, 3)]


@pytest.mark.parametrize(("how", "name"), ALL_DAMAGES)
def test_a_damaged_checkpoint_is_ignored(how, name, stopped, tmp_path, caplog):
    """For damage to any file, the previous checkpoint is used, with a warning; the result is the same."""
    directory, expected = stopped
    assert {
        str(path.relative_to(directory / "checkpoint-4")) for path in (directory / "checkpoint-4").rglob("*.*")
    } == {*FILES}
    shutil.copytree(directory, tmp_path / "run")
    damaged = tmp_path / "run/checkpoint-4" / name
    if how == "removed":
        damaged.unlink()
    else:
        damaged.write_bytes(DAMAGES[how](damaged.read_bytes()))
    run = go(tmp_path / "run", 6, save_every=2)
    assert "checkpoint-4 cannot be used" in caplog.text
    assert "resuming from" in caplog.text
    assert [record["step"] for record in run.history] == [3, 4, 5, 6]
    assert same(weights(run), expected)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint-4", "checkpoint-6"]


def test_only_damaged_checkpoints(tmp_path):
    """Starting from the beginning without an error would lose the run."""
    go(tmp_path, 4, save_every=2)
    for path in tmp_path.rglob("model.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"checkpoint-4 cannot be used.*checkpoint-2 cannot be used.*resume=False"
    ):
        go(tmp_path, 6)
    assert go(tmp_path, 2, resume=False).history[0]["step"] == 1


def test_starting_again_and_resuming_from_a_given_checkpoint(tmp_path):
    """`resume` names the checkpoint; the newest is the one that was written last, not the one of the highest step."""
    first = go(tmp_path, 8, save_every=4, keep=None)
    again = go(tmp_path, 8, resume=tmp_path / "checkpoint-4")
    assert [record["step"] for record in again.history] == [5, 6, 7, 8]
    assert same(weights(first), weights(again))
    anew = go(tmp_path, 2, resume=False, model=bert(), save_every=2)
    assert [record["step"] for record in anew.history] == [1, 2]
    assert [record["step"] for record in go(tmp_path, 3).history] == [3]
    with pytest.raises(CheckpointError, match="checkpoint-5"):
        go(tmp_path, 8, resume=tmp_path / "checkpoint-5")


def test_a_directory_of_another_run(tmp_path):
    """Another model, another optimizer: the error names the differences, and no file is changed."""
    go(tmp_path, 2)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"config.hidden_size is 8 in the checkpoint and 12 in this run"):
        go(tmp_path, 4, model=bert(hidden_size=12))
    with pytest.raises(CheckpointError, match=r"config\.num_hidden_layers is 2 in the checkpoint and 1 in this run"):
        go(tmp_path, 4, model=bert(num_hidden_layers=1))
    with pytest.raises(CheckpointError, match=r"another run.*Choose another output_dir"):
        go(tmp_path, 4, model=torch.nn.Linear(2, 2), batches=[{}])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before


def test_changed_settings_give_a_warning(tmp_path, caplog):
    """A run may resume with other settings, but with a warning."""
    go(tmp_path, 2)
    run = go(tmp_path, 4, accumulation=1, max_grad_norm=0.5)
    assert run.progress.step == 4
    assert "accumulation was 2 and is 1" in caplog.text
    assert "max_grad_norm was 1.0 and is 0.5" in caplog.text


class Remembering(Hooks):
    """Has a state."""

    def __init__(self):
        self.steps = 0

    def on_step_end(self, run):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def test_hooks_are_resumed(tmp_path):
    go(tmp_path, 3, hooks=[Hooks(), Remembering()])
    hook = Remembering()
    go(tmp_path, 5, hooks=[Hooks(), hook])
    assert hook.steps == 5


def test_weights_of_a_checkpoint(tmp_path):
    """`load_weights` loads them into a model of the same sizes."""
    run = go(tmp_path, 2)
    model = bert()
    load_weights(model, tmp_path / "checkpoint-2")
    assert same(dict(model.state_dict()), weights(run))
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_weights(bert(vocab_size=VOCAB_SIZE + 1), tmp_path / "checkpoint-2")
    with pytest.raises(CheckpointError, match="missing"):
        load_weights(model, tmp_path)
