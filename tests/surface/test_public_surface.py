"""docs/public_surface.md is true, and every attribute and name of the reference is here or explained."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from surface_decisions import decision
from surface_reading import is_here, module_paths, names_of, rows
from write_page import PAGE, UNDECIDED, explained


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    transformers.logging.set_verbosity_error()


def test_no_attribute_is_undecided() -> None:
    """Add what a new attribute of the reference does, or the reason to leave it out to surface_decisions.py."""
    undecided = [row for row in rows() if row.difference and not decision(row.owner, row.attribute, row.difference)]
    assert undecided == []
    assert sum(not row.difference for row in rows()) > 1500


def test_no_name_is_undecided() -> None:
    """A name of the reference is here, or the error that asking for it raises says what to use."""
    undecided = [
        (path, name)
        for path in module_paths()
        for name in names_of(path)
        if not is_here(path, name) and explained(path, name) == UNDECIDED
    ]
    assert undecided == []


def test_the_page_is_up_to_date() -> None:
    """`python tests/surface/write_page.py` writes it, in a process of its own: other tests register further names."""
    command = [sys.executable, "-c", "import write_page; print(write_page.page(), end='')"]
    path = os.pathsep.join([str(PAGE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert UNDECIDED not in done.stdout
    assert PAGE.read_text("utf-8") == done.stdout
