"""What several of the app's tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_session import byte_tokenizer, tiny_model

from minitransformers.app.session import Session


@pytest.fixture
def session() -> Session:
    return Session(tiny_model(), byte_tokenizer(), "tiny")


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the same model is saved."""
    path = tmp_path_factory.mktemp("tiny")
    tiny_model().save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path
