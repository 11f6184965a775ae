"""Cases for comparing tokenizers: texts in many scripts, calls, and directories of every version."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from minitransformers.assets import fetch

# ---- texts -----------------------------------------------------------------------------------------------------------

_SCRIPTS = {
    "latin": "The quick brown fox don't can't we've naïve café Ærøskøbing straße İstanbul Ǆ ﬁne Đặng ŝipo",
    "greek": "Ἐν ἀρχῇ ἦν ὁ λόγος ΣΊΣΥΦΟΣ καφές",
    "cyrillic": "Съешь же ещё этих мягких Їжак Ђорђе ЙОД",
    "arabic": "مرحبا بالعالم لَا إِلٰهَ ۱۲۳",
    "hebrew": "שָׁלוֹם עולם בְּרֵאשִׁית",
    "devanagari": "नमस्ते दुनिया क्षत्रिय ज़िंदगी",
    "thai": "สวัสดี ชาวโลก ก็ดี น้ำ",
    "chinese": "你好，世界。 龍龜 𠀀𪚥 〇",
    "japanese": "こんにちは 世界 ｶﾀｶﾅ ガギグ 々〆ヶ",
    "korean": "안녕하세요 세계 ㅋㅋㅋ 가",
    "emoji": "👩‍👩‍👧‍👦 🇯🇵🇩🇪 👍🏽 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣",
    "symbols": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ∑∞≠ ½ ① ™ ﷽ €100,000.50 x² don`t #tag @you ##ing",
}
_WORDS = [word for sentence in _SCRIPTS.values() for word in sentence.split()]
clean_words = [word for script in ("latin", "cyrillic", "greek", "korean") for word in _SCRIPTS[script].split()]
_MARKUP = [
    "[MASK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[UNK]",
    "[mask]",
    "<|endoftext|>",
    "<ent>",
    "NEWtok",
    "newtok",
    "wörd",
    "<extra_id_0>",
]
_SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\ufeff", "\u0085", "\x1c"]
_CONTROLS = ["\x00", "\x07", "\x1b", "\x7f", "\u0080", "\u00ad", "\u202e", "\ufffd", "\u0301", "\u0327", "\U0010ffff"]
_PUNCTUATION = [".", ",", "!?", "...", "--", "—", "'s", "n't", '"', "(", "`", "、", "。", "¿", "،", "।"]
_LONG = ["x" * 101, "ab" * 60, "1234567890" * 15, "ß" * 105]

_pieces = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from(_WORDS),
    st.sampled_from(_SPACES + _PUNCTUATION),
    st.sampled_from(_MARKUP),
    st.sampled_from(_CONTROLS),
    st.sampled_from(_LONG),
    st.text(st.characters(codec="utf-8"), max_size=6),  # any character except halves of surrogate pairs
)
_separators = st.sampled_from(["", " ", " ", " "])
texts = st.builds(
    lambda parts: "".join(piece + separator for piece, separator in parts),
    st.lists(st.tuples(_pieces, _separators), max_size=8),
)
words = st.lists(st.one_of(_pieces, texts), max_size=8)


# ---- calls -----------------------------------------------------------------------------------------------------------


@st.composite
def calls(draw: st.DrawFn, *, pairs: bool, can_pad: bool = True) -> dict[str, Any]:
    """Keyword arguments of a call. (Errors that the reference does not raise are tested in tests/tokenization.)"""
    call: dict[str, Any] = {}
    strategies = [True, "longest_first", "only_first", *(["only_second"] if pairs else []), False, "do_not_truncate"]
    if draw(st.booleans()):
        call["max_length"] = draw(st.sampled_from([4, 8, 16, 24, 64]))
    if draw(st.booleans()):
        call["truncation"] = draw(st.sampled_from(strategies))
        if draw(st.booleans()):
            call["return_overflowing_tokens"] = True
            call["stride"] = draw(st.integers(0, max(0, call.get("max_length", 512) // 4 - 1)))
    if can_pad and draw(st.booleans()):
        call["padding"] = draw(st.sampled_from([True, "longest", "max_length", False, "do_not_pad"]))
        if draw(st.booleans()):
            call["pad_to_multiple_of"] = draw(st.sampled_from([2, 8]))
        if draw(st.booleans()):
            call["padding_side"] = draw(st.sampled_from(["left", "right"]))
    for name in (
        "add_special_tokens",
        "return_token_type_ids",
        "return_attention_mask",
        "return_special_tokens_mask",
        "return_offsets_mapping",
        "return_length",
        "split_special_tokens",
    ):
        if draw(st.integers(0, 3)) == 0:
            call[name] = draw(st.booleans())
    return call


# ---- directories -----------------------------------------------------------------------------------------------------


@cache
def vocabulary(family: str) -> dict[str, Path]:
    """The real vocabulary's files by name."""
    names = {"bert": ["vocab.txt"], "gpt2": ["vocab.json", "merges.txt"]}[family]
    directory = fetch({"bert": "minilm", "gpt2": "gpt2-tokenizer"}[family])
    return {name: directory / name for name in names}


@cache
def start_of_vocabulary(family: str, scratch: Path) -> dict[str, Path]:
    """BERT's vocabulary, or the first 5,000 tokens of GPT-2's (all of them would make loading slow)."""
    files = vocabulary(family)
    if family == "bert":
        return files
    tokens = {
        token: index for token, index in json.loads(files["vocab.json"].read_text("utf-8")).items() if index < 5000
    }
    head, *merges = files["merges.txt"].read_text("utf-8").splitlines()
    start = {"vocab.json": scratch / "start-of-vocab.json", "merges.txt": scratch / "start-of-merges.txt"}
    start["vocab.json"].write_text(json.dumps(tokens | {"<|endoftext|>": 5000}), "utf-8")
    start["merges.txt"].write_text("\n".join([head, *merges[: 5000 - 256], ""]), "utf-8")
    return start


def _token(content: str, **flags: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"content": content, **plain, **flags}


_flags = st.fixed_dictionaries({name: st.booleans() for name in ("single_word", "lstrip", "rstrip", "normalized")})
_new_tokens = st.lists(st.sampled_from(["<ent>", "NEWtok", "wörd", "世界", "can't"]), unique=True, max_size=4)


@st.composite
def bert_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A tokenizer_config.json."""
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "do_lower_case": st.booleans(),
                "strip_accents": st.sampled_from([None, True, False]),
                "tokenize_chinese_chars": st.booleans(),
                **_general_options(),
            },
        )
    )


@st.composite
def gpt2_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A tokenizer_config.json."""
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "add_prefix_space": st.booleans(),
                "add_bos_token": st.booleans(),
                "add_eos_token": st.booleans(),
                "errors": st.just("replace"),
                "pad_token": st.sampled_from(["<|endoftext|>", "<pad>", None]),
                **_general_options(),
            },
        )
    )


def _general_options() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "model_max_length": st.sampled_from([16, 512, 1000000000000000019884624838656]),
        "padding_side": st.sampled_from(["left", "right"]),
        "truncation_side": st.sampled_from(["left", "right"]),
        "clean_up_tokenization_spaces": st.booleans(),
        "additional_special_tokens": st.just(["<ent>", "[mask]"]),
        "image_token": st.just("<image>"),
        "model_input_names": st.just(["input_ids", "attention_mask"]),
        "split_special_tokens": st.booleans(),
        "never_split": st.none(),  # a key of transformers 4
    }


@st.composite
def added_tokens(draw: st.DrawFn, first_id: int) -> dict[str, dict[str, Any]]:
    """The `added_tokens_decoder` of a tokenizer_config.json."""
    contents = draw(_new_tokens)
    return {
        str(first_id + index): _token(content, special=draw(st.booleans()), **draw(_flags))
        for index, content in enumerate(contents)
    }


@st.composite
def old_files(draw: st.DrawFn, special: dict[str, str], first_id: int) -> dict[str, dict[str, Any]]:
    """special_tokens_map.json and added_tokens.json, as transformers wrote them before 4.34."""
    files: dict[str, dict[str, Any]] = {}
    if draw(st.booleans()):
        tokens: dict[str, Any] = dict(special)
        if "mask_token" in tokens and draw(st.booleans()):
            tokens["mask_token"] = {**_token("[MASK]", lstrip=True)}
            tokens["mask_token"].pop("special")
        files["special_tokens_map.json"] = tokens
    if draw(st.booleans()):
        files["added_tokens.json"] = {token: first_id + index for index, token in enumerate(draw(_new_tokens))}
    return files


def write_directory(directory: Path, vocabulary: dict[str, Path], files: dict[str, dict[str, Any]]) -> Path:
    directory.mkdir(parents=True)
    for name, path in vocabulary.items():
        shutil.copyfile(path, directory / name)
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return directory
