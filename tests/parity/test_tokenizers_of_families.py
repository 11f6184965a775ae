"""The tokenizers of RoBERTa, XLM-RoBERTa, ALBERT, T5 and DistilBERT against transformers, on real vocabularies."""

from __future__ import annotations

import inspect
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizer_cases as cases
import transformers
from fewer import fewer
from hypothesis import given, strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizer_comparing import assert_same_call, assert_same_tokenizer
from tokenizers import AddedToken

import minitransformers.tokenization as ours
from minitransformers.assets import fetch
from minitransformers.errors import InputError, TokenizationError

transformers.logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLASSES = {
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "albert": "AlbertTokenizer",
    "t5": "T5Tokenizer",
    "distilbert": "DistilBertTokenizer",
}
OPTIONS = {
    "roberta": {"add_prefix_space": st.booleans(), "trim_offsets": st.booleans()},
    "xlm-roberta": {"add_prefix_space": st.booleans()},
    "albert": {"do_lower_case": st.booleans(), "keep_accents": st.booleans(), "add_prefix_space": st.booleans()},
    "t5": {"extra_ids": st.sampled_from([100, 100, 3, 0])},
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
def sentencepiece_model() -> Any:
    """A real unigram model, read by the library of SentencePiece."""
    return sentencepiece_model_pb2.ModelProto.FromString((fetch("sentencepiece") / "test_model.model").read_bytes())


# The first pieces of a family's model files, and the id of the unknown piece. Kind 1 is a piece of text.
PIECE = sentencepiece_model_pb2.ModelProto.SentencePiece
STARTS = {
    "xlm-roberta": [("<unk>", PIECE.UNKNOWN), ("<s>", PIECE.CONTROL), ("</s>", PIECE.CONTROL)],
    "albert": [
        ("<pad>", PIECE.CONTROL),
        ("<unk>", PIECE.UNKNOWN),
        ("[CLS]", PIECE.CONTROL),
        ("[SEP]", PIECE.CONTROL),
        ("[MASK]", PIECE.CONTROL),
    ],
    "t5": [("<pad>", PIECE.CONTROL), ("</s>", PIECE.CONTROL), ("<unk>", PIECE.UNKNOWN)],
}
MODEL_FILES = {"xlm-roberta": "sentencepiece.bpe.model", "albert": "spiece.model", "t5": "spiece.model"}


def write_model_file(family: str, directory: Path) -> Path:
    """The first pieces of the family's files, then the real pieces, and one defined by a user."""
    model = sentencepiece_model_pb2.ModelProto()
    model.CopyFrom(sentencepiece_model())
    start = [PIECE(piece=piece, score=0.0, type=kind) for piece, kind in STARTS[family]]
    pieces = [*start, *model.pieces[3:], PIECE(piece="NEWtok", score=0.0, type=PIECE.USER_DEFINED)]
    del model.pieces[:]
    model.pieces.extend(pieces)
    model.trainer_spec.unk_id = [piece.type for piece in pieces].index(PIECE.UNKNOWN)
    path = directory / MODEL_FILES[family]
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for each family, with only the model file."""
    return {family: write_model_file(family, tmp_path_factory.mktemp(family)).parent for family in MODEL_FILES}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for each family, with the files of a checkpoint."""
    made = {family: tmp_path_factory.mktemp(family) for family in CLASSES}

    start = cases.start_of_vocabulary("gpt2", made["roberta"])
    tokens = json.loads(start["vocab.json"].read_text("utf-8"))
    tokens.pop("<|endoftext|>")
    tokens = dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *sorted(tokens, key=tokens.__getitem__), "<mask>"])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (made["roberta"] / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    shutil.copyfile(start["merges.txt"], made["roberta"] / "merges.txt")

    model = sentencepiece_model()
    pieces, table = [(item.piece, item.score) for item in model.pieces], model.normalizer_spec.precompiled_charsmap
    vocabularies = {
        "xlm-roberta": [*((token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")), *pieces[3:], ("<mask>", 0.0)],
        "albert": [*((token, 0.0) for token in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")), *pieces[3:]],
    }
    for family, vocab in vocabularies.items():
        tokenizer = getattr(transformers, CLASSES[family])(vocab, _spm_precompiled_charsmap=table)
        tokenizer.save_pretrained(made[family])
    write_model_file("t5", made["t5"])
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
@fewer(3)  # nine tokenizers are read from files in each
@given(data=st.data())
def test_each_library_loads_the_files_of_the_other(
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
def test_without_a_vocabulary(family: str) -> None:
    """There are only the special tokens."""
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


def test_electra_uses_berts_tokenizer_and_bart_robertas() -> None:
    assert ours.ElectraTokenizer is ours.ElectraTokenizerFast is ours.BertTokenizer
    assert transformers.ElectraTokenizer is transformers.BertTokenizer
    assert ours.BartTokenizer is ours.BartTokenizerFast is ours.RobertaTokenizer
    assert transformers.BartTokenizer is transformers.BartTokenizerFast is transformers.RobertaTokenizer


# ---- model files of SentencePiece ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", MODEL_FILES)
@fewer(3)  # both libraries take a second to convert a model file
@given(data=st.data())
def test_from_a_model_file(
    family: str, model_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Like transformers, also from the path of the file, and after saving as tokenizer.json."""
    options = data.draw(st.fixed_dictionaries({}, optional=OPTIONS[family] | GENERAL))
    mine, reference = both(family, model_files[family], **options)
    assert_same_tokenizer(mine, reference)
    texts = data.draw(st.lists(cases.texts, min_size=6, max_size=6))
    assert_same_call(mine, reference, texts[:3], texts[3:], **data.draw(cases.calls(pairs=True)))
    assert_same_call(mine, reference, texts, return_offsets_mapping=True, return_special_tokens_mask=True)
    path = tmp_path_factory.mktemp("saved")
    mine.save_pretrained(path)
    saved, theirs = both(family, path)
    assert_same_tokenizer(saved, theirs)
    assert_same_call(saved, theirs, texts, return_offsets_mapping=True)
    assert saved(texts).input_ids == mine(texts).input_ids
    shutil.rmtree(path)
    by_file = getattr(ours, CLASSES[family]).from_pretrained(model_files[family] / MODEL_FILES[family], **options)
    assert by_file(texts).input_ids == mine(texts).input_ids


def test_t5_has_the_pieces_of_sentencepiece(model_files: dict[str, Path]) -> None:
    """As encoded by the library that trained the model."""
    processor = SentencePieceProcessor(model_file=str(model_files["t5"] / "spiece.model"))
    tokenizer = ours.T5Tokenizer.from_pretrained(model_files["t5"])

    @given(st.lists(st.sampled_from(cases.clean_words), min_size=1, max_size=12))
    def encodes_the_same(words: list[str]) -> None:
        text = " ".join(words)
        assert tokenizer(text).input_ids == [*processor.encode(text), processor.eos_id()]

    encodes_the_same()


def test_t5_sentinels(model_files: dict[str, Path], tmp_path: Path) -> None:
    """Their ids fall from the end of the vocabulary, they are never split, and AutoTokenizer loads them."""
    tokenizer = ours.T5Tokenizer.from_pretrained(model_files["t5"], extra_ids=12)
    sentinels = [f"<extra_id_{number}>" for number in range(12)]
    assert tokenizer.get_sentinel_tokens() == sentinels
    assert tokenizer.get_sentinel_token_ids() == [len(tokenizer) - 1 - number for number in range(12)]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer.tokenize("I<extra_id_0>the <extra_id_11>.")[:2] == ["▁I", "<extra_id_0>"]
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}), "utf-8")
    shutil.copyfile(model_files["t5"] / "spiece.model", tmp_path / "spiece.model")
    assert type(ours.AutoTokenizer.from_pretrained(tmp_path)) is ours.T5Tokenizer


@pytest.mark.parametrize(
    ("special", "extra_ids"),
    [(None, 2), (["<a>"], 2), (["<extra_id_1>", "<extra_id_0>"], 2), (["<extra_id_0>"], 2), (["<extra_id_0>"], 0)],
)
def test_t5_sentinels_among_special_tokens(special: list[str] | None, extra_ids: int) -> None:
    made = []
    for library in (ours, transformers):
        try:
            made.append(library.T5Tokenizer(extra_ids=extra_ids, additional_special_tokens=special and [*special]))
        except (InputError, ValueError) as error:
            made.append(str(error))
    if isinstance(made[1], str):
        assert "extra_ids" in made[0]
    else:
        assert_same_tokenizer(*made)


def test_damaged_model_files(model_files: dict[str, Path], tmp_path: Path) -> None:
    """A file that is truncated anywhere, another file, or a model of another kind."""
    content = (model_files["t5"] / "spiece.model").read_bytes()
    model = sentencepiece_model_pb2.ModelProto.FromString(content)
    model.trainer_spec.model_type = model.trainer_spec.BPE
    bpe = model.SerializeToString()
    model.trainer_spec.model_type, model.trainer_spec.unk_id = model.trainer_spec.UNIGRAM, 0
    shifted = model.SerializeToString()
    broken = {
        "": "no pieces",
        "version https://git-lfs.github.com/spec/v1": "truncated or no model file",
        '{"model": {}}': "truncated or no model file",
        content[:1]: "truncated or no model file",
        content[: len(content) // 2]: "truncated or no model file",
        content[:-3]: "truncated or no model file",
        b"\x0a\x03\x0a\x01\xff": "truncated or no model file",
        b"\x08\x01": "no model file",
        b"\xff" * 40: "truncated or no model file",
        bpe: "is a BPE model",
        shifted: "unk_id=2",
    }
    for damaged, message in broken.items():
        (tmp_path / "spiece.model").write_bytes(damaged.encode() if isinstance(damaged, str) else damaged)
        with pytest.raises(TokenizationError, match=message):
            ours.T5Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("family", "options", "text"),
    [
        ("roberta", {"add_prefix_space": True}, "a"),
        ("roberta", {"trim_offsets": False}, "a word"),
        ("xlm-roberta", {"add_prefix_space": False}, "the"),
        ("albert", {"do_lower_case": False}, "The"),
        ("albert", {"keep_accents": True}, "thé"),
        ("t5", {"extra_ids": 3}, "<extra_id_0>"),
        ("distilbert", {"do_lower_case": False}, "The"),
    ],
)
def test_a_mutation_is_detected(family: str, options: dict[str, Any], text: str, directories: dict[str, Path]) -> None:
    mine, reference = both(family, directories[family])
    assert_same_call(mine, reference, [text], return_offsets_mapping=True)
    changed, _ = both(family, directories[family], **options)
    with pytest.raises(AssertionError):
        assert_same_call(changed, reference, [text], return_offsets_mapping=True)


@pytest.mark.parametrize("vocab", ["a path", {"a": 1}, [("a", 0.0)], [("a", 0.0, 1)] * 9, [(1, "a")] * 9, ["ab"] * 9])
def test_invalid_unigram_vocabularies(vocab: Any) -> None:
    for name in ("XLMRobertaTokenizer", "AlbertTokenizer", "T5Tokenizer"):
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
    """Vocabularies of other sizes, cased ones, and other scripts: the same ids as transformers, accepted by a model."""
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
