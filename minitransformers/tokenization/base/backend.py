"""The Rust library `tokenizers`: its models, built from vocabularies and files, and its errors."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any

from tokenizers import Tokenizer, normalizers, processors
from tokenizers.models import BPE, Unigram, WordPiece

from minitransformers.errors import MinitransformersError, MissingFileError, TokenizationError, shown
from minitransformers.files.hub import is_file
from minitransformers.tokenization.base.tokenizer_files import MOST_IDS, TokenizerFiles, checked_id


@contextmanager
def rust_errors(explain: Callable[[str], str]) -> Iterator[None]:
    """Errors of the Rust library become TokenizationError(explain(message))."""
    try:
        yield
    except BaseException as error:
        translate_error(error, explain)
        raise


def translate_error(error: BaseException, explain: Callable[[str], str]) -> None:
    """Raise TokenizationError(explain(message)) in place of an error of the Rust library; return for other errors."""
    # A panic derives from BaseException only, as KeyboardInterrupt does. An iterator of texts raises errors of ours.
    is_panic = type(error).__name__ == "PanicException"
    if is_panic or (isinstance(error, Exception) and not isinstance(error, MinitransformersError)):
        raise TokenizationError(explain(str(error))) from error


def encoding_advice(message: str, texts: list[Any]) -> str:
    """What a user can do about an error of the Rust library while it encodes `texts`."""
    if invalid := _with_surrogate(texts):
        return (
            f"{invalid!r} has a lone surrogate, half of a character, which is not valid in a text. Remove it: "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        )
    if "Second sequence not provided" in message:
        return "truncation='only_second' needs text_pair. Pass truncation=True for single texts."
    if "too short" in message:
        return (
            "the text to be truncated is too short to bring the pair down to max_length. Pass "
            "truncation='longest_first', or a larger max_length."
        )
    if "stride" in message:
        return "truncation leaves a text no more than stride tokens. Pass a smaller stride or a larger max_length."
    return message


def _with_surrogate(texts: Any) -> str:
    """The first text that is not valid Unicode."""
    if isinstance(texts, str):
        return texts if any(0xD800 <= ord(character) < 0xE000 for character in texts) else ""
    return next(filter(None, map(_with_surrogate, texts)), "")


def read_backend(path: str | PathLike[str]) -> Tokenizer:
    """The tokenizer of a tokenizer.json."""
    if not is_file(path):
        raise MissingFileError(
            f"There is no file {fspath(path)!r}: tokenizer_file must be the path of a tokenizer.json."
        )
    with rust_errors(lambda message: f"{fspath(path)!r} is damaged or no tokenizer.json ({message}): get it again."):
        backend = Tokenizer.from_file(fspath(path))
    checked_id(max(backend.get_vocab().values(), default=0), fspath(path))
    return backend


def wordpiece(vocab: Mapping[str, int] | str | PathLike[str], unk_token: str) -> WordPiece:
    """The WordPiece model of a vocabulary: a dictionary, or the path of a vocab.txt (one token a line)."""
    if isinstance(vocab, Mapping):
        _check_ids(vocab)
        with rust_errors(lambda message: f"vocab can't be used: {message}."):
            return WordPiece(dict(vocab), unk_token=unk_token)
    path = _existing("vocab", vocab)
    with rust_errors(lambda message: f"{path!r} is damaged or no vocab.txt ({message}): get it again."):
        model = WordPiece.from_file(path, unk_token=unk_token)
    if Tokenizer(model).get_vocab_size() == 0:
        raise TokenizationError(f"{path!r} is empty: a vocab.txt has one token a line.")
    return model


def byte_pair_encoding(
    vocab: Mapping[str, int] | str | PathLike[str],
    merges: Iterable[Any] | str | PathLike[str],
    *,
    end_of_word: str = "",
    unk_token: str | None = None,
) -> BPE:
    """The BPE model of a vocabulary and merges: a dictionary and pairs, or the paths of a vocab.json and merges.txt.

    Args:
        end_of_word: the ending of the last piece of a word in the vocabulary.
        unk_token: the token of unknown characters; None for a vocabulary that has all.
    """
    plain: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": end_of_word, "fuse_unk": False}
    if unk_token is not None:
        plain["unk_token"] = unk_token
    if isinstance(vocab, Mapping) and not isinstance(merges, (str, PathLike)):
        _check_ids(vocab)
        if not isinstance(merges, Iterable):
            raise TokenizationError(f"merges must be a list of pairs, got {shown(merges)}.")
        pairs = [_pair(merge) for merge in merges]
        for left, right in pairs:
            if left not in vocab or right not in vocab or left + right not in vocab:
                raise TokenizationError(
                    f"The merge {left!r} {right!r} needs both tokens and {left + right!r} in the vocabulary."
                )
        with rust_errors(lambda message: f"vocab and merges can't be used: {message}."):
            return BPE(vocab=dict(vocab), merges=pairs, **plain)
    if isinstance(vocab, Mapping) or not isinstance(merges, (str, PathLike)):
        raise TokenizationError(
            "vocab and merges must both be paths, or both be data: a dictionary and a list of pairs."
        )
    paths = _existing("vocab", vocab), _existing("merges", merges)
    with rust_errors(lambda message: f"{paths[0]!r} or {paths[1]!r} is damaged ({message}): get them again."):
        model = BPE.from_file(*paths, **plain)
    checked_id(max(Tokenizer(model).get_vocab().values(), default=0), paths[0])
    return model


def byte_pair_files(files: TokenizerFiles, wanted_by: str) -> dict[str, Any]:
    """The arguments `vocab` and `merges` from a directory's files, and the `post_processor` of a tokenizer.json."""
    if files.tokenizer is None:
        return {"vocab": files.source.file("vocab.json"), "merges": files.source.file("merges.txt")}
    model = model_of(files.tokenizer, "BPE", wanted_by)
    return {
        "vocab": model["vocab"],
        "merges": model.get("merges", []),
        "post_processor": post_processor_of(files.tokenizer),
    }


def unigram(vocab: Iterable[Any], unk_id: int) -> Unigram:
    """The unigram model of a vocabulary: (token, log-probability) in the order of the ids (Kudo, 2018, §3.2)."""
    if isinstance(vocab, (str, PathLike, Mapping)):
        raise TokenizationError(f"vocab must be a list of (token, score), in the order of the ids; got {vocab!r}.")
    pairs = [_scored(entry) for entry in vocab]
    if len(pairs) <= unk_id:
        raise TokenizationError(f"vocab has {len(pairs)} tokens, but the unknown token must have the id {unk_id}.")
    with rust_errors(lambda message: f"vocab can't be used: {message}."):
        return Unigram(pairs, unk_id=unk_id, byte_fallback=False)


def unigram_options(tokenizer: Mapping[str, Any], wanted_by: str) -> dict[str, Any]:
    """The arguments of a class with a unigram model, from a tokenizer.json: vocabulary and normalization.

    The latter is a table that SentencePiece compiles. The argument has the name that transformers gives it.
    """
    options: dict[str, Any] = {"vocab": model_of(tokenizer, "Unigram", wanted_by)["vocab"]}
    try:
        normalizer = tokenizer.get("normalizer") or {}
        for step in normalizer.get("normalizers", [normalizer]):
            if step.get("type") == "Precompiled" and step.get("precompiled_charsmap"):
                options["_spm_precompiled_charsmap"] = b64decode(step["precompiled_charsmap"])
                break
    except (AttributeError, TypeError, ValueError) as error:
        raise TokenizationError(f"'normalizer' in tokenizer.json is damaged ({error}): get the file again.") from error
    return options


def precompiled(charsmap: Any) -> normalizers.Normalizer:
    """The normalization by a table that SentencePiece has compiled."""
    with rust_errors(lambda message: f"The table for the normalization of characters is damaged ({message})."):
        return normalizers.Precompiled(charsmap)


def special_tokens_around(
    single: str | list[str], pair: str | list[str], special_tokens: list[tuple[str, Any]]
) -> processors.PostProcessor:
    """The post-processor that puts special tokens around texts; arguments as of `processors.TemplateProcessing`.

    Raises:
        TokenizationError: a special token that cannot be put around texts, such as an empty one.
    """
    tokens = ", ".join(repr(token) for token, _ in special_tokens)
    with rust_errors(lambda message: f"The special tokens {tokens} can't be put around texts: {message}."):
        return processors.TemplateProcessing(single=single, pair=pair, special_tokens=special_tokens)


def post_processor_of(tokenizer: Mapping[str, Any]) -> processors.PostProcessor | None:
    """The post-processor of a tokenizer.json, given as data."""
    # An empty model makes reading fast. The post-processor holds all ids that it needs.
    model = {"type": "BPE", "vocab": {}, "merges": []}
    with rust_errors(lambda message: f"tokenizer.json is damaged ({message}): get it again."):
        backend = Tokenizer.from_str(json.dumps({**tokenizer, "model": model, "added_tokens": []}))
    post_processor: processors.PostProcessor | None = backend.post_processor
    return post_processor


def model_of(tokenizer: Mapping[str, Any], kind: str, wanted_by: str) -> dict[str, Any]:
    """The section `model` of a tokenizer.json; TokenizationError if it is not of the kind that a class needs."""
    model = tokenizer.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), list if kind == "Unigram" else dict):
        raise TokenizationError("tokenizer.json has no model with a vocabulary: is the file complete?")
    if model.get("type", kind) != kind:  # old files have no type
        raise TokenizationError(
            f"tokenizer.json holds a {model['type']} model, but {wanted_by} needs {kind}. AutoTokenizer chooses the "
            "class, PreTrainedTokenizerFast reads any file."
        )
    return model


def _pair(merge: Any) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, (list, tuple)) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise TokenizationError(f"A merge must be two tokens, as a pair or as 'a b'; got {merge!r}.")
    return parts[0], parts[1]


def _scored(entry: Any) -> tuple[str, float]:
    if isinstance(entry, (list, tuple)) and len(entry) == 2:
        token, score = entry
        if isinstance(token, str) and isinstance(score, (int, float)):
            return token, score
    raise TokenizationError(f"vocab must be a list of (token, score), in the order of the ids; got {entry!r} in it.")


def _check_ids(vocab: Mapping[str, int]) -> None:
    for token, index in vocab.items():
        if not isinstance(token, str) or type(index) is not int or not 0 <= index < MOST_IDS:
            raise TokenizationError(
                f"vocab must map tokens to ids from 0 to {MOST_IDS - 1:,}, got {shown(token)}: {shown(index)}."
            )
    if len(set(vocab.values())) < len(vocab):
        raise TokenizationError("vocab gives one id to several tokens; every token needs an id of its own.")


def _existing(name: str, path: str | PathLike[str]) -> str:
    if not is_file(path):
        raise MissingFileError(f"There is no file {fspath(path)!r}: {name} must be a path or the data itself.")
    return fspath(path)
