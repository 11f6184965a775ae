"""The Rust library: what it raises, and the models and templates that it is built from."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors
from tokenizers.models import BPE, Unigram, WordPiece

from minitransformers.errors import MinitransformersError, MissingFileError, TokenizationError
from minitransformers.tokenization.base.tokenizer_files import TokenizerFiles


@contextmanager
def rust_errors(explain: Callable[[str], str]) -> Iterator[None]:
    """Turn whatever the Rust library raises, its panics included, into TokenizationError(explain(its message))."""
    try:
        yield
    except MinitransformersError:  # of an iterator that it was given
        raise
    except BaseException as error:
        # A panic derives from BaseException only, as KeyboardInterrupt does.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TokenizationError(explain(str(error))) from error
        raise


def read_backend(path: str | PathLike[str]) -> Tokenizer:
    """The tokenizer that a tokenizer.json describes."""
    if not Path(path).is_file():
        raise MissingFileError(
            f"There is no file {fspath(path)!r}: tokenizer_file must be the path of a tokenizer.json."
        )
    with rust_errors(lambda message: f"{fspath(path)!r} is damaged or no tokenizer.json ({message}): get it again."):
        return Tokenizer.from_file(fspath(path))


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
        end_of_word: what the last piece of a word ends with in the vocabulary.
        unk_token: stands for what the vocabulary lacks; None where it lacks nothing.
    """
    plain: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": end_of_word, "fuse_unk": False}
    if unk_token is not None:
        plain["unk_token"] = unk_token
    if isinstance(vocab, Mapping) and not isinstance(merges, (str, PathLike)):
        _check_ids(vocab)
        pairs = [_pair(merge) for merge in merges]
        for left, right in pairs:
            if left not in vocab or right not in vocab or left + right not in vocab:
                raise TokenizationError(
                    f"The merge {left!r} {right!r} needs both and {left + right!r} in the vocabulary."
                )
        with rust_errors(lambda message: f"vocab and merges can't be used: {message}."):
            return BPE(vocab=dict(vocab), merges=pairs, **plain)
    if isinstance(vocab, Mapping) or not isinstance(merges, (str, PathLike)):
        raise TokenizationError(
            "vocab and merges must both be paths, or both be data: a dictionary and a list of pairs."
        )
    paths = _existing("vocab", vocab), _existing("merges", merges)
    with rust_errors(lambda message: f"{paths[0]!r} or {paths[1]!r} is damaged ({message}): get them again."):
        return BPE.from_file(*paths, **plain)


def byte_pair_files(files: TokenizerFiles, wanted_by: str) -> dict[str, Any]:
    """The arguments `vocab` and `merges` that a directory has, and what a tokenizer.json puts around texts."""
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
        raise TokenizationError(f"vocab has {len(pairs)} tokens, and the unknown token must be number {unk_id}.")
    with rust_errors(lambda message: f"vocab can't be used: {message}."):
        return Unigram(pairs, unk_id=unk_id, byte_fallback=False)


def unigram_options(tokenizer: Mapping[str, Any], wanted_by: str) -> dict[str, Any]:
    """The arguments of a class with a unigram model that a tokenizer.json has: its vocabulary, and how to normalise.

    The latter is a table that SentencePiece compiles into its models, kept under the name that transformers has for it.
    """
    options: dict[str, Any] = {"vocab": model_of(tokenizer, "Unigram", wanted_by)["vocab"]}
    normalizer = tokenizer.get("normalizer") or {}
    for step in normalizer.get("normalizers", [normalizer]):
        if step.get("type") == "Precompiled" and step.get("precompiled_charsmap"):
            options["_spm_precompiled_charsmap"] = b64decode(step["precompiled_charsmap"])
            break
    return options


def post_processor_of(tokenizer: Mapping[str, Any]) -> processors.PostProcessor | None:
    """The post-processor that a tokenizer.json, given as data, describes."""
    # With an empty model the file is read at once; the post-processor has all ids that it needs.
    model = {"type": "BPE", "vocab": {}, "merges": []}
    with rust_errors(lambda message: f"tokenizer.json is damaged ({message}): get it again."):
        backend = Tokenizer.from_str(json.dumps({**tokenizer, "model": model, "added_tokens": []}))
    post_processor: processors.PostProcessor | None = backend.post_processor
    return post_processor


def model_of(tokenizer: Mapping[str, Any], kind: str, wanted_by: str) -> dict[str, Any]:
    """The section `model` of a tokenizer.json, if it is of the kind that a class needs."""
    model = tokenizer.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), list if kind == "Unigram" else dict):
        raise TokenizationError("tokenizer.json has no model with a vocabulary: is the file whole?")
    if model.get("type", kind) != kind:  # old files don't say
        raise TokenizationError(
            f"tokenizer.json holds a {model['type']} model, but {wanted_by} needs {kind}. AutoTokenizer chooses the "
            "class, PreTrainedTokenizerFast takes the file as it is."
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
        if not isinstance(token, str) or type(index) is not int or not 0 <= index < 2**32:
            raise TokenizationError(f"vocab must map tokens to ids from 0 on, got {token!r}: {index!r}.")
    if len(set(vocab.values())) < len(vocab):
        raise TokenizationError("vocab gives one id to several tokens; every token needs its own.")


def _existing(name: str, path: str | PathLike[str]) -> str:
    if not Path(path).is_file():
        raise MissingFileError(f"There is no file {fspath(path)!r}: {name} must be a path or the data itself.")
    return fspath(path)
