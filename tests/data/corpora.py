"""Small corpora on disk, which the tests of corpora make and look into."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap

from minitransformers.data import (
    tokenize_corpus,
    train_byte_level_bpe,
)

SENTENCES = ["The cat sat on the mat.", "the dog ate the cat", "naïve café 東京 🙂", "on the mat the dog sat"]
BPE = train_byte_level_bpe(SENTENCES, 290)


def make(source, directory, tokenizer=BPE, **options):
    return tokenize_corpus(source, tokenizer, directory, show_progress=False, **options)


def in_child(code, *arguments, **environment):
    """Run code in a process of its own; what it printed."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def contents(directory):
    """The bytes of all shards, in order."""
    return [path.read_bytes() for path in sorted(directory.glob("*.tokens"))]
