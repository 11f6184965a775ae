"""Training the vocabulary of a tokenizer of the Rust library on texts, with the pipeline that it has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers

from minitransformers.errors import TokenizationError, UnknownArgumentError, nearest
from minitransformers.tokenization.base.backend import rust_errors
from minitransformers.tokenization.base.vocabulary import Token

# The trainer of each kind of model, and its options. A trainer only prints a line about unknown options.
_SUBWORDS = {"min_frequency", "limit_alphabet", "initial_alphabet", "continuing_subword_prefix", "end_of_word_suffix"}
_UNIGRAM = {"initial_alphabet", "shrinking_factor", "unk_token", "max_piece_length", "n_sub_iterations"}
_TRAINERS: dict[str, tuple[Any, set[str]]] = {
    "BPE": (trainers.BpeTrainer, {"show_progress", *_SUBWORDS, "max_token_length"}),
    "Unigram": (trainers.UnigramTrainer, {"show_progress", *_UNIGRAM}),
    "WordLevel": (trainers.WordLevelTrainer, {"show_progress", "min_frequency"}),
    "WordPiece": (trainers.WordPieceTrainer, {"show_progress", *_SUBWORDS}),
}


def retrain(
    backend: Tokenizer,
    texts: Iterable[Any],
    vocab_size: int,
    trainer_options: Mapping[str, Any],
    *,
    length: int | None = None,
    new_special_tokens: Sequence[Token] = (),
    renamed: Mapping[str, str] | None = None,
    first_tokens: Sequence[str] = (),
) -> Tokenizer:
    """A copy of `backend` with a vocabulary trained on texts.

    Args:
        backend: it is not changed.
        texts: texts, or batches of texts.
        vocab_size: the number of tokens, including special tokens.
        trainer_options: arguments of the trainer of the `tokenizers` library.
        length: the number of items of `texts`, for the progress bar.
        new_special_tokens: further special tokens.
        renamed: new names for special tokens, old -> new.
        first_tokens: ordinary tokens whose ids follow those of the special tokens, in this order.

    Raises:
        TokenizationError: a kind of model that can't be trained, or a special token around texts that is missing.
        UnknownArgumentError: an option that the trainer does not have.
    """
    renamed = renamed or {}
    pipeline = json.loads(backend.to_str())
    # Both hold ids of the old vocabulary.
    old_added, post_processor = pipeline.pop("added_tokens"), pipeline.pop("post_processor")
    kind = pipeline["model"]["type"]
    if kind not in _TRAINERS:
        raise TokenizationError(f"A {kind} model can't be trained; only {', '.join(_TRAINERS)} can.")
    trainer_class, known = _TRAINERS[kind]
    for name in trainer_options.keys() - known:
        raise UnknownArgumentError(f"The trainer of a {kind} model has no option {name!r}.{nearest(name, known)}")
    options = _empty(pipeline["model"], renamed) | dict(trainer_options)
    if "ByteLevel" in json.dumps(pipeline["pre_tokenizer"]):
        options.setdefault("initial_alphabet", pre_tokenizers.ByteLevel.alphabet())
    special = [_renamed(token, renamed) for token in old_added if token["special"] or kind == "Unigram"]
    with rust_errors(lambda message: f"The tokenizer can't be trained: {message}."):
        trained = Tokenizer.from_str(json.dumps(pipeline))
        special_tokens = [*special, *new_special_tokens, *first_tokens]
        trainer = trainer_class(vocab_size=vocab_size, special_tokens=special_tokens, **options)
        trained.train_from_iterator(texts, length=length, trainer=trainer)
        if post_processor is not None:
            _set_ids(post_processor, trained, renamed)
        if post_processor is not None or first_tokens:
            whole = json.loads(trained.to_str()) | {"post_processor": post_processor}
            whole["added_tokens"] = [token for token in whole["added_tokens"] if token["content"] not in first_tokens]
            trained = Tokenizer.from_str(json.dumps(whole))
    return trained


def _empty(model: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Remove the vocabulary from a model, in place, and return the options that its trainer needs."""
    options: dict[str, Any] = {}
    if model.get("unk_token") is not None:
        model["unk_token"] = renamed.get(model["unk_token"], model["unk_token"])
    if model["type"] == "Unigram":
        if model["unk_id"] is not None:
            unknown = model["vocab"][model["unk_id"]][0]
            options["unk_token"] = renamed.get(unknown, unknown)
            model |= {"unk_id": 0, "vocab": [[options["unk_token"], 0.0]]}
        return options
    model["vocab"] = {}
    if model["type"] == "BPE":
        model["merges"] = []
        for name in ("continuing_subword_prefix", "end_of_word_suffix"):
            if model[name] is not None:
                options[name] = model[name]
    return options


def _renamed(token: Mapping[str, Any], renamed: Mapping[str, str]) -> AddedToken:
    fields = {name: value for name, value in token.items() if name not in ("id", "special")}
    return AddedToken(**fields | {"content": renamed.get(token["content"], token["content"])})


def _set_ids(post_processor: dict[str, Any], trained: Tokenizer, renamed: Mapping[str, str]) -> None:
    """Write the new ids of special tokens into a post-processor, in place."""

    def new(token: str) -> tuple[str, int]:
        token = renamed.get(token, token)
        index = trained.token_to_id(token)
        if index is None:
            raise TokenizationError(f"{token!r} is added to every text, but it is not in the new vocabulary.")
        return token, index

    for entry in post_processor.get("special_tokens", {}).values():
        entry["tokens"], entry["ids"] = map(list, zip(*map(new, entry["tokens"]), strict=True))
    for name in ("cls", "sep"):
        if name in post_processor:
            post_processor[name] = list(new(post_processor[name][0]))
