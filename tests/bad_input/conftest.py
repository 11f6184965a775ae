"""Wrong arguments must meet the library's own checks, as in a user's program, and not those of the test run."""

from collections.abc import Iterator

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def annotations_are_not_checked() -> Iterator[None]:
    """The hook that checks annotations at run time is off: it would refuse a list before the model does."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
