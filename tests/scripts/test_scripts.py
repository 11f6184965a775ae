"""Scripts as text books have them print the same lines under both libraries, with nothing but the import changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from minitransformers.assets import fetch

transformers.logging.set_verbosity_error()

SCRIPTS = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("test_"))
IMPORT = re.compile(r"^from transformers import ", re.MULTILINE)

# One process runs all scripts under one library, each in a namespace of its own: importing takes longer than they do.
RUNNER = """
import contextlib, io, json, sys, traceback

printed = {}
for name, source in json.load(sys.stdin).items():
    lines = io.StringIO()
    with contextlib.redirect_stdout(lines):
        try:
            exec(compile(source, name, "exec"), {"__name__": "__main__"})
        except BaseException:
            print(traceback.format_exc())
    printed[name] = lines.getvalue()
print(json.dumps({"printed": printed, "has transformers": "transformers" in sys.modules}))
"""

ENTITIES = ["O", "B-PER", "B-LOC", "B-ORG"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directories that the scripts name: real weights, and tiny random ones with real vocabularies."""
    root = tmp_path_factory.mktemp("models")
    (root / "minilm").symlink_to(fetch("minilm"))
    (root / "rxnfp").symlink_to(fetch("rxnfp-pretrained"))
    bert = {
        "vocab_size": 30522,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "hidden_dropout_prob": 0.0,  # what dropout draws is not the same in both libraries
        "attention_probs_dropout_prob": 0.0,
    }
    labels = {"id2label": dict(enumerate(ENTITIES)), "label2id": {label: at for at, label in enumerate(ENTITIES)}}
    write(root / "tiny-classifier", "BertForSequenceClassification", transformers.BertConfig(**bert, num_labels=2))
    write(root / "tiny-tagger", "BertForTokenClassification", transformers.BertConfig(**bert, **labels))
    write(root / "tiny-reader", "BertForQuestionAnswering", transformers.BertConfig(**bert))
    write(root / "tiny-masked", "BertForMaskedLM", transformers.BertConfig(**bert))
    for name in ("tiny-classifier", "tiny-tagger", "tiny-reader"):
        for file in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(fetch("minilm") / file, root / name / file)
    gpt2 = transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    write(root / "tiny-gpt2", "GPT2LMHeadModel", gpt2)
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(fetch("gpt2-tokenizer") / file, root / "tiny-gpt2" / file)
    (root / "tiny-gpt2" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    return root


def write(directory: Path, name: str, config: Any) -> None:
    """A model whose random weights are large enough that no two of its answers are nearly alike."""
    torch.manual_seed(7)
    model = getattr(transformers, name)(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.2, generator=generator))
    model.save_pretrained(directory)


def run(library: str, models: Path) -> dict[str, Any]:
    sources = {path.name: IMPORT.sub(f"from {library} import ", path.read_text()) for path in SCRIPTS}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1"}
    child = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(sources),
        cwd=models,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    result: dict[str, Any] = json.loads(child.stdout)
    return result


@pytest.fixture(scope="module")
def theirs(models: Path) -> dict[str, Any]:
    return run("transformers", models)


@pytest.fixture(scope="module")
def ours(models: Path) -> dict[str, Any]:
    return run("minitransformers", models)


@pytest.mark.parametrize("script", [path.name for path in SCRIPTS])
def test_same_printed_lines(script: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    expected = theirs["printed"][script]
    assert "Traceback" not in expected
    assert expected.count("\n") >= 4, "it prints what it has to say"
    assert ours["printed"][script].splitlines() == expected.splitlines()


def test_each_library_ran_by_itself(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert theirs["has transformers"]
    assert not ours["has transformers"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_only_the_import_is_changed(path: Path) -> None:
    text = path.read_text()
    assert len(IMPORT.findall(text)) == 1
    assert text.count("transformers") == 1
    assert len(text.splitlines()) <= 60
