"""Errors of tokenizers: each names the argument, the value and the remedy."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minitransformers.errors import InputError, MissingFileError, TokenizationError, UnknownArgumentError
from minitransformers.tokenization import (
    AddedToken,
    AutoTokenizer,
    BatchEncoding,
    BertTokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerFast,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "f", "g", "h", "##i"]


@cache
def bert() -> BertTokenizer:
    return BertTokenizer({token: index for index, token in enumerate(WORDS)})


@cache
def gpt2() -> GPT2Tokenizer:
    return GPT2Tokenizer({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4}, ["a b", ("Ġ", "a")])


CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # texts
    "nothing": (lambda: bert()(), TokenizationError, "text must be a str, got None"),
    "number": (lambda: bert()(5), TokenizationError, "text must be a str, got 5 of type int"),
    "bytes": (lambda: bert()(b"a"), TokenizationError, "type bytes"),
    "array": (lambda: bert()(np.array(["a"])), TokenizationError, "type ndarray"),
    "empty batch": (lambda: bert()([]), TokenizationError, "text is an empty list"),
    "None in a batch": (lambda: bert()(["a", None]), TokenizationError, r"text\[1\] must be a str, got None"),
    "three in a pair": (lambda: bert()([["a", "b", "c"]]), TokenizationError, r"text\[0\] has 3 parts.*is_split_into"),
    "pair for a batch": (lambda: bert()(["a"], "b"), TokenizationError, "text is a batch of 1.*got 'b'"),
    "short text_pair": (lambda: bert()(["a", "b"], ["c"]), TokenizationError, "batch of 2.*got 1 items"),
    "list beside a text": (lambda: bert()("a", ["b"]), TokenizationError, "text_pair must be a str"),
    "number in a pair": (lambda: bert()([("a", 1)]), TokenizationError, r"text\[0\]\[1\] must be a str, got 1"),
    "no words": (lambda: bert()("a b", is_split_into_words=True), TokenizationError, "list of words, got 'a b'"),
    "number as word": (
        lambda: bert()(["a", 2], is_split_into_words=True),
        TokenizationError,
        r"text\[1\] must be a wo",
    ),
    "words of a batch": (
        lambda: bert()([["a"], "b"], is_split_into_words=True),
        TokenizationError,
        r"text\[1\] must be a list of words",
    ),
    "half a character": (lambda: bert()(["ok", "a\ud800b"]), TokenizationError, r"'a\\ud800b' has a lone surrogate"),
    "tokenize a batch": (lambda: bert().tokenize(["a", "b"]), TokenizationError, "tokenize takes one text"),
    # lengths
    "padding": (
        lambda: bert()("a", padding="longst"),
        InputError,
        "padding='longst' must be True, False or one of .*Did you mean 'longest'",
    ),
    "truncation": (lambda: bert()("a", truncation="only_frst"), InputError, "Did you mean 'only_first'"),
    "max_length": (lambda: bert()("a", max_length=-1), InputError, "max_length=-1 must be .* at least 0"),
    "max_length of text": (lambda: bert()("a", max_length="5"), InputError, "max_length='5' must be"),
    "pad_to_multiple_of": (
        lambda: bert()("a", pad_to_multiple_of=0),
        InputError,
        "multiple_of=0 must be .* at least 1",
    ),
    "no multiple": (
        lambda: bert()("a", padding=True, truncation=True, max_length=10, pad_to_multiple_of=8),
        InputError,
        "max_length=10 is no multiple of pad_to_multiple_of=8.*max_length=8",
    ),
    "padding_side": (
        lambda: bert()("a", padding_side="top"),
        InputError,
        "padding_side='top' must be 'left'",
    ),
    "no room": (lambda: bert()("a", truncation=True, max_length=1), InputError, "max_length=1 is too small: 2 special"),
    "no room for a pair": (lambda: bert()("a", "b", truncation=True, max_length=2), InputError, "3 special tokens"),
    "stride": (
        lambda: bert()("a b c", truncation=True, max_length=5, stride=3),
        InputError,
        "stride=3 must be smaller than the 3 tokens",
    ),
    "stride without special tokens": (
        lambda: bert()("a b c", truncation=True, max_length=5, stride=4, add_special_tokens=False),
        InputError,
        "stride=4 is too large",
    ),
    "stride in a pair": (
        lambda: bert()(
            "a", "b c d e f", truncation="only_second", max_length=8, stride=4, return_overflowing_tokens=True
        ),
        TokenizationError,
        "smaller stride or a larger max_length",
    ),
    "only_second alone": (
        lambda: bert()("a b c d", truncation="only_second", max_length=4),
        TokenizationError,
        "only_second' needs text_pair",
    ),
    "only_first too short": (
        lambda: bert()("a", "b c d e f g", truncation="only_first", max_length=5),
        TokenizationError,
        "too short to bring the pair down.*longest_first",
    ),
    "nothing to pad with": (
        lambda: gpt2()(["a", "ab a"], padding=True),
        InputError,
        "tokenizer.pad_token = tokenizer.eos",
    ),
    # tensors
    "return_tensors": (lambda: bert()("a", return_tensors="tf"), InputError, "'pt', 'np' or None, got 'tf'"),
    "ragged": (
        lambda: bert()(["a", "b c"], return_tensors="pt"),
        InputError,
        r"'input_ids' cannot become a tensor: its rows have different lengths \(3 to 4\). Pass padding=True",
    ),
    "not from a tokenizer": (lambda: BatchEncoding({"input_ids": [1]}).word_ids(), InputError, "without `encoding`"),
    "index": (lambda: BatchEncoding({"input_ids": [1]})[0], KeyError, "Use a key, one of"),
    "field": (lambda: bert()("a").input_id, AttributeError, "Did you mean 'input_ids'"),
    # pad
    "pad nothing": (lambda: bert().pad([]), InputError, "must be a dictionary or a list of dictionaries"),
    "pad text": (lambda: bert().pad("a"), InputError, "got 'a'"),
    "pad without ids": (lambda: bert().pad({"ids": [1]}), InputError, "pad needs 'input_ids', got only"),
    "pad one id": (lambda: bert().pad({"input_ids": 5}), InputError, "'input_ids' must be a list of ids"),
    "pad unlike examples": (
        lambda: bert().pad([{"input_ids": [1]}, {"input_ids": [1], "labels": 0}]),
        InputError,
        "same fields",
    ),
    "pad unlike rows": (
        lambda: bert().pad({"input_ids": [[1], [2]], "labels": [0]}),
        InputError,
        "'labels' must have 2 rows, as 'input_ids' has",
    ),
    "pad ragged labels": (
        lambda: bert().pad({"input_ids": [[1], [2, 3]], "labels": [[1], [2, 3]]}, return_tensors="pt"),
        InputError,
        "'labels' cannot become a tensor",
    ),
    # ids
    "decode text": (lambda: bert().decode("a"), TokenizationError, "Ids must be whole numbers.*got 'a' of type str"),
    "decode None": (lambda: bert().decode(None), TokenizationError, "got None"),
    "decode floats": (lambda: bert().decode(torch.tensor([1.5])), TokenizationError, "got 1.5 of type float"),
    "decode labels": (lambda: bert().decode([5, -100]), TokenizationError, "negative id -100. Labels hold -100"),
    "decode much too large": (lambda: bert().decode(2**40), TokenizationError, "No token has the id"),
    "decode nested": (lambda: bert().decode(torch.zeros(1, 1, 2).long()), TokenizationError, "Expected one sequence"),
    "decode ragged": (lambda: bert().batch_decode([5, [6]]), TokenizationError, "Expected one sequence"),
    "token of text": (lambda: bert().convert_ids_to_tokens("5"), TokenizationError, "got '5'"),
    "token of a batch": (lambda: bert().convert_ids_to_tokens([[5]]), TokenizationError, "Expected one sequence"),
    "id of a number": (lambda: bert().convert_tokens_to_ids([5]), TokenizationError, "A token must be a str, got 5"),
    "tokens of labels": (lambda: bert().convert_ids_to_tokens([-100]), TokenizationError, "negative id -100"),
    "special tokens mask": (
        lambda: bert().get_special_tokens_mask([5]),
        TokenizationError,
        "already_has_special_tokens",
    ),
    # names
    "unknown in a call": (
        lambda: bert()("a", paddings=True),
        UnknownArgumentError,
        r"BertTokenizer.__call__\(\) takes no argument 'paddings'. Did you mean 'padding'\?",
    ),
    "unknown in tokenizer_kwargs": (
        lambda: bert()("a", tokenizer_kwargs={"maxlength": 4}),
        UnknownArgumentError,
        "'maxlength'. Did you mean 'max_length'",
    ),
    "unknown in encode": (
        lambda: bert().encode("a", return_tensor="pt"),
        UnknownArgumentError,
        "Did you mean 'return_ten",
    ),
    "unknown in decode": (lambda: bert().decode([5], skip_special=True), UnknownArgumentError, "'skip_special_tokens'"),
    "unknown in batch_decode": (lambda: bert().batch_decode([5], skip=True), UnknownArgumentError, "'skip'"),
    "unknown in tokenize": (lambda: bert().tokenize("a", truncation=True), UnknownArgumentError, "'truncation'"),
    "unknown option": (
        lambda: BertTokenizer(do_lowercase=False),
        UnknownArgumentError,
        "BertTokenizer takes no argument 'do_lowercase'. Did you mean 'do_lower_case'",
    ),
    "unknown token's type": (lambda: BertTokenizer(image_token=5), UnknownArgumentError, "'image_token'"),
    "unknown option of GPT2": (lambda: GPT2Tokenizer(add_prefix=True), UnknownArgumentError, "'add_prefix_space'"),
    "removed": (
        lambda: bert().encode_plus("a"),
        AttributeError,
        "has removed BertTokenizer.encode_plus: call",
    ),
    "unknown attribute": (lambda: bert().pad_tokn, AttributeError, "Did you mean"),
    # special tokens
    "special token's type": (
        lambda: bert().add_special_tokens({"pad_token": 5}),
        TokenizationError,
        "pad_token must be a",
    ),
    "special token's name": (
        lambda: bert().add_special_tokens({"padding_token": "x"}),
        UnknownArgumentError,
        "'padding_token' is no name of a special token.*Did you mean 'pad_token'",
    ),
    "extra tokens": (
        lambda: bert().add_special_tokens({"extra_special_tokens": "x"}),
        TokenizationError,
        "must be a list",
    ),
    "extra tokens in the constructor": (
        lambda: BertTokenizer(extra_special_tokens="x"),
        TokenizationError,
        "list of tok",
    ),
    "added token's type": (
        lambda: bert().add_tokens([5]),
        TokenizationError,
        "new_tokens must be a str or an AddedToken",
    ),
    "assigned token": (lambda: setattr(bert(), "pad_token", 5), TokenizationError, "pad_token must be a str"),
    "assigned id": (lambda: setattr(bert(), "pad_token_id", 99), TokenizationError, "No token has the id 99"),
    # building
    "model_max_length": (lambda: BertTokenizer(model_max_length="512"), InputError, "got '512'"),
    "side": (
        lambda: BertTokenizer(truncation_side="top"),
        InputError,
        "truncation_side='top' must be one of 'left'",
    ),
    "no vocabulary": (lambda: BertTokenizer("nowhere.txt"), MissingFileError, "no file 'nowhere.txt'"),
    "two vocabularies": (lambda: BertTokenizer("a", vocab_file="b"), InputError, "vocab and vocab_file mean the same"),
    "ids in a vocabulary": (lambda: BertTokenizer({"a": -1}), TokenizationError, "got 'a': -1"),
    "an id twice": (lambda: BertTokenizer({"a": 0, "b": 0}), TokenizationError, "one id to several tokens"),
    "merges of nothing": (lambda: GPT2Tokenizer({"a": 0, "b": 1}, [("a", "b")]), TokenizationError, "'ab' in the voc"),
    "no merge": (lambda: GPT2Tokenizer({"a": 0}, [("a",)]), TokenizationError, "A merge must be two tokens"),
    "file and data": (lambda: GPT2Tokenizer("vocab.json", []), TokenizationError, "both be paths, or both be data"),
    "no backend": (lambda: PreTrainedTokenizerFast(), TokenizationError, "needs tokenizer_object=… or tokenizer_file"),
    "no tokenizer file": (lambda: PreTrainedTokenizerFast(tokenizer_file="x"), MissingFileError, "no file 'x'"),
    "instance": (lambda: AutoTokenizer(), InputError, "AutoTokenizer.from_pretrained"),
    "unknown tokens": (
        lambda: BertTokenizer({"a": 0})("b"),
        TokenizationError,
        "Missing .UNK. token from the vocabulary",
    ),
    "no training": (
        lambda: bert().train_new_from_iterator(["a"], 30, min_frequencies=2),
        UnknownArgumentError,
        "WordPiece model has no option 'min_frequencies'. Did you mean 'min_frequency'",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_errors(case: str) -> None:
    call, kind, message = CALLS[case]
    with pytest.raises(kind, match=message) as raised:
        call()
    assert len(str(raised.value)) > 20


def test_an_error_changes_nothing() -> None:
    """After an error a tokenizer works as before."""
    before = dict(bert()("a b")), bert().special_tokens_map, len(bert())
    for call, kind, _ in CALLS.values():
        with pytest.raises(kind):
            call()
    assert (dict(bert()("a b")), bert().special_tokens_map, len(bert())) == before


def test_a_long_sequence_gives_one_warning() -> None:
    tokenizer = BertTokenizer({token: index for index, token in enumerate(WORDS)}, model_max_length=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a b")
        tokenizer("a b c", verbose=False)
        tokenizer("a b c", max_length=10, padding="max_length")
    with pytest.warns(UserWarning, match="has 5 tokens, but the model takes at most 4"):
        tokenizer(["a", "a b c"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a b c")


def test_arguments_without_effect_give_a_warning() -> None:
    with pytest.warns(UserWarning, match="max_length has no effect"):
        bert()("a", padding=True, max_length=4)
    with pytest.warns(UserWarning, match="neither max_length nor"):
        bert()("a", truncation=True)
    with pytest.warns(UserWarning, match="byte-level BPE decodes to the exact text"):
        gpt2().decode([0], clean_up_tokenization_spaces=True)
    with pytest.warns(UserWarning, match="errors='strict' has no effect"):
        GPT2Tokenizer(errors="strict")
    with pytest.warns(UserWarning, match="keep their dtype"):
        assert bert()("a", return_tensors="pt").to(torch.float16).input_ids.dtype == torch.int64


# ---- damaged and missing files ---------------------------------------------------------------------------------------


def write(directory: Path, **files: Any) -> Path:
    for name, content in files.items():
        path = directory / name.replace("__", ".")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return directory


VOCAB = "\n".join(WORDS)
TOKENIZER = {"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}, "added_tokens": []}
FILES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "nothing": ({}, MissingFileError, "vocab.txt"),
    "empty vocabulary": ({"vocab__txt": ""}, TokenizationError, "is empty"),
    "binary vocabulary": ({"vocab__txt": b"\xff\xfe\x00\x81"}, TokenizationError, "damaged or no vocab.txt"),
    "damaged tokenizer.json": ({"tokenizer__json": "{"}, TokenizationError, "it holds no JSON"),
    "binary tokenizer.json": ({"tokenizer__json": b"\xff\xfe"}, TokenizationError, "it is no UTF-8 text"),
    "empty tokenizer.json": ({"tokenizer__json": {}}, TokenizationError, "no model with a vocabulary"),
    "another model": (
        {"tokenizer__json": {"model": {"type": "BPE", "vocab": {}}}},
        TokenizationError,
        "holds a BPE model, but BertTokenizer needs WordPiece",
    ),
    "added tokens": (
        {"tokenizer__json": {**TOKENIZER, "added_tokens": [5]}},
        TokenizationError,
        "must be a list of tok",
    ),
    "an added token": (
        {"tokenizer__json": {**TOKENIZER, "added_tokens": [{"id": 1}]}},
        TokenizationError,
        "needs 'content'",
    ),
    "list as configuration": ({"vocab__txt": VOCAB, "tokenizer_config__json": []}, TokenizationError, "holds a list"),
    "side in the configuration": (
        {"vocab__txt": VOCAB, "tokenizer_config__json": {"padding_side": "top"}},
        InputError,
        "padding_side='top' must be",
    ),
    "added tokens in the configuration": (
        {"vocab__txt": VOCAB, "tokenizer_config__json": {"added_tokens_decoder": {"x": "y"}}},
        TokenizationError,
        "has the id 'x'; ids are whole numbers",
    ),
    "old added tokens": ({"vocab__txt": VOCAB, "added_tokens__json": {"x": "y"}}, TokenizationError, "has the id 'y'"),
}


@pytest.mark.parametrize("case", FILES)
def test_damaged_files(case: str, tmp_path: Path) -> None:
    files, kind, message = FILES[case]
    with pytest.raises(kind, match=message):
        BertTokenizer.from_pretrained(write(tmp_path, **files))


@pytest.mark.parametrize(
    ("files", "kind", "message"),
    [
        ({"vocab__json": {"a": 0}}, MissingFileError, "merges.txt"),
        ({"merges__txt": "a b"}, MissingFileError, "vocab.json"),
        ({"vocab__json": "{", "merges__txt": "a b"}, TokenizationError, "damaged"),
        ({"vocab__json": {"a": 0}, "merges__txt": "a"}, TokenizationError, "damaged"),
        ({"vocab__json": {"a": 0, "b": 1}, "merges__txt": "a b"}, TokenizationError, "damaged"),
        ({"tokenizer__json": {"model": {"vocab": {"a": 0}}, "post_processor": 5}}, TokenizationError, "damaged"),
    ],
)
def test_damaged_files_of_gpt2(files: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        GPT2Tokenizer.from_pretrained(write(tmp_path, **files))


def test_loading_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no directory"):
        BertTokenizer.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(InputError, match="name_or_path must be"):
        AutoTokenizer.from_pretrained("")
    with pytest.raises(TokenizationError, match=r"does not say which tokenizer.*one of .*BertTokenizer"):
        AutoTokenizer.from_pretrained(tmp_path)
    write(tmp_path, tokenizer_config__json={"tokenizer_class": "ReformerTokenizerFast"})
    with pytest.raises(TokenizationError, match="'ReformerTokenizerFast', which this library does not have"):
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"tokenizer_type must be one of.*Did you mean 'bert'"):
        AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="brt")
    write(tmp_path, vocab__txt=VOCAB)
    with pytest.raises(UnknownArgumentError, match=r"'do_lowercase'. Did you mean 'do_lower_case'"):
        BertTokenizer.from_pretrained(tmp_path, do_lowercase=False)
    write(tmp_path, vocab__json={"a": 0})
    with pytest.raises(MissingFileError, match=r"is a file, but .* is needed too"):
        GPT2Tokenizer.from_pretrained(tmp_path / "vocab.json")


def test_saving_to_impossible_places(tmp_path: Path) -> None:
    tokenizer = BertTokenizer()
    write(tmp_path, file="x")
    for call, message in (
        (lambda: tokenizer.save_pretrained(tmp_path / "file"), "is a file: pass a directory"),
        (lambda: tokenizer.save_vocabulary(tmp_path / "nowhere"), "is no directory"),
        (lambda: tokenizer.save_pretrained(tmp_path, legacy_format=True), "save_vocabulary"),
        (lambda: tokenizer.save_pretrained(tmp_path, save_format="mistral"), "None or 'hf', got 'mistral'"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(UnknownArgumentError, match="'filename_prefix'"):
        tokenizer.save_pretrained(tmp_path, file_prefix="x")
    tokenizer.chat_template = {"../x": "y"}
    with pytest.raises(InputError, match=r"'../x' can't be a file name"):
        tokenizer.save_pretrained(tmp_path)
    tokenizer.chat_template = None
    tokenizer.init_kwargs["never_split"] = object()
    with pytest.raises(InputError, match="it is no JSON value"):
        tokenizer.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_added_token_is_the_one_of_the_tokenizers_library() -> None:
    import tokenizers

    assert AddedToken is tokenizers.AddedToken
