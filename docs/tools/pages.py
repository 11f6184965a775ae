"""The fenced blocks of a page: Python that is run, its output, and source that is included from the package.

A ```python block is run, after the ones above it on the page. A ```text block that follows it directly has its output.
A ```source block names functions, classes and methods, one a line; the site shows their code as it is in the package:

    minitransformers/nn/masks.py: causal_mask
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where it is in the page, in characters."""

    language: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Cell:
    """A block of Python, and the block of its output if the page shows one."""

    code: Block
    output: Block | None


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [Block(found[1], found[2], *found.span()) for found in _FENCE.finditer(page)]


def cells(page: str) -> list[Cell]:
    """The blocks of Python, each with its output."""
    found = blocks(page)
    following: list[Block | None] = [*found[1:], None][: len(found)]
    result = []
    for block, after in zip(found, following, strict=True):
        if block.language == "python":
            is_output = after is not None and after.language == "text" and not page[block.end : after.start].strip()
            result.append(Cell(block, after if is_output else None))
    return result


def pages() -> list[Path]:
    """The pages with code, sorted by path."""
    return sorted(path for path in DOCS.rglob("*.md") if cells(path.read_text("utf-8")))


@dataclass(frozen=True)
class Source:
    """A piece of the package: its file, name, first and last line, and text without docstrings."""

    file: str
    name: str
    first: int
    last: int
    text: str


def sources(block: Block) -> list[Source]:
    """The pieces that a ```source block names.

    Raises:
        ValueError: there is no such file or name.
    """
    return [_source(*(part.strip() for part in line.split(":"))) for line in block.text.strip().splitlines()]


def _source(file: str, name: str) -> Source:
    path = ROOT / file
    if not path.is_file():
        raise ValueError(f"There is no file {file}.")
    text = path.read_text("utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        found = [each for each in getattr(node, "body", ()) if _name(each) == part]
        if not found:
            raise ValueError(f"{file} has no {name}.")
        node = found[0]
    assert isinstance(node, ast.stmt)
    decorators = getattr(node, "decorator_list", [])
    first, last = min([node, *decorators], key=lambda each: each.lineno).lineno, node.end_lineno or node.lineno
    hidden = {line for each in ast.walk(node) for line in _docstring_lines(each)}
    lines = text.splitlines()
    kept = [lines[number - 1] for number in range(first, last + 1) if number not in hidden]
    indent = len(kept[0]) - len(kept[0].lstrip())
    return Source(file, name, first, last, "\n".join(line[indent:] for line in kept))


def _name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return getattr(node, "name", None)


def _docstring_lines(node: ast.AST) -> range:
    body = getattr(node, "body", None)
    is_documented = isinstance(node, ast.FunctionDef | ast.ClassDef) and len(node.body) > 1
    if not is_documented or not isinstance(body, list) or not isinstance(body[0], ast.Expr):
        return range(0)
    if not (isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)):
        return range(0)
    # With the empty line after it.
    return range(body[0].lineno, body[1].lineno) if isinstance(node, ast.ClassDef) else _lines(body[0])


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
