"""Arguments without effect, and ids without a token: as in transformers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import minitransformers
from minitransformers.compat.tokenizers import CALL, DECODE, SETTINGS
from minitransformers.errors import InputError

LIBRARIES = pytest.mark.parametrize("library", [minitransformers, transformers], ids=["ours", "theirs"])
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
OTHERS: dict[str, Any] = {"never_split": ["a"], "sp_model_kwargs": {"nbest_size": 2}}  # in place of True and False


def bert(library: Any, directory: Path, **options: Any) -> Any:
    (directory / "vocab.txt").write_text("\n".join(VOCAB))
    return library.BertTokenizer.from_pretrained(directory, **options)


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@LIBRARIES
@pytest.mark.parametrize(
    "options",
    [
        {"use_fast": False},
        {"from_slow": True},
        {"config": None},
        {"config": {"model_type": "bert"}},
        {"use_auth_token": None},
        {"proxies": None},
        {"resume_download": True},
        {"trust_remote_code": True},
        {"variant": "fp16"},
    ],
    ids=str,
)
def test_loading(library: Any, options: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = bert(library, tmp_path, **options)
    assert tokenizer("a b")["input_ids"] == [2, 5, 6, 3]
    tokenizer.save_pretrained(tmp_path / "saved")
    if library is minitransformers:
        assert not options.keys() & json.loads((tmp_path / "saved/tokenizer_config.json").read_text()).keys()


@LIBRARIES
@pytest.mark.parametrize("value", [True, False, None])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_saved_and_change_nothing(library: Any, name: str, value: Any, tmp_path: Path) -> None:
    value = OTHERS.get(name, value) if value else value
    for tokenizer in (
        bert(library, tmp_path, **{name: value}),
        library.BertTokenizer(str(tmp_path / "vocab.txt"), **{name: value}),
    ):
        assert tokenizer("a \x00B[MASK]")["input_ids"] == [2, 5, 6, 4, 3]
        tokenizer.save_pretrained(tmp_path / "saved")
        assert json.loads((tmp_path / "saved/tokenizer_config.json").read_text())[name] == value
        again = library.AutoTokenizer.from_pretrained(tmp_path / "saved")
        assert again("a \x00B[MASK]")["input_ids"] == [2, 5, 6, 4, 3]


@LIBRARIES
@pytest.mark.parametrize("value", [True, False, None])
def test_calls(library: Any, value: Any, tmp_path: Path) -> None:
    tokenizer = bert(library, tmp_path)
    for name in CALL:
        option = {name: OTHERS.get(name, value) if value else value}
        assert tokenizer("a b", max_length=8, **option)["input_ids"] == [2, 5, 6, 3]
        assert tokenizer.encode("a b", **option) == [2, 5, 6, 3]
        assert tokenizer.tokenize("a b", **option) == ["a", "b"]
    for name in DECODE:
        assert tokenizer.decode([2, 5, 3], **{name: value}) == "[CLS] a [SEP]"
        assert tokenizer.batch_decode([[2, 5, 3]], **{name: value}) == ["[CLS] a [SEP]"]


def test_what_has_no_effect_is_said(tmp_path: Path) -> None:
    tokenizer = bert(minitransformers, tmp_path)
    with pytest.warns(UserWarning, match="pad_to_max_length=True has no effect: pass padding='max_length'"):
        tokenizer("a", pad_to_max_length=True, max_length=8)
    with pytest.warns(UserWarning, match="clean_text=False has no effect"):
        bert(minitransformers, tmp_path, clean_text=False)
    with pytest.raises(InputError, match="gguf_file='x' is not covered: load the safetensors checkpoint"):
        bert(minitransformers, tmp_path, gguf_file="x")
    with pytest.raises(TypeError, match=r"takes no argument 'do_lowercase'. Did you mean 'do_lower_case'"):
        bert(minitransformers, tmp_path, do_lowercase=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a", pad_to_max_length=False, add_prefix_space=False, never_split=None)
        bert(minitransformers, tmp_path, clean_text=True, do_basic_tokenize=True, never_split=None, legacy=False)


@LIBRARIES
def test_ids_beyond_the_vocabulary(library: Any, tmp_path: Path) -> None:
    """A model with a padded vocabulary may give them: they have no token and no text."""
    bert_tokenizer = bert(library, tmp_path)
    gpt2 = library.GPT2Tokenizer(vocab={"a": 0, "b": 1, "<|endoftext|>": 2}, merges=[])
    for tokenizer, first in ((bert_tokenizer, 5), (gpt2, 0)):
        beyond = len(tokenizer)
        assert tokenizer.convert_ids_to_tokens(beyond) is None
        for ids in ([first, beyond, 2**32 - 1], torch.tensor([first, beyond, 2**32 - 1])):
            assert tokenizer.convert_ids_to_tokens(ids) == ["a", None, None]
            assert tokenizer.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True) == "a"
        assert tokenizer.decode(beyond) == ""
        assert tokenizer.batch_decode([[beyond], [first]]) == ["", "a"]
        assert tokenizer.get_special_tokens_mask([beyond, first], already_has_special_tokens=True) == [0, 0]
        for impossible in (-1, -100, 2**32):
            with pytest.raises((ValueError, OverflowError)):
                tokenizer.decode([impossible])
