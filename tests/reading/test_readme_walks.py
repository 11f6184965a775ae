"""README's two walks, from text to loss and from prompt to text, are those that the code takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOPS = """
import sys
sys.path.insert(0, sys.argv[1])
import hops
print(hops.section(sys.argv[2], hops.hops(hops.WALKS[sys.argv[2]]())))
"""


@pytest.mark.parametrize("walk", ["text to loss", "prompt to text"])
def test_readme_shows_the_way(walk: str) -> None:
    """In a process of its own: the type checks of this test run would be on the way."""
    command = [sys.executable, "-c", HOPS, str(Path(__file__).parent), walk]
    section = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert section.strip() in (ROOT / "README.md").read_text("utf-8"), "python tests/reading/hops.py --write"
