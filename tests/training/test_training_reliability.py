"""Gradients that are not finite, SIGTERM, two runs in one directory, and checkpoints whose values make no sense."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import bert, go, loader, same, weights
from trainers import trainer

import minitransformers
from minitransformers.errors import CheckpointError, MinitransformersError, TrainingError
from minitransformers.training import Hooks
from minitransformers.training.loop.checkpoint_directories import CHECKSUMS, checksum, files_in
from minitransformers.training.loop.output_lock import locked
from minitransformers.training.loop.random_state import random_state, set_generator_state, set_random_state


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# ---- gradients that are not finite -----------------------------------------------------------------------------------


def spoiling(model: Any, at: int, value: float = math.nan) -> Any:
    """The model, of which one backward pass gives a gradient that is not finite, under a finite loss."""
    passes: list[int] = []
    weight = model.get_input_embeddings().weight

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return gradient * value if len(passes) == at else gradient

    weight.register_hook(spoil)
    return model


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_the_run(value: float, tmp_path: Path) -> None:
    """Before the step, and with its number and its batches; the checkpoint before is intact."""
    model = spoiling(bert(), 5, value)
    with pytest.raises(TrainingError, match=r"gradient norm of step 3 is .* \(batch 4 of epoch 0, .* not updated"):
        go(tmp_path, 5, model=model, save_every=2)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert names(tmp_path) == ["checkpoint-2"]
    assert go(tmp_path, 5).history[0]["step"] == 3


def test_a_gradient_that_is_not_finite_can_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """The step changes nothing, is told once, and its loss is in no mean."""
    run = go(None, 4, model=spoiling(bert(), 3), on_nan="skip")
    assert (run.progress.skipped, run.progress.step) == (1, 4)
    assert caplog.text.count("The gradient norm of step 2 is nan, and its loss") == 1
    assert math.isnan(run.history[1]["loss"])
    assert all(tensor.isfinite().all() for tensor in weights(run).values())


def test_a_trainer_goes_on(tmp_path: Path) -> None:
    made = trainer(minitransformers, "BertForSequenceClassification", tmp_path, max_steps=4)
    spoiling(made.model, 2)
    made.train()
    assert made.state.global_step == 4
    assert all(tensor.isfinite().all() for tensor in made.model.state_dict().values())


def test_half_precision_with_a_gradient_that_scaling_does_not_explain() -> None:
    """fp16 skips a step that overflows, and halves the scale; a NaN at the smallest scale is an error."""

    class AtTheSmallestScale(Hooks):
        def on_step_begin(self, run: Any) -> None:
            if run.progress.step == 1:
                run.scaler._scale.fill_(2.0**-15)

    with pytest.raises(TrainingError, match="gradient norm of step 2 is nan"):
        go(None, 4, model=spoiling(bert(), 3), precision="fp16", hooks=[AtTheSmallestScale()])
    assert go(None, 3, model=spoiling(bert(), 3), precision="fp16").progress.step == 3
    options = {"precision": "fp16", "on_nan": "skip", "hooks": [AtTheSmallestScale()]}
    assert go(None, 4, model=spoiling(bert(), 3), **options).progress.skipped == 1


class SpoilWeights(Hooks):
    """From a step on, the weights are not finite, as after a mistake of a hook."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, run: Any) -> None:
        if run.progress.step == self.step:
            run.model.get_input_embeddings().weight.data[3, 0] = math.nan


def test_the_last_finite_checkpoint_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many follow it; and the run resumes from it."""

    class Save(SpoilWeights):
        def on_step_end(self, run: Any) -> None:
            super().on_step_end(run)
            run.should_save = True
            run.progress.stopped = run.progress.step == 6

    one = [{"input_ids": torch.arange(8)[None], "labels": torch.arange(8)[None]}]
    frozen = bert()
    for parameter in frozen.bert.parameters():
        parameter.requires_grad_(False)
    zero = lambda model, batch, counts: 0 * sum(p.sum() for p in model.cls.parameters() if p.requires_grad)  # noqa: E731
    go(tmp_path, 9, model=frozen, batches=one * 10, hooks=[Save(4)], accumulation=1, keep=1, loss=zero)
    assert names(tmp_path) == ["checkpoint-3", "checkpoint-6"]
    with caplog.at_level("WARNING"):
        run = go(tmp_path, 4, model=frozen, batches=one * 10, accumulation=1, loss=zero)
    assert "checkpoint-6 cannot be used: its weights are not finite; resuming from" in caplog.text
    assert [record["step"] for record in run.history] == [4]


def test_weights_that_are_not_finite_end_a_run_that_skips() -> None:
    """No later step can be better."""
    with pytest.raises(TrainingError, match="The weights are not finite at step 3"):
        go(None, 9, on_nan="skip", hooks=[SpoilWeights(2)])


def test_a_trainer_keeps_the_last_finite_checkpoint(tmp_path: Path) -> None:
    class Spoil(minitransformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            if state.global_step == 2:
                model.get_input_embeddings().weight.data[3, 0] = math.nan

    options = {"max_steps": 9, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    made = trainer(minitransformers, "BertForSequenceClassification", tmp_path, callbacks=[Spoil()], **options)
    with pytest.raises(TrainingError, match="The weights are not finite"):
        made.train()
    assert "checkpoint-1" in names(tmp_path)


# ---- SIGTERM ---------------------------------------------------------------------------------------------------------


class Terminate(Hooks):
    """SIGTERM arrives in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, run: Any) -> None:
        if run.progress.step == self.step - 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_sigterm(step: int, tmp_path: Path) -> None:
    """The step is finished and saved, the process exits with 0, and the run goes on as if nothing had happened.

    The steps are at an epoch's beginning, where an evaluation is due, at an epoch's end, and the last one.
    """
    options = {"validation": loader(), "evaluate_every": 2, "patience": 9}
    whole = go(tmp_path / "whole", 5, **options)
    with pytest.raises(SystemExit) as ended:
        go(tmp_path / "ended", 5, hooks=[Terminate(step)], **options)
    assert ended.value.code == 0
    assert names(tmp_path / "ended") == [f"checkpoint-{step}"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    after = go(tmp_path / "ended", 5, **options)
    assert same(weights(whole), weights(after))
    metrics = [record for record in whole.history if "eval_loss" in record]
    assert [record for record in after.history if "eval_loss" in record] == [r for r in metrics if r["step"] >= step]
    assert after.progress.best == whole.progress.best


def test_sigterm_of_a_script_that_handles_it(tmp_path: Path) -> None:
    """Its own handler stays."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        assert go(tmp_path, 3, hooks=[Terminate(2)]).progress.step == 3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_sigterm_and_a_trainer(tmp_path: Path) -> None:
    class Kill(minitransformers.TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    def made(where: str, **options: Any) -> Any:
        arguments = {"max_steps": 4, "save_strategy": "steps", "save_steps": 9, "eval_strategy": "steps"}
        path = tmp_path / where
        return trainer(minitransformers, "BertForSequenceClassification", path, eval_steps=2, **arguments, **options)

    whole = made("whole")
    whole.train()
    with pytest.raises(SystemExit) as ended:
        made("ended", callbacks=[Kill()]).train()
    assert ended.value.code == 0
    after = made("ended")
    after.train(resume_from_checkpoint=True)
    assert same(dict(whole.model.state_dict()), dict(after.model.state_dict()))
    evaluated = [record["step"] for record in after.state.log_history if "eval_loss" in record]
    assert evaluated == [2, 4]


# ---- two runs in one directory ---------------------------------------------------------------------------------------


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """In words, with the other process, and without a change."""

    class Second(Hooks):
        def on_step_end(self, run: Any) -> None:
            if run.progress.step == 3:
                before = names(tmp_path)
                with pytest.raises(CheckpointError, match=rf"in use by another run \(process {os.getpid()}\)"):
                    go(tmp_path, 9)
                assert names(tmp_path) == before

    assert go(tmp_path, 4, save_every=2, hooks=[Second()]).progress.step == 4
    assert go(tmp_path, 5).progress.step == 5, "the lock ends with the run"


def test_trainers_that_save_nothing_share_a_directory(tmp_path: Path) -> None:
    options = {"max_steps": 1, "save_strategy": "no"}
    with locked(tmp_path):
        trainer(minitransformers, "BertForSequenceClassification", tmp_path, **options).train()
        saving = trainer(
            minitransformers, "BertForSequenceClassification", tmp_path, max_steps=1, save_strategy="steps"
        )
        with pytest.raises(CheckpointError, match="in use by another run"):
            saving.train()


def test_the_lock_ends_with_its_owner(tmp_path: Path) -> None:
    """Also if it is killed, and if a process that it has forked lives on."""
    reading, writing = os.pipe()
    owner = os.fork()
    if not owner:
        with locked(tmp_path):
            worker = os.fork()
            os.write(writing, f"{worker or 0}\n".encode() if worker else b"")
            signal.pause()
    worker = int(os.read(reading, 20))
    try:
        with pytest.raises(CheckpointError, match=rf"process {owner}"), locked(tmp_path):
            pass
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
        os.kill(worker, 0)  # lives
        with locked(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(MinitransformersError, match="cannot be used"), locked(Path(sys.executable)):
        pass


# ---- values of checkpoints -------------------------------------------------------------------------------------------


def restored_with(state: dict[str, Any]) -> None:
    before = random_state()
    try:
        set_random_state(json.loads(json.dumps(state)))
    finally:
        set_random_state(before)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("numpy", lambda numpy: [numpy[0], numpy[1], 10**6, *numpy[3:]]),
        ("numpy", lambda numpy: [numpy[0], numpy[1], -1, *numpy[3:]]),
        ("numpy", lambda numpy: [numpy[0], numpy[1][:9], *numpy[2:]]),
        ("numpy", lambda numpy: [numpy[0], [2**32, *numpy[1][1:]], *numpy[2:]]),
        ("numpy", lambda numpy: ["PCG64", *numpy[1:]]),
        ("numpy", lambda numpy: numpy[:3]),
        ("torch", lambda text: text[:40]),
        ("torch", lambda text: "A" * len(text)),
        ("torch", lambda text: "?"),
        ("python", lambda python: [3, python[1][:9], None]),
        ("python", lambda python: None),
    ],
)
def test_states_of_random_numbers_are_checked(part: str, change: Any) -> None:
    """NumPy would use a position beyond its words: the process would end without a message."""
    state = json.loads(json.dumps(random_state()))
    restored_with(state)
    state[part] = change(state[part])
    with pytest.raises(CheckpointError):
        restored_with(state)


@pytest.mark.parametrize("kind", ["MT19937", "PCG64", "Philox", "SFC64"])
def test_states_of_generators_of_numpy_are_checked(kind: str) -> None:
    generator = np.random.Generator(getattr(np.random, kind)(1))
    source = type("Source", (), {"generator": generator})()
    plain = json.loads(json.dumps(generator.bit_generator.state, default=lambda value: value.tolist()))
    expected = generator.integers(2**40, size=5).tolist()
    set_generator_state(source, {"generator": plain})
    assert generator.integers(2**40, size=5).tolist() == expected
    inner = plain["state"]
    changed = {"pos": 625, "buffer_pos": 5, "has_uint32": 2}
    bad = [{**plain, name: value} for name, value in changed.items() if name in plain]
    bad += [{**plain, "state": {**inner, name: value}} for name, value in changed.items() if name in inner]
    bad += [{**plain, "state": None}, {**plain, "bit_generator": "other"}, {}]
    for state in bad:
        with pytest.raises(CheckpointError):
            set_generator_state(source, {"generator": state})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    go(directory, 3)
    return directory / "checkpoint-3"


def with_right_checksums(directory: Path) -> None:
    sums = {str(path.relative_to(directory)): checksum(path) for path in files_in(directory)}
    sums.pop(CHECKSUMS, None)
    (directory / CHECKSUMS).write_text(json.dumps(sums))


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values of a JSON document; of a long list, to its first ones."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places_in(each, (*path, key)))]


OTHERS = [None, -1, 10**30, "x", [], {}, True, 1e999, {"a": [1]}, "\ud800"]


@pytest.mark.parametrize("name", ["run.json", "rank-0.json"])
def test_mutated_checkpoints_are_refused_or_used(name: str, checkpoint: Path, tmp_path: Path) -> None:
    """With right checksums: each value in turn is replaced or removed, and there is no other error than ours."""
    directory = tmp_path / "checkpoint-3"
    shutil.copytree(checkpoint, directory)
    file, chance, refused = directory / "training" / name, random.Random(0), 0
    document = json.loads(file.read_text())
    places = [place for place in places_in(document) if place]
    for place in chance.sample(places, min(25, len(places))):
        changed = json.loads(json.dumps(document))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        if chance.random() < 0.2:
            del inner[place[-1]]
        else:
            inner[place[-1]] = chance.choice(OTHERS)
        file.write_text(json.dumps(changed))
        with_right_checksums(directory)
        try:
            go(None, 4, resume=directory, on_nan="skip")
        except MinitransformersError:
            refused += 1
    assert refused > 8


@pytest.mark.parametrize("change", ["shape", "type", "name", "huge", "header"])
def test_mutated_tensors_are_refused(change: str, checkpoint: Path, tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint-3"
    shutil.copytree(checkpoint, directory)
    (file,) = (directory / "training").glob("*.safetensors")
    tensors = load_file(file)
    name = next(name for name in tensors if name.startswith("optimizer.") and name.endswith("exp_avg"))
    if change == "header":
        file.write_bytes((2**62).to_bytes(8, "little") + file.read_bytes()[8:])
    elif change == "huge":  # as large as the header can say, of which the file has nothing
        content = file.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        header["__metadata__"]["DCP_SHARDING_INFO"] = json.dumps({name: {"saved_offsets": [10**9, 10**6]}})
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    else:
        tensor = tensors.pop(name)
        changed = {"shape": tensor.flatten()[:3].clone(), "type": tensor.int(), "name": tensor}[change]
        save_file({**tensors, f"optimizer.nowhere.{name[-7:]}" if change == "name" else name: changed}, file)
    with_right_checksums(directory)
    with pytest.raises(CheckpointError):
        go(None, 4, resume=directory)


def test_a_schedule_with_numbers_as_keys(tmp_path: Path) -> None:
    """JSON has only strings as keys, with which MultiStepLR would never lower the learning rate."""

    def run(directory: Path, steps: int) -> Any:
        model = bert()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3])
        settings = minitransformers.training.Settings(steps=steps, output_dir=directory)
        return minitransformers.training.train(model, optimizer, schedule, loader(), settings)

    run(tmp_path, 2)
    assert [record["learning_rate"] for record in run(tmp_path, 5).history] == pytest.approx([1.0, 0.1, 0.1])
