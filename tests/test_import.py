"""What importing the library brings along, what it offers by name, and that every public thing says what it is."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
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


def modules() -> list[ModuleType]:
    """Every module of the package, but for those that run a program when they are imported."""
    names = [info.name for info in pkgutil.walk_packages(minitransformers.__path__, "minitransformers.")]
    return [minitransformers, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def test_all_is_true_and_sorted() -> None:
    names = minitransformers.__all__
    assert names == sorted(names)
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(minitransformers, name) is not None


def test_modules_can_be_reached_from_the_package() -> None:
    assert in_child("import minitransformers; print(minitransformers.nn.causal_mask.__name__)") == "causal_mask\n"


def test_importing_the_package_imports_no_model() -> None:
    """Each name brings its module along when it is asked for: nobody waits for families that they do not use."""
    code = """
import sys
import minitransformers
print([name for name in sys.modules if name.startswith("minitransformers.")], "torch" in sys.modules)
assert set(minitransformers.__all__) < set(dir(minitransformers))
minitransformers.BertModel
print("minitransformers.models.bert" in sys.modules, "minitransformers.models.gpt2" in sys.modules)
"""
    assert in_child(code) == "[] False\nTrue False\n"


@pytest.mark.parametrize("name", minitransformers.REMOVED_NAMES)
def test_removed_names_say_what_to_use(name: str) -> None:
    replacement = minitransformers.REMOVED_NAMES[name]
    with pytest.raises(ImportError) as caught:
        getattr(minitransformers, name)
    assert str(caught.value).startswith(f"{name} was removed from transformers 5 and is not here either: use ")
    assert replacement in str(caught.value)
    namespace: dict[str, object] = {}
    with pytest.raises(ImportError, match=f"{name} was removed"):
        exec(f"from minitransformers import {name}", namespace)
    assert name not in minitransformers.__all__


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="module 'minitransformers' has no attribute 'BretModel'"):
        minitransformers.BretModel
    with pytest.raises(ImportError, match="cannot import name 'BretModel'"):
        exec("from minitransformers import BretModel", {})
    assert not hasattr(minitransformers, "BretModel")


def test_second_names_are_the_same_things() -> None:
    assert minitransformers.DynamicCache is minitransformers.KeyValueCache
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


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_everything_public_has_a_docstring(module: ModuleType) -> None:
    """In the class or function itself: what a base class says of itself does not describe another."""
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
