"""Llama's, Qwen2's and GPT-NeoX's tokenizers from the files that the reference writes: the same ids and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, strategies as st
from tokenizers import pre_tokenizers

import minitransformers as mt

BYTES = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 3)}
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "t"), ("t", "o")]
PIECES = {
    **{token: index for index, token in enumerate(["<unk>", "<s>", "</s>"])},
    **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)},
    **{
        piece: 259 + index for index, piece in enumerate(["▁", "h", "e", "l", "o", "t", "he", "ll", "hell", "▁t", "to"])
    },
}


def byte_level(special: str) -> dict[str, int]:
    vocab = {special: 0, "<|padding|>": 1, "<|im_end|>": 2, **BYTES}
    return {**vocab, **{a + b: len(vocab) + index for index, (a, b) in enumerate(MERGES)}}


MADE: dict[str, Any] = {
    "LlamaTokenizer": lambda: transformers.LlamaTokenizer(
        vocab=PIECES, merges=[("h", "e"), ("l", "l"), ("he", "ll"), ("▁", "t"), ("t", "o")], add_bos_token=True
    ),
    "Qwen2Tokenizer": lambda: transformers.Qwen2Tokenizer(vocab=byte_level("<|endoftext|>"), merges=MERGES),
    "GPTNeoXTokenizer": lambda: transformers.GPTNeoXTokenizer(vocab=byte_level("<|endoftext|>"), merges=MERGES),
}
TEXTS = st.text(alphabet="hello to\n12é日'’ABcd\u0301\t", max_size=20)


@pytest.fixture(scope="module", params=MADE)
def directory(request: Any, tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("tokenizer") / request.param
    MADE[request.param]().save_pretrained(path)
    return path


@given(texts=st.lists(TEXTS, min_size=1, max_size=3))
def test_same_ids_and_texts(directory: Path, texts: list[str]) -> None:
    """By the class, under both of its names, and by AutoTokenizer; with padding, and decoded."""
    name = directory.name
    theirs = getattr(transformers, name).from_pretrained(directory)
    for load in (mt.AutoTokenizer, getattr(mt, name), getattr(mt, f"{name}Fast")):
        ours = load.from_pretrained(directory)
        assert type(ours).__name__ == name
        for tokenizer in (ours, theirs):
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        encoded, expected = ours(texts, padding=True), theirs(texts, padding=True)
        assert dict(encoded) == dict(expected)
        for skip in (True, False):
            decoded = [
                tokenizer.batch_decode(expected["input_ids"], skip_special_tokens=skip) for tokenizer in (ours, theirs)
            ]
            assert decoded[0] == decoded[1]
    assert ours.padding_side == theirs.padding_side
    assert ours.special_tokens_map == theirs.special_tokens_map


def test_each_library_reads_the_files_of_the_other(directory: Path, tmp_path: Path) -> None:
    name = directory.name
    getattr(mt, name).from_pretrained(directory).save_pretrained(tmp_path)
    text = "hello to 日"
    assert getattr(transformers, name).from_pretrained(tmp_path)(text) == getattr(transformers, name).from_pretrained(
        directory
    )(text)
    assert type(mt.AutoTokenizer.from_pretrained(tmp_path)).__name__ == name


def test_the_error_without_a_tokenizer_json_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(mt.CheckpointError, match=r"tokenizer\.json"):
        mt.LlamaTokenizer.from_pretrained(tmp_path)
