"""What importing the library imports, and the names that it has."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minitransformers

HEAVY = ["transformers", "matplotlib", "tensorboard", "huggingface_hub", "hypothesis", "jinja2", "pytest", "beartype"]


def in_child(code: str) -> str:
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_import_loads_nothing_that_most_users_do_not_need() -> None:
    """`from minitransformers import *` uses every name, and no heavy package is imported."""
    code = f"""
import json, sys
import torch
before = set(sys.modules)
from minitransformers import *
print(json.dumps([name for name in {HEAVY} if name in sys.modules and name not in before]))
"""
    assert json.loads(in_child(code)) == []


def test_every_public_name_is_there() -> None:
    names = minitransformers.__all__
    assert names == sorted(set(names))
    assert sum(len(listed.split()) for listed in minitransformers.PUBLIC.values()) == len(names)
    for name in names:
        assert getattr(minitransformers, name) is not None


def test_stub_says_the_same_as_the_package() -> None:
    """Type checkers read `__init__.pyi`, and `__init__.py` fetches the names at run time."""
    stub = ast.parse(Path(minitransformers.__file__).with_suffix(".pyi").read_text("utf-8"))
    in_stub = {
        name.asname: statement.module
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom)
        for name in statement.names
    }
    listed = {
        name: f"minitransformers.{module}"
        for module, names in minitransformers.PUBLIC.items()
        for name in names.split()
    }
    assert in_stub == listed


def test_modules_can_be_reached_from_the_package() -> None:
    assert in_child("import minitransformers; print(minitransformers.nn.causal_mask.__name__)") == "causal_mask\n"


def test_importing_the_package_imports_no_model() -> None:
    """A module is imported when one of its names is used: nobody waits for families that they do not use."""
    code = """
import sys
import minitransformers
heavy = [name for name in sys.modules if name.split(".")[0] in ("torch", "numpy", "safetensors")]
ours = {name.split(".")[1] for name in sys.modules if name.startswith("minitransformers.")}
print(heavy, sorted(ours))
assert set(minitransformers.__all__) < set(dir(minitransformers))
minitransformers.BertModel
print("minitransformers.models.bert" in sys.modules, "minitransformers.models.gpt2" in sys.modules)
"""
    assert in_child(code) == "[] ['compat', 'errors']\nTrue False\n"


@pytest.mark.parametrize(
    "name", [*minitransformers.REMOVED_NAMES, "BitsAndBytesConfig", "TFBertForMaskedLM", "BretModel"]
)
def test_names_that_are_not_here_say_what_to_use(name: str) -> None:
    expected = {
        "BitsAndBytesConfig": "has no attribute 'BitsAndBytesConfig': quantize the loaded model",
        "TFBertForMaskedLM": "everything here is PyTorch: use the class without the prefix. Did you mean 'BertForM",
        "BretModel": "has no attribute 'BretModel'. Did you mean 'BertModel'",
    }
    if name in minitransformers.REMOVED_NAMES:
        expected[name] = f"{name} was removed from transformers 5 and is not here either: use "
        expected[name] += minitransformers.REMOVED_NAMES[name]
    with pytest.raises(AttributeError, match=re.escape(expected[name])):
        getattr(minitransformers, name)
    with pytest.raises(ImportError, match=re.escape(expected[name])):
        exec(f"from minitransformers import {name}", {})
    assert not hasattr(minitransformers, name)


def test_second_names_are_the_same_things() -> None:
    assert minitransformers.PretrainedConfig is minitransformers.PreTrainedConfig is minitransformers.Config
