"""Text to ids and back: what a call of a tokenizer does, and decoding.

How long the results are to be is read in lengths.py; padding what was encoded before is worked out in padding.py.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenizers import Encoding

from minitransformers.errors import InputError, TokenizationError, UnknownArgumentError, nearest, warn
from minitransformers.tokenization.base.backend import rust_errors
from minitransformers.tokenization.base.encoding import BatchEncoding
from minitransformers.tokenization.base.lengths import NO_LIMIT, Lengths, PaddingStrategy, choose_lengths, whole
from minitransformers.tokenization.base.padding import fields_of, pad_rows, padded_length, rows_of, tensor_kind
from minitransformers.tokenization.base.texts import Texts, read_texts
from minitransformers.tokenization.base.vocabulary import TokenIds, Vocabulary, plain_ids

if TYPE_CHECKING:
    Words = Sequence[str]
    TextInput = str | Sequence[str] | Sequence[Words] | Sequence[tuple[str, str]] | Sequence[tuple[Words, Words]]
else:
    TextInput = Any  # read by `read_texts`, whose errors say more than a type checker's

# How each field of the output is read from what the Rust library returns, in the order of the output.
_FIELDS: dict[str, Callable[[Encoding], Any]] = {
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: encoding.attention_mask,
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
    "length": len,
}

# What WordPiece decoders leave apart and English writes together, as in the first BERT release.
_APART = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


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
            text: a str; a list of str is a batch. With `is_split_into_words` a list of words, or a batch of such lists.
            text_pair: the second text of the pair, or one for every text of the batch. A batch may also hold pairs.
            text_target, text_pair_target: encoded likewise, their ids returned as `labels` beside `text`, or as
                `input_ids` without it.
            add_special_tokens: whether to add what the model expects around texts ([CLS], [SEP], …).
            padding: False; True or "longest": to the longest of the batch; "max_length": to `max_length`.
            truncation: None or False; True or "longest_first": pairs lose tokens from the longer text; "only_first",
                "only_second". `max_length` given without padding truncates too.
            max_length: in tokens; the model's limit unless given.
            stride: how many tokens each overflowing piece repeats from the piece before.
            is_split_into_words: whether the texts are lists of words.
            pad_to_multiple_of: rounds the padded length up.
            padding_side: "left" or "right"; `self.padding_side` unless given.
            return_tensors: "pt" for torch tensors, "np" for numpy arrays, None for lists.
            return_token_type_ids, return_attention_mask: whether the output has them; as in `self.model_input_names`
                unless given.
            return_overflowing_tokens: return what truncation cuts off as further rows; `overflow_to_sample_mapping`
                says which text each row is from.
            return_special_tokens_mask: add `special_tokens_mask`, 1 at tokens that the tokenizer added.
            return_offsets_mapping: add `offset_mapping`, the (start, end) characters of each token.
            return_length: add `length`, the number of tokens.
            verbose: False leaves out warnings.
            tokenizer_kwargs: further arguments in a dictionary; they count before those given directly.
            split_special_tokens: whether special tokens that stand in the text are split like ordinary text.
            max_target_length: `max_length` for the targets.

        Returns:
            A BatchEncoding. Its fields are lists of ids for one text, of lists for a batch, for overflow and, with an
            axis in front, for tensors.

        Raises:
            TokenizationError: texts that are none.
            InputError: lengths that can't be had (see `choose_lengths`), no token to pad with, rows of different
                lengths that are to become a tensor.
            UnknownArgumentError: an argument that does not exist.
        """
        if tokenizer_kwargs:  # (locals() holds nothing but the arguments here)
            given = {name: value for name, value in locals().items() if name not in ("self", "unknown")}
            return self(**{**given, **unknown, **tokenizer_kwargs, "tokenizer_kwargs": None})
        _refuse_unknown(self.__call__, unknown)
        if text is None and text_target is None:
            raise TokenizationError("There is nothing to encode: text is None, and so is text_target.")
        lengths = self._lengths(padding, truncation, max_length, stride, pad_to_multiple_of, padding_side, verbose)
        wanted = {
            "input_ids": True,
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        fields = [name for name, wish in wanted.items() if (name in self.model_input_names if wish is None else wish)]

        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens

        def encode(text: Any, text_pair: Any, lengths: Lengths) -> BatchEncoding:
            return self._encode(
                read_texts(text, text_pair, is_split_into_words),
                lengths,
                fields,
                add_special_tokens=add_special_tokens,
                is_split_into_words=is_split_into_words,
                split_special_tokens=split,
                overflow=return_overflowing_tokens,
                return_tensors=return_tensors,
                verbose=verbose,
            )

        if text_target is None:
            return encode(text, text_pair, lengths)
        target_lengths = lengths
        if max_target_length is not None:
            longest = whole("max_target_length", max_target_length, least=0)
            target_lengths = dataclasses.replace(lengths, max_length=longest)
        target = encode(text_target, text_pair_target, target_lengths)
        if text is None:
            return target
        encoded = encode(text, text_pair, lengths)
        encoded["labels"] = target["input_ids"]
        return encoded

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
        _refuse_unknown(self.tokenize, unknown)
        if read_texts(text, pair, is_split_into_words).batched:
            raise TokenizationError(
                "tokenize takes one text: call it for every text of the batch, or pass is_split_into_words=True if the "
                "list is one text in words."
            )
        return self(
            text,
            pair,
            add_special_tokens=add_special_tokens,
            is_split_into_words=is_split_into_words,
            split_special_tokens=split_special_tokens,
        ).tokens()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens are put around a text, or a pair."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    @property
    def max_len_single_sentence(self) -> int | float:
        """How many tokens of a text fit into the model."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int | float:
        """How many tokens of a pair fit into the model."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def _lengths(
        self,
        padding: Any,
        truncation: Any,
        max_length: Any,
        stride: Any,
        pad_to_multiple_of: Any,
        padding_side: Any,
        verbose: bool,
    ) -> Lengths:
        """How long sequences are to be: what the arguments say and, where they leave it open, this tokenizer."""
        lengths = choose_lengths(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=self.padding_side if padding_side is None else padding_side,
            model_max_length=self.model_max_length,
            verbose=verbose,
        )
        if lengths.pads and self.pad_token_id is None:
            raise InputError(
                f"padding={padding!r} needs a token to pad with, but pad_token={self.pad_token!r} has no id. Set "
                "tokenizer.pad_token = tokenizer.eos_token, or add one: "
                "tokenizer.add_special_tokens({'pad_token': '[PAD]'})."
            )
        return lengths

    def _encode(
        self,
        texts: Texts,
        lengths: Lengths,
        fields: list[str],
        *,
        add_special_tokens: bool,
        is_split_into_words: bool,
        split_special_tokens: bool,
        overflow: bool,
        return_tensors: Any,
        verbose: bool,
    ) -> BatchEncoding:
        """Let the Rust library encode, and gather what it returns: each of the `fields`, a row for each sequence."""
        self._check_room(lengths, self.num_special_tokens_to_add(texts.paired) if add_special_tokens else 0)
        self._tell_backend(lengths, split_special_tokens)
        with rust_errors(lambda message: f"The texts can't be encoded: {_advice(message, texts.items)}"):
            first_pieces = self._tokenizer.encode_batch(
                texts.items, is_pretokenized=is_split_into_words, add_special_tokens=add_special_tokens
            )
        # One row for every text, or for every piece of every text.
        pieces = [[piece, *(piece.overflowing if overflow else ())] for piece in first_pieces]
        encodings = [piece for row in pieces for piece in row]
        data = {name: [_FIELDS[name](encoding) for encoding in encodings] for name in fields}
        if overflow:
            data["overflow_to_sample_mapping"] = [sample for sample, row in enumerate(pieces) for _ in row]
        if verbose and lengths.max_length is None:
            self._warn_of_length(max(map(len, encodings)))
        if not texts.batched and not overflow and return_tensors is None:
            data = {name: rows if name == "length" else rows[0] for name, rows in data.items()}
        return BatchEncoding(data, encodings, tensor_type=return_tensors)

    def _check_room(self, lengths: Lengths, special_tokens: int) -> None:
        """Refuse a `max_length` that special tokens alone exceed, and a `stride` with which pieces never advance."""
        if not lengths.truncates or lengths.max_length is None:
            return
        room = lengths.max_length - special_tokens
        if room < 0:
            raise InputError(
                f"max_length={lengths.max_length} is too small: {special_tokens} special tokens are added. Pass at "
                f"least {special_tokens}, or add_special_tokens=False."
            )
        if lengths.stride and lengths.stride >= room:
            raise InputError(
                f"stride={lengths.stride} must be smaller than the {room} tokens that max_length={lengths.max_length} "
                f"leaves beside {special_tokens} special tokens; else no piece gets any further than the one before."
            )

    def _tell_backend(self, lengths: Lengths, split_special_tokens: bool) -> None:
        """Set what the Rust library keeps as state. Every call sets all of it, so nothing of it lasts."""
        self._tokenizer.encode_special_tokens = split_special_tokens
        if lengths.truncates and lengths.max_length is not None:
            try:
                self._tokenizer.enable_truncation(
                    lengths.max_length,
                    stride=lengths.stride,
                    strategy=lengths.truncation.value,
                    direction=self.truncation_side,
                )
            except ValueError as error:  # it counts special tokens even where none are to be added
                raise InputError(f"stride={lengths.stride} is too large: {error}") from error
        else:
            self._tokenizer.no_truncation()
        if lengths.pads:
            self._tokenizer.enable_padding(
                length=lengths.max_length if lengths.padding == PaddingStrategy.MAX_LENGTH else None,
                direction=lengths.padding_side,
                pad_id=self.pad_token_id,
                pad_token=self.pad_token,
                pad_type_id=self.pad_token_type_id,
                pad_to_multiple_of=lengths.pad_to_multiple_of,
            )
        else:
            self._tokenizer.no_padding()

    def _warn_of_length(self, longest: int) -> None:
        if longest > self.model_max_length > 0 and not self._warned_of_length:
            self._warned_of_length = True
            warn(
                f"A sequence has {longest} tokens, but the model takes at most {self.model_max_length}. Pass "
                "truncation=True, or split the text. (This warning comes once for a tokenizer.)"
            )

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
        """Pad what was encoded before to one length: what a collator does with the examples of a batch.

        Args:
            encoded_inputs: a dictionary of lists (one sequence) or of lists of lists (a batch), or a list of
                dictionaries; arrays and tensors may stand for lists. It is left as it is.
            padding, max_length, pad_to_multiple_of, padding_side: as in a call.
            return_attention_mask: whether to make and pad `attention_mask`; as `self.model_input_names` says unless
                given.
            return_tensors: "pt", "np" or None: as the ids came.
            verbose: False leaves out warnings.

        Returns:
            `input_ids`, `attention_mask`, `token_type_ids` and `special_tokens_mask` padded, all other fields (labels!)
            as they were.

        Raises:
            InputError: no `input_ids`, fields that do not fit each other, or what a call refuses.
        """
        main = self.model_input_names[0]
        fields = fields_of(encoded_inputs)
        table = rows_of(fields, main)
        if table is None:
            return BatchEncoding(fields)
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        if return_attention_mask and "attention_mask" not in table.rows:
            table.rows["attention_mask"] = [[1] * len(row) for row in table.rows[main]]

        lengths = self._lengths(padding, False, max_length, 0, pad_to_multiple_of, padding_side, verbose)
        fillers = {main: self.pad_token_id, "token_type_ids": self.pad_token_type_id, "special_tokens_mask": 1}
        if return_attention_mask:
            fillers["attention_mask"] = 0
        padded = pad_rows(table.rows, padded_length(lengths, table.rows[main]), fillers, lengths.padding_side)
        if return_tensors is None:
            return_tensors = tensor_kind(fields[main])
        data = padded if table.batched else {name: rows[0] for name, rows in padded.items()}
        return BatchEncoding(data, tensor_type=return_tensors)

    # ---- decoding ----------------------------------------------------------------------------------------------------

    def decode(
        self,
        token_ids: TokenIds | Mapping[str, Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **unknown: Any,
    ) -> str | list[str]:
        """The text of a sequence of ids, or the list of texts of a batch of sequences.

        Args:
            token_ids: an int, a list, array or tensor of ids, a batch of such, or what a call returned.
            skip_special_tokens: leave out special tokens.
            clean_up_tokenization_spaces: remove the spaces that WordPiece leaves before punctuation and in
                contractions; `self.clean_up_tokenization_spaces` unless given.

        Raises:
            TokenizationError: ids that are no whole numbers, are negative, or that no token has.
        """
        _refuse_unknown(self.decode, unknown)
        plain = plain_ids(token_ids["input_ids"] if isinstance(token_ids, Mapping) else token_ids)
        if isinstance(plain, list) and plain and isinstance(plain[0], list):
            return [self._decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in plain]
        return self._decode(plain, skip_special_tokens, clean_up_tokenization_spaces)

    def batch_decode(
        self,
        sequences: TokenIds | Mapping[str, Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **unknown: Any,
    ) -> list[str]:
        """As `decode`, which takes batches too, but one sequence gives a list of one text."""
        _refuse_unknown(self.batch_decode, unknown)
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)
        return [texts] if isinstance(texts, str) else texts

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens into a text."""
        decoder = self._tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))

    def clean_up_tokenization(self, text: str) -> str:
        """Remove the spaces before punctuation and in contractions that a WordPiece decoder leaves."""
        for apart in _APART:
            text = text.replace(apart, apart.strip())
        return text

    def _decode(self, ids: int | list[Any], skip_special_tokens: bool, clean_up: bool | None) -> str:
        text = str(self._tokenizer.decode(self._check_ids(ids), skip_special_tokens=skip_special_tokens))
        if not (self.clean_up_tokenization_spaces if clean_up is None else clean_up):
            return text
        force = self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
        if type(self._tokenizer.model).__name__ == "BPE" and not force:
            warn(
                "clean_up_tokenization_spaces is left out: byte-level BPE decodes to the exact text, and cleaning up "
                "would take spaces from it. Pass clean_up_tokenization_spaces=False."
            )
            return text
        return self.clean_up_tokenization(text)


def _refuse_unknown(method: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """UnknownArgumentError for the first of the `arguments`, which the bound `method` does not have."""
    for name in arguments:
        owner, known = type(method.__self__).__name__, inspect.signature(method).parameters  # type: ignore[attr-defined]
        raise UnknownArgumentError(f"{owner}.{method.__name__}() has no argument {name!r}.{nearest(name, known)}")


def _advice(message: str, items: list[Any]) -> str:
    """What to do about an error of the Rust library."""
    if invalid := _with_surrogate(items):
        return (
            f"{invalid!r} has a lone surrogate, half of a character, which is no valid text. Clean it: "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        )
    if "Second sequence not provided" in message:
        return "truncation='only_second' needs text_pair. Pass truncation=True for single texts."
    if "too short" in message:
        return (
            "the text that truncation may shorten is too short to bring the pair down to max_length. Pass "
            "truncation='longest_first', or a larger max_length."
        )
    if "stride" in message:
        return "truncation leaves a text no more than stride tokens. Pass a smaller stride or a larger max_length."
    return message


def _with_surrogate(items: Any) -> str:
    """The first text that is no valid Unicode."""
    if isinstance(items, str):
        return items if any(0xD800 <= ord(character) < 0xE000 for character in items) else ""
    return next(filter(None, map(_with_surrogate, items)), "")
