"""Model files of SentencePiece: pieces, their log-probabilities, and the normalization of characters.

A file is one message of protocol buffers, `ModelProto` in sentencepiece_model.proto (Kudo & Richardson, 2018, §3). A
message is a sequence of fields: a key with the field's number and the kind of its value, then the value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from minitransformers.errors import TokenizationError
from minitransformers.tokenization.base.backend import unigram_options
from minitransformers.tokenization.base.tokenizer_files import TOKENIZER_FILE, TokenizerFiles, read_json

# The kinds of pieces that are not part of ordinary text.
CONTROL, USER_DEFINED = 3, 4
UNIGRAM = 1


@dataclass(frozen=True)
class SentencePieceModel:
    """The content of a model file.

    Args:
        pieces: (piece, log-probability) in the order of the ids.
        added: pieces that are never split: control tokens such as "</s>", and those defined by the user.
        unk_id: the id of the unknown piece.
        charsmap: the compiled table for the normalization of characters; None for no normalization.
    """

    pieces: list[tuple[str, float]]
    added: list[AddedToken]
    unk_id: int
    charsmap: bytes | None


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a unigram model.

    Raises:
        TokenizationError: the file is truncated, or is no unigram model of SentencePiece.
    """
    pieces: list[tuple[str, float]] = []
    added: list[AddedToken] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1:
                piece = dict(_fields(value))
                text, kind = piece[1].decode("utf-8"), piece.get(3, 1)
                pieces.append((text, struct.unpack("<f", piece.get(2, bytes(4)))[0]))
                if kind in (CONTROL, USER_DEFINED):
                    added.append(AddedToken(text, normalized=False, special=kind == CONTROL))
            elif number == 2:
                trainer = dict(_fields(value))
            elif number == 3:
                normalizer = dict(_fields(value))
    except (ValueError, TypeError, LookupError, AttributeError, struct.error) as error:
        raise TokenizationError(
            f"{str(path)!r} is truncated or no model file of SentencePiece ({error}): get it again."
        ) from error
    if not pieces:
        raise TokenizationError(f"{str(path)!r} holds no pieces: it is no model file of SentencePiece. Get it again.")
    if (kind := trainer.get(3, UNIGRAM)) != UNIGRAM:
        names = {2: "a BPE", 3: "a word", 4: "a character"}
        raise TokenizationError(
            f"{str(path)!r} is {names.get(kind, 'another')} model, and this class needs a unigram model: train one "
            "with model_type='unigram'."
        )
    return SentencePieceModel(pieces, added, trainer.get(40, 0), normalizer.get(2) or None)


def unigram_files(files: TokenizerFiles, filename: str, unk_id: int, wanted_by: str) -> dict[str, Any]:
    """The arguments of a class with a unigram model, from tokenizer.json or, without this file, from a model file.

    Args:
        files: the files of a directory.
        filename: the name of the model file.
        unk_id: the id that the unknown token must have in the model file.
        wanted_by: the name of the class, for errors.
    """
    if files.tokenizer is not None or (path := files.source.find(filename)) is None:
        return unigram_options(files.tokenizer or read_json(files.source.file(TOKENIZER_FILE)), wanted_by)
    model = read_sentencepiece(path)
    if model.unk_id != unk_id:
        raise TokenizationError(
            f"The unknown token in {str(path)!r} has the id {model.unk_id}, and {wanted_by} needs the id {unk_id}: "
            f"train the model with unk_id={unk_id}."
        )
    return {
        "vocab": model.pieces,
        "additional_special_tokens": model.added,
        "_spm_precompiled_charsmap": model.charsmap,
    }


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: (number, value). A value is an int, or bytes with further fields."""
    position = 0

    def integer() -> int:
        """Seven bits in each byte, the lowest first; the top bit is set if more bytes follow."""
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError(f"the number at byte {position} has more than 64 bits")
            if byte < 128:
                return value

    while position < len(message):
        number, kind = divmod(integer(), 8)
        if number == 0 or kind not in (0, 1, 2, 5):
            raise ValueError(f"field {number} has the unknown kind {kind}")
        if kind == 0:
            yield number, integer()
            continue
        size = integer() if kind == 2 else {1: 8, 5: 4}[kind]
        if position + size > len(message):
            raise ValueError(f"field {number} ends {position + size - len(message)} bytes after the end")
        yield number, message[position : position + size]
        position += size
