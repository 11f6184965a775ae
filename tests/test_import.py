"""What importing the library brings along, what it offers by name, and that every public thing says what it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import minitransformers

HEAVY = ["transformers", "matplotlib", "tensorboard", "huggingface_hub", "hypothesis", "jinja2", "pytest", "beartype"]


def in_child(code: str) -> str:
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_import_brings_nothing_along_that_most_people_do_not_need() -> None:
    """Every name is used, as `from minitransformers import *` does, and still nothing heavy comes."""
    code = f"""
import json, sys
import torch
before = set(sys.modules)
from minitransformers import *
print(json.dumps([name for name in {HEAVY} if name in sys.modules and name not in before]))
"""
    assert json.loads(in_child(code)) == []


# Every module of the package, but for those that run a program when they are imported
MODULES = [
    "minitransformers",
    *(
        info.name
        for info in pkgutil.walk_packages(minitransformers.__path__, "minitransformers.")
        if not info.name.endswith("__main__")
    ),
]


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


def own_members(module: ModuleType) -> list[tuple[str, object]]:
    """The public classes and functions that a module defines itself."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    """In the class or function itself: what a base class says of itself does not describe another."""
    module = importlib.import_module(name)
    missing = []
    if not module.__doc__ and inspect.getsource(module).strip():
        missing.append(module.__name__)
    for name, member in own_members(module):
        documentation = (vars(member).get("__doc__") if inspect.isclass(member) else member.__doc__) or ""
        if not documentation or documentation.startswith(f"{name}("):  # that is what dataclasses write by themselves
            missing.append(f"{module.__name__}.{name}")
        if not inspect.isclass(member):
            continue
        for attribute, value in vars(member).items():
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if attribute.startswith("_") or not inspect.isfunction(function):
                continue
            inherited = getattr(super(member, member), attribute, None)  # an override may leave it to what it overrides
            if not function.__doc__ and not getattr(inherited, "__doc__", None):
                missing.append(f"{module.__name__}.{name}.{attribute}")
    assert not missing
