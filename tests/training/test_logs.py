"""Log files hold each record once, however often a run was interrupted and resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from minitransformers import InputError
from minitransformers.training.loop.logs import JsonLines, MissingPackageError, TensorBoard

VALUES = st.floats(0, 10, width=32)


def record(step: int, value: float) -> dict[str, Any]:
    return {"loss": value, "step": step} if step % 3 else {"eval_loss": value, "test_f1": value / 2, "step": step}


@given(values=st.lists(VALUES, min_size=1, max_size=12), stops=st.lists(st.integers(0, 12), max_size=3), data=st.data())
def test_json_lines_of_a_resumed_run_equal_those_of_an_uninterrupted_one(
    values: list[float], stops: list[int], data: st.DataObject
) -> None:
    records = [record(step, value) for step, value in enumerate(values, 1)]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "new" / "log.jsonl"
        done = 0
        for stop in stops:
            log = JsonLines(path)
            log.rewind(done)
            until = min(max(stop, done), len(records))
            for each in records[done:until]:
                log(each)
            if path.exists() and data.draw(st.booleans(), label="the process died in the middle of a line"):
                path.write_text(path.read_text() + '{"loss": 1.2')
            done = data.draw(st.integers(0, until), label="records at the last checkpoint")
        log = JsonLines(path)
        log.rewind(done)
        for each in records[done:]:
            log(each)
        assert [json.loads(line) for line in path.read_text().splitlines()] == records


def test_json_lines_of_another_run_are_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    JsonLines(path)(record(1, 0.5))
    with pytest.raises(InputError, match=r"log.jsonl has 1 lines, but 2 records .* belongs to another run"):
        JsonLines(path).rewind(2)
    assert len(path.read_text().splitlines()) == 1
    with pytest.raises(InputError, match=r"is a directory; name a file in it"):
        JsonLines(tmp_path)


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(directory))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    for step in range(1, 7):
        board(record(step, step / 8))
    resumed = TensorBoard(tmp_path)
    resumed.rewind(4)
    for step in range(5, 8):
        resumed({**record(step, step / 4), "note": "not a number"})
    assert curves(tmp_path) == {
        "train/loss": [(1, 1 / 8), (2, 2 / 8), (4, 4 / 8), (5, 5 / 4), (7, 7 / 4)],
        "eval/loss": [(3, 3 / 8), (6, 6 / 4)],
        "test/f1": [(3, 3 / 16), (6, 6 / 8)],
    }


def test_tensorboard_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'minitransformers\[training\]'"):
        TensorBoard(tmp_path)
