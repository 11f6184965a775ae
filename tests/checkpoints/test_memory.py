"""Loading makes no second copy: what a process takes while it loads, and once it has computed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import minitransformers

CHILD = """
import json, resource, sys
from pathlib import Path
import torch
import minitransformers

def now():
    # Resident bytes and those that are this process's alone, from the kernel where it tells.
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":") for line in status.read_text().splitlines())
        return [int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM", "RssAnon")]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return [peak, peak, 0]

torch.set_num_threads(1)
small, large, name = sys.argv[1:]
model_class = getattr(minitransformers, name)
ids = torch.arange(8)[None]
with torch.no_grad():
    model_class.from_pretrained(small)(ids)  # what is allocated once: kernels, modules
    before = now()
    model = model_class.from_pretrained(large)
    loaded = now()
    model(ids)
    computed = now()
assert "transformers" not in sys.modules
size = sum(tensor.nbytes for tensor in model.parameters())
print(json.dumps({
    "size": size,
    "peak while loading": loaded[1] - before[0],
    "private once loaded": loaded[2] - before[2],
    "peak once computed": computed[1] - before[0],
    "private once computed": computed[2] - before[2],
}))
"""

CASES = [
    ("BertModel", "safetensors", {"hidden_size": 768, "vocab_size": 16000}, {"num_hidden_layers": 9}),
    ("GPT2LMHeadModel", "bin", {"n_embd": 768, "vocab_size": 50257, "n_positions": 64}, {"n_layer": 5}),
]


def write(directory: Path, name: str, file: str, **fields: Any) -> None:
    """A checkpoint of zeros: how much memory it takes does not depend on its numbers."""
    model_class = getattr(minitransformers, name)
    with torch.device("meta"):
        model = model_class(model_class.config_class(**fields))
    model.to_empty(device="cpu").tie_weights()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    if file == "bin":
        model.config.save_pretrained(directory)
        torch.save(model.hf_state_dict(), directory / "pytorch_model.bin")
    else:
        model.save_pretrained(directory)


@pytest.mark.parametrize(("name", "file", "fields", "layers"), CASES)
def test_no_second_copy(name: str, file: str, fields: Any, layers: dict[str, int], tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    write(small, name, file, **{**fields, "vocab_size": 60, **dict.fromkeys(layers, 0)})
    write(large, name, file, **fields, **layers)
    command = [sys.executable, "-c", CHILD, str(small), str(large), name]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    shutil.rmtree(large)  # 300 MB, which pytest would keep for a while
    assert child.returncode == 0, child.stderr
    measured = json.loads(child.stdout)
    size = measured.pop("size")
    assert size > 280e6
    shares = {what: taken / size for what, taken in measured.items()}
    assert shares["private once loaded"] <= 0.15, shares
    assert shares["private once computed"] <= 0.15, shares
    assert shares["peak while loading"] <= 1.15, shares
    assert shares["peak once computed"] <= 1.15, shares
