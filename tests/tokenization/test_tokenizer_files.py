"""Files of tokenizers: reading, keeping unknown keys, and writing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import minitransformers.tokenization.base.tokenizer as tokenizer_module
from minitransformers.assets import fetch
from minitransformers.errors import TokenizationError
from minitransformers.tokenization import (
    AddedToken,
    AutoTokenizer,
    BertTokenizer,
    BertTokenizerFast,
    GPT2Tokenizer,
    PreTrainedTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]


def write(directory: Path, name: str, content: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def read(directory: Path, name: str) -> Any:
    return json.loads((directory / name).read_text("utf-8"))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A directory with only a vocabulary."""
    directory = tmp_path / "plain"
    write(directory, "vocab.txt", "\n".join(VOCAB))
    return directory


def test_known_answer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(fetch("minilm"))
    assert type(tokenizer) is BertTokenizer
    assert tokenizer("A man is eating food.").input_ids == [101, 1037, 2158, 2003, 5983, 2833, 1012, 102]


def test_truncation_and_padding_in_the_file_are_cleared() -> None:
    """This tokenizer.json pads and truncates everything to 128."""
    stored = read(fetch("minilm"), "tokenizer.json")
    assert (stored["truncation"]["max_length"], stored["padding"]["strategy"]) == (128, {"Fixed": 128})
    for tokenizer in (
        BertTokenizer.from_pretrained(fetch("minilm")),
        PreTrainedTokenizerFast.from_pretrained(fetch("minilm")),
        PreTrainedTokenizerFast(tokenizer_file=fetch("minilm") / "tokenizer.json"),
    ):
        assert len(tokenizer("a " * 300, verbose=False).input_ids) == 302
        assert len(tokenizer("a").input_ids) == 3
        assert len(tokenizer.backend_tokenizer.encode("a " * 300)) == 302


def test_names_of_the_base() -> None:
    assert PreTrainedTokenizer is PreTrainedTokenizerFast is PreTrainedTokenizerBase
    assert BertTokenizer is BertTokenizerFast


def test_single_files(plain: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(plain)
    tokenizer.save_pretrained(plain / "saved")
    for loaded in (
        BertTokenizer.from_pretrained(plain / "vocab.txt"),
        BertTokenizer(str(plain / "vocab.txt")),
        BertTokenizer(vocab_file=plain / "vocab.txt"),
        BertTokenizer.from_pretrained(str(plain / "saved" / "tokenizer.json")),
        PreTrainedTokenizerFast.from_pretrained(plain / "saved" / "tokenizer.json"),
    ):
        assert loaded.get_vocab() == tokenizer.get_vocab()
        assert loaded("a b").input_ids == tokenizer("a b").input_ids
    assert BertTokenizer.from_pretrained(plain, subfolder="saved").get_vocab() == tokenizer.get_vocab()


def test_older_keywords_of_gpt2(tmp_path: Path) -> None:
    write(tmp_path, "vocab.json", {"a": 0, "b": 1, "ab": 2})
    write(tmp_path, "merges.txt", "#version: 0.2\na b\n")
    tokenizer = GPT2Tokenizer(vocab_file=tmp_path / "vocab.json", merges_file=str(tmp_path / "merges.txt"))
    assert tokenizer("ab").input_ids == [2]
    assert dict(tokenizer("ab")) == dict(GPT2Tokenizer.from_pretrained(tmp_path)("ab"))
    saved = tokenizer.save_vocabulary(tmp_path, "copy")
    assert [Path(path).name for path in saved] == ["copy-vocab.json", "copy-merges.txt"]
    assert dict(GPT2Tokenizer(*saved)("ab")) == dict(tokenizer("ab"))


def test_a_vocabulary_file_of_bert(plain: Path, tmp_path: Path) -> None:
    saved = BertTokenizer.from_pretrained(plain).save_vocabulary(tmp_path)
    assert (tmp_path / "vocab.txt").read_text("utf-8").split() == VOCAB
    assert saved == (str(tmp_path / "vocab.txt"),)
    write(plain, "vocab.txt", "\n".join([*VOCAB, "a", "e"]))  # a duplicate token leaves an unused id
    gappy = BertTokenizer.from_pretrained(plain)
    assert gappy.convert_ids_to_tokens([5, 9]) == [None, "a"]
    assert gappy.decode([9, 10]) == "a e"
    with pytest.raises(TokenizationError, match="no place for unused ids"):
        gappy.save_vocabulary(tmp_path)


def test_unknown_keys_are_kept(plain: Path, tmp_path: Path) -> None:
    kept = {
        "never_split": None,
        "do_basic_tokenize": True,
        "a key": {"of": ["ours", 1]},
        "tokenizer_file": "/etc/passwd",
    }
    write(plain, "tokenizer_config.json", {**kept, "do_lower_case": False, "tokenizer_class": "BertTokenizerFast"})
    tokenizer = AutoTokenizer.from_pretrained(plain)
    tokenizer.save_pretrained(tmp_path / "saved")
    config = read(tmp_path / "saved", "tokenizer_config.json")
    assert kept.pop("tokenizer_file") not in json.dumps(config)  # a path in a file is neither opened nor saved
    assert {name: config[name] for name in kept} == kept
    assert config["do_lower_case"] is False
    assert config["tokenizer_class"] == "BertTokenizer"
    assert "name_or_path" not in config


def test_every_setting_survives_saving(plain: Path, tmp_path: Path) -> None:
    """Each setting survives saving and loading, and so does the default after it."""
    changed: dict[str, Any] = {
        "model_max_length": 77,
        "padding_side": "left",
        "truncation_side": "left",
        "clean_up_tokenization_spaces": True,
        "split_special_tokens": True,
        "model_input_names": ["input_ids"],
        "extra_special_tokens": ["c"],
        "chat_template": "{{ messages }}",
        "chat_control_tokens": ["a"],
        "pad_token": "a",
        "mask_token": None,
    }
    original = BertTokenizer.from_pretrained(plain, image_token="<image>", extra_special_tokens={"boi": "<boi>"})
    before = {name: getattr(original, name) for name in changed}
    for values in (changed, before):
        for name, value in values.items():
            setattr(original, name, value)
        original.save_pretrained(tmp_path)
        loaded = BertTokenizer.from_pretrained(tmp_path)
        assert {name: getattr(loaded, name) for name in changed} == values
        assert (loaded.image_token, loaded.boi) == ("<image>", "<boi>")
        assert loaded.image_token_id == original.image_token_id
        assert loaded.get_vocab() == original.get_vocab()


def test_saving_to_the_directory_of_old_files(plain: Path) -> None:
    """Files of transformers 4 in the directory must not change what was saved."""
    write(plain, "special_tokens_map.json", {"pad_token": "[PAD]", "mask_token": {"content": "[MASK]", "lstrip": True}})
    write(plain, "added_tokens.json", {"<old>": 9})
    write(plain, "chat_template.jinja", "old")
    write(plain / "additional_chat_templates", "other.jinja", "other")
    tokenizer = BertTokenizer.from_pretrained(plain)
    assert tokenizer.added_tokens_decoder[4].lstrip
    assert tokenizer.chat_template == {"default": "old", "other": "other"}
    tokenizer.pad_token = "a"
    tokenizer.add_tokens("<new>")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(plain)
    loaded = BertTokenizer.from_pretrained(plain)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    assert loaded.added_tokens_decoder[4].lstrip
    assert loaded.chat_template is None
    assert loaded("a<new>b<old>").input_ids == tokenizer("a<new>b<old>").input_ids


def test_overrides_replace_the_values_of_files(plain: Path) -> None:
    write(plain, "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 5, "pad_token": "[PAD]"})
    write(plain, "special_tokens_map.json", {"pad_token": "b", "cls_token": "c"})
    tokenizer = BertTokenizer.from_pretrained(
        plain, do_lower_case=False, max_len=9, pad_token="a", revision="main", trust_remote_code=True
    )
    assert (tokenizer.do_lower_case, tokenizer.pad_token, tokenizer.cls_token) == (False, "a", "c")
    assert tokenizer.model_max_length == 5
    assert BertTokenizer.from_pretrained(plain, model_max_length=9).model_max_length == 9


def test_added_tokens_in_three_formats(plain: Path) -> None:
    token = {
        "content": "<x>",
        "single_word": False,
        "lstrip": True,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    write(plain, "added_tokens.json", {"<x>": 9})
    assert not BertTokenizer.from_pretrained(plain).added_tokens_decoder[9].special
    write(plain, "special_tokens_map.json", {"additional_special_tokens": [{"content": "<x>", "lstrip": True}]})
    tokenizer = BertTokenizer.from_pretrained(plain)
    assert tokenizer.added_tokens_decoder[9].special
    assert tokenizer.extra_special_tokens == ["<x>"]
    write(plain, "tokenizer_config.json", {"added_tokens_decoder": {"9": token}})
    tokenizer = BertTokenizer.from_pretrained(plain)
    assert tokenizer.added_tokens_decoder[9].lstrip
    assert tokenizer.extra_special_tokens == []  # with added_tokens_decoder the old file is ignored
    assert tokenizer("a <x>").tokens() == ["[CLS]", "a", " <x>", "[SEP]"]


def test_the_class_is_chosen_by_the_files(plain: Path, tmp_path: Path) -> None:
    write(plain, "config.json", {"model_type": "electra"})
    assert type(AutoTokenizer.from_pretrained(plain, use_fast=True)) is BertTokenizer
    assert AutoTokenizer.from_pretrained(plain, tokenizer_type="bert", do_lower_case=False).do_lower_case is False
    write(plain, "config.json", {"model_type": "unheard of", "tokenizer_class": "BertTokenizerFast"})
    assert type(AutoTokenizer.from_pretrained(plain)) is BertTokenizer

    class Config:
        model_type = "bert"

    write(plain, "config.json", {})
    assert type(AutoTokenizer.from_pretrained(plain, config=Config())) is BertTokenizer
    BertTokenizer.from_pretrained(plain).save_pretrained(tmp_path)
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": "DebertaTokenizer"})
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is PreTrainedTokenizer


def test_the_cache_of_a_hub(plain: Path, tmp_path: Path) -> None:
    """A downloaded repository, without a network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--something"
    write(repository / "refs", "main", commit)
    snapshot = repository / "snapshots" / commit
    BertTokenizer.from_pretrained(plain, model_max_length=33).save_pretrained(snapshot)
    tokenizer = AutoTokenizer.from_pretrained("someone/something", cache_dir=tmp_path, local_files_only=True)
    assert (tokenizer.name_or_path, tokenizer.model_max_length) == ("someone/something", 33)
    assert tokenizer("a b").tokens() == ["[CLS]", "a", "b", "[SEP]"]


def test_a_failed_save_keeps_the_old_files(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = BertTokenizer.from_pretrained(plain)
    tokenizer.save_pretrained(plain)
    before = {path.name: path.read_bytes() for path in plain.iterdir()}
    tokenizer.add_tokens(["<x>"])
    monkeypatch.setattr(os, "replace", _fail)
    with pytest.raises(OSError, match="disk full"):
        tokenizer.save_pretrained(plain)
    assert {path.name: path.read_bytes() for path in plain.iterdir()} == before


def _fail(*_: Any) -> None:
    raise OSError("disk full")


def test_a_subclass_with_its_own_argument(plain: Path, tmp_path: Path) -> None:
    """It is loaded and saved, and unknown arguments are errors."""

    class Shouting(BertTokenizer):
        def __init__(self, *args: Any, loud: bool = True, **options: Any) -> None:
            super().__init__(*args, **options)
            self.loud = loud
            self.init_kwargs["loud"] = loud

    tokenizer = Shouting.from_pretrained(plain, loud=False, do_lower_case=False)
    tokenizer.save_pretrained(tmp_path)
    assert Shouting.from_pretrained(tmp_path).loud is False
    with pytest.raises(TypeError, match=r"Shouting takes no argument 'lowd'. Did you mean 'loud'"):
        Shouting.from_pretrained(plain, lowd=True)


def test_removed_names() -> None:
    tokenizer = BertTokenizer()
    for name, advice in tokenizer_module.REMOVED.items():
        with pytest.raises(AttributeError) as raised:
            getattr(tokenizer, name)
        assert advice in str(raised.value)


def test_flags_of_special_tokens_are_kept(plain: Path, tmp_path: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(plain, mask_token=AddedToken("[MASK]", lstrip=True))
    tokenizer.save_pretrained(tmp_path)
    assert BertTokenizer.from_pretrained(tmp_path).added_tokens_decoder[4].lstrip
    assert tokenizer("a  [MASK]").tokens()[2] == "  [MASK]"


def test_importing_is_cheap() -> None:
    code = (
        "import sys, minitransformers.tokenization; "
        "print([name for name in ('transformers', 'huggingface_hub', 'jinja2', 'matplotlib') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
