"""The wheel: what a user who installs it gets works without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix in which the wheel, built from a copy of the sources, is installed without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "minitransformers", folder / "source" / "minitransformers", ignore=ignored)
    for model in ("gpt", "chat"):
        place = Path("examples", "checkpoints", model)
        shutil.copytree(ROOT / place, folder / "source" / place)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source")], check=True)
    shutil.rmtree(folder / "source")
    (wheel,) = folder.glob("*.whl")
    assert wheel.stat().st_size < 20e6
    prefix = folder / "prefix"
    subprocess.run(
        [*pip, "install", "--no-deps", "--ignore-installed", "--prefix", str(prefix), str(wheel)], check=True
    )
    return prefix


def run(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = {"base": str(installed), "platbase": str(installed)}
    packages = sysconfig.get_path("purelib", "posix_prefix", paths)
    environment = {**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=installed, env=environment, capture_output=True, encoding="utf-8", check=False)


def test_the_console_script_writes_with_the_model_in_the_wheel(installed: Path) -> None:
    script = str(installed / "bin" / "minitransformers")
    done = run(installed, script, "generate", "--prompt", "HAMLET.\nTo be, or", "--length", "4", "--strategy", "greedy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HAMLET.\nTo be, or ")
    assert "4 tokens" in done.stderr


def test_the_model_is_the_installed_one(installed: Path) -> None:
    code = "import minitransformers.app.session as s; print(s.__file__, s._installed_model(), s.load().name, sep='\\n')"
    file, model, name = run(installed, sys.executable, "-c", code).stdout.splitlines()
    assert Path(file).is_relative_to(installed)
    assert Path(model) == (installed / "share" / "minitransformers" / "gpt").resolve()
    assert name == "the GPT trained with this library"
    code = "import minitransformers.app.session as s; print(s.load(for_chat=True).name)"
    assert run(installed, sys.executable, "-c", code).stdout == "the small chat model trained with this library\n"
