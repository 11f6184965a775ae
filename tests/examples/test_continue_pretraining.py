"""The example of continued pre-training in its --tiny mode: what it prints and saves."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

import minitransformers as mt
from minitransformers.assets import fetch

EXAMPLE = Path(__file__).parents[2] / "examples" / "17_continue_pretraining.py"


@pytest.mark.thorough
def test_continue_pretraining(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    monkeypatch.setattr(sys, "argv", [EXAMPLE.name, "--tiny", "--output", str(tmp_path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    sys.modules.pop("reviews", None)
    out = capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert list(figures) == ["losses", "MiniLM", "adapted"]
    assert figures["losses"][0]["after"] != figures["losses"][0]["before"]
    for name in ("MiniLM", "adapted"):
        assert re.search(
            rf"^{name} +{figures[name][0]['accuracy']:.3f} +{figures[name][0]['f1']:.3f}$", out, re.MULTILINE
        )
    assert out.count("step 1: loss") == 2  # of the head, then of all weights
    before = mt.BertModel.from_pretrained(fetch("minilm")).embeddings.word_embeddings.weight
    head, adapted = (
        mt.BertForMaskedLM.from_pretrained(tmp_path / name).bert.embeddings.word_embeddings.weight
        for name in ("head-0", "adapted-0")
    )
    assert torch.equal(before, head)
    assert not torch.equal(before, adapted)
