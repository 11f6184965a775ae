"""BatchEncoding: what a tokenizer returns, a dictionary of ids and masks that knows where each token came from."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Encoding

from minitransformers.errors import InputError, nearest, warn


class TensorType(StrEnum):
    """What `return_tensors` may be."""

    PYTORCH = "pt"
    NUMPY = "np"


class CharSpan(NamedTuple):
    """Characters `start` to `end` (without) of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (without) of an encoded sequence."""

    start: int
    end: int


class BatchEncoding(UserDict[str, Any]):
    """The fields that a model takes (`input_ids`, `attention_mask`, …), readable by key and by attribute.

    It prints as a dictionary does. Where it comes straight from a tokenizer it also maps between tokens, characters and
    words: `word_ids()`, `char_to_token(5)` and so on, and `encoding[0]` is the `tokenizers.Encoding` of the first
    sequence. Those methods take `(index)` for the first sequence of a batch or `(batch_index, index)`.

    Args:
        data: the fields.
        encoding: one `tokenizers.Encoding` for every sequence.
        tensor_type: "pt" or "np" turns the lists into tensors at once.
        prepend_batch_axis: with `tensor_type`, adds an axis of length 1 in front.
        n_sequences: 1 for single texts, 2 for pairs; taken from `encoding` unless given.
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
            f"{item!r}: only the output of a tokenizer can be indexed by a number. Use a key, one of {list(self.data)}."
        )

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that are no ordinary attribute; `data` itself is missing while unpickling.
        data = self.__dict__.get("data", {})
        if name in data:
            return data[name]
        raise AttributeError(f"{type(self).__name__} has no field or attribute {name!r}.{nearest(name, data)}")

    @property
    def is_fast(self) -> bool:
        """Whether the mapping between tokens, characters and words is there."""
        return self._encodings is not None

    @property
    def encodings(self) -> Sequence[Encoding] | None:
        """The `tokenizers.Encoding` of every sequence, or None where the fields did not come from a tokenizer."""
        return self._encodings

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None where that is not known."""
        return self._n_sequences

    # ---- whole sequences ---------------------------------------------------------------------------------------------

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a sequence as strings."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For every token the index of its word, None for special tokens."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For every token 0 for the first text and 1 for the second of a pair, None for special tokens."""
        return self._encoding(batch_index).sequence_ids

    # ---- from one unit to another ------------------------------------------------------------------------------------

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """0 or 1: the text of the pair that a token belongs to; None for a special token."""
        encoding, token = self._token(batch_or_token_index, token_index)
        return encoding.token_to_sequence(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of the word that a token belongs to; None for a special token."""
        encoding, token = self._token(batch_or_token_index, token_index)
        return encoding.token_to_word(token)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of the text that a token stands for; None for a special token."""
        encoding, token = self._token(batch_or_token_index, token_index)
        span = encoding.token_to_chars(token)
        return None if span is None else CharSpan(*span)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens that a word became; None where it became none or was cut off."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        span = encoding.word_to_tokens(word, sequence_index)
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word in the text; None where the word became no token or was cut off."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        span = encoding.word_to_chars(word, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The index of the token that a character went into; None for white space that no token has."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        return encoding.char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The index of the word that a character belongs to; None between words."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        return encoding.char_to_word(char, sequence_index)

    # ---- tensors -----------------------------------------------------------------------------------------------------

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn every field into a torch tensor ("pt") or numpy array ("np"), in place.

        Raises:
            InputError: an unknown `tensor_type`, or a field whose rows have different lengths.
        """
        if tensor_type is None:
            return self
        if tensor_type not in tuple(TensorType):
            raise InputError(f"return_tensors must be 'pt', 'np' or None, got {tensor_type!r}.")
        is_tensor, as_tensor = _KINDS[tensor_type]
        for key, value in self.data.items():
            if prepend_batch_axis:
                value = [value]
            if is_tensor(value):
                continue
            try:
                self.data[key] = as_tensor(value)
            except (ValueError, TypeError, RuntimeError) as error:
                raise InputError(
                    f"{key!r} cannot become a tensor: {_why(value) or error}. Pass padding=True, and truncation=True "
                    "with max_length, so that all rows have one length, or return_tensors=None to keep lists."
                ) from error
        return self

    def to(self, device: str | int | torch.device | torch.dtype, *, non_blocking: bool = False) -> BatchEncoding:
        """Move every tensor to `device`, in place. A dtype is refused with a warning: ids must stay integers."""
        if isinstance(device, torch.dtype):
            warn(f"BatchEncoding.to({device}) changes nothing: ids and masks keep their dtype.")
            return self
        self.data = {
            key: value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value
            for key, value in self.data.items()
        }
        return self

    # ---- which sequence, which index ---------------------------------------------------------------------------------

    def _encoding(self, batch_index: int) -> Encoding:
        if not self._encodings:
            raise InputError(
                "Only the output of a tokenizer knows its tokens, words and characters; this BatchEncoding was made "
                "without `encoding` (by pad(), for example)."
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
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return torch.from_numpy(np.array(value))  # many times faster than reading the arrays number by number
    tensor = torch.tensor(value)
    return tensor if tensor.numel() else tensor.long()  # torch takes an empty list for floats


def _to_numpy(value: Any) -> np.ndarray:
    rows = value if isinstance(value, (list, tuple)) else ()
    if rows and isinstance(rows[0], (list, tuple, np.ndarray)) and len({len(row) for row in rows}) > 1:
        ragged = np.empty(len(rows), dtype=object)
        ragged[:] = [np.asarray(row) for row in rows]
        return ragged
    array = np.asarray(value)
    return array if array.size else array.astype(np.int64)


_KINDS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    TensorType.PYTORCH: (torch.is_tensor, _to_torch),
    TensorType.NUMPY: (lambda value: isinstance(value, np.ndarray), _to_numpy),
}


def _why(value: Any) -> str | None:
    """What is wrong with rows of different lengths, the commonest case."""
    lengths = {len(row) for row in value if isinstance(row, Sequence)} if isinstance(value, Sequence) else set()
    return f"its rows have different lengths ({min(lengths)} to {max(lengths)})" if len(lengths) > 1 else None
