"""GPT's tokenizer against the reference's, on a vocabulary trained here (the published files need a network)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizer_cases as cases
import transformers
from hypothesis import given, strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import minitransformers as mt
from minitransformers.errors import InputError, TokenizationError, UnknownArgumentError

TEXT = Path(__file__).read_text("utf-8") + " The café's naïve waiter didn't say: «你好» … and left the lower tower."


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt, as in the published checkpoint."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator([TEXT], trainer)
    path = tmp_path_factory.mktemp("openai-gpt")
    backend.model.save(str(path))
    (path / "config.json").write_text(json.dumps({"model_type": "openai-gpt"}), "utf-8")
    return path


@pytest.fixture(scope="module")
def both(directory: Path) -> tuple[Any, ...]:
    return tuple(library.OpenAIGPTTokenizer.from_pretrained(directory) for library in (mt, transformers))


@given(texts=st.lists(cases.texts, min_size=20, max_size=20), call=cases.calls(pairs=False, can_pad=False))
def test_same_ids_and_texts(both: tuple[Any, Any], texts: list[str], call: dict[str, Any]) -> None:
    """25 × 20 texts in many scripts, with drawn options: the output of a call, the tokens, and the decoded text."""
    ours, theirs = both
    assert dict(ours(texts, **call)) == dict(theirs(texts, **call))
    for text in texts:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.tokenize(text) == theirs.tokenize(text)
        for skip in (False, True):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)


def test_a_worked_example(both: tuple[Any, Any]) -> None:
    """Lower case, no accents, word ends marked, an unknown token for each unknown character; no special tokens."""
    ours, _ = both
    assert ours.decode(ours("The TOWER didn't")["input_ids"]) == "the tower didn ' t"
    assert ours.tokenize("Naïve") == ours.tokenize("naive")
    assert ours.tokenize("tower")[-1].endswith("</w>")
    assert ours.convert_tokens_to_ids(ours.tokenize("\u0436\u0448")) == [ours.unk_token_id] * 2
    assert ours.pad_token is None
    assert ours.do_lower_case
    assert list(ours("tower")) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("chosen", ["OpenAIGPTTokenizer", "AutoTokenizer"])
def test_files_both_ways(both: tuple[Any, Any], directory: Path, chosen: str, tmp_path: Path) -> None:
    """Each library reads the other's files, also by the Auto classes, from the model_type."""
    text = "The Lower tower, naïve ψ didn't."
    expected = both[1](text)["input_ids"]
    for number, writer in enumerate(both):
        writer.save_pretrained(tmp_path / str(number))
        for library in (mt, transformers):
            read = getattr(library, chosen).from_pretrained(tmp_path / str(number))
            assert read(text)["input_ids"] == expected
            assert read.unk_token == "<unk>"
    ours = mt.AutoTokenizer.from_pretrained(directory)
    assert type(ours) is mt.OpenAIGPTTokenizer is mt.OpenAIGPTTokenizerFast
    assert ours(text)["input_ids"] == expected


def test_built_from_data_and_from_files(directory: Path) -> None:
    vocab = {"<unk>": 0, "a": 1, "b": 2, "b</w>": 3, "ab</w>": 4, "a</w>": 5}
    for library in (mt, transformers):
        tokenizer = library.OpenAIGPTTokenizer(vocab, [("a", "b</w>")])
        assert tokenizer("AB a abb")["input_ids"] == [4, 5, 1, 2, 3]
    from_files = mt.OpenAIGPTTokenizer(
        vocab_file=directory / "vocab.json", merges_file=directory / "merges.txt", pad_token="<pad>"
    )
    assert from_files("tower")["input_ids"] == mt.OpenAIGPTTokenizer.from_pretrained(directory)("tower")["input_ids"]
    assert from_files(["a", "a tower"], padding=True)["input_ids"][0][-1] == from_files.pad_token_id
    assert (
        mt.OpenAIGPTTokenizer()("anything")["input_ids"] == transformers.OpenAIGPTTokenizer()("anything")["input_ids"]
    )


def test_bad_arguments(directory: Path) -> None:
    with pytest.raises(InputError, match="vocab and vocab_file"):
        mt.OpenAIGPTTokenizer({"<unk>": 0}, vocab_file=directory / "vocab.json")
    with pytest.raises(TokenizationError, match="must both be paths, or both be data"):
        mt.OpenAIGPTTokenizer({"<unk>": 0}, merges_file=directory / "merges.txt")
    with pytest.raises(TokenizationError, match="The merge 'a' 'b' needs both"):
        mt.OpenAIGPTTokenizer({"<unk>": 0, "a": 1}, [("a", "b")])
    with pytest.raises(UnknownArgumentError, match="merge_file"):
        mt.OpenAIGPTTokenizer.from_pretrained(directory, merge_file="x")
