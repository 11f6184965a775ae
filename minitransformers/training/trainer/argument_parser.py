r"""HfArgumentParser: the command line of a script, defined by dataclasses, as in `transformers`.

    @dataclass
    class DataArguments:
        train_file: str
        max_length: int = HfArg(default=128, aliases=["-m"], help="longer texts are cut")

    parser = HfArgumentParser((DataArguments, TrainingArguments))
    data_args, training_args = parser.parse_args_into_dataclasses()

Each field is an option of its name, `--max_length` or `--max-length`; one without a default must be given.

| field | command line |
|---|---|
| `bool` | `--fp16`, `--fp16 false`; also `--no_fp16` if the default is True |
| an `Enum`, a `Literal` | one of its values |
| `list[int]` | `--sizes 1 2 3` |
| `dict` | JSON: `--options '{"a": 1}'` |
| `X \| None`, `X \| str` | as for X |
| `int \| float` | a float |
| `Any` | as for a field of the default's type |
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import sys
import textwrap
import types
import typing
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from minitransformers.errors import InputError, MissingFileError, nearest

TRUE, FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


def HfArg(  # noqa: N802  # the reference's name
    *,
    aliases: str | list[str] | None = None,
    help: str | None = None,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    metadata: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """A field of a dataclass, with the metadata of its option.

    Args:
        aliases: further names of the option, such as "-m".
        help: the description in `--help`.
        default, default_factory: as of `dataclasses.field`; without either the option must be given.
        metadata: further arguments of `ArgumentParser.add_argument`, such as `choices`.
        kwargs: further arguments of `dataclasses.field`.
    """
    given = {"aliases": aliases, "help": help}
    metadata = {**(metadata or {}), **{name: value for name, value in given.items() if value is not None}}
    return dataclasses.field(default=default, default_factory=default_factory, metadata=metadata, **kwargs)


class HfArgumentParser(ArgumentParser):
    """Reads a command line, or a file, into dataclasses.

    Options that are added with `add_argument` are read into a namespace after the dataclasses. The attribute
    `_argument_group_name` of a dataclass makes a group of its options in `--help`. A field without a `help` is
    described by the section "Attributes:" of the docstring of its class.

    Args:
        dataclass_types: one dataclass or several.
        kwargs: arguments of `ArgumentParser`.

    Raises:
        InputError: a value that is not a dataclass, or a field of a type that cannot be parsed.
    """

    def __init__(self, dataclass_types: Any = None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", ArgumentDefaultsHelpFormatter)
        super().__init__(**kwargs)
        is_one = dataclass_types is not None and not isinstance(dataclass_types, Iterable)
        self.dataclass_types: list[Any] = [dataclass_types] if is_one else list(dataclass_types or ())
        for kind in self.dataclass_types:
            if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
                raise InputError(f"dataclass_types must be dataclasses, the classes themselves, not {kind!r}.")
            group = getattr(kind, "_argument_group_name", None)
            target = self if group is None else self.add_argument_group(group)
            hints, documented = _hints(kind), _documented(kind)
            for field in dataclasses.fields(kind):
                if field.init:
                    _add_field(target, field, hints[field.name], documented.get(field.name))

    def parse_args_into_dataclasses(
        self,
        args: list[str] | None = None,
        return_remaining_strings: bool = False,
        look_for_args_file: bool = True,
        args_filename: str | os.PathLike[str] | None = None,
        args_file_flag: str | None = None,
    ) -> tuple[Any, ...]:
        """Parse the dataclasses, then a namespace if there are other options, then the remaining strings.

        Options from files come before those of the command line. If an option is given twice, the last one is used.

        Args:
            args: the command line; by default that of this process.
            return_remaining_strings: return unknown strings as a list, in place of an error.
            look_for_args_file: read the file of the script's name that ends in ".args", if there is one.
            args_filename: read this file instead.
            args_file_flag: an option of the command line that names further files.

        Raises:
            InputError: an unknown option on the command line.
            MissingFileError: a file that does not exist.
        """
        args = sys.argv[1:] if args is None else list(args)
        named = [] if args_filename is None else [Path(args_filename)]
        beside = Path(sys.argv[0]).with_suffix(".args") if look_for_args_file and not named and sys.argv[0] else None
        if args_file_flag is not None:
            flags = ArgumentParser(add_help=False, allow_abbrev=False)
            flags.add_argument(args_file_flag, dest="files", action="append", default=[])
            found, args = flags.parse_known_args(args)
            named += map(Path, found.files)
        files = [beside] if beside is not None and beside.exists() else []
        in_files = [word for file in files + named for word in _read(file).split()]
        namespace, rest = self.parse_known_args(in_files + args)
        outputs: list[Any] = []
        for kind in self.dataclass_types:
            names = [field.name for field in dataclasses.fields(kind) if field.init]
            outputs.append(kind(**{name: vars(namespace).pop(name) for name in names}))
        if vars(namespace):
            outputs.append(namespace)
        if return_remaining_strings:
            return (*outputs, rest)
        if rest:
            known = [option for action in self._actions for option in action.option_strings]
            raise InputError(f"The command line has the unknown {rest}.{nearest(rest[0], known)}")
        return tuple(outputs)

    def parse_dict(self, args: dict[str, Any], allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """Create the dataclasses from the values of a dictionary, without conversion.

        Args:
            args: the values of the fields of all dataclasses by name.
            allow_extra_keys: ignore unknown keys, in place of an error.
        """
        names = [[field.name for field in dataclasses.fields(kind) if field.init] for kind in self.dataclass_types]
        known = {name for each in names for name in each}
        unknown = sorted(args.keys() - known)
        if unknown and not allow_extra_keys:
            raise InputError(f"There are no fields {unknown}.{nearest(str(unknown[0]), known)}")
        return tuple(
            kind(**{name: args[name] for name in each if name in args})
            for kind, each in zip(self.dataclass_types, names, strict=True)
        )

    def parse_json_file(self, json_file: str | os.PathLike[str], allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """`parse_dict` of a JSON file."""
        return self._parse_file(json_file, json.loads, allow_extra_keys)

    def parse_yaml_file(self, yaml_file: str | os.PathLike[str], allow_extra_keys: bool = False) -> tuple[Any, ...]:
        """`parse_dict` of a YAML file."""
        import yaml

        return self._parse_file(yaml_file, yaml.safe_load, allow_extra_keys)

    def _parse_file(
        self, path: str | os.PathLike[str], read: Callable[[str], Any], allow_extra_keys: bool
    ) -> tuple[Any, ...]:
        text = _read(Path(path))
        try:
            content = read(text)
        except Exception as error:  # JSON and YAML have different exceptions
            raise InputError(f"{str(path)!r} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"{str(path)!r} holds a {type(content).__name__}, not a mapping from fields to values.")
        return self.parse_dict(content, allow_extra_keys)


# ---- a field as an option --------------------------------------------------------------------------------------------


def _add_field(parser: Any, field: dataclasses.Field[Any], hint: Any, help: str | None) -> None:
    options: dict[str, Any] = {"help": help, **field.metadata}
    aliases = options.pop("aliases", [])
    names = [f"--{field.name}", *([f"--{field.name.replace('_', '-')}"] if "_" in field.name else [])]
    names += [aliases] if isinstance(aliases, str) else aliases
    factory: Any = field.default_factory
    default = field.default if factory is dataclasses.MISSING else factory()
    is_optional, kind = _one_type(field.name, hint, default)
    switch = dict(options)

    if kind is bool:
        options["type"] = _bool
        if default is dataclasses.MISSING:
            default = None if is_optional else False
        if not is_optional or isinstance(default, bool):
            options |= {"nargs": "?", "const": True}
    elif typing.get_origin(kind) is list or kind is list:
        element = (typing.get_args(kind) or (str,))[0]
        is_literal = typing.get_origin(element) is Literal
        options |= {"nargs": "+", **(_choice(typing.get_args(element)) if is_literal else {"type": element})}
    elif typing.get_origin(kind) is Literal:
        options |= _choice(typing.get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, Enum):
        options |= _choice([member.value for member in kind])
    elif typing.get_origin(kind) is dict or kind is dict:
        options["type"] = _json_object
    else:
        options["type"] = kind
    if not callable(options["type"]):
        raise InputError(f"{field.name} is of type {hint}, which cannot be read from a command line.")
    if default is dataclasses.MISSING:
        options["required"] = True
    else:
        options["default"] = default
    parser.add_argument(*names, **options)
    if kind is bool and default is True:
        # Added after the option itself, because the default of the first one is used.
        opposite = [f"--no_{field.name}", f"--no-{field.name.replace('_', '-')}"]
        parser.add_argument(*opposite, action="store_false", dest=field.name, **{**switch, "default": False})


def _one_type(name: str, hint: Any, default: Any) -> tuple[bool, Any]:
    """Whether a field may be None, and the type of its option."""
    if hint is Any:
        known = default is not None and default is not dataclasses.MISSING
        return False, type(default) if known else str
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return False, hint
    members = typing.get_args(hint)
    others = [member for member in members if member is not types.NoneType]
    is_optional = len(others) < len(members)
    if set(others) == {int, float}:
        return is_optional, float
    if len(others) > 1 and str not in others:
        raise InputError(f"{name} is of type {hint}: the command line cannot distinguish these types.")
    if len(others) > 1 and is_optional:
        # The same choice as in transformers, except for lists and booleans, which it cannot read.
        chosen = members[0] if members[1] is types.NoneType else members[1]
        return True, str if bool in others or typing.get_origin(chosen) is list else chosen
    return is_optional, next((member for member in others if member is not str), str)


def _choice(values: Iterable[Any]) -> dict[str, Any]:
    """Choices of several types, distinguished by their strings; argparse refuses other strings."""
    by_text = {str(value): value for value in values}
    return {"choices": list(by_text.values()), "type": lambda text: by_text.get(text, text)}


def _bool(text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise ArgumentTypeError(f"{text!r} must be one of {', '.join(TRUE + FALSE)}")
    return text.lower() in TRUE


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{text!r} must be a JSON object, such as '{{\"name\": 1}}'")
    return value


# ---- classes and files -----------------------------------------------------------------------------------------------


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except NameError as error:
        raise InputError(
            f"The types of {kind.__name__}'s fields cannot be resolved ({error}): define the class at the top of its "
            f"module, or leave out `from __future__ import annotations`."
        ) from error


def _documented(kind: type) -> dict[str, str]:
    """The descriptions of the attributes in the docstrings of a class and its bases, under "Attributes:"."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        section = re.search(r"^Attributes:\n((?:[ ]+.*\n|\n)+)", inspect.cleandoc(each.__doc__ or "") + "\n", re.M)
        entries = re.findall(r"^(\w[\w, ]*): (.*(?:\n +.*)*)", textwrap.dedent(section[1]) if section else "", re.M)
        for names, text in entries:
            words = " ".join(text.split()).replace("%", "%%")
            found |= dict.fromkeys(names.split(", "), words)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFileError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
