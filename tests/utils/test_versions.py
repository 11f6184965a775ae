"""Checks of versions, and the last checkpoint of a directory, beside transformers'."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from transformers import trainer_utils as their_trainer_utils
from transformers.utils import check_min_version as theirs_check
from transformers.utils.versions import require_version as theirs_require

from minitransformers import trainer_utils
from minitransformers.errors import InputError
from minitransformers.utils import check_min_version
from minitransformers.utils.versions import FOLLOWED, VersionError, require_version


@pytest.mark.parametrize("minimum", ["4.0.0", "5.0.0.dev0", "5.22.1", "5.23.0", "5.23.1", "5.24.0.dev0", "6.0"])
def test_minimum(minimum: str) -> None:
    assert version("transformers") == FOLLOWED
    refused = []
    for check in (check_min_version, theirs_check):
        try:
            check(minimum)
        except ImportError as error:
            refused.append(error)
    assert len(refused) in (0, 2)
    if refused:
        assert str(refused[0]).startswith(
            f"The script needs transformers {minimum}, and this library has the interface"
        )


REQUIREMENTS = ["numpy", "torch>=2.0", "tqdm>=1,<9", "python>=3.11", "tqdm>=4.0,!=4.1"]
REFUSED = ["torch==1.0", "python<3", "no-such-x"]


@pytest.mark.parametrize("requirement", [*REQUIREMENTS, *REFUSED])
def test_requirements(requirement: str) -> None:
    outcomes = []
    for require in (require_version, theirs_require):
        try:
            outcomes.append(require(requirement, "Or do that."))
        except ImportError:
            outcomes.append("refused")
    assert outcomes == ["refused" if requirement in REFUSED else None] * 2


def test_what_is_said() -> None:
    with pytest.raises(
        VersionError, match=r"^torch>99 is needed, and torch 2\S+ is installed: `pip install 'torch>99'` .* So\."
    ):
        require_version("torch>99", "So.")
    with pytest.raises(VersionError, match=r"^The package no-such-x is not installed: `pip install 'no-such-x'`"):
        require_version("no-such-x")
    with pytest.raises(InputError, match=r"requirement='torch=>1' must be in pip's syntax"):
        require_version("torch=>1")


def test_last_checkpoint(tmp_path: Path) -> None:
    """By steps, whichever was written last; nothing else is taken for one."""
    assert trainer_utils.get_last_checkpoint(tmp_path) is their_trainer_utils.get_last_checkpoint(tmp_path) is None
    for name in ("checkpoint-9", "checkpoint-10", ".checkpoint-11.replaced", "checkpoint-x", "my-checkpoint-20"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-30").write_text("a file")
    expected = their_trainer_utils.get_last_checkpoint(str(tmp_path))
    assert trainer_utils.get_last_checkpoint(str(tmp_path)) == expected == str(tmp_path / "checkpoint-10")
    assert trainer_utils.get_last_checkpoint(tmp_path / "absent") is None
