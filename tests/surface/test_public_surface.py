"""docs/public_surface.md is true, and every attribute and name of the reference is here or explained."""

from __future__ import annotations

import pytest
import transformers
from surface_decisions import decision
from surface_reading import is_here, module_paths, names_of, rows
from write_page import PAGE, UNDECIDED, explained, page


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
    """`python tests/surface/write_page.py` writes it."""
    text = page()
    assert UNDECIDED not in text
    assert PAGE.read_text("utf-8") == text
