"""Models and tokenizers by hub name, in child processes: from a hub on this machine, from its cache, from none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
from hub_server import HubServer

from minitransformers import BertModel

CHILD = """
import json, logging, sys
import minitransformers
from minitransformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel, MinitransformersError
import torch

assert "huggingface_hub" not in sys.modules
answers = {}
for what, load in {
    "model": lambda: BertModel.from_pretrained("org/tiny")(torch.tensor([[2, 5, 6, 3]])).last_hidden_state.tolist(),
    "auto": lambda: type(AutoModel.from_pretrained("org/tiny")).__name__,
    "inner": lambda: BertModel.from_pretrained("org/tiny", subfolder="inner", dtype="float64").config.vocab_size,
    "config": lambda: BertConfig.from_pretrained("org/tiny").name_or_path,
    "auto config": lambda: AutoConfig.from_pretrained("org/tiny", num_labels=7).num_labels,
    "tokenizer": lambda: AutoTokenizer.from_pretrained("org/tiny")("Hello world")["input_ids"],
    "absent": lambda: BertModel.from_pretrained("org/absent"),
}.items():
    try:
        answers[what] = load()
    except MinitransformersError as error:
        answers[what] = [type(error).__name__, str(error)]
print(json.dumps(answers))
"""
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]


def ask(home: Path, **environment: str) -> dict[str, Any]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    keep = {key: value for key, value in keep.items() if not key.lower().endswith("_proxy")}
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**keep, **quiet, **root, "HF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    answers: dict[str, Any] = json.loads(child.stdout)
    return answers


@pytest.fixture
def repository(tmp_path: Path) -> dict[str, bytes]:
    model = tiny.our_model("BertForMaskedLM")
    model.save_pretrained(tmp_path / "model", max_shard_size="8KB")
    model.save_pretrained(tmp_path / "model" / "inner")
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    directory = tmp_path / "model"
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_by_name_from_a_hub_then_from_its_cache(repository: dict[str, bytes], tmp_path: Path) -> None:
    local = BertModel.from_pretrained(tmp_path / "model")
    expected = local(torch.tensor([[2, 5, 6, 3]])).last_hidden_state.tolist()
    shards = {name for name in repository if name.endswith(".safetensors") and "/" not in name}
    assert len(shards) > 1
    with HubServer() as hub:
        hub.add("org/tiny", repository, large=shards, close_after={min(shards): 100})
        answers = ask(tmp_path / "home", HF_ENDPOINT=hub.url)
        asked = hub.asked_for("org/tiny")
    assert answers["model"] == expected
    assert answers["auto"] == "BertModel"
    assert answers["inner"] == tiny.BERT["vocab_size"]
    assert answers["config"] == "org/tiny"
    assert answers["auto config"] == 7
    assert answers["tokenizer"] == [2, 5, 6, 3]
    kind, message = answers["absent"]
    assert kind == "MissingFileError"
    assert "org/absent" in message
    assert all(asked["GET", shard] >= 1 for shard in shards)
    assert not any(name.startswith("pytorch_model") for _, name in asked if asked["GET", name]), "no more than needed"

    # A port where nobody listens any more, as when the network is gone.
    unreachable = ask(tmp_path / "home", HF_ENDPOINT=hub.url)
    assert {**unreachable, "absent": None} == {**answers, "absent": None}
    kind, message = unreachable["absent"]
    assert kind == "MissingFileError"
    for part in ("'config.json'", "'org/absent'", "nothing of it is cached", "pass the directory that holds them"):
        assert part in message
