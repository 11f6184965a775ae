"""Text to ids and back: calling a tokenizer, padding, and decoding.

arguments.py reads the arguments, the Rust library encodes, and encoding.py holds the result.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenizers import Encoding

from minitransformers.compat.keywords import Accepted, remove_no_ops
from minitransformers.compat.tokenizers import CALL, DECODE
from minitransformers.configs.checks import check_count, refuse_unknown
from minitransformers.errors import InputError, TokenizationError, warn
from minitransformers.tokenization.base.arguments import (
    NO_LIMIT,
    Lengths,
    choose_lengths,
    read_examples,
    read_texts,
    tensor_type,
)
from minitransformers.tokenization.base.backend import encoding_advice, translate_error
from minitransformers.tokenization.base.encoding import BatchEncoding
from minitransformers.tokenization.base.vocabulary import TokenIds, Vocabulary, plain_ids

if TYPE_CHECKING:
    Words = Sequence[str]
    TextInput = str | Sequence[str] | Sequence[Words] | Sequence[tuple[str, str]] | Sequence[tuple[Words, Words]]
else:
    TextInput = Any  # `read_texts` checks it, with better errors than a type checker's

# The fields of the output, in their order, and where the Rust library keeps them.
_FIELDS: dict[str, Callable[[Encoding], Any]] = {
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: encoding.attention_mask,
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
    "length": len,
}

# WordPiece decoders write these with a space, and English without. (The list of the first BERT release.)
_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

# Truncation is a setting of the Rust object, which threads share: one call at a time sets it and encodes. A process
# that is forked meanwhile must not inherit the lock as taken.
_ENCODING = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_ENCODING.acquire, after_in_parent=_ENCODING.release, after_in_child=_ENCODING.release)


class Codec(Vocabulary):
    """The part of a tokenizer that encodes and decodes."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    model_max_length: int | float = NO_LIMIT
    padding_side: str = "right"
    truncation_side: str = "right"
    pad_token_type_id = 0
    split_special_tokens = False
    clean_up_tokenization_spaces = False
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = False
    _warned_of_length = False

    # ---- encoding ----------------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: TextInput | None = None,
        text_pair: TextInput | None = None,
        text_target: TextInput | None = None,
        text_pair_target: TextInput | None = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: Any = None,
        stride: Any = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: Any = None,
        padding_side: Any = None,
        return_tensors: Any = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        tokenizer_kwargs: dict[str, Any] | None = None,
        *,
        split_special_tokens: bool | None = None,
        max_target_length: Any = None,
        **unknown: Any,
    ) -> BatchEncoding:
        """Encode one text, a pair of texts, or a batch of either.

        Args:
            text: a str; a list of str is a batch. With `is_split_into_words`, a list of words or a batch of such lists.
            text_pair: the second text of the pair, or one for every text of the batch. A batch may also hold pairs.
            text_target, text_pair_target: encoded likewise. Their ids are `labels`, or without `text` `input_ids`.
            add_special_tokens: add the tokens that the model expects around texts ([CLS], [SEP], …).
            padding: False; True or "longest": to the longest sequence; "max_length": to `max_length`.
            truncation: None or False; True or "longest_first": pairs lose tokens from the longer text; "only_first",
                "only_second". `max_length` given without padding truncates too.
            max_length: in tokens; by default the model's limit.
            stride: how many tokens each overflowing piece repeats from the piece before.
            is_split_into_words: whether the texts are lists of words.
            pad_to_multiple_of: rounds the padded length up.
            padding_side: "left" or "right"; by default `self.padding_side`.
            return_tensors: "pt" for torch tensors, "np" for numpy arrays, None for lists.
            return_token_type_ids, return_attention_mask: by default, whether `self.model_input_names` has them.
            return_overflowing_tokens: return the truncated tokens as further rows; `overflow_to_sample_mapping` has the
                index of each row's text.
            return_special_tokens_mask: add `special_tokens_mask`, 1 at tokens that the tokenizer added.
            return_offsets_mapping: add `offset_mapping`, the (start, end) characters of each token.
            return_length: add `length`, the number of tokens.
            verbose: False turns warnings off.
            tokenizer_kwargs: arguments in a dictionary; they replace those given directly.
            split_special_tokens: encode special tokens inside the text like ordinary text.
            max_target_length: `max_length` for the targets.

        Returns:
            Lists of ids for one text, lists of lists for a batch and for overflowing tokens, tensors (batch, length).

        Raises:
            TokenizationError: no text, or a value that is no text.
            InputError: an impossible length, no token for padding, or `return_tensors` and rows of different lengths.
            UnknownArgumentError: an argument that does not exist.
        """
        if tokenizer_kwargs:
            direct = {
                "add_special_tokens": add_special_tokens,
                "padding": padding,
                "truncation": truncation,
                "max_length": max_length,
                "stride": stride,
                "is_split_into_words": is_split_into_words,
                "pad_to_multiple_of": pad_to_multiple_of,
                "padding_side": padding_side,
                "return_tensors": return_tensors,
                "return_token_type_ids": return_token_type_ids,
                "return_attention_mask": return_attention_mask,
                "return_overflowing_tokens": return_overflowing_tokens,
                "return_special_tokens_mask": return_special_tokens_mask,
                "return_offsets_mapping": return_offsets_mapping,
                "return_length": return_length,
                "verbose": verbose,
                "split_special_tokens": split_special_tokens,
                "max_target_length": max_target_length,
            }
            return self(text, text_pair, text_target, text_pair_target, **{**direct, **unknown, **tokenizer_kwargs})
        if unknown:
            _refuse_unknown(self.__call__, unknown, CALL)
        fields = {
            "input_ids": True,
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        encode = partial(
            self._encode,
            fields=[
                name for name, asked in fields.items() if asked or (asked is None and name in self.model_input_names)
            ],
            add_special_tokens=add_special_tokens,
            is_split_into_words=is_split_into_words,
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            overflow=return_overflowing_tokens,
            return_tensors=return_tensors,
            verbose=verbose,
        )
        side, limit = self.padding_side if padding_side is None else padding_side, self.model_max_length
        lengths = choose_lengths(padding, side, truncation, max_length, stride, pad_to_multiple_of, limit, verbose)
        if text_target is None:
            return encode(text, text_pair, lengths)
        encoded = None if text is None else encode(text, text_pair, lengths)
        if max_target_length is not None:
            max_length = check_count("max_target_length", max_target_length)
            lengths = dataclasses.replace(lengths, max_length=max_length)
        target = encode(text_target, text_pair_target, lengths)
        if encoded is None:
            return target
        encoded["labels"] = target["input_ids"]
        return encoded

    def _encode(
        self,
        text: Any,
        text_pair: Any,
        lengths: Lengths,
        *,
        fields: list[str],
        add_special_tokens: bool,
        is_split_into_words: bool,
        split_special_tokens: bool,
        overflow: bool,
        return_tensors: Any,
        verbose: bool,
    ) -> BatchEncoding:
        """Encode with the Rust library, and collect a row of every field for each sequence."""
        texts, batched = read_texts(text, text_pair, is_split_into_words)
        if lengths.padding and self.pad_token_id is None:
            raise self._no_pad_token()
        with _ENCODING:
            self._tokenizer.encode_special_tokens = split_special_tokens
            if lengths.truncation:
                paired = any(isinstance(item, tuple) for item in texts)
                self._enable_truncation(lengths, add_special_tokens, paired)
            else:
                self._tokenizer.no_truncation()
            try:
                encodings: list[Encoding] = self._tokenizer.encode_batch(texts, is_split_into_words, add_special_tokens)
            except BaseException as error:
                translate_error(error, lambda message: f"The texts can't be encoded: {encoding_advice(message, texts)}")
                raise
        if lengths.padding:
            length = lengths.padded(max(map(len, encodings)))
            for encoding in encodings:
                encoding.pad(
                    length,
                    direction=lengths.padding_side,
                    pad_id=self.pad_token_id,
                    pad_type_id=self.pad_token_type_id,
                    pad_token=self.pad_token,
                )
        pieces = [[encoding, *(encoding.overflowing if overflow else ())] for encoding in encodings]
        encodings = [piece for row in pieces for piece in row]
        data = {name: [_FIELDS[name](encoding) for encoding in encodings] for name in fields}
        if overflow:
            data["overflow_to_sample_mapping"] = [sample for sample, row in enumerate(pieces) for _ in row]
        if verbose and lengths.max_length is None and max(map(len, encodings)) > self.model_max_length > 0:
            self._warn_of_length(max(map(len, encodings)))
        if not batched and not overflow and return_tensors is None:
            data = {name: rows if name == "length" else rows[0] for name, rows in data.items()}
        return BatchEncoding(data, encodings, tensor_type=return_tensors)

    def _enable_truncation(self, lengths: Lengths, add_special_tokens: bool, paired: bool) -> None:
        """Let the Rust library truncate, which it does before it adds special tokens."""
        room = max_length = lengths.max_length or 0
        if add_special_tokens:
            special_tokens = self.num_special_tokens_to_add(paired)
            room -= special_tokens
            if room < 0:
                raise InputError(
                    f"max_length={max_length} is too small: {special_tokens} special tokens are added. Pass at least "
                    f"{special_tokens}, or add_special_tokens=False."
                )
        if lengths.stride and lengths.stride >= room:
            raise InputError(
                f"stride={lengths.stride} must be smaller than the {room} tokens that max_length={max_length} leaves "
                "for a text; otherwise each piece would repeat the one before."
            )
        try:
            self._tokenizer.enable_truncation(
                max_length, stride=lengths.stride, strategy=str(lengths.truncation), direction=self.truncation_side
            )
        except ValueError as error:  # it counts special tokens even if none are added
            raise InputError(f"stride={lengths.stride} is too large: {error}") from error

    def _warn_of_length(self, length: int) -> None:
        if not self._warned_of_length:
            self._warned_of_length = True
            warn(
                f"A sequence has {length} tokens, but the model takes at most {self.model_max_length}. Pass "
                "truncation=True, or split the text. (A tokenizer gives this warning once.)"
            )

    def _no_pad_token(self) -> InputError:
        return InputError(
            f"Padding needs a token, but pad_token={self.pad_token!r} has no id. Set tokenizer.pad_token = "
            "tokenizer.eos_token, or add one: tokenizer.add_special_tokens({'pad_token': '[PAD]'})."
        )

    def encode(
        self,
        text: TextInput,
        text_pair: TextInput | None = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: Any = None,
        stride: Any = 0,
        padding_side: Any = None,
        return_tensors: Any = None,
        **options: Any,
    ) -> Any:
        """Only the `input_ids` of a call with these arguments; `options` are further arguments of a call."""
        return self(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            padding_side=padding_side,
            return_tensors=return_tensors,
            **options,
        )["input_ids"]

    def tokenize(
        self,
        text: TextInput,
        pair: TextInput | None = None,
        add_special_tokens: bool = False,
        *,
        is_split_into_words: bool = False,
        split_special_tokens: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """The tokens of a text, or of a pair, as strings."""
        if unknown:
            _refuse_unknown(self.tokenize, unknown, CALL)
        _, batched = read_texts(text, pair, is_split_into_words)
        if batched:
            raise TokenizationError(
                "tokenize takes one text: call it for every text of the batch, or pass is_split_into_words=True if the "
                "list holds the words of one text."
            )
        return self(
            text,
            pair,
            add_special_tokens=add_special_tokens,
            is_split_into_words=is_split_into_words,
            split_special_tokens=split_special_tokens,
        ).tokens()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """The number of special tokens that are added to a text, or to a pair."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    @property
    def max_len_single_sentence(self) -> int | float:
        """The number of tokens of a text that the model has room for."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int | float:
        """The number of tokens of a pair that the model has room for."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    # ---- padding -----------------------------------------------------------------------------------------------------

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: Any = None,
        pad_to_multiple_of: Any = None,
        padding_side: Any = None,
        return_attention_mask: bool | None = None,
        return_tensors: Any = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad encoded examples to one length, as collators do with the examples of a batch.

        Args:
            encoded_inputs: one sequence or a batch, as for `read_examples`. It is not changed.
            padding, max_length, pad_to_multiple_of, padding_side: as in a call.
            return_attention_mask: make and pad `attention_mask`; by default, whether `self.model_input_names` has it.
            return_tensors: "pt", "np" or None: the type of the ids.
            verbose: False turns warnings off.

        Returns:
            `input_ids`, `attention_mask`, `token_type_ids` and `special_tokens_mask` padded, other fields unchanged.

        Raises:
            InputError: no `input_ids`, fields that don't fit each other, or a length as in a call.
        """
        ids_name = self.model_input_names[0]
        rows, batched = read_examples(encoded_inputs, ids_name)
        ids = rows[ids_name]
        if not len(ids):
            return BatchEncoding(rows)
        side, limit = self.padding_side if padding_side is None else padding_side, self.model_max_length
        lengths = choose_lengths(padding, side, False, max_length, 0, pad_to_multiple_of, limit, verbose)
        fillers = {ids_name: self.pad_token_id, "token_type_ids": self.pad_token_type_id, "special_tokens_mask": 1}
        if return_attention_mask or (return_attention_mask is None and "attention_mask" in self.model_input_names):
            fillers["attention_mask"] = 0
            rows.setdefault("attention_mask", [[1] * len(row) for row in ids])
        if lengths.padding:
            if self.pad_token_id is None:
                raise self._no_pad_token()
            length = lengths.padded(max(map(len, ids)))
            for name in fillers.keys() & rows.keys():
                filling = [[fillers[name]] * (length - len(row)) for row in rows[name]]
                pairs = zip(rows[name], filling, strict=True)
                rows[name] = [row + pads if lengths.padding_side == "right" else pads + row for row, pads in pairs]
        if return_tensors is None:
            return_tensors = tensor_type(encoded_inputs, ids_name)
        data = rows if batched else {name: values[0] for name, values in rows.items()}
        return BatchEncoding(data, tensor_type=return_tensors)

    # ---- decoding ----------------------------------------------------------------------------------------------------

    def decode(
        self,
        token_ids: TokenIds | Mapping[str, Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **unknown: Any,
    ) -> str | list[str]:
        """The text of a sequence of ids, or the texts of a batch of sequences.

        Args:
            token_ids: an int, a list, array or tensor of ids, a batch of them, or the output of a call. Ids beyond the
                vocabulary, which a model with a padded vocabulary may give, have no text.
            skip_special_tokens: leave out special tokens.
            clean_up_tokenization_spaces: remove the spaces that WordPiece leaves before punctuation and in
                contractions; by default `self.clean_up_tokenization_spaces`.

        Raises:
            TokenizationError: values that are no ids.
        """
        if unknown:
            _refuse_unknown(self.decode, unknown, DECODE)
        ids = plain_ids(token_ids["input_ids"] if isinstance(token_ids, Mapping) else token_ids)
        batched = isinstance(ids, list) and len(ids) > 0 and isinstance(ids[0], list)
        sequences = ids if batched and isinstance(ids, list) else [ids]
        texts = [str(self._tokenizer.decode(self._check_ids(row), skip_special_tokens)) for row in sequences]
        clean_up = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        if clean_up:
            texts = self._clean_up(texts)
        return texts if batched else texts[0]

    def batch_decode(
        self,
        sequences: TokenIds | Mapping[str, Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Like `decode`, which takes batches too, but one sequence gives a list of one text."""
        if unknown:
            _refuse_unknown(self.batch_decode, unknown, DECODE)
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)
        return [texts] if isinstance(texts, str) else texts

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens into a text."""
        decoder = self._tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))

    def clean_up_tokenization(self, text: str) -> str:
        """Remove the spaces before punctuation and in contractions that a WordPiece decoder leaves."""
        for spaced in _SPACED:
            text = text.replace(spaced, spaced.strip())
        return text

    def _clean_up(self, texts: list[str]) -> list[str]:
        force = self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
        if type(self._tokenizer.model).__name__ == "BPE" and not force:
            warn(
                "clean_up_tokenization_spaces has no effect: byte-level BPE decodes to the exact text, and cleaning up "
                "would remove spaces of the text. Pass clean_up_tokenization_spaces=False."
            )
            return texts
        return list(map(self.clean_up_tokenization, texts))


def _refuse_unknown(method: Callable[..., Any], arguments: Mapping[str, Any], no_ops: Mapping[str, Accepted]) -> None:
    owner = f"{type(method.__self__).__name__}.{method.__name__}()"  # type: ignore[attr-defined]
    refuse_unknown(owner, remove_no_ops(owner, arguments, no_ops), inspect.signature(method).parameters)
