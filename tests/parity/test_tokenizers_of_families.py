"""The tokenizers of RoBERTa, XLM-RoBERTa, ALBERT and DistilBERT against transformers, on real vocabularies."""

from __future__ import annotations

import inspect
import json
import shutil
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizer_cases as cases
import transformers
from hypothesis import given, strategies as st
from tokenizer_comparing import assert_same_call, assert_same_tokenizer
from tokenizers import AddedToken

import minitransformers.tokenization as ours
from minitransformers.assets import fetch
from minitransformers.errors import TokenizationError

transformers.logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLASSES = {
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "albert": "AlbertTokenizer",
    "distilbert": "DistilBertTokenizer",
}
OPTIONS = {
    "roberta": {"add_prefix_space": st.booleans(), "trim_offsets": st.booleans()},
    "xlm-roberta": {"add_prefix_space": st.booleans()},
    "albert": {"do_lower_case": st.booleans(), "keep_accents": st.booleans(), "add_prefix_space": st.booleans()},
    "distilbert": {"do_lower_case": st.booleans(), "tokenize_chinese_chars": st.booleans()},
}
GENERAL = {
    "padding_side": st.sampled_from(["left", "right"]),
    "truncation_side": st.sampled_from(["left", "right"]),
    "model_max_length": st.sampled_from([16, 512]),
    "mask_token": st.sampled_from([AddedToken("<mask>", lstrip=True), "[MASK]"]),
    "extra_special_tokens": st.just(["<ent>", "wörd"]),
    "split_special_tokens": st.booleans(),
}


# ---- real vocabularies -----------------------------------------------------------------------------------------------


@cache
def sentencepiece_model() -> tuple[list[tuple[str, float]], bytes]:
    """The pieces of a real unigram model, and its table of characters: two fields of its protocol buffer."""
    pieces, table = [], b""
    for number, value in fields((fetch("sentencepiece") / "test_model.model").read_bytes()):
        if number == 1:
            piece = dict(fields(value))
            pieces.append((piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0]))
        elif number == 3:
            table = dict(fields(value))[2]
    return pieces, table


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
        yield key >> 3, message[position : position + size]
        position += size


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for each family, as checkpoints have them."""
    made = {family: tmp_path_factory.mktemp(family) for family in CLASSES}

    start = cases.start_of_vocabulary("gpt2", made["roberta"])
    tokens = json.loads(start["vocab.json"].read_text("utf-8"))
    tokens.pop("<|endoftext|>")
    tokens = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *sorted(tokens, key=tokens.__getitem__), "<mask>"])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (made["roberta"] / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    shutil.copyfile(start["merges.txt"], made["roberta"] / "merges.txt")

    pieces, table = sentencepiece_model()
    vocabularies = {
        "xlm-roberta": [*((token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")), *pieces[3:], ("<mask>", 0.0)],
        "albert": [*((token, 0.0) for token in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")), *pieces[3:]],
    }
    for family, vocab in vocabularies.items():
        tokenizer = getattr(transformers, CLASSES[family])(vocab, _spm_precompiled_charsmap=table)
        tokenizer.save_pretrained(made[family])
    shutil.copyfile(fetch("minilm") / "vocab.txt", made["distilbert"] / "vocab.txt")
    return made


def both(family: str, directory: Path, **options: Any) -> tuple[Any, Any]:
    name = CLASSES[family]
    return (
        getattr(ours, name).from_pretrained(directory, **options),
        getattr(transformers, name).from_pretrained(directory, **options),
    )


# ---- the same ids ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CLASSES)
@given(data=st.data())
def test_texts_and_calls(family: str, directories: dict[str, Path], data: st.DataObject) -> None:
    options = data.draw(st.fixed_dictionaries({}, optional=OPTIONS[family] | GENERAL))
    mine, reference = both(family, directories[family], **options)
    assert_same_tokenizer(mine, reference)
    texts = data.draw(st.lists(cases.texts, min_size=12, max_size=12))
    assert_same_call(mine, reference, texts, **data.draw(cases.calls(pairs=False)))
    assert_same_call(mine, reference, texts[:6], texts[6:], **data.draw(cases.calls(pairs=True)))
    assert_same_call(mine, reference, texts[0], return_offsets_mapping=True, return_special_tokens_mask=True)
    assert mine.tokenize(texts[0], texts[1]) == reference.tokenize(texts[0], texts[1])
    words = data.draw(st.lists(cases.words, min_size=2, max_size=2))
    if options.get("add_prefix_space") or family != "roberta":
        assert_same_call(mine, reference, words, is_split_into_words=True, return_offsets_mapping=True)


@pytest.mark.parametrize("family", CLASSES)
@given(data=st.data())
def test_each_loads_what_the_other_has_saved(
    family: str, directories: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """By the class and by AutoTokenizer, with added tokens."""
    options = data.draw(st.fixed_dictionaries({}, optional=OPTIONS[family] | GENERAL))
    mine, reference = both(family, directories[family], **options)
    texts = data.draw(st.lists(cases.texts, min_size=4, max_size=4))
    for tokenizer in (mine, reference):
        tokenizer.add_tokens(["NEWtok", AddedToken("世界", single_word=True)])
        tokenizer.add_special_tokens({"extra_special_tokens": ["<a>"]})
    for saved in (mine, reference):
        path = tmp_path_factory.mktemp("saved")
        saved.save_pretrained(path)
        assert json.loads((path / "tokenizer_config.json").read_text("utf-8"))["tokenizer_class"] == CLASSES[family]
        loaded, theirs = both(family, path)
        assert_same_tokenizer(loaded, theirs)
        assert_same_call(loaded, theirs, texts, return_offsets_mapping=True)
        assert_same_call(ours.AutoTokenizer.from_pretrained(path), theirs, texts)
        assert type(ours.AutoTokenizer.from_pretrained(path)).__name__ == CLASSES[family]
        shutil.rmtree(path)


@pytest.mark.parametrize("family", CLASSES)
def test_from_nothing(family: str) -> None:
    """Without a vocabulary there are only the special tokens."""
    mine, reference = (getattr(library, CLASSES[family])() for library in (ours, transformers))
    assert_same_tokenizer(mine, reference)
    assert_same_call(mine, reference, ["a", "<mask> [MASK]"], ["b", ""], padding=True)


@pytest.mark.parametrize("family", CLASSES)
def test_arguments(family: str) -> None:
    """The same arguments in the same order with the same defaults."""
    mine, theirs = (
        inspect.signature(getattr(library, CLASSES[family]).__init__).parameters for library in (ours, transformers)
    )
    expected = {name: item.default for name, item in theirs.items() if item.kind is item.POSITIONAL_OR_KEYWORD}
    listed = [name for name, item in mine.items() if item.kind is item.POSITIONAL_OR_KEYWORD]
    assert listed[: len(expected)] == list(expected)
    assert {name: mine[name].default for name in expected} == expected


def test_electra_has_berts() -> None:
    assert ours.ElectraTokenizer is ours.ElectraTokenizerFast is ours.BertTokenizer
    assert transformers.ElectraTokenizer is transformers.BertTokenizer


@pytest.mark.parametrize(
    ("family", "options", "text"),
    [
        ("roberta", {"add_prefix_space": True}, "a"),
        ("roberta", {"trim_offsets": False}, "a word"),
        ("xlm-roberta", {"add_prefix_space": False}, "the"),
        ("albert", {"do_lower_case": False}, "The"),
        ("albert", {"keep_accents": True}, "thé"),
        ("distilbert", {"do_lower_case": False}, "The"),
    ],
)
def test_a_mutation_is_noticed(family: str, options: dict[str, Any], text: str, directories: dict[str, Path]) -> None:
    mine, reference = both(family, directories[family])
    assert_same_call(mine, reference, [text], return_offsets_mapping=True)
    changed, _ = both(family, directories[family], **options)
    with pytest.raises(AssertionError):
        assert_same_call(changed, reference, [text], return_offsets_mapping=True)


@pytest.mark.parametrize("vocab", ["a path", {"a": 1}, [("a", 0.0)], [("a", 0.0, 1)] * 9, [(1, "a")] * 9, ["ab"] * 9])
def test_no_unigram_vocabulary(vocab: Any) -> None:
    for name in ("XLMRobertaTokenizer", "AlbertTokenizer"):
        with pytest.raises(TokenizationError, match="vocab "):
            getattr(ours, name)(vocab)


# ---- other languages and vocabularies of BERT ------------------------------------------------------------------------

SENTENCES = {
    "cased": "The Quick brown Fox lives in İstanbul, Ærøskøbing and São Paulo",
    "multilingual": "Съешь же ещё этих мягких булок مرحبا بالعالم שלום नमस्ते สวัสดี 안녕하세요 Ἐν ἀρχῇ",
    "chinese": "你好，世界。今天天气很好 龍龜 Bert 模型 2019 年",
    "japanese": "こんにちは 世界 ガギグ カタカナ 日本語の文章です。 東京タワー",
    "chemistry": "C C ( = O ) O c 1 c c c ( Cl ) n 1 >> Br [NH4+]",
}


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("tokenize_chinese_chars", [True, False], ids=["characters", "words"])
@pytest.mark.parametrize("do_lower_case", [True, False], ids=["lower", "cased"])
def test_berts_of_other_languages(
    language: str, do_lower_case: bool, tokenize_chinese_chars: bool, tmp_path: Path
) -> None:
    """Vocabularies of other sizes, cased ones, and other scripts: the ids are transformers', and a model takes them."""
    sentence = SENTENCES[language]
    learnt = transformers.BertTokenizer(
        do_lower_case=do_lower_case, tokenize_chinese_chars=tokenize_chinese_chars
    ).train_new_from_iterator([sentence] * 3, 90, show_progress=False)
    tokens = [*sorted(learnt.get_vocab(), key=learnt.get_vocab().__getitem__), "##tail"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens), "utf-8")
    options = {"do_lower_case": do_lower_case, "tokenize_chinese_chars": tokenize_chinese_chars}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **options}))
    mine = ours.AutoTokenizer.from_pretrained(tmp_path)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same_tokenizer(mine, reference)
    assert_same_call(mine, reference, [sentence, *SENTENCES.values()], return_offsets_mapping=True, padding=True)
    ids = mine(sentence, return_tensors="pt").input_ids
    assert (ids == mine.unk_token_id).float().mean() < 0.2

    from minitransformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertForMaskedLM(BertConfig(vocab_size=len(mine), **sizes)).eval()
    assert model(ids).logits.shape == (*ids.shape, len(tokens))
