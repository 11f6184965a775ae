"""Python functions as JSON schemas, which describe tools to chat templates."""

from __future__ import annotations

import contextlib
import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Any

import torch

from minitransformers.errors import InputError

_SCALARS: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_TYPES: dict[Any, dict[str, str]] = {
    **{kind: {"type": name} for kind, name in _SCALARS.items()},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
    torch.Tensor: {"type": "audio"},
    Any: {},
}
_HEADINGS = ("Args:", "Returns:", "Raises:")


def tool_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """The schema of a function, from its type hints and its docstring in Google's style.

    Every argument needs a hint and a line under `Args:`. A line that ends in `(choices: ["a", "b"])` lists the allowed
    values.

    Raises:
        InputError: no docstring, an argument without hint or description, or a hint without a JSON type.
    """
    name = getattr(function, "__name__", repr(function))
    doc = inspect.getdoc(function)
    if not doc:
        raise InputError(f"The tool {name!r} has no docstring: describe the tool and its arguments.")
    summary, descriptions, returns = _sections(doc.strip())
    hints = typing.get_type_hints(function)
    properties, required = {}, []
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.annotation is parameter.empty:
            if index == 0 and parameter.name in ("self", "cls"):
                continue
            raise InputError(f"The argument {parameter.name!r} of the tool {name!r} needs a type hint.")
        if parameter.name not in descriptions:
            raise InputError(f"The docstring of the tool {name!r} has no line for {parameter.name!r} under 'Args:'.")
        properties[parameter.name] = _property(hints[parameter.name], descriptions[parameter.name])
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    schema = {"name": name, "description": summary, "parameters": parameters}
    if "return" in hints:
        with contextlib.suppress(InputError):  # any type will do, because the model never writes the result
            schema["return"] = _type(hints["return"]) | ({} if returns is None else {"description": returns})
    return {"type": "function", "function": schema}


def _property(hint: Any, description: str) -> dict[str, Any]:
    schema = _type(hint)
    if choices := re.search(r"\(choices:\s*(.*?)\)\s*$", description, flags=re.IGNORECASE):
        values = json.loads(choices[1])
        schema["enum"] = [value.strip() if isinstance(value, str) else value for value in values]
        description = description[: choices.start()].strip()
    return schema | {"description": description}


def _type(hint: Any) -> dict[str, Any]:
    """The JSON schema of a type hint."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is None and isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _values([member.value for member in hint], hint)
    if origin is None and hint in _TYPES:
        return dict(_TYPES[hint])
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if origin is typing.Literal:
        return _values(list(args), hint)
    if origin is list:
        return {"type": "array", "items": _type(args[0])}
    if origin is tuple and len(args) > 1 and ... not in args:
        return {"type": "array", "prefixItems": [_type(item) for item in args]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(args[1])}
    raise InputError(
        f"The hint {hint!r} has no JSON schema. Use str, int, float, bool, list, dict, tuples of fixed length, "
        "Literal, Enum or unions of them, or pass the tool's schema instead of the function."
    )


def _union(args: tuple[Any, ...]) -> dict[str, Any]:
    kinds = [_type(kind) for kind in args if kind is not type(None)]
    if len(kinds) == 1:
        schema = kinds[0]
    elif all(kind.keys() == {"type"} and isinstance(kind["type"], str) for kind in kinds):
        names = sorted({kind["type"] for kind in kinds})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": kinds}
    return schema | ({"nullable": True} if type(None) in args else {})


def _values(values: list[Any], hint: Any) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise InputError(f"The values of {hint!r} must be str, int, float, bool or None, and there must be some.")
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": values}


def _sections(doc: str) -> tuple[str, dict[str, str], str | None]:
    """The descriptions of the function, of each argument, and of the result in a docstring."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in doc.splitlines():
        heading = next((heading for heading in _HEADINGS if line.strip().startswith(heading)), None)
        if heading is not None and heading not in sections:
            current = heading
            line = line.strip().removeprefix(heading)
            sections[current] = []
        sections[current].append(line)
    summary = "\n".join(sections[""]).strip()
    returns = _one_line(sections["Returns:"]) if "Returns:" in sections else None
    return summary, _arguments(sections.get("Args:", [])), returns


def _arguments(lines: list[str]) -> dict[str, str]:
    """The descriptions under `Args:`; lines with a deeper indent than the first argument continue the line above."""
    lines = [line for line in lines if line.strip()]
    depth = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    found: dict[str, list[str]] = {}
    name = None
    for line in lines:
        start = re.match(r"\s*(\w+):\s*(.*)", line)
        if start and len(line) - len(line.lstrip()) == depth:
            name = start[1]
            found[name] = [start[2]]
        elif name is not None:
            found[name].append(line)
    return {name: _one_line(description) for name, description in found.items()}


def _one_line(lines: list[str]) -> str:
    return " ".join(filter(None, map(str.strip, lines)))
