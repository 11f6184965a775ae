"""The quickstart as a newcomer runs it: in a process of its own, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from minitransformers.assets import fetch

SCRIPT = Path(__file__).parents[2] / "examples" / "01_quickstart.py"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def output(directory: Path) -> str:
    # Offline and with a cache that lacks GPT-2's weights, so that the output is the same on every machine.
    for name in ("minilm", "gpt2-tokenizer"):
        (directory / name).symlink_to(fetch(name), target_is_directory=True)
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(directory / "hub"), "MINITRANSFORMERS_CACHE": str(directory)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        cwd=directory,
        env=os.environ | environment | {"PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(line: str) -> list[str]:
    return re.findall(r"-?\d[\d,]*\.?\d*", line)


def line_with(output: str, text: str) -> str:
    (line,) = (line for line in output.splitlines() if text in line)
    return line


@pytest.mark.parametrize(("label", "cosine"), [("food, meal:", "0.761"), ("food, stock:", "-0.017")])
def test_known_cosines(output: str, label: str, cosine: str) -> None:
    assert numbers(line_with(output, label)) == [cosine, cosine]


def test_known_hidden_states(output: str) -> None:
    _, _, *values = line_with(output, "[CLS]       101").split()
    assert [f"{float(value):.4f}" for value in values] == ["-0.0026", "0.1177", "0.0037", "0.2447"]
    ids = re.findall(r"^  \S+ +(\d+)  +-?0\.", output, flags=re.MULTILINE)
    assert ids == ["101", "1037", "2158", "2003", "5983", "2833", "1012", "102"]


def test_parameter_counts(output: str) -> None:
    assert line_with(output, "  parameters").split() == ["parameters", "109,482,240", "124,439,808"]


def test_every_expectation_is_met(output: str) -> None:
    """What is printed as expected is what came out, where the two stand one above the other."""
    lines = output.splitlines()
    for expected, printed in {
        "expected: 'The stock": "finance?': 'The stock market fell today.'",
        "expected: 'animal'": "looks most at 'animal', 0.68",
        "expected: 0.0": "still to come: 0.0",
    }.items():
        assert lines[lines.index(line_with(output, expected)) - 1].endswith(printed)
    of_bert = re.findall(r"^  BERT  .*___.*?  +(\w+ 0\.\d\d)", output, flags=re.MULTILINE)
    of_gpt = re.findall(r"^  GPT  .*___  +(\w+ 0\.\d\d)", output, flags=re.MULTILINE)
    expected = re.findall(r"\w+ 0\.\d\d", line_with(output, "expected of BERT"))
    assert of_bert + of_gpt == expected
    assert "(1, 5, 50257): sentences, tokens, vocabulary.   expected (1, 5, 50257)" in output
    predictions = re.findall(r"^    0\.(\d{5})  '", output, flags=re.MULTILINE)
    assert len(predictions) == 5
    assert all(int(digits) < 20 for digits in predictions)  # a random model: near 1/50257


def test_random_weights_are_called_random(output: str) -> None:
    assert "No model hub answers" in output
    assert output.count("RANDOM weights") == 1


def test_the_picture(output: str, directory: Path) -> None:
    assert f"Picture: {Path('out', '01_quickstart.png')}" in output
    with Image.open(directory / "out" / "01_quickstart.png") as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 1500
        assert image.height > 800
        colours = image.convert("RGB").getcolors(maxcolors=2**24)
    assert len(colours) > 200
    grey = next(count for count, colour in colours if colour == (224, 224, 224))
    assert grey > 0.05 * image.width * image.height  # the half of GPT-2's map that is still to come
