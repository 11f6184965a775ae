"""A script that is told everything on its command line prints the same under both libraries, by one name changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import ModelCard

SCRIPT = Path(__file__).parent / "with_command_lines" / "run_classification.py"
WORDS = "a fine film we loved it great fun good day bad left no at all sad"
LINES = [
    "--output_dir out --do_train --do_eval --num_train_epochs 2 --per_device_train_batch_size 3 --learning_rate 5e-3 "
    "--save_strategy epoch --max_seq_length 8 --logging-steps 2 --disable_tqdm yes",
    # Goes on from the last checkpoint, which the script finds.
    "--output_dir out --do_train --do_eval --num_train_epochs 3 --per_device_train_batch_size 3 --learning_rate 5e-3 "
    "--save_strategy epoch --no_pad_to_max_length --logging_steps 2 --log_level error --disable_tqdm yes",
]

# One process for both lines: importing takes longer than they do.
RUNNER = """
import json, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    runpy.run_path("run.py", run_name="__main__")
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "tiny"
    config = transformers.BertConfig(
        vocab_size=5 + len(WORDS.split()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_dropout_prob=0.0,  # what dropout draws is not the same in both libraries
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(directory)
    (directory / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]))
    transformers.BertTokenizer(str(directory / "vocab.txt")).save_pretrained(directory)
    return directory


def without_timings(line: str) -> str:
    """Nor with a resumed run's `train_loss`: here it is the mean over all steps, there over those since."""
    return re.sub(r"'\w+_(runtime|\w+_per_second)': [^,}]+|'train_loss': '[^']+', 'epoch': '3'", "", line)


def test_same_lines(model: Path, tmp_path: Path) -> None:
    printed = {}
    for library in ("transformers", "minitransformers"):
        directory = tmp_path / library
        directory.mkdir()
        shutil.copytree(model, directory / "tiny")
        source = re.sub(r"\btransformers\b", library, SCRIPT.read_text())
        (directory / "run.py").write_text(source)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1"}
        environment.pop("CI", None)  # where it is set, transformers' messages go to the script's handlers too
        arguments = [["run.py", "--model_name_or_path", "tiny", "--use_cpu", *line.split()] for line in LINES]
        child = subprocess.run(
            [sys.executable, "-c", RUNNER, json.dumps(arguments)],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        printed[library] = child.stdout
    ours, theirs = (
        [without_timings(line) for line in printed[library].splitlines()]
        for library in ("minitransformers", "transformers")
    )
    assert ours == theirs
    text = "\n".join(ours)
    for part in (
        "INFO - __main__ - 16-bit training: False, level 20",
        "*** train *** 12 steps",
        "['README.md', 'checkpoint-4', 'checkpoint-8']",
        "*** eval *** loss 0.",
    ):
        assert part in text
    cards = [ModelCard.load(tmp_path / library / "out" / "README.md").data for library in printed]
    for card in cards:
        assert (card.language, card.base_model, card.model_name) == (["en"], "tiny", "out")
