"""Tiny checkpoints, made once for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiny_pipelines as tiny


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The directory of a random model: `saved("BertForMaskedLM")`, with fields of its config."""
    made: dict[str, str] = {}

    def make(architecture: str, **fields: object) -> str:
        key = f"{architecture} {sorted(fields.items())}"
        if key not in made:
            made[key] = tiny.save(tmp_path_factory.mktemp("model"), architecture, **fields)
        return made[key]

    return make
