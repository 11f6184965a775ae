"""`minitransformers course`: one line for each exercise, reports of those that are named, and what to do without it."""

import shutil
import sys
from pathlib import Path

import pytest

from minitransformers import course_command
from minitransformers.cli import main

COURSE = Path(__file__).parents[2] / "course"


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    """A course of three exercises that need no piece, in a folder of its own."""
    for name in ("pytest.ini", "adapters.py"):
        shutil.copy(COURSE / name, tmp_path)
    cause = "the mask is off by one"
    bodies = {
        "01_right": "def test_a():\n    pass\n",
        "02_open": "def test_a():\n    raise RuntimeError('x is not written yet: see course.')\n",
        "03_wrong": f"def test_a():\n    raise AssertionError('A law.\\n\\nLikely cause: {cause}.')\n"
        "def test_b():\n    pass\n",
    }
    for name, body in bodies.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "exercise.py").touch()
        (tmp_path / name / f"test_{name[3:]}_of_command.py").write_text(body)
    return tmp_path


def test_progress(small_course, capsys):
    assert main(["course", "--directory", str(small_course)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "01_right  passes",
        "02_open   not written yet",
        "03_wrong  fails: the mask is off by one.",
    ]
    assert lines[4] == "1 of 3 exercises pass."
    assert lines[5].startswith("Next: ")
    assert "02_open/README.md" in lines[5]


def test_one_exercise_with_its_report(small_course, capsys):
    assert main(["course", "3", "--directory", str(small_course)]) == 1
    output = capsys.readouterr().out
    assert "test_a: AssertionError: A law." in output
    assert "test_b" not in output
    assert main(["course", "1", "--directory", str(small_course)]) == 0


def test_a_number_without_an_exercise(small_course, capsys):
    assert main(["course", "9", "--directory", str(small_course)]) == 1
    assert "There is no exercise 9; there are 1 to 3." in capsys.readouterr().err


def test_without_the_repository_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(course_command, "__file__", str(tmp_path / "site-packages" / "minitransformers" / "x.py"))
    assert main(["course"]) == 1
    assert "not part of the installed package" in capsys.readouterr().err
    assert main(["course", "--directory", str(tmp_path)]) == 1
    assert f"{tmp_path} holds no course" in capsys.readouterr().err


def test_without_pytest_it_says_what_to_install(small_course, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pytest", None)
    assert main(["course", "--directory", str(small_course)]) == 1
    assert "pip install pytest" in capsys.readouterr().err


def test_the_course_of_the_repository_is_found(capsys):
    assert course_command.find_course() == COURSE
    assert main(["course", "4"]) == 1
    assert "attention is not written yet: see course/04_attention/exercise.py." in capsys.readouterr().out


def test_sources_of_a_summary():
    assert course_command.summary({"a": ""}) == "passes"
    assert course_command.summary({"a": "", "b": "f is not written yet: see x."}) == "1 of 2 not written yet"
    assert course_command.summary({"a": "TypeError: no\nfile:3"}) == "fails: TypeError: no"
