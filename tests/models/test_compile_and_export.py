"""torch.compile and torch.export: the same numbers, one graph, any length, and weights that stay tied."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CHECKS = [
    "compiled_trains_as_plain",
    "compiled_continues_from_a_cache",
    "compiled_by_inductor",
    "compiled_stays_tied_and_saves_plain_names",
    "exported_with_any_batch_and_length",
]
MORE = ["compiled_equals_plain", "exported_with_a_cache"]


@pytest.mark.parametrize("checks", [CHECKS, pytest.param(MORE, marks=pytest.mark.thorough)], ids=["some", "more"])
def test_in_a_process_without_the_type_checking_hook(checks):
    """In one process, since torch takes longer to prepare its compiler than most checks take."""
    found = os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")])
    child = subprocess.run(
        [sys.executable, str(HERE / "scripts" / "compile_and_export.py"), *checks],
        env={**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.splitlines() == checks
