"""Wrong arguments must meet the library's own checks, as in a user's program, and not those of the test run."""

import pytest


@pytest.fixture(autouse=True)
def as_in_a_program(annotations_are_not_checked: None) -> None:
    """In every test of this folder."""
