"""The model files of SentencePiece: pieces, their log-probabilities, and how characters are normalised.

Such a file is one message of protocol buffers, `ModelProto` in sentencepiece_model.proto (Kudo & Richardson, 2018, §3).
A message is a row of fields: a key, which holds the field's number and the kind of its value, then the value.
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

# The kinds of a piece that are no pieces of text.
CONTROL, USER_DEFINED = 3, 4
UNIGRAM = 1


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says.

    Args:
        pieces: (piece, log-probability) in the order of the ids.
        added: the pieces that are never split: control tokens such as "</s>", and those that the user has named.
        unk_id: the number of the unknown piece.
        charsmap: the compiled table that characters are normalised by; None where they stay as they are.
    """

    pieces: list[tuple[str, float]]
    added: list[AddedToken]
    unk_id: int
    charsmap: bytes | None


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a unigram model.

    Raises:
        TokenizationError: the file is cut off, is no model of SentencePiece, or one of another kind.
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
            f"{str(path)!r} is cut off or no model file of SentencePiece ({error}): get it again."
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
    """The arguments of a class with a unigram model, from tokenizer.json or, where there is none, from a model file.

    Args:
        files: those of a directory.
        filename: the name of the model file.
        unk_id: the number that the unknown token must have in it.
        wanted_by: the class, for errors.
    """
    if files.tokenizer is not None or (path := files.source.find(filename)) is None:
        return unigram_options(files.tokenizer or read_json(files.source.file(TOKENIZER_FILE)), wanted_by)
    model = read_sentencepiece(path)
    if model.unk_id != unk_id:
        raise TokenizationError(
            f"{str(path)!r} has the unknown token as number {model.unk_id}, and {wanted_by} needs it as number "
            f"{unk_id}: train the model with unk_id={unk_id}."
        )
    return {
        "vocab": model.pieces,
        "additional_special_tokens": model.added,
        "_spm_precompiled_charsmap": model.charsmap,
    }


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: (number, value), where a value is an int, or bytes to be read further."""
    position = 0

    def integer() -> int:
        """Seven bits a byte, the lowest first; the top bit says that more follow."""
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
        number, kind = divmod(integer(), 8)
        if number == 0 or kind not in (0, 1, 2, 5):
            raise ValueError(f"there is no field {number} of kind {kind}")
        if kind == 0:
            yield number, integer()
            continue
        size = integer() if kind == 2 else {1: 8, 5: 4}[kind]
        if position + size > len(message):
            raise ValueError(f"field {number} ends {position + size - len(message)} bytes behind the end")
        yield number, message[position : position + size]
        position += size
