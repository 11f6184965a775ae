"""The whole course: each exercise fails as it is given, and passes with its solution."""

import ast
import importlib.util
import inspect
from pathlib import Path

import adapters
import pieces
import pytest

COURSE = Path(pieces.__file__).parent
SOLUTIONS = Path(__file__).parent / "solutions"
EXERCISES = sorted(path.parent for path in COURSE.glob("[0-9]*/exercise.py"))
GIVEN = dict(adapters.PIECES)
SOLVED = {name: str(SOLUTIONS / f"{Path(where).parent.name}.py") for name, where in GIVEN.items()}


@pytest.fixture
def solved(monkeypatch):
    monkeypatch.setattr(adapters, "PIECES", dict(SOLVED))


def judges_of(folder):
    """The test functions of an exercise, by name."""
    (path,) = folder.glob("test_*.py")
    specification = importlib.util.spec_from_file_location(f"judge_{folder.name}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return {name: function for name, function in vars(module).items() if name.startswith("test_")}


def test_there_are_all_exercises():
    assert [int(folder.name[:2]) for folder in EXERCISES] == list(range(1, 23))
    assert {path.stem for path in SOLUTIONS.glob("*.py")} == {folder.name for folder in EXERCISES}
    assert {Path(where).parent.name for where in GIVEN.values()} == {folder.name for folder in EXERCISES}


@pytest.mark.parametrize("folder", EXERCISES, ids=lambda folder: folder.name)
def test_the_stub_fails(folder):
    for test in judges_of(folder).values():
        with pytest.raises(pieces.NotWrittenError, match=r"is not written yet: see course/\d\d_"):
            test()


@pytest.mark.parametrize("folder", EXERCISES, ids=lambda folder: folder.name)
def test_the_solution_passes(folder, solved):
    tests = judges_of(folder)
    assert tests
    for name, test in tests.items():
        try:
            test()
        except pytest.skip.Exception as reason:  # a learner may be offline
            pytest.fail(f"{name} was not run: {reason}")


def outline(path):
    """Names, arguments and docstrings of a file's functions and classes."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            found[node.name] = ast.get_docstring(node)
        elif isinstance(node, ast.FunctionDef) and (ast.get_docstring(node) or node.name == "__init__"):
            found[f"{node.name}({ast.unparse(node.args)})"] = ast.get_docstring(node)
    return found


@pytest.mark.parametrize("folder", EXERCISES, ids=lambda folder: folder.name)
def test_stub_and_solution_have_the_same_task(folder):
    assert outline(folder / "exercise.py") == outline(SOLUTIONS / f"{folder.name}.py")


# ---- adapters --------------------------------------------------------------------------------------------------------


def test_a_piece_may_be_an_object_a_module_or_a_name_in_it(monkeypatch):
    def own(query, key, value):
        return value

    monkeypatch.setattr(
        adapters, "PIECES", {"attention": own, "pairwise": "itertools", "other": "itertools:chain", "x": "json"}
    )
    assert pieces.attention is own
    assert pieces.pairwise is __import__("itertools").pairwise
    assert pieces.other is __import__("itertools").chain
    with pytest.raises(AttributeError, match=r"has no 'x': see adapters\.py"):
        pieces.x
    with pytest.raises(AttributeError, match=r"adapters\.py has no piece 'attenshun'"):
        pieces.attenshun


def test_a_class_with_one_method_left_is_not_written():
    class Half:
        def one(self):
            return 1

        def two(self): ...

    assert pieces._unwritten(Half) == "Half.two"
    assert pieces._unwritten(Half.one) is None
    assert inspect.getsourcefile(Half) == __file__
