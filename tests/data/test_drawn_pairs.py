"""Pairs drawn from a corpus on disk: what they consist of, that any order gives the same ones, and memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import minitransformers as mt
from minitransformers.data import DrawnPairs, SentencePairDataset, TokenCorpus, drawn_pairs, tokenize_corpus
from minitransformers.data.pairs import IS_NEXT
from minitransformers.errors import InputError

WORDS = [f"w{number}" for number in range(900)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> mt.BertTokenizer:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n", "utf-8")
    return mt.BertTokenizer(str(path))


@pytest.fixture
def written(tokenizer: mt.BertTokenizer, tmp_path: Path) -> Callable[..., TokenCorpus]:
    def write(documents: list[list[str]], shard_tokens: int = 100_000_000) -> TokenCorpus:
        texts = [text for document in documents for text in [*document, ""]]
        directory = tmp_path / f"{len(texts)}-{shard_tokens}"
        return tokenize_corpus(
            texts, tokenizer, directory, add_special_tokens=False, shard_tokens=shard_tokens, show_progress=False
        )

    return write


def numbered(sizes: list[int]) -> list[list[str]]:
    """Documents of sentences of two words; all words are different."""
    words = iter(WORDS)
    return [[f"{next(words)} {next(words)}" for _ in range(size)] for size in sizes]


@pytest.mark.parametrize("shard_tokens", [100_000_000, 7])
def test_the_second_part_follows_or_is_of_another_document(
    written: Callable[..., TokenCorpus], shard_tokens: int
) -> None:
    """Words have rising ids, and no document shares one: so a place in a document is read from an id."""
    corpus = written(numbered([30, 1, 40, 2]), shard_tokens)
    begins = [5, 65, 67, 147]  # the first id of each document
    pairs = DrawnPairs(corpus, max_length=12, number=600, seed=3)
    of_document = [max(number for number, begin in enumerate(begins) if begin <= token) for token in range(5, 151)]
    labels, first_documents, second_documents = [], set(), set()
    for first, second, label in pairs[:]:
        assert 2 <= len(first) + len(second) <= 12
        for part in (first, second):
            assert part == list(range(part[0], part[0] + len(part)))
            assert of_document[part[0] - 5] == of_document[part[-1] - 5]
        a, b = (of_document[part[0] - 5] for part in (first, second))
        if label == IS_NEXT:
            assert a == b
            assert second[0] > first[-1]
        else:
            assert a != b
        labels.append(label)
        first_documents.add(a)
        second_documents.add(b)
    assert 0.4 < sum(labels) / len(labels) < 0.6  # 5 standard deviations
    assert first_documents == {0, 2, 3}  # the document of one sentence only serves as a second part
    assert second_documents == {0, 1, 2, 3}


def test_untruncated_pairs_follow_at_once(written: Callable[..., TokenCorpus]) -> None:
    pairs = DrawnPairs(written(numbered([50, 50])), max_length=10, short_sequence_probability=0, number=100)
    assert all(second[0] == first[-1] + 1 for first, second, label in pairs[:] if label == IS_NEXT)


def test_a_pair_depends_on_seed_and_number_alone(
    written: Callable[..., TokenCorpus], tokenizer: mt.BertTokenizer
) -> None:
    corpus = written(numbered([20, 30]))
    pairs = DrawnPairs(corpus, max_length=16, number=50, seed=1)
    backwards = [DrawnPairs(corpus, max_length=16, number=9000, seed=1)[number] for number in reversed(range(50))]
    assert backwards[::-1] == pairs[:]
    assert DrawnPairs(corpus, max_length=16, number=50, seed=2)[:] != pairs[:]
    assert len(DrawnPairs(corpus, max_length=16)) == 100 // 16
    with pytest.raises(IndexError):
        pairs[50]
    row = SentencePairDataset(pairs, tokenizer)[7]
    assert row["input_ids"][1:-1].count(tokenizer.sep_token_id) == 1
    assert row["next_sentence_label"] == pairs[7].label


def test_memory_does_not_grow_with_the_corpus(
    written: Callable[..., TokenCorpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak while 60 pairs are read from 2 documents, over corpora of 1, 2 and 4 times the size."""
    monkeypatch.setattr(drawn_pairs, "_CHUNK", 256)
    peaks = []
    for times in (1, 2, 4):
        corpus = written([[f"{word} w1 w2" for word in WORDS[:400]] * times, ["w3 w4"] * 400 * times])
        DrawnPairs(corpus, max_length=30)[0]
        tracemalloc.start()
        for pair in DrawnPairs(corpus, max_length=30, number=60):
            assert pair.first
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ([5], {}, "has 1 document"),
        ([1, 1, 1], {}, "None of the 3 documents has two sentences"),
        ([3, 3], {"max_length": 1}, "max_length"),
        ([3, 3], {"number": 0}, "number"),
        ([3, 3], {"short_sequence_probability": 2}, "short_sequence_probability"),
    ],
)
def test_errors(written: Callable[..., TokenCorpus], sizes: list[int], options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DrawnPairs(written(numbered(sizes)), **{"max_length": 10, **options})
