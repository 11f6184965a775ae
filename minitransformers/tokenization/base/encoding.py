"""BatchEncoding: the output of a tokenizer, a dictionary of ids and masks that maps tokens to the text."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Encoding

from minitransformers.errors import InputError, nearest, warn


class TensorType(StrEnum):
    """The values of `return_tensors`."""

    PYTORCH = "pt"
    NUMPY = "np"


class CharSpan(NamedTuple):
    """Characters of a text, from `start` to `end`, which is excluded."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a sequence, from `start` to `end`, which is excluded."""

    start: int
    end: int


class BatchEncoding(UserDict[str, Any]):
    """The inputs of a model (`input_ids`, `attention_mask`, …), readable by key and by attribute.

    It prints as a dictionary. The output of a tokenizer also maps between tokens, characters and words: `word_ids()`,
    `char_to_token(5)` and so on, and `encoding[0]` is the `tokenizers.Encoding` of the first sequence. These methods
    take `(index)` for the first sequence of a batch, or `(batch_index, index)`.

    Args:
        data: the fields.
        encoding: one `tokenizers.Encoding` for every sequence.
        tensor_type: "pt" or "np" converts the lists to tensors.
        prepend_batch_axis: with `tensor_type`, adds an axis of length 1 in front.
        n_sequences: 1 for single texts, 2 for pairs; by default that of `encoding`.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data)
        self._encodings = [encoding] if isinstance(encoding, Encoding) else encoding
        if n_sequences is None and self._encodings:
            n_sequences = self._encodings[0].n_sequences
        self._n_sequences = n_sequences
        if tensor_type is not None:
            self.convert_to_tensors(tensor_type, prepend_batch_axis)

    # ---- access ------------------------------------------------------------------------------------------------------

    def __getitem__(self, item: str | int | slice) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(
            f"{item!r}: only the output of a tokenizer has numbered sequences. Use a key, one of {list(self.data)}."
        )

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for names that are no ordinary attribute. During unpickling `data` is missing.
        data = self.__dict__.get("data", {})
        if name in data:
            return data[name]
        raise AttributeError(f"{type(self).__name__} has no field or attribute {name!r}.{nearest(name, data)}")

    @property
    def is_fast(self) -> bool:
        """Whether it maps between tokens, characters and words."""
        return self._encodings is not None

    @property
    def encodings(self) -> Sequence[Encoding] | None:
        """The `tokenizers.Encoding` of every sequence, or None if this is not the output of a tokenizer."""
        return self._encodings

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None if unknown."""
        return self._n_sequences

    # ---- whole sequences ---------------------------------------------------------------------------------------------

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a sequence as strings."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The index of each token's word; None for special tokens."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 for each token of the first text, 1 for each of the second text of a pair; None for special tokens."""
        return self._encoding(batch_index).sequence_ids

    # ---- from one unit to another ------------------------------------------------------------------------------------

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The text of a pair to which a token belongs, 0 or 1; None for a special token."""
        encoding, token = self._token(batch_or_token_index, token_index)
        return encoding.token_to_sequence(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of a token's word; None for a special token."""
        encoding, token = self._token(batch_or_token_index, token_index)
        return encoding.token_to_word(token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of a token; None for a special token."""
        encoding, token = self._token(batch_or_token_index, token_index)
        span = encoding.token_to_chars(token)
        return None if span is None else CharSpan(*span)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word; None if it has no token or was truncated."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        span = encoding.word_to_tokens(word, sequence_index)
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word; None if it has no token or was truncated."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        span = encoding.word_to_chars(word, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The index of a character's token; None for white space outside tokens."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        return encoding.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The index of a character's word; None between words."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        return encoding.char_to_word(char, sequence_index)

    # ---- tensors -----------------------------------------------------------------------------------------------------

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Convert every field to a torch tensor ("pt") or a numpy array ("np"), in place.

        Raises:
            InputError: an unknown `tensor_type`, or a field whose rows have different lengths.
        """
        if tensor_type is None:
            return self
        if tensor_type not in tuple(TensorType):
            raise InputError(f"return_tensors must be 'pt', 'np' or None, got {tensor_type!r}.")
        convert = _to_torch if tensor_type == TensorType.PYTORCH else _to_numpy
        for key, value in self.data.items():
            value = [value] if prepend_batch_axis else value
            try:
                self.data[key] = convert(value)
            except (ValueError, TypeError, RuntimeError) as error:
                raise InputError(
                    f"{key!r} cannot become a tensor: {_reason(value) or error}. Pass padding=True, and "
                    "truncation=True with max_length, to give all rows one length, or return_tensors=None for lists."
                ) from error
        return self

    def to(self, device: str | int | torch.device | torch.dtype, *, non_blocking: bool = False) -> BatchEncoding:
        """Move every tensor to `device`, in place. A dtype has no effect but a warning: ids stay integers."""
        if isinstance(device, torch.dtype):
            warn(f"BatchEncoding.to({device}) changes nothing: ids and masks keep their dtype.")
            return self
        self.data = {
            key: value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value
            for key, value in self.data.items()
        }
        return self

    # ---- indices ---------------------------------------------------------------------------------

    def _encoding(self, batch_index: int) -> Encoding:
        if not self._encodings:
            raise InputError(
                "Only the output of a tokenizer maps tokens, words and characters; this BatchEncoding was made without "
                "`encoding` (by pad(), for example)."
            )
        return self._encodings[batch_index]

    def _locate(self, batch_or_index: int, index: int | None) -> tuple[Encoding, int]:
        """Read `(index)` as `(0, index)`."""
        return (self._encoding(0), batch_or_index) if index is None else (self._encoding(batch_or_index), index)

    def _token(self, batch_or_index: int, index: int | None) -> tuple[Encoding, int]:
        """As `_locate`, with a negative index counted from the last token."""
        encoding, token = self._locate(batch_or_index, index)
        return encoding, token + len(encoding) if token < 0 else token


def _to_torch(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return torch.from_numpy(np.array(value))  # many times faster than reading single numbers
    tensor = torch.tensor(value)
    return tensor if tensor.numel() else tensor.long()  # torch makes floats of an empty list


def _to_numpy(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    rows = value if isinstance(value, (list, tuple)) else ()
    if rows and isinstance(rows[0], (list, tuple, np.ndarray)) and len({len(row) for row in rows}) > 1:
        ragged = np.empty(len(rows), dtype=object)
        ragged[:] = [np.asarray(row) for row in rows]
        return ragged
    array = np.asarray(value)
    return array if array.size else array.astype(np.int64)


def _reason(value: Any) -> str | None:
    """The most common reason: rows of different lengths."""
    lengths = {len(row) for row in value if isinstance(row, Sequence)} if isinstance(value, Sequence) else set()
    return f"its rows have different lengths ({min(lengths)} to {max(lengths)})" if len(lengths) > 1 else None
