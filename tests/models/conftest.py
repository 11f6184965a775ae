"""Scripts that run in a process of their own: torch.compile and torch.export cannot trace run-time shape checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import minitransformers

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def run_script(tmp_path):
    """Run a script of `scripts/` with arguments; the test fails, showing what it wrote, where the script does."""

    def run(name, *arguments):
        root = str(Path(minitransformers.__file__).resolve().parents[1])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),  # nothing left of an earlier run
        }
        finished = subprocess.run(
            [sys.executable, str(SCRIPTS / name), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if finished.returncode:
            pytest.fail(f"{name} {arguments} ended with {finished.returncode}:\n{finished.stdout}\n{finished.stderr}")
        return finished.stdout

    return run
