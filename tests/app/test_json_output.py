"""`--json` where a command prints more than one thing: a line for each message, or for each size."""

from __future__ import annotations

import io
import json
import sys

import pytest

from minitransformers.cli import main

SHORT = ("--random", "--json", "--max-new-tokens", "3", "--seed", "1")


def test_a_chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the input is answered with what was said before in mind; nothing else is printed."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n\nAnd now?\n"))
    assert main(["chat", *SHORT]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["Hello", "And now?"]
    assert main(["chat", *SHORT, "--prompt", "Hello"]) == 0
    assert json.loads(capsys.readouterr().out) == lines[0]


def test_the_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shapes", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["name"]: row["parameters"] for row in rows}["gpt2"] == 124_439_808
