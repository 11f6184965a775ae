"""Checkpoints as the library opens them, in the test's process and in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from minitransformers.files.hub import Source
from minitransformers.files.reading import Checkpoint, open_checkpoint


def opened(directory: Path) -> Checkpoint:
    return open_checkpoint(Source(str(directory)))


def child(code: str, *arguments: str, path: Path | None = None) -> str:
    """What a process of its own prints."""
    paths = [str(Path(__file__).parents[2]), *([str(path)] if path else [])]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
