"""Type checkers and editors find the package, and complete what its calls return."""

from __future__ import annotations

import pytest
from check_types import HERE, findings


def test_pyright_infers_what_calls_return() -> None:
    """Pyright is among the `dev` packages; `.ci/run` checks the same with its linters."""
    pytest.importorskip("pyright")
    assert findings() == []
    assert (HERE / "expected.py").read_text("utf-8").count("\nreveal_type") >= 20
