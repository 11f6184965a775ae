"""Corpora on disk: what goes in comes out, of texts from anywhere, in little memory; bad input is told.

Damage, and runs that are killed, are in test_data_corpus_damage.py.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from pathlib import Path
from unittest import mock

import datasets
import numpy as np
import pytest
import torch
from corpora import BPE, SENTENCES, contents, in_child, joined, make
from hypothesis import given, strategies as st
from torch.utils.data import DataLoader

from minitransformers import BertTokenizer, GPT2Tokenizer
from minitransformers.data import (
    TextFiles,
    TokenCorpus,
    TokenShard,
    documents_of,
    id_type,
    texts as texts_module,
    tokenize_corpus,
    train_wordpiece,
    write_shard,
)
from minitransformers.data.corpus import write_manifest
from minitransformers.errors import CorpusError, InputError, MissingFileError, UnknownNameError

WORDPIECE = train_wordpiece(SENTENCES, 80, min_frequency=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "corpus"


# ---- what goes in comes out ------------------------------------------------------------------------------------------


@given(st.lists(TEXTS, min_size=1, max_size=8), st.integers(1, 40), st.booleans(), st.booleans(), st.data())
def test_ids_come_out_as_the_tokenizer_gives_them(texts, shard_tokens, wordpiece, flag, data):
    tokenizer = WORDPIECE if wordpiece else BPE
    options = {"add_special_tokens": flag} if wordpiece else {"append_eos": flag}
    end = [tokenizer.eos_token_id] if options.get("append_eos") else []
    expected = [
        tokenizer(text, add_special_tokens=options.get("add_special_tokens", True))["input_ids"] + end for text in texts
    ]
    with tempfile.TemporaryDirectory() as directory:
        corpus = make(texts, directory, tokenizer, shard_tokens=shard_tokens, **options)
        again = TokenCorpus(directory)  # with all checksums
        assert [ids.tolist() for ids in again.documents] == expected
        assert [ids.tolist() for ids in again.documents[1:]] == expected[1:]
        flat = joined(expected)
        assert len(corpus) == len(flat)
        assert corpus[:].tolist() == flat
        for shard in corpus.shards[:-1]:
            assert len(shard) >= shard_tokens > len(shard) - len(shard.document(shard.header.documents - 1))
        places = st.none() | st.integers(-len(flat) - 2, len(flat) + 2)
        for _ in range(3):
            part = slice(data.draw(places), data.draw(places), data.draw(st.sampled_from([None, 1, 3, -1, -2])))
            assert corpus[part].tolist() == flat[part]
        if flat:
            place = data.draw(st.integers(-len(flat), len(flat) - 1))
            assert corpus[place] == flat[place]
        with pytest.raises(IndexError):
            corpus[len(flat)]
        with pytest.raises(IndexError):
            corpus.documents[len(texts)]
        if not wordpiece:
            assert [BPE.decode(ids, skip_special_tokens=False) for ids in corpus.documents] == [
                text + BPE.eos_token * flag for text in texts
            ]


def test_ids_take_two_bytes_as_long_as_they_can(tmp_path):
    assert id_type(1) == id_type(65_536) == np.dtype("<u2")
    assert id_type(65_537) == np.dtype("<u4")
    for largest, size in ((65_535, 2), (65_536, 4)):
        header = write_shard(tmp_path / "a.tokens", [[0, largest], [], [largest]], largest + 1)
        shard = TokenShard(tmp_path / "a.tokens")
        shard.verify()
        assert (header.id_bytes, shard.header) == (size, header)
        assert [shard.document(index).tolist() for index in range(3)] == [[0, largest], [], [largest]]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {token: index for index, token in enumerate([*specials, *(f"w{index}" for index in range(65_532))])}
    large = BertTokenizer(vocab)
    corpus = make(["w65531 w0", "w1"], tmp_path / "large", large)
    assert corpus.dtype == corpus[:].dtype == np.dtype("<u4")
    assert corpus[:].tolist() == [2, 65_536, 5, 3, 2, 6, 3]
    del vocab["w65531"]
    assert make(["w65530"], tmp_path / "small", BertTokenizer(vocab)).dtype == np.dtype("<u2")


def test_any_number_of_processes_writes_the_same_files(tmp_path):
    texts = [SENTENCES[index % 4] * (index % 9) for index in range(2500)]
    for workers in (0, 1, 2):
        make(texts, tmp_path / str(workers), num_workers=workers, shard_tokens=9000, append_eos=True)
    assert len(contents(tmp_path / "0")) > 6
    assert contents(tmp_path / "0") == contents(tmp_path / "1") == contents(tmp_path / "2")


def test_blocks_for_language_modelling(directory):
    corpus = make(SENTENCES * 5, directory, shard_tokens=50)
    flat = torch.from_numpy(corpus[:].astype(np.int64))
    loader = DataLoader(corpus.blocks(16), batch_size=4, num_workers=2)
    assert torch.equal(torch.cat([batch["input_ids"] for batch in loader]).flatten(), flat[: len(flat) // 16 * 16])
    assert all(torch.equal(batch["labels"], batch["input_ids"]) for batch in loader)
    overlapping = corpus.blocks(16, stride=5)
    assert [block["input_ids"].tolist() for block in overlapping] == flat.unfold(0, 16, 5).tolist()
    with pytest.raises(IndexError):
        overlapping[len(overlapping)]
    assert len(corpus.blocks(len(corpus))) == 1
    with pytest.raises(InputError, match=f"length={len(corpus) + 1}, but the corpus has only {len(corpus)} tokens"):
        corpus.blocks(len(corpus) + 1)
    with pytest.raises(InputError, match="stride=0 must be a whole number of at least 1"):
        corpus.blocks(4, stride=0)


class MapStyle:
    """A data set as torch wants them: it does not know its end by itself."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index % len(self.items)]


def test_texts_from_anywhere(tmp_path):
    rows = [{"id": number, "sentence": text} for number, text in enumerate(SENTENCES)]
    table = datasets.Dataset.from_list(rows)
    sources = {
        "list": SENTENCES,
        "generator": (text for text in SENTENCES),
        "map style": MapStyle(SENTENCES),
        "rows": rows,
        "map style rows": MapStyle(rows),
        "datasets": table,
        "datasets, streamed": table.to_iterable_dataset(),
    }
    for name, source in sources.items():
        corpus = make(source, tmp_path / name, text_column="sentence")
        assert [ids.tolist() for ids in corpus.documents] == BPE(SENTENCES)["input_ids"], name
    for source in (rows, table, MapStyle(rows)):
        with pytest.raises(UnknownNameError, match=r"no column text_column='sentense'; there are id, sentence. Did"):
            make(source, tmp_path / "wrong", text_column="sentense")


# ---- files of texts --------------------------------------------------------------------------------------------------


@given(st.lists(st.text("ab\n\r |é🙂\ufeff", max_size=30), min_size=1, max_size=3), st.integers(1, 9))
def test_documents_of_files(texts, piece):
    """Whatever the pieces that files are read in, in the middle of a character or of a delimiter."""

    def documents(**options):
        with mock.patch.object(texts_module, "_PIECE", piece):
            return list(TextFiles(paths, **options))

    def full(parts):
        return [part for part in parts if part.strip()]

    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory, f"{number}.txt") for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text.encode())
        whole = [path.read_text("utf-8-sig") for path in paths]
        assert documents() == full(whole)
        assert documents(documents="line") == full(line for text in whole for line in text.split("\n"))
        for delimiter in ("|", "||", "ab", "aba"):
            parts = [part for text in whole for part in text.split(delimiter)]
            assert documents(delimiter=delimiter) == full(parts)
        paragraphs = documents(documents="blank line")
        lines = [line for text in whole for line in text.split("\n") if line.strip()]
        assert [line for paragraph in paragraphs for line in paragraph.split("\n")] == lines


def test_blank_lines_part_documents(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\n \none\r\ntwo\r\n\r\n\t\r\nthree\n")
    (tmp_path / "b.txt").write_bytes(b"four\n\n")
    files = TextFiles([tmp_path / "a.txt", tmp_path / "b.txt"], documents="blank line")
    assert list(files) == list(files) == ["one\ntwo", "three", "four"]
    assert files.num_bytes == 30


def test_a_path_is_a_file_and_a_str_a_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(SENTENCES[0])
    ids = BPE(SENTENCES[0])["input_ids"]
    for number, source in enumerate((path, [path], TextFiles(str(path)))):
        assert make(source, tmp_path / str(number))[:].tolist() == ids
    assert make(iter([str(path)]), tmp_path / "text")[:].tolist() == BPE(str(path))["input_ids"]


def test_a_list_of_names_is_no_corpus(tmp_path, monkeypatch):
    """As glob.glob gives it: the names themselves would be tokenized."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("text")
    for names in (["a.txt", "b.txt"], ("a.txt",), [str(tmp_path / "b.txt")]):
        with pytest.raises(InputError, match=r"is the name of a file that exists.*Pass TextFiles\(names\)"):
            list(documents_of(names))
        assert list(TextFiles(names)) == ["text"] * len(names)
    mixed = ["a.txt", "c.txt", "a\0", "long" * 9999]
    assert list(documents_of(mixed)) == mixed


def test_directories_patterns_and_compressed_files(tmp_path):
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "b.txt").write_text("plain")
    (tmp_path / ".hidden").write_text("hidden")
    with gzip.open(below / "a.txt.gz", "wt", encoding="utf-8") as file:
        file.write("é" * 100_000)
    with bz2.open(below / "c.bz2", "wt", encoding="utf-8") as file:
        file.write("two\n\nparts")
    with lzma.open(below / "d.xz", "wt", encoding="utf-8") as file:
        file.write("\ufefflast")
    texts = ["plain", "é" * 100_000, "two\n\nparts", "last"]
    assert sorted(TextFiles(tmp_path)) == sorted(texts)
    assert sorted(documents_of(tmp_path)) == sorted(texts)
    assert list(TextFiles(str(tmp_path / "*.txt"))) == ["plain"]
    assert sorted(TextFiles(f"{tmp_path}/**/*z*")) == sorted(texts[1:])
    assert list(TextFiles(below / "c.bz2", documents="blank line")) == ["two", "parts"]
    assert TextFiles(tmp_path).num_bytes is None
    assert TextFiles(tmp_path / "b.txt").num_bytes == 5
    with pytest.raises(MissingFileError, match=r"No file fits the pattern '.*\*\.md'"):
        TextFiles(tmp_path / "*.md")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty' has no file"):
        TextFiles(tmp_path / "empty")
    cut = (below / "a.txt.gz").read_bytes()[:-9]
    (below / "a.txt.gz").write_bytes(cut)
    with pytest.raises(CorpusError, match=r"a.txt.gz' can't be read: Compressed file ended"):
        list(TextFiles(below))


def test_files_that_are_no_text(tmp_path):
    good, bad, gone = (tmp_path / name for name in ("a.txt", "b.txt", "c.txt"))
    for path in (good, gone):
        path.write_text("good")
    bad.write_bytes(b"one\n\ntw\xff\xfeo")
    with pytest.raises(CorpusError, match=r"b.txt' is no UTF-8 text: byte 0xff at 7 .*errors='skip'"):
        list(TextFiles([good, bad]))
    assert list(TextFiles([good, bad], errors="replace")) == ["good", "one\n\ntw\ufffd\ufffdo"]
    assert list(TextFiles([good, bad], errors="ignore")) == ["good", "one\n\ntwo"]
    files = TextFiles([bad, gone, good], documents="line", errors="skip")
    gone.unlink()
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"2 of 3 files were left out, the first of them '.*b.txt': .* 0xff at 7"):
            assert list(files) == ["good"]
        assert list(files.skipped) == [bad, gone]
    with pytest.raises(InputError, match=r"errors='skp' must be one of 'strict', .*Did you mean 'skip'"):
        TextFiles(good, errors="skp")


# ---- memory ----------------------------------------------------------------------------------------------------------

# What Python and NumPy have taken in MB at their peak, on any system. Mapped files, whose pages the kernel keeps while
# there is room, are none of it. PyTorch is not asked: it is given arrays here, not files.
LAZY = """
import sys, tracemalloc
from pathlib import Path
from minitransformers.data import TextFiles, TokenCorpus

def peak():
    most = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.reset_peak()
    return most

TokenCorpus(sys.argv[2]).blocks(8)[0]
for _ in TextFiles(Path(sys.argv[2], "corpus.json"), documents="line"):
    pass
tracemalloc.start()
documents = sum(1 for _ in TextFiles(sys.argv[3], documents="blank line"))
of_text = peak()
corpus = TokenCorpus(sys.argv[1])
blocks = corpus.blocks(1024)
of_opening = peak()
total = sum(int(blocks[index]["input_ids"][0]) for index in range(len(blocks)))
of_blocks = peak()
total += int(corpus[:].astype("int64").sum())  # a copy of everything, to show that it is seen
print(documents, len(corpus), of_text, of_opening, of_blocks, peak())
"""


def test_large_files_are_read_lazily(tmp_path, directory):
    directory.mkdir()
    million = np.arange(1_000_000) % 50_000
    header = write_shard(directory / "00000-00000000.tokens", (million for _ in range(32)), 50_000)
    entry = {"file": "00000-00000000.tokens", "tokens": header.tokens, "documents": 32}
    entry |= {"sha256": header.sha256.hex(), "text_sha256": "0"}
    write_manifest(directory / "corpus.json", {"vocab_size": 50_000}, [entry])
    make(SENTENCES, tmp_path / "small")
    with open(tmp_path / "large.txt", "w") as file:
        for _ in range(40):
            file.write(("a line of text\n" * 700 + "\n") * 100)
    assert header.file_size > 64_000_000
    assert (tmp_path / "large.txt").stat().st_size > 40_000_000
    child = in_child(LAZY, directory, tmp_path / "small", tmp_path / "large.txt")
    assert child.returncode == 0, child.stderr
    documents, tokens, of_text, of_opening, of_blocks, of_copy = map(float, child.stdout.split())
    assert (documents, tokens) == (4000, 32_000_000)
    assert of_text < 12  # MB
    assert of_opening < 12
    assert of_blocks < 12
    assert of_copy > 200


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_bad_files(tmp_path, directory):
    empty, binary, late = tmp_path / "empty.txt", tmp_path / "binary.txt", tmp_path / "late.txt"
    empty.write_bytes(b"")
    binary.write_bytes(bytes(range(256)))
    late.write_bytes("é".encode() * 700_001 + b"\xe9t\xe9")
    for source in (empty, [empty, empty], [], iter([])):
        with pytest.raises(CorpusError, match="The corpus has no text"):
            make(source, directory)
    with pytest.raises(CorpusError, match=r"binary.txt' is no UTF-8 text: byte 0x80 at 128 \(invalid start byte\)"):
        make(binary, directory)
    with pytest.raises(CorpusError, match=r"late.txt' is no UTF-8 text: byte 0xe9 at 1,400,002"):
        make(late, directory)
    late.write_bytes(b"fine until the end \xe6\x9d")
    with pytest.raises(CorpusError, match="byte 0xe6 at 19"):
        make(late, directory)
    with pytest.raises(CorpusError, match=r"binary.txt' is no UTF-8 text"):
        make(tmp_path, directory)
    with pytest.raises(MissingFileError, match=r"There is no file .*none.txt"):
        make(tmp_path / "none.txt", directory)
    assert not list(directory.glob("*"))
    with pytest.raises(CorpusError, match=r"The directory .* can't be made"):
        make(SENTENCES, empty)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            "a text",
            {},
            r"A corpus is many texts, got the one str 'a text'. Pass TextFiles\(path\) for a file, \[text\]",
        ),
        ({"train": SENTENCES, "test": []}, {}, "got a dictionary of train, test: pass one"),
        (7, {}, "A corpus must be a sequence of texts, got 7 of type int"),
        (["a", None], {}, "Document 1 of the corpus must be a str, or a row with one in 'text'; got None"),
        ([{"text": 3}], {}, "Document 0 of the corpus must be a str"),
        (["a"], {"shard_tokens": 0}, "shard_tokens=0 must be a whole number of at least 1"),
        (["a"], {"num_workers": -1}, "num_workers=.* must be a whole number of at least 0"),
        (["a"], {"tokenizer": "gpt2"}, "tokenizer must be a tokenizer such as GPT2Tokenizer, got a str"),
        (["a"], {"tokenizer": WORDPIECE, "append_eos": True}, "append_eos=True needs an eos_token"),
    ],
)
def test_bad_arguments_are_named(directory, source, options, message):
    with pytest.raises(InputError, match=message):
        make(source, directory, **options)
    assert not list(directory.glob("*"))


def test_bad_documents_and_ids(directory, tmp_path):
    with pytest.raises(CorpusError, match=r"Document 1 of the corpus is no valid text: it has '\\ud800', half of a"):
        make(["fine", "a\ud800"], directory)
    path = tmp_path / "a.tokens"
    path.write_bytes(b"earlier")
    for ids, message in (
        ([3, -1], "ids from -1 to 3; they must be from 0 to 9"),
        ([10], "ids from 10 to 10"),
        ([[1]], "must be a list of token ids"),
        ([0.5], "must be a list of token ids"),
    ):
        with pytest.raises(InputError, match=message):
            write_shard(path, [[1], ids], 10)
    with pytest.raises(InputError, match="vocab_size=0 must be from 1"):
        write_shard(path, [], 0)
    with pytest.raises(CorpusError, match="can't be written: No such file"):
        write_shard(tmp_path / "none" / "a.tokens", [], 10)
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.glob("*.t*")] == ["a.tokens"]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ([], {}, "files is empty"),
        (__file__, {"documents": "lines"}, r"documents='lines' must be one of 'file', 'line', 'blank line'. Did"),
        (__file__, {"delimiter": ""}, "delimiter='' must be a text of at least one character"),
        (__file__, {"documents": "line", "delimiter": "|"}, "contradict each other"),
    ],
)
def test_bad_ways_to_part_documents(files, options, message):
    with pytest.raises(InputError, match=message):
        TextFiles(files, **options)


def test_the_bar_counts_bytes_of_text(tmp_path, capsys):
    path = tmp_path / "a.txt"
    path.write_text("the cat sat\n" * 5000)
    tokenize_corpus(path, GPT2Tokenizer({"a": 0}), tmp_path / "corpus")
    assert "60.0k/60.0k" in capsys.readouterr().err
    tokenize_corpus(path, GPT2Tokenizer({"a": 0}), tmp_path / "corpus")  # what was done before counts too
    assert "60.0k/60.0k" in capsys.readouterr().err


def test_a_file_that_can_not_be_read(tmp_path, directory):
    """Its error is not taken for one of the shard that is being written."""
    gone = tmp_path / "gone.txt"
    gone.write_text("a")
    files = TextFiles([__file__, gone])
    gone.unlink()
    with pytest.raises(CorpusError, match=r"gone.txt' can't be read: No such file"):
        tokenize_corpus(files, BPE, directory, show_progress=False, shard_tokens=10**9)
    with (
        mock.patch.object(TextFiles, "num_bytes", 1),  # it may also go while others are read
        pytest.raises(CorpusError, match=r"gone.txt' can't be read: No such file"),
    ):
        tokenize_corpus(files, BPE, directory, show_progress=False, shard_tokens=10**9)
    assert not list(directory.glob("*"))
