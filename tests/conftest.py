"""Settings of the whole test run: hypothesis profiles, and one thread in each of its processes."""

import os
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

import minitransformers

torch.set_num_threads(int(os.environ.get("MINITRANSFORMERS_TEST_THREADS", "1")))

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
# `quick` is what CI runs; `pytest --hypothesis-profile=thorough` is the long run before a release.
settings.register_profile(
    "quick", deadline=None, max_examples=10, derandomize=True, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile("thorough", deadline=None, max_examples=250, suppress_health_check=_SLOW_IS_FINE)
# Only whether something differs, for `.ci/newest_reference`: looking for the smallest difference would take hours.
settings.register_profile(
    "differences",
    parent=settings.get_profile("quick"),
    max_examples=5,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `thorough` but for the thorough profile: cases like others that run anyway."""
    if config.getoption("--hypothesis-profile") != "thorough":
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker("thorough")]


@pytest.fixture
def annotations_are_not_checked():
    """Wrong types meet the library's own checks, as in a user's program, and not those of the test run.

    The hook that checks annotations at run time is off: it would refuse a list before the model does.
    """
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def run_script(request, tmp_path):
    """Run a script of the `scripts/` beside the test, with arguments, in a process of its own: its output.

    There torch.compile and torch.export can trace (run-time shape checks hinder them), and processes be killed or
    started together: `launcher` are arguments for python, such as `-m torch.distributed.run`. The test fails, showing
    what the script wrote, where the script does.
    """

    def run(name, *arguments, launcher=()):
        root = str(Path(minitransformers.__file__).resolve().parents[1])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),  # nothing left of an earlier run
        }
        finished = subprocess.run(
            [sys.executable, *launcher, str(request.path.parent / "scripts" / name), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if finished.returncode:
            pytest.fail(f"{name} {arguments} ended with {finished.returncode}:\n{finished.stdout}\n{finished.stderr}")
        return finished.stdout

    return run
