"""Descriptions of small Python functions with their code, and a process that runs code under limits."""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INPUTS: dict[str, list[Any]] = {
    "x": [0, 1, 7, 12, -3],
    "y": [2, 5, 1, 3, 4],
    "items": [[3, 1, 2], [], [5, -5, 8, 8, 0, 6], [10, 4, 7, 9, 2, 1], [12]],
    "text": ["hello world", "", "A man", "noon", "the end of the day"],
}
"""Values that functions are tried with, by the name of the argument."""

NUMBERS = range(2, 21)
WORDS = ["the", "end", "a", "hello", "no", "man", "day", "good", "file", "new"]

# With {n} for a number or {w} for a word: arguments, description, code.
TEMPLATES = [
    ("x", "Return x plus {n}.", "return x + {n}"),
    ("x", "Return x minus {n}.", "return x - {n}"),
    ("x", "Return x times {n}.", "return x * {n}"),
    ("x", "Return the remainder of x divided by {n}.", "return x % {n}"),
    ("x", "Return True if x is greater than {n}.", "return x > {n}"),
    ("x", "Return True if x is less than {n}.", "return x < {n}"),
    ("x", "Return True if x can be divided by {n}.", "return x % {n} == 0"),
    ("x", "Return the larger one of x and {n}.", "return max(x, {n})"),
    ("x", "Return the smaller one of x and {n}.", "return min(x, {n})"),
    ("x", "Return the numbers from 1 to {n}, each times x.", "return [x * i for i in range(1, {n} + 1)]"),
    ("items", "Return the first {n} items.", "return items[:{n}]"),
    ("items", "Return the last {n} items.", "return items[-{n}:]"),
    ("items", "Return the items without the first {n}.", "return items[{n}:]"),
    ("items", "Return how many items are equal to {n}.", "return items.count({n})"),
    ("items", "Return True if {n} is one of the items.", "return {n} in items"),
    ("items", "Return the items and then {n}.", "return items + [{n}]"),
    ("text", "Return the text {n} times.", "return text * {n}"),
    ("text", "Return the first {n} characters of the text.", "return text[:{n}]"),
    ("text", "Return True if the text has more than {n} characters.", "return len(text) > {n}"),
    ("text", "Return the text with '{w}' before it.", "return '{w}' + text"),
    ("text", "Return the text with '{w}' after it.", "return text + '{w}'"),
    ("text", "Return True if the text starts with '{w}'.", "return text.startswith('{w}')"),
    ("text", "Return True if the text ends with '{w}'.", "return text.endswith('{w}')"),
    ("text", "Return True if '{w}' is in the text.", "return '{w}' in text"),
    ("text", "Return how often '{w}' is in the text.", "return text.count('{w}')"),
    ("x, y", "Return x plus y plus {n}.", "return x + y + {n}"),
    ("x, y", "Return x times y minus {n}.", "return x * y - {n}"),
]
# Each of the first with each of the second: "Return the squares of the even items."
CHANGES = [
    ("the items", "i"), ("the squares of the items", "i * i"), ("the doubles of the items", "2 * i"),
    ("the opposites of the items", "-i"), ("the items plus one", "i + 1"), ("the items as texts", "str(i)"),
    ("the halves of the items", "i / 2"), ("the items minus one", "i - 1"), ("the cubes of the items", "i * i * i"),
]  # fmt: skip
CONDITIONS = [
    ("that are even", "i % 2 == 0"), ("that are odd", "i % 2 == 1"), ("that are positive", "i > 0"),
    ("that are negative", "i < 0"), ("that are not zero", "i != 0"), ("that are greater than ten", "i > 10"),
    ("that are less than five", "i < 5"), ("that are not negative", "i >= 0"),
]  # fmt: skip
RESULTS = [
    ("Return {}.", "return [{}]"), ("Return the sum of {}.", "return sum([{}])"),
    ("Return the number of {}.", "return len([{}])"), ("Return {} in order.", "return sorted([{}])"),
]  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A function to write.

    Attributes:
        prompt: the line of `def`, and what the function returns in words.
        solution: the lines under it.
        arguments: their names, with commas.
        kind: "values" if another number or word makes it new, "combinations" if its parts are known from others.
    """

    prompt: str
    solution: str
    arguments: str
    kind: str
    is_held_out: bool


def generated_tasks() -> list[Task]:
    """All tasks of the tables; about one in seven is held out."""
    found = []
    for arguments, words, code in TEMPLATES:
        for value in WORDS if "{w}" in words else NUMBERS:
            found.append(_task(arguments, words.format(n=value, w=value), code.format(n=value, w=value), "values"))
    for (result, call), (change, value), (condition, test) in itertools.product(RESULTS, CHANGES, CONDITIONS):
        words, code = result.format(f"{change} {condition}"), call.format(f"{value} for i in items if {test}")
        found.append(_task("items", words, code, "combinations"))
    return found


def _task(arguments: str, words: str, code: str, kind: str) -> Task:
    number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")
    return Task(f'def f({arguments}):\n    """{words}"""\n', f"    {code}\n", arguments, kind, number % 7 == 0)


def library_functions(files: int | None = None, limit: int = 600) -> list[tuple[str, str]]:
    """Functions of the standard library that have a docstring and at most `limit` characters: head and body.

    The sources of this Python are read (so many files, by default all), so that other versions give a few more or less.
    """
    found: set[tuple[str, str]] = set()
    for path in sorted(Path(inspect.__file__).parent.glob("*.py"))[:files]:
        try:
            source = path.read_text("utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
                first = ast.get_docstring(node).splitlines()[0].strip()
                node.body, node.decorator_list = node.body[1:], []
                text = ast.unparse(node)
                head, _, body = text.partition("\n")
                if first and len(text) <= limit:
                    found.add((f'{head}\n    """{first}"""\n', body + "\n"))
    return sorted(found)


def passes(task: Task, body: str, seconds: int = 3) -> bool:
    """Whether the code gives the right result for every input of the task; it runs in a process of its own.

    The process may take `seconds` of time, 1 GB of memory, no files longer than 1 MB and no further processes; it
    starts in an empty directory, without the user's packages and environment. This stops accidents of a small model. It
    is no wall against an attack: for code of strangers, use a container without a network.
    """
    expected: dict[str, Any] = {}
    exec(task.prompt + task.solution, expected)  # our own code, not the model's
    names = [name.strip() for name in task.arguments.split(",")]
    calls = list(zip(*(INPUTS[name] for name in names), strict=True))
    wanted = [repr(expected["f"](*call)) for call in calls]
    program = f"{_LIMITS.format(seconds=seconds)}\n{task.prompt}{body}\n\nimport json\n"
    program += f"print(json.dumps([repr(f(*call)) for call in {calls!r}]))\n"
    with tempfile.TemporaryDirectory() as directory:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", program],
                cwd=directory,
                env={"PATH": os.environ.get("PATH", "")},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds + 2,
            )
            return done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) == wanted
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            return False


_LIMITS = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
del resource
"""


def pass_at_k(results: list[list[bool]], k: int) -> float:
    """The chance that one of k of the tries is right: the mean of 1 − C(n−c, k)/C(n, k) (Chen et al., 2021, eq. 1)."""
    total = 0.0
    for tries in results:
        wrong, missed = len(tries) - sum(tries), 1.0
        for index in range(k):
            missed *= max(0, wrong - index) / (len(tries) - index)
        total += 1 - missed
    return total / len(results)


def sample(tasks: list[Task], count: int, seed: int = 0) -> list[Task]:
    return random.Random(seed).sample(tasks, min(count, len(tasks)))
