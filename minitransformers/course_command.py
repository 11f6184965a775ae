"""`minitransformers course`: which exercises of the course pass.

The course is the folder course/ of the repository: 22 exercises that end with a real checkpoint in your own code.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minitransformers.errors import MissingFileError, UnknownNameError

NOT_FOUND = """\
The course is not part of the installed package. Get the repository, install it with its tools for tests, and go there:
  pip install -e '.[test]'
  minitransformers course
Or name the folder with --directory."""
NO_PYTEST = (
    "The exercises are judged by pytest, which is not installed: pip install -e '.[test]', or pip install pytest."
)


def add_command(add: Any) -> None:
    """Add the command to the command line.

    Args:
        add: makes a command from its name, a line of help, and what runs it.
    """
    course = add("course", "your progress in the course: which exercises pass", show)
    course.usage = f"{course.usage} [NUMBER …]"
    course.add_argument(
        "number", nargs="*", type=int, metavar="NUMBER", help="only these exercises, with their reports"
    )
    course.add_argument("--directory", metavar="DIR", help="the folder course/ (that of the repository)")


def show(options: argparse.Namespace) -> int:
    """Print a line for each exercise: 0, or 1 where one that was named does not pass."""
    folders = exercises(find_course(options.directory))
    numbers = sorted(set(options.number)) or list(folders)
    unknown = [number for number in numbers if number not in folders]
    if unknown:
        raise UnknownNameError(f"There is no exercise {unknown[0]}; there are {min(folders)} to {max(folders)}.")
    reports = {number: judge(folders[number]) for number in numbers}
    width = max(len(folder.name) for folder in folders.values())
    for number, report in reports.items():
        print(f"{folders[number].name.ljust(width)}  {summary(report)}")
        if options.number:
            print("".join(f"\n{name}: {text}\n" for name, text in report.items() if text))
    done = [number for number, report in reports.items() if not any(report.values())]
    if options.number:
        return int(len(done) < len(reports))
    print(f"\n{len(done)} of {len(reports)} exercises pass.")
    open_ones = [number for number in reports if number not in done]
    if open_ones:
        folder = folders[open_ones[0]]
        print(f"Next: {folder / 'README.md'}, then `minitransformers course {open_ones[0]}`.")
    return 0


def find_course(directory: str | None = None) -> Path:
    """The folder of the course: the one given, that of the repository, or that of the working directory.

    Raises:
        MissingFileError: there is none, as where only the wheel is installed.
    """
    near = [Path(__file__).parents[1] / "course", Path.cwd() / "course", Path.cwd()]
    for folder in [Path(directory)] if directory else near:
        if (folder / "adapters.py").is_file() and exercises(folder):
            return folder
    raise MissingFileError(f"{directory} holds no course. {NOT_FOUND}" if directory else NOT_FOUND)


def exercises(course: Path) -> dict[int, Path]:
    """The folders of the exercises by their numbers."""
    return {int(path.parent.name[:2]): path.parent for path in sorted(course.glob("[0-9][0-9]_*/exercise.py"))}


def judge(folder: Path) -> dict[str, str]:
    """Run the tests of an exercise in this process: for each its report, empty where it passes.

    Raises:
        ImportError: pytest is missing.
    """
    try:
        import pytest
    except ImportError as error:
        raise ImportError(NO_PYTEST) from error
    collected = _Collector()
    options = ["-p", "no:terminal", "-p", "no:xdist", "-c", str(folder.parent / "pytest.ini"), str(folder)]
    pytest.main(options, plugins=[collected])
    return collected.reports or {folder.name: "pytest found no test"}


def summary(reports: dict[str, str]) -> str:
    """One line on the reports of an exercise."""
    failed = [text for text in reports.values() if text]
    if not failed:
        return "passes"
    if all("is not written yet" in text for text in failed):
        return "not written yet" if len(failed) == len(reports) else f"{len(failed)} of {len(reports)} not written yet"
    first = next(text for text in failed if "is not written yet" not in text)
    return f"fails: {first.rpartition('Likely cause: ')[2].splitlines()[0]}"


class _Collector:
    """A plugin of pytest that keeps each test's report."""

    def __init__(self) -> None:
        self.reports: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep what failed, and that a test passed or was skipped."""
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.reports[name] = _text(report)
        elif report.when == "call" or report.skipped:
            self.reports.setdefault(name, "")

    def pytest_collectreport(self, report: Any) -> None:
        """Keep the errors of files that cannot be imported."""
        if report.failed:
            self.reports[report.nodeid] = _text(report)


def _text(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(report.longrepr) if crash is None else f"{crash.message}\n{crash.path}:{crash.lineno}"
