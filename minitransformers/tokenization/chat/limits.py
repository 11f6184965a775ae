"""What a chat template may use up: steps, and characters. A template is a program of a stranger, which may never end.

A template's time and memory come from few places: the bodies of loops and macros, and operations that make large values
from small ones. Each body begins with a charge for its size, so that no loop runs on without being counted; each value
that is made is measured, and operations whose results may be much larger than their inputs are checked before they run.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from minitransformers.errors import InputError

MOST_STEPS = 3_000_000  # nodes of the template that are run, and items of the values that it makes
MOST_CHARACTERS = 2**24  # of one value; four million tokens
MOST_WORK = 2**29  # characters of all values together
MOST_LEVELS = 100  # of lists and dictionaries inside each other
MOST_BITS = 4096  # of a whole number


class _Budget:
    def __init__(self) -> None:
        self.steps, self.characters = MOST_STEPS, MOST_WORK

    def spend(self, steps: int, characters: int) -> None:
        self.steps -= steps
        self.characters -= characters
        if self.steps < 0 or self.characters < 0:
            raise InputError(
                f"The chat template takes too long: it was stopped after {MOST_STEPS:,} steps or {MOST_WORK:,} "
                f"characters. It may have an endless loop; take a template that you trust, or a shorter conversation."
            )


_budget: ContextVar[_Budget] = ContextVar("budget of the template that is being rendered")


@contextmanager
def limited() -> Iterator[None]:
    """Inside, one template may be rendered; it has the whole budget."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def charge(steps: int) -> bool:
    """Count steps; always True, to stand in conditions."""
    _budget.get().spend(steps, 0)
    return True


def measured(value: Any) -> Any:
    """`value`, once it is known to be of bearable size; its items and characters are counted."""
    items, characters, level = 0, 0, [value]
    for _ in range(MOST_LEVELS):
        inside: list[Any] = []
        for item in level:
            if isinstance(item, str):
                characters += len(item)
            elif isinstance(item, dict):
                inside += [*item, *item.values()]
            elif isinstance(item, (list, tuple, set, frozenset)):
                inside += item
        items += len(level)
        _refuse_above(MOST_CHARACTERS, characters + items + len(inside))
        if not inside:
            _budget.get().spend(items, characters)
            return value
        level = inside
    raise InputError(f"The chat template nests lists and dictionaries more than {MOST_LEVELS} levels deep.")


def joined(pieces: Iterable[str]) -> str:
    """The pieces as one text: what a template, a macro or a block has written."""
    taken, characters = [], 0
    for piece in pieces:
        characters += len(piece)
        _refuse_above(MOST_CHARACTERS, characters)
        taken.append(piece)
    _budget.get().spend(0, characters)
    return "".join(taken)


def checked_operator(operator: str, left: Any, right: Any, compute: Callable[[], Any]) -> Any:
    """The result of one of the operators + * ** %."""
    if operator == "%" and isinstance(left, str):
        _check_format(left, left.count("%"), right)
    elif operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
        # In bits: products add, powers multiply.
        size = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        _refuse_above(MOST_BITS, size)
    elif operator == "*":
        lengths = [abs(side) if isinstance(side, int) else _length(side) for side in (left, right)]
        _refuse_above(MOST_CHARACTERS, lengths[0] * lengths[1])
    return measured(compute())


def checked_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja whose inputs and result are checked."""

    @functools.wraps(function)  # copies the marks of filters that want the environment as their first argument
    def run(*args: Any, **named: Any) -> Any:
        first = 1 if hasattr(function, "jinja_pass_arg") else 0
        if name in ("join", "sum") and len(args) > first:
            args = (*args[:first], list(args[first]), *args[first + 1 :])
        check_growth(name, args[first] if len(args) > first else "", [*args[first + 1 :], *named.values()])
        return measured(function(*args, **named))

    return run


def check_growth(name: str, value: Any, arguments: list[Any]) -> None:
    """Refuse a call of a method or filter whose result would be too large: `value.name(*arguments)`."""
    length = _length(value)
    widths = [abs(argument) for argument in arguments if isinstance(argument, int)]
    texts = [len(argument) for argument in arguments if isinstance(argument, str)]
    if name in ("ljust", "rjust", "center", "zfill", "batch", "slice"):
        size = max(widths, default=0)
    elif name in ("indent", "expandtabs", "wordwrap"):
        size = (length + 1) * max([*widths, *texts, 8])
    elif name == "tojson":
        measured(value)
        size = max([*widths, *texts, 0]) * MOST_LEVELS * _count(value)
    elif name == "replace" and len(texts) >= 2 and isinstance(arguments[0], str):
        size = length + (str(value).count(arguments[0]) if arguments[0] else length + 1) * texts[1]
    elif name == "translate":
        size = length * max(
            (_length(text) for item in arguments if isinstance(item, dict) for text in item.values()), default=1
        )
    elif name == "join" and isinstance(value, str):  # a method: the separator's
        size = length * max(map(_length, arguments), default=0)
    elif name == "join":
        size = length * max(texts, default=0)
    elif name == "sum":
        size = length * sum(map(_length, value)) // 64
    elif name in ("format", "format_map"):
        _check_format(str(value), str(value).count("{") + str(value).count("%"), arguments)
        return
    elif name in ("urlize", "striptags", "pprint", "xmlattr"):  # slow ones
        size = length * 100
    else:
        return
    _refuse_above(MOST_CHARACTERS, size)


def _check_format(text: str, places: int, values: Any) -> None:
    """Refuse a format whose result would be much larger than the values that it shows."""
    if re.search(r"\d{5}|\*|\{[^{}]*\{[^{]", text):
        raise InputError(
            f"The chat template formats a value with a width that is too large, or computed: {text[:80]!r}."
        )
    measured(values)
    _refuse_above(MOST_CHARACTERS, places * (10_000 if re.search(r"\d{4}", text) else 1_000) if places > 1000 else 0)
    _refuse_above(MOST_CHARACTERS, places * _characters(values))


def _refuse_above(most: int, size: int) -> None:
    if size > most:
        raise InputError(
            f"The chat template makes a value that is too large: of {size:,} where {most:,} are the most. Take a "
            f"template that you trust, or a shorter conversation."
        )


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple, dict, set, range)) else 1


def _count(value: Any) -> int:
    """The number of items inside, of a value that has been measured."""
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, (list, tuple)) else 1


def _characters(value: Any) -> int:
    """The number of characters inside, of a value that has been measured."""
    if isinstance(value, dict):
        return sum(map(_characters, [*value, *value.values()]))
    return sum(map(_characters, value)) if isinstance(value, (list, tuple)) else _length(value)


def add_charges(tree: Any) -> Any:
    """The syntax tree of a template with its charges; it is changed in place."""
    from jinja2 import nodes

    def call(name: str, *arguments: Any) -> Any:
        return nodes.Call(nodes.EnvironmentAttribute(name), list(arguments), [], None, None)

    def changed(node: Any) -> Any:
        """The node to put in place of `node`, whose parts are changed first."""
        steps = 1
        for field, value in node.iter_fields():
            if isinstance(value, list):
                setattr(node, field, [changed(item) if isinstance(item, nodes.Node) else item for item in value])
            elif isinstance(value, nodes.Node):
                setattr(node, field, changed(value))
        if isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock)):
            steps += sum(1 for part in node.body for _ in part.find_all(nodes.Node))
            node.body.insert(0, nodes.ExprStmt(call("charge", nodes.Const(steps))))
        if isinstance(node, nodes.For) and node.test is not None:
            node.test = nodes.And(call("charge", nodes.Const(1)), node.test)
        if isinstance(node, nodes.Compare):
            node.expr = call("measured", node.expr)
            for operand in node.ops:
                operand.expr = call("measured", operand.expr)
        is_made = isinstance(node, (nodes.List, nodes.Tuple, nodes.Dict, nodes.Concat))
        return call("measured", node) if is_made and getattr(node, "ctx", "load") == "load" else node

    return changed(tree)
