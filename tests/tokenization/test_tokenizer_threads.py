"""One tokenizer in several threads: each call has its own padding and truncation."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from minitransformers import BertTokenizer
from minitransformers.data import train_wordpiece

SENTENCES = ["the cat sat on the mat", "a dog", "the dog and the cat sat and sat and sat", "mat"]
CALLS: list[dict[str, Any]] = [
    {},
    {"padding": True},
    {"truncation": True, "max_length": 4},
    {"truncation": True, "max_length": 6, "padding": "max_length"},
    {"truncation": True, "max_length": 5, "stride": 1, "return_overflowing_tokens": True},
    {"split_special_tokens": True},
    {"add_special_tokens": False},
]
TEXTS = [*SENTENCES, "[MASK] the [SEP] cat"]


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching_often")
def test_threads_do_not_change_each_others_settings() -> None:
    tokenizer = train_wordpiece(SENTENCES * 3, 60)
    expected = [[dict(tokenizer(text, **call)) for call in CALLS] for text in TEXTS]
    assert len({str(result) for row in expected for result in row}) > 20

    def work(offset: int) -> list[tuple[int, int]]:
        wrong = []
        for step in range(300):
            text, call = (step + offset) % len(TEXTS), (step * 3 + offset) % len(CALLS)
            if dict(tokenizer(TEXTS[text], **CALLS[call])) != expected[text][call]:
                wrong.append((text, call))
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert [wrong for wrong in pool.map(work, range(8)) if wrong] == []


def encode(tokenizer: BertTokenizer, results: Any) -> None:
    results.put(tokenizer("the cat")["input_ids"])


def test_a_process_that_is_forked_while_threads_encode_can_encode() -> None:
    tokenizer = train_wordpiece(SENTENCES * 3, 60)
    context, stop = multiprocessing.get_context("fork"), threading.Event()

    def work() -> None:
        while not stop.is_set():
            tokenizer(SENTENCES * 50, padding=True)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(work)
        try:
            for _ in range(5):
                results = context.Queue()
                child = context.Process(target=encode, args=(tokenizer, results))
                child.start()
                assert results.get(timeout=60) == tokenizer("the cat")["input_ids"]
                child.join()
        finally:
            stop.set()
