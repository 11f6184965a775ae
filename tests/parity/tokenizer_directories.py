"""Directories for both libraries, among them the whole vocabularies of BERT and GPT-2."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import tokenizer_cases as cases
import transformers

import minitransformers.tokenization as ours

CLASSES = {"bert": "BertTokenizer", "gpt2": "GPT2Tokenizer"}


@cache
def scratch() -> Path:
    """A directory that is removed at the end of the process."""
    directory = Path(tempfile.mkdtemp(prefix="tokenizers-"))
    atexit.register(shutil.rmtree, directory)
    return directory


def both(family: str, directory: Path, **options: Any) -> tuple[Any, Any]:
    name = CLASSES[family]
    return (
        getattr(ours, name).from_pretrained(directory, **options),
        getattr(transformers, name).from_pretrained(directory, **options),
    )


@cache
def real(family: str) -> tuple[Any, Any]:
    """Both tokenizers with the whole real vocabulary, from its files."""
    directory = cases.write_directory(scratch() / f"{family}-real", cases.vocabulary(family), {})
    return both(family, directory)


def real_directory(family: str) -> Path:
    """The directory of `real`, with a configuration that names the class."""
    real(family)
    directory = scratch() / f"{family}-real"
    config = f'{{"tokenizer_class": "{CLASSES[family]}"}}'
    (directory / "tokenizer_config.json").write_text(config)
    return directory
