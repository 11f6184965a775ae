"""The public surface of both libraries: classes, their attributes, and what the two differ in.

`covered_classes` pairs the classes that both libraries have. `rows` lists what the reference's classes, and objects of
them, offer, and says for each attribute how ours differs: not at all, missing, or in its arguments.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from surface_objects import objects_of

import minitransformers as mt
from minitransformers.compat import finder
from minitransformers.compat.modules import COLLECTIONS, SAME_MODULES

# Attributes that begin with an underscore and that scripts and other libraries read or override all the same.
UNDERSCORED = {
    "PreTrainedModel": "_init_weights _no_split_modules _tied_weights_keys _keys_to_ignore_on_load_missing",
    "Trainer": (
        "_prepare_inputs _get_train_sampler _get_eval_sampler _save _save_checkpoint _load_from_checkpoint "
        "_maybe_log_save_evaluate _inner_training_loop"
    ),
    "PreTrainedConfig": "_name_or_path _attn_implementation",
}


@dataclass(frozen=True)
class Covered:
    """A class that both libraries have."""

    name: str
    ours: type
    theirs: type

    def __hash__(self) -> int:
        return hash(self.name)


@dataclass(frozen=True)
class Row:
    """One attribute of the reference's class, and what differs here ("" where nothing does).

    `owner` is the highest covered class that has it.
    """

    owner: str
    attribute: str
    difference: str = field(compare=False)


# ---- names of modules ------------------------------------------------------------------------------------------------


def module_paths() -> list[str]:
    """The reference's module paths that can be imported here, and that it has in its version 5; "" is the package."""
    paths = {"", *SAME_MODULES, *COLLECTIONS, "data", "generation", "utils"}
    return sorted(path for path in paths if their_module(path) is not None)


@cache
def their_module(path: str) -> Any:
    """The reference's module of that path, or None."""
    try:
        return importlib.import_module(f"transformers.{path}".rstrip("."))
    except ImportError:
        return None


def our_module(path: str) -> Any:
    """Our module of that path."""
    return importlib.import_module(f"minitransformers.{path}".rstrip("."))


@cache
def names_of(path: str) -> tuple[str, ...]:
    """The public names that a module of the reference defines, or lists as its own; not those that it imports."""
    module = their_module(path)
    listed = set(getattr(module, "__all__", ()))
    submodules = set(getattr(module, "_import_structure", ()))
    if submodules:  # a package that imports when it is asked
        listed |= {name for names in module._import_structure.values() for name in names}
    elif getattr(module, "__file__", None) is not None:
        is_package = hasattr(module, "__path__")
        listed |= set(_defined(ast.parse(Path(module.__file__).read_text("utf-8")).body, is_package))
    left_out = submodules | {"logger", "T"}
    return tuple(sorted(name for name in listed if name.isidentifier() and name[0] != "_" and name not in left_out))


def _defined(statements: list[ast.stmt], is_package: bool) -> Iterator[str]:
    """The names that a module defines; those that a package imports from its modules are its own, too."""
    for statement in statements:
        match statement:
            case ast.ImportFrom(level=1) if is_package:
                yield from (alias.asname or alias.name for alias in statement.names)
            case ast.FunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Assign():
                yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


@cache
def is_here(path: str, name: str) -> bool:
    """Whether a name of one of the reference's modules can be imported from ours of that path."""
    if name in mt.__all__:
        return True
    if path == "":
        return name.islower() and _is_module(name)  # the package's own modules
    with patch.object(finder, "explanation", return_value=""):  # which takes a while to find the nearest name
        return hasattr(our_module(path), name)


def _is_module(name: str) -> bool:
    try:
        return our_module(name) is not None
    except ImportError:
        return False


# ---- classes ---------------------------------------------------------------------------------------------------------


@cache
def covered_classes() -> dict[str, Covered]:
    """The public classes of the reference that are here too, by name.

    Modules inside models are left out: their names, parameters and calls are compared in tests/parity/test_names.py.
    """
    found: dict[str, Covered] = {}
    seen: set[type] = set()
    for path in module_paths():
        for name in names_of(path) if ".modeling_" not in path and path != "testing_utils" else ():
            ours = getattr(our_module(path), name, None) if is_here(path, name) else None
            theirs = getattr(their_module(path), name, None) if inspect.isclass(ours) else None
            if inspect.isclass(theirs) and theirs not in seen and theirs.__module__.startswith("transformers"):
                found[name] = Covered(name, ours, theirs)
                seen.add(theirs)
    return dict(sorted(found.items()))


@cache
def rows() -> tuple[Row, ...]:
    """Every public attribute of every covered class, once: at the highest base that has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that are read although they are deprecated
        return tuple(sorted(_rows(), key=lambda row: (row.owner, row.attribute)))


def _rows() -> Iterator[Row]:
    classes = covered_classes()
    by_class = {covered.theirs: covered for covered in classes.values()}
    found: dict[tuple[str, str], str] = {}
    for covered in sorted(classes.values(), key=lambda covered: len(covered.theirs.__mro__)):
        for name in attributes(covered):
            difference = difference_of(name, covered)
            bases = [by_class[base].name for base in covered.theirs.__mro__[1:] if base in by_class]
            inherited = [base for base in bases if (base, name) in found and name != "__init__"]
            if inherited and (found[inherited[0], name] == difference or not difference):
                continue  # said of a base
            found[covered.name, name] = difference
    shared = defaultdict(list)  # what every class of a kind has, though only its objects do
    for (owner, name), difference in found.items():
        bases = [by_class[base].name for base in classes[owner].theirs.__mro__[1:] if base in by_class]
        for base in [base for base in bases if not base.endswith("Mixin")][-1:]:
            shared[base, name, difference].append(owner)
    for (base, name, difference), owners in shared.items():
        if len(owners) > 5 and name != "__init__" and name != "forward" and difference:
            for owner in owners:
                del found[owner, name]
            found[base, name] = difference
    return (Row(owner, name, difference) for (owner, name), difference in found.items())


def attributes(covered: Covered) -> list[str]:
    """The public names of a class of the reference and of an object of it, without those of Python's own classes."""
    builtin = {name for base in (object, dict, str, int, tuple, list, Exception) for name in dir(base)}
    names = set(dir(covered.theirs)) | set(getattr(objects_of(covered.name)[0], "__dict__", ()))
    if is_dataclass(covered.theirs):
        names |= {each.name for each in fields(covered.theirs)}
    wanted = set(UNDERSCORED.get(covered.name, "").split())
    public = {name for name in names if not name.startswith("_")} - builtin
    return sorted(public | (names & wanted) | {"__init__"} | ({"__call__"} & set(vars(covered.theirs))))


# ---- differences -----------------------------------------------------------------------------------------------------


def difference_of(name: str, covered: Covered) -> str:
    """What is different in ours, in words; "" where nothing is."""
    their_object, our_object = objects_of(covered.name)
    if name == "__init__":
        return _arguments(covered.theirs, covered.ours)
    try:
        value = getattr(covered.ours if our_object is None else our_object, name)
    except AttributeError:
        is_field = is_dataclass(covered.ours) and name in {each.name for each in fields(covered.ours)}
        return "" if is_field else "missing"
    except Exception:  # it is here, and refused for this object
        return ""
    try:
        wanted = getattr(covered.theirs if their_object is None else their_object, name)
    except Exception:  # theirs is a property that raises, of any kind: there is no value to compare with
        return ""
    if isinstance(wanted, enum.Enum):
        return "" if getattr(value, "value", value) == wanted.value else f"is {value!r}"
    return _arguments(wanted, value) if inspect.isroutine(wanted) and callable(value) else ""


def _arguments(theirs: Any, ours: Any) -> str:
    """The arguments that theirs has and ours lacks, and those in another order or without a default."""
    try:
        wanted, given = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
    except (TypeError, ValueError):
        return ""
    kinds = {parameter.kind for parameter in given.values()}
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = [parameter for parameter in wanted.values() if parameter.kind not in variable]
    lacking = [each.name for each in named if each.name not in given and inspect.Parameter.VAR_KEYWORD not in kinds]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return ""
    expected = [each.name for each in named if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    order = [each.name for each in given.values() if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    for at, name in enumerate(expected):
        if order[at : at + 1] != [name]:
            return f"by keyword from {name} on"
    needed = [
        each.name
        for each in named
        if each.default is not each.empty and each.name in given and given[each.name].default is each.empty
    ]
    return f"needs {', '.join(needed)}" if needed else ""
