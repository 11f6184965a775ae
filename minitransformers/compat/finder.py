"""Imports of the reference's module paths, such as `minitransformers.models.bert.modeling_bert`.

The paths are in modules.py. `install` adds two finders to Python's: `PathFinder` knows the paths, and
`MissingNameFinder`, which is asked last, explains a name that cannot be imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from minitransformers.compat.modules import COLLECTIONS, FAMILIES, FURTHER_NAMES, SAME_MODULES
from minitransformers.compat.names import explanation

PACKAGE = __name__.partition(".")[0]


class MissingNameError(ImportError):
    """A name or module that this library does not have; the message says what to use instead."""


class Collection(ModuleType):
    """A module path of the reference: its names are fetched from our modules when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        return lookup(self.__name__, name, COLLECTIONS[self.__name__.removeprefix(f"{PACKAGE}.")])


def lookup(owner: str, name: str, sources: Iterable[str]) -> Any:
    """The public name `name` of the package, or the attribute of the first of our modules that has it.

    Raises:
        AttributeError: there is none; the message says what to use instead.
    """
    if name.startswith("__"):
        raise AttributeError(f"module {owner!r} has no attribute {name!r}")
    package = sys.modules[PACKAGE]
    if name in package.__all__:
        return getattr(package, name)
    names = set(vars(sys.modules[owner]))
    for source in sources:
        module = import_module(f"{PACKAGE}.{source}")
        value = getattr(module, name, None)
        if value is not None and not isinstance(value, ModuleType):  # such as the `logging` that it imports
            return value
        names |= vars(module).keys()
    raise AttributeError(explanation(owner, name, [*package.__all__, *names]))


class SameModuleLoader(Loader):
    """Puts one of our modules under another path."""

    def exec_module(self, module: ModuleType) -> None:
        """Import our module and enter it in `sys.modules` in the place of the empty one.

        A name that it lacks is looked for where the reference's scripts find it; as a package without files, it lets
        `MissingNameFinder` explain one that is nowhere.
        """
        path = module.__name__.removeprefix(f"{PACKAGE}.")
        ours = sys.modules[module.__name__] = import_module(f"{PACKAGE}.{SAME_MODULES[path]}")
        if "__path__" not in vars(ours):
            ours.__path__ = []
        if "__getattr__" not in vars(ours):
            vars(ours)["__getattr__"] = partial(
                lookup, ours.__name__, sources=FURTHER_NAMES.get(SAME_MODULES[path], ())
            )
            _LOOKED_UP.add(ours.__name__.removeprefix(f"{PACKAGE}."))


class CollectionLoader(Loader):
    """Makes the module of a collection."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty `Collection`."""
        return Collection(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs: names are fetched later."""


class PathFinder(MetaPathFinder):
    """Finds the paths of modules.py, and makes our module of a family a package, which has the reference's paths."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's specification, or None if it is not one of the reference's paths."""
        package, _, name = fullname.partition(".")
        if package != PACKAGE:
            return None
        if name in SAME_MODULES:
            return ModuleSpec(fullname, SameModuleLoader())
        if name in COLLECTIONS:
            return ModuleSpec(fullname, CollectionLoader(), is_package=True)
        if name not in _FAMILY_MODULES:
            return None
        specs = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            spec.submodule_search_locations = []  # a package without files of its own
        return spec


_LOOKED_UP = {*COLLECTIONS, "utils"}  # modules whose names are those of other modules
_FAMILY_MODULES = {f"models.{module}" for module in FAMILIES.values()}
_EXPLAINED = {*_FAMILY_MODULES, "data", "generation"}


class MissingNameFinder(MetaPathFinder):
    """Explains `from minitransformers import X` where there is no X: Python looks for a module X last."""

    def __init__(self, public: Callable[[], Iterable[str]]) -> None:
        self._public = public

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """None for other packages and for modules inside our own folders.

        Raises:
            MissingNameError: nothing of that name is in the package, or in one of the reference's modules.
        """
        owner, _, name = fullname.rpartition(".")
        path_in_package = owner.removeprefix(PACKAGE).removeprefix(".")
        if not (owner == PACKAGE or (owner.startswith(f"{PACKAGE}.") and path_in_package in _EXPLAINED | _LOOKED_UP)):
            return
        module = sys.modules[owner]
        message = explanation(owner, name, [*self._public(), *vars(module)])
        if path_in_package in _LOOKED_UP:
            try:
                getattr(module, name)
            except AttributeError as error:
                message = str(error)
        raise MissingNameError(message, name=fullname)


def install(public: Callable[[], Iterable[str]]) -> None:
    """Add the finders once; `public` gives the names that the package has."""
    if not any(isinstance(finder, PathFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, PathFinder())
        sys.meta_path.append(MissingNameFinder(public))
