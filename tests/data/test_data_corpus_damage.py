"""Corpora on disk: damage is noticed, and a run that is killed does no harm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from unittest import mock

import pytest
from corpora import BPE, SENTENCES, contents, in_child, joined, make
from hypothesis import assume, given, strategies as st

from minitransformers.data import (
    TokenCorpus,
    TokenShard,
    tokenizing,
    train_byte_level_bpe,
    write_shard,
)
from minitransformers.data.shards import MAGIC
from minitransformers.errors import CorpusError, InputError, MissingFileError


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "corpus"


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [300, 100_000])
def test_every_flipped_byte_and_every_cut_is_noticed(tmp_path, vocab_size):
    path = tmp_path / "a.tokens"
    write_shard(path, [[1, 2, 3], [299], []], vocab_size)
    whole = path.read_bytes()
    assert len(whole) == TokenShard(path).header.file_size < 130
    damaged = [whole[:size] for size in range(len(whole))] + [whole + b"\0", whole + whole]
    for place in range(len(whole)):
        for bits in (1, 128, 255):
            damaged.append(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=r"a\.tokens' is .*(Get the file again|update it)"):
            TokenShard(path).verify()


@given(st.binary(max_size=300))
def test_a_foreign_file_is_no_shard(data):
    assume(not data.startswith(MAGIC))
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with pytest.raises(CorpusError, match="is no token shard: it begins with"):
            TokenShard(file.name)


def test_what_is_wrong_with_a_corpus_is_said(tmp_path):
    make(SENTENCES, tmp_path / "corpus", shard_tokens=20)
    first, second, *_ = sorted((tmp_path / "corpus").glob("*.tokens"))
    with pytest.raises(MissingFileError, match="There is no file"):
        TokenShard(tmp_path / "none")
    with pytest.raises(CorpusError, match="is a directory; a shard is a file"):
        TokenShard(tmp_path)
    with pytest.raises(MissingFileError, match=r"There is no corpus.json in .*tokenize_corpus makes"):
        TokenCorpus(tmp_path)
    kept, manifest = first.read_bytes(), tmp_path / "corpus" / "corpus.json"

    data = bytearray(kept)
    data[80] ^= 1
    first.write_bytes(data)
    with pytest.raises(CorpusError, match=f"{first.name}' is damaged: its SHA-256"):
        TokenCorpus(tmp_path / "corpus")
    TokenCorpus(tmp_path / "corpus", verify=False)
    first.write_bytes(second.read_bytes())
    with pytest.raises(CorpusError, match=f"{first.name}' is another shard than the one that corpus.json lists"):
        TokenCorpus(tmp_path / "corpus", verify=False)
    first.unlink()
    with pytest.raises(MissingFileError, match=f"There is no file .*{first.name}"):
        TokenCorpus(tmp_path / "corpus")
    first.write_bytes(kept)
    assert len(TokenCorpus(tmp_path / "corpus")) == len(joined(BPE(SENTENCES)["input_ids"]))

    good = json.loads(manifest.read_text())
    for bad in (
        "",
        "[]",
        "{}",
        json.dumps(good)[:-9],
        json.dumps({**good, "format": "x"}),
        json.dumps({**good, "shards": []}),
    ):
        manifest.write_text(bad)
        with pytest.raises(CorpusError, match=r"corpus.json' is damaged, or not of the format"):
            TokenCorpus(tmp_path / "corpus")
    manifest.write_text(json.dumps({**good, "shards": [{**good["shards"][0], "file": f"../corpus/{first.name}"}]}))
    with pytest.raises(CorpusError, match="is damaged"):  # no path that a file names is opened outside its directory
        TokenCorpus(tmp_path / "corpus")
    manifest.unlink()
    with pytest.raises(
        CorpusError, match=r"holds \d shards of a corpus that is not finished. Run tokenize_corpus with"
    ):
        TokenCorpus(tmp_path / "corpus")


# ---- killed, and run again -------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from minitransformers import AutoTokenizer
from minitransformers.data import tokenize_corpus

class Texts:
    def __iter__(self):
        for number in range(4000):
            if number == 3000:
                os.kill(os.getpid(), signal.SIGKILL)
            yield f"document {number} " + "the cat sat " * (number % 7)

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
tokenize_corpus(Texts(), tokenizer, sys.argv[2], shard_tokens=9000, show_progress=False)
"""


def numbered(stop=4000, changed=None):
    return [
        "changed" if number == changed else f"document {number} " + "the cat sat " * (number % 7)
        for number in range(stop)
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    make(numbered(), directory, shard_tokens=9000)
    return directory


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What a run leaves that is killed at document 3,000 of 4,000."""
    directory = tmp_path_factory.mktemp("killed")
    BPE.save_pretrained(directory / "tokenizer")
    child = in_child(KILLED, directory / "tokenizer", directory / "corpus")
    assert child.returncode == -signal.SIGKILL, child.stderr
    return directory / "corpus"


def marks(directory):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in directory.glob("*.tokens")}


def copied(directory, to):
    shutil.copytree(directory, to, copy_function=shutil.copy2)
    return to


def test_a_killed_run_leaves_whole_shards_and_goes_on(killed, finished, directory):
    copied(killed, directory)
    before = marks(directory)
    assert 2 <= len(before) < len(marks(finished))
    assert list(directory.glob(".*.tmp"))  # the shard that was being written, under a name that nothing reads
    for name in before:
        TokenShard(directory / name).verify()
    with pytest.raises(CorpusError, match="is not finished"):
        TokenCorpus(directory)
    make(numbered(), directory, shard_tokens=9000)
    assert contents(directory) == contents(finished)
    assert before.items() < marks(directory).items()
    assert {path.name for path in directory.iterdir()} == {"corpus.json", *marks(directory)}
    after = marks(directory)
    make(numbered(), directory, shard_tokens=9000, num_workers=1)  # nothing is left to be done
    assert marks(directory) == after


@pytest.mark.parametrize("change", ["text", "settings", "tokenizer", "damage", "source that is read once", "notes"])
def test_what_is_not_the_same_is_done_again(killed, directory, tmp_path, change):
    copied(killed, directory)
    before = sorted(marks(directory))
    source, tokenizer, options = numbered(), BPE, {"shard_tokens": 9000}
    kept = 0
    if change == "text":
        source = numbered(changed=TokenShard(directory / before[0]).header.documents)  # the first of the second shard
        kept = 1
    elif change == "settings":
        options["append_eos"] = True
    elif change == "tokenizer":
        tokenizer = train_byte_level_bpe(SENTENCES, 265)
    elif change == "damage":
        data = bytearray((directory / before[1]).read_bytes())
        data[-1] ^= 1
        (directory / before[1]).write_bytes(data)
        kept = 1
    elif change == "source that is read once":
        source = iter(source)
    else:
        (directory / "corpus.partial.json").write_text("{")
    make(source, directory, tokenizer, **options)
    source = numbered(changed=TokenShard(directory / before[0]).header.documents) if change == "text" else numbered()
    make(source, tmp_path / "fresh", tokenizer, **options)
    assert contents(directory) == contents(tmp_path / "fresh")
    assert len(set(before) & set(marks(directory))) == kept


def test_more_text_is_added_to_a_finished_corpus(directory, finished):
    make(numbered(3500), directory, shard_tokens=9000)
    before = marks(directory)
    make(numbered(4000), directory, shard_tokens=9000)
    assert contents(directory) == contents(finished)
    assert len(before.items() & marks(directory).items()) == len(before) - 1  # the last was not full
    make(numbered(2000), directory, shard_tokens=9000)  # and less text is another corpus
    assert sum(len(ids) for ids in TokenCorpus(directory).documents) == len(joined(BPE(numbered(2000))["input_ids"]))


def test_a_run_that_fails_leaves_the_earlier_corpus(finished, directory):
    copied(finished, directory)

    def failing():
        yield from numbered(3000)
        yield 7

    with pytest.raises(InputError, match="Document 3000 of the corpus must be a str"):
        make(failing(), directory, shard_tokens=5000)
    assert list(TokenCorpus(directory)[:50]) == list(TokenCorpus(finished)[:50])
    assert len(TokenCorpus(directory)) == len(TokenCorpus(finished))


FULL = """
import resource, sys
from minitransformers import AutoTokenizer
from minitransformers.data import tokenize_corpus
from minitransformers.data.corpus import write_manifest
from minitransformers.data.shards import MAGIC
from minitransformers.errors import CorpusError

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # bytes a file may have: more is like a full disk
texts = [f"document {number} " + "the cat sat " * (number % 7) for number in range(4000)]
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
try:
    tokenize_corpus(texts, tokenizer, sys.argv[2], shard_tokens=int(sys.argv[3]), show_progress=False)
except CorpusError as error:
    print(error)
"""


def test_a_full_disk(finished, directory, tmp_path):
    copied(finished, directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    BPE.save_pretrained(tmp_path / "tokenizer")
    child = in_child(FULL, tmp_path / "tokenizer", directory, 1_000_000)
    assert child.returncode == 0, child.stderr
    assert "can't be written: File too large. What stood there before is as it was." in child.stdout
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    # With small shards every file fits.
    child = in_child(FULL, tmp_path / "tokenizer", directory, 9000)
    assert (child.returncode, child.stdout) == (0, ""), child.stderr
    assert contents(directory) == contents(finished)


def test_a_worker_that_dies(directory):
    def die(*_):
        os._exit(1)

    with (
        mock.patch.object(tokenizing._Encode, "__call__", die),
        pytest.raises(CorpusError, match="A process that tokenized has died"),
    ):
        make(SENTENCES, directory, num_workers=1)
