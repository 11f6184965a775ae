"""The sequence-to-sequence examples as a newcomer runs them, with a few steps only, and what they are made of."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
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
