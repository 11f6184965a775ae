"""Each example explains itself with --help, refuses unknown options, and ends in one line when Ctrl-C stops it."""

from __future__ import annotations

import builtins
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted(Path(__file__).parents[2].joinpath("examples").glob("[0-9]*.py"))
SHORT = [path for path in EXAMPLES if path.stem.startswith("0") and "pretrain" not in path.stem]
LONG = [path for path in EXAMPLES if "_pretrain_" in path.stem]


def each(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("example", paths, ids=lambda path: path.stem)


def run(example: Path, *options: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run the example in this process, and return the status that it ends with."""
    monkeypatch.setattr(sys, "argv", [str(example), *options])
    monkeypatch.syspath_prepend(example.parent)  # where a script finds the modules beside it
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(example), run_name="__main__")
    return ended.value.code


def stop_after(pattern: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let Ctrl-C come after a line with this pattern; returns the list of what is printed after it."""
    original, after, is_stopped = print, [], False

    def interrupted(*values: Any, **options: Any) -> None:
        nonlocal is_stopped
        original(*values, **options)
        if is_stopped:
            after.append(" ".join(map(str, values)))
        elif re.search(pattern, " ".join(map(str, values)), re.MULTILINE):
            is_stopped = True
            raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "print", interrupted)
    return after


@each(EXAMPLES)
def test_help_and_unknown_options(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(example, "--help", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    for text in (f"usage: {example.name}", "What it does and prints:", "show this help message"):
        assert text in said
    assert run(example, "--helpful", monkeypatch=monkeypatch) == 2
    assert "unrecognized arguments: --helpful" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@each(SHORT)
def test_ctrl_c_ends_in_one_line(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    after = stop_after(r"\w", monkeypatch)
    assert run(example, monkeypatch=monkeypatch) == 130
    (line,) = after
    assert line.strip().startswith("Stopped. The next start begins again")


@each(LONG)
def test_ctrl_c_says_where_the_next_start_continues(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first checkpoint the next start begins again. Later it continues, and does so."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        lines = (
            f"My lord, I will go with thee to the {name} sea, and speak of {number % 7}.\n" for number in range(200)
        )
        Path(f"{name}.txt").write_text("".join(lines))
    options = ("--text", "a.txt", "b.txt", "--steps", "40", "--batch", "2")
    with monkeypatch.context() as patches:
        after = stop_after("^3. Training", patches)
        assert run(example, *options, monkeypatch=patches) == 130
        assert after == ["\nStopped. The next start begins again."]
    with monkeypatch.context() as patches:
        after = stop_after(r"^step +12:", patches)
        assert run(example, *options, monkeypatch=patches) == 130
    kind = example.stem.rpartition("_")[2]
    checkpoint = Path("out", f"{kind}-tiny", "run", "checkpoint-8")
    assert after == [f"\nStopped. The next start continues from {checkpoint}."]
    assert checkpoint.is_dir()
    capsys.readouterr()
    with monkeypatch.context() as patches:
        stop_after(r"^step +16:", patches)
        assert run(example, *options, monkeypatch=patches) == 130
    steps = re.findall(r"^step +(\d+):", capsys.readouterr().out, re.MULTILINE)
    assert steps == ["12", "16"]


def test_a_real_ctrl_c(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    example = next(path for path in SHORT if path.stem == "07_transformer")
    with subprocess.Popen(
        [sys.executable, str(example)],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(example.parents[1])},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        # A shell starts what runs in its background with Ctrl-C ignored, and programs pass that on to their own.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stderr is not None
        assert "dates to learn from" in program.stdout.readline()
        program.send_signal(signal.SIGINT)
        assert program.stdout.read().endswith("\nStopped. The next start begins again.\n")
        assert program.stderr.read() == ""
    assert program.returncode == 130
