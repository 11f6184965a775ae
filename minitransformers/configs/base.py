"""ConfigBase: declared fields that are checked on assignment, fields of a user's own beside them, and their JSON text.

Model configurations (config.py) and generation configurations are ConfigBases. Kinds of fields are in fields.py.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import json
import typing
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from minitransformers.configs.fields import to_json_value, validated
from minitransformers.errors import ConfigError, UnknownArgumentError, nearest
from minitransformers.files.atomic import write_text
from minitransformers.files.pushing import PushToHub


class ConfigBase(PushToHub):
    """A keyword-only data class of checked fields, which may hold further fields of a user's own.

    A subclass declares its fields as annotated class attributes. `attribute_map` gives further names for them, as
    keywords and as attributes. Other names are kept as the user's own fields, whether they come as a keyword, an
    assignment or a file's key, and are written with the rest. Keywords and assignments that look like a misspelling of
    a known field are refused; the parameters of a subclass's own `__init__` are never taken for one.

    Raises:
        ConfigError: a value of the wrong type or range.
        UnknownArgumentError: a misspelt name; the message has the nearest.
    """

    attribute_map: ClassVar[dict[str, str]] = {}
    _pushed_as: ClassVar[str] = "config"
    _former_names: ClassVar[dict[str, str]] = {}  # further names that every subclass has
    # Filled in for every subclass by __init_subclass__.
    _aliases: ClassVar[dict[str, str]] = {}
    _fields: ClassVar[dict[str, dataclasses.Field[Any]]] = {}
    _hints: ClassVar[dict[str, Any]] = {}
    _parameters: ClassVar[frozenset[str]] = frozenset()  # of the `__init__`s that subclasses define
    _common_names: ClassVar[frozenset[str]] = frozenset()  # names of own fields that are never taken for misspellings
    # Public attributes that are neither declared fields nor a user's own.
    _not_fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
        cls._fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        cls._aliases = {**cls._former_names, **cls.attribute_map}
        for alias, name in cls.attribute_map.items():
            if alias not in cls._fields and not hasattr(cls, alias):
                # A function, which torch.compile can trace; assignments are renamed in __setattr__.
                setattr(cls, alias, property(lambda self, name=name: getattr(self, name)))  # type: ignore[misc]
        try:
            cls._hints = typing.get_type_hints(cls)
        except NameError:  # annotations of a class inside a function may name what only that function knows
            cls._hints = {**cls._hints, **dict.fromkeys(cls.__annotations__, Any)}
        if "__init__" in vars(cls):
            parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
            named = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
            cls._parameters = cls._parameters | named
        if not cls._parameters:  # what help() and editors show
            parameters = [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
                for name, field in cls._fields.items()
            ]
        cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    def __init__(self, **values: Any) -> None:
        values = {self._aliases.get(name, name): value for name, value in values.items()}
        for name, field in self._fields.items():
            if name in values:
                setattr(self, name, values.pop(name))
            elif name not in vars(self):  # a subclass may assign a field before it calls super().__init__
                setattr(self, name, _default(type(self).__name__, field))
        self.__post_init__(**values)

    def __post_init__(self, **values: Any) -> None:
        """Run once the declared fields have their values: `values` are the keywords that are no declared field."""
        self.update(values)

    # ---- attributes --------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        name = self._aliases.get(name, name)
        if name in self._fields:
            value = validated(type(self).__name__, name, value, self._hints[name], self._fields[name])
        elif name not in vars(self) and not hasattr(type(self), name):
            self._refuse_misspelling(name)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # only names that are not found otherwise
        other = self._aliases.get(name, name)
        if name.startswith("__") or other == name:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}.{nearest(name, self._known_names())}")
        return getattr(self, other)

    @classmethod
    def _known_names(cls) -> list[str]:
        return [*cls._fields, *cls.attribute_map, *cls._not_fields]

    @classmethod
    def _refuse_misspelling(cls, name: str) -> None:
        known = cls._known_names()
        is_known = name.startswith("_") or name in {*cls._parameters, *cls._not_fields, *cls._common_names}
        if not is_known and _is_misspelt(name, known):
            raise UnknownArgumentError(f"{cls.__name__} has no field {name!r}.{nearest(name, known)}")

    def _own(self) -> dict[str, Any]:
        """The fields that are not declared: a user's own, and further keys of a file."""
        apart = {*self._fields, *self._not_fields}
        return {name: value for name, value in vars(self).items() if name[:1] != "_" and name not in apart}

    def __iter__(self) -> Iterator[str]:
        """The names of all fields, so that `"hidden_size" in config` works."""
        return iter([*self._own(), *self._fields])

    def update(self, values: dict[str, Any]) -> None:
        """Assign several fields."""
        for name, value in values.items():
            setattr(self, name, value)

    # ---- JSON --------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """A copy of all fields, as JSON values."""
        return {name: to_json_value(getattr(self, name)) for name in self}

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that differ from their defaults, and the user's own."""
        return {
            name: value
            for name, value in self.to_dict().items()
            if name not in self._fields or getattr(self, name) != self._fields[name].default
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The text of the configuration's file; with `use_diff=False` it has every field."""
        content = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(content, indent=2, ensure_ascii=True) + "\n"

    def to_json_file(self, json_file_path: str | PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` into a file."""
        write_text(Path(json_file_path), self.to_json_string(use_diff))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.to_dict() == self.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _default(owner: str, field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is dataclasses.MISSING:
        raise ConfigError(f"{owner} needs a value for {field.name}.")
    return copy.copy(field.default)


def _is_misspelt(name: str, known: Iterable[str]) -> bool:
    """Whether `name` is close to a known name, and more than that name with a word added ("cls_hidden_size")."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.84)
    return bool(close) and not set(close[0].split("_")) <= set(name.split("_"))
