"""The vocabulary of a tokenizer: tokens and their ids, special tokens, and added tokens."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer

from minitransformers.errors import TokenizationError, UnknownArgumentError, nearest

if TYPE_CHECKING:
    Token = str | AddedToken
    Tokens = str | Sequence[str]
    TokenIds = int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray | torch.Tensor
else:
    # `checked_token` and `plain_ids` check them, with better errors than a type checker's.
    Token = Tokens = TokenIds = Any


class Vocabulary:
    """The part of a tokenizer that maps tokens to ids and back.

    Every tokenizer has names for seven special tokens, each None until it is set. A tokenizer can have more names
    (`image_token`), and extra special tokens without a name. Each name has an id, `<name>_id`. Assigning to a name
    does not add a token: `tokenizer.pad_token = tokenizer.eos_token` gives a present token a second use, and
    `add_special_tokens({"pad_token": "[PAD]"})` adds a new token.
    """

    _removed_names: Mapping[str, str] = {}  # attributes of transformers 4, and their replacements

    SPECIAL_TOKENS_ATTRIBUTES: Sequence[str] = (
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
    )

    # Served by __getattr__ and __setattr__.
    bos_token: str | None
    eos_token: str | None
    unk_token: str | None
    sep_token: str | None
    pad_token: str | None
    cls_token: str | None
    mask_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    unk_token_id: int | None
    sep_token_id: int | None
    pad_token_id: int | None
    cls_token_id: int | None
    mask_token_id: int | None

    def __init__(self, backend: Tokenizer, named: Mapping[str, Token | None], extra: Sequence[Token] | None) -> None:
        self._tokenizer = backend
        self._extra_special_tokens = _checked_list("extra_special_tokens", extra)
        self._named_tokens: dict[str, Token | None] = dict.fromkeys(self.SPECIAL_TOKENS_ATTRIBUTES)
        for name, token in named.items():
            self._named_tokens[name] = None if token is None else checked_token(name, token)
        self.SPECIAL_TOKENS_ATTRIBUTES = tuple(self._named_tokens)

    # ---- special tokens ----------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for names that are no ordinary attribute. During unpickling `_named_tokens` is missing.
        named = self.__dict__.get("_named_tokens", {})
        if name in named:
            return None if named[name] is None else str(named[name])
        if name.removesuffix("_id") in named:
            token = named[name.removesuffix("_id")]
            return None if token is None else self._id(str(token))
        if name in self._removed_names:
            raise AttributeError(
                f"transformers 5 has removed {type(self).__name__}.{name}: {self._removed_names[name]}."
            )
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{nearest(name, dir(self))}")

    def __setattr__(self, name: str, value: Any) -> None:
        named = self.__dict__.get("_named_tokens", {})
        if name in named:
            named[name] = None if value is None else checked_token(name, value)
        elif name.removesuffix("_id") in named:
            named[name.removesuffix("_id")] = None if value is None else self._token(value)
        else:
            super().__setattr__(name, value)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The named special tokens that are set."""
        return {name: str(token) for name, token in self._named_tokens.items() if token is not None}

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens without a name."""
        return [str(token) for token in self._extra_special_tokens]

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: Sequence[Token] | None) -> None:
        self._extra_special_tokens = _checked_list("extra_special_tokens", tokens)

    @property
    def extra_special_tokens_ids(self) -> list[int | None]:
        """The ids of the special tokens without a name."""
        return [self._id(token) for token in self.extra_special_tokens]

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once: those with a name, then the extra ones."""
        tokens = [*self._named_tokens.values(), *self._extra_special_tokens]
        return list(dict.fromkeys(str(token) for token in tokens if token is not None))

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of `all_special_tokens`."""
        return [self._id(token) for token in self.all_special_tokens]

    # ---- size and contents -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of tokens, including added tokens: the argument of `model.resize_token_embeddings`."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens without added tokens."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, including added tokens."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    def get_added_vocab(self) -> dict[str, int]:
        """The added tokens with their ids, in the order of the ids."""
        return {token.content: index for index, token in sorted(self.added_tokens_decoder.items())}

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The added tokens with their ids, in the order of the ids."""
        return self.get_added_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id, including tokens of the vocabulary that were declared special."""
        return dict(self._tokenizer.get_added_tokens_decoder())

    # ---- adding ------------------------------------------------------------------------------------------------------

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens that are never split at the end of the vocabulary. Tokens of the vocabulary keep their id.

        Call `model.resize_token_embeddings(len(tokenizer))` afterwards.

        Args:
            new_tokens: strings, or `AddedToken`s, which also set how they match (lstrip, rstrip, single_word,
                normalized).
            special_tokens: whether the tokens are special: matched before normalization, and left out by
                `decode(skip_special_tokens=True)`.

        Returns:
            The number of tokens that are new.
        """
        listed = new_tokens if isinstance(new_tokens, (list, tuple)) else [new_tokens]
        add = self._tokenizer.add_special_tokens if special_tokens else self._tokenizer.add_tokens
        return int(add(_checked_list("new_tokens", listed)))

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Token | Sequence[Token]],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Set special tokens by name, and add the ones that are not in the vocabulary.

        Args:
            special_tokens_dict: for example `{"pad_token": "[PAD]", "extra_special_tokens": ["<a>", "<b>"]}`.
            replace_extra_special_tokens: whether the new extra tokens replace the present ones, or follow them.

        Returns:
            The number of tokens that are new.

        Raises:
            UnknownArgumentError: a key that is no name of a special token.
        """
        tokens = dict(special_tokens_dict)
        if "additional_special_tokens" in tokens and not tokens.get("extra_special_tokens"):
            tokens["extra_special_tokens"] = tokens.pop("additional_special_tokens")  # its name in transformers 4
        extra = [
            _special(token) for token in _checked_list("extra_special_tokens", tokens.pop("extra_special_tokens", ()))
        ]
        for name in tokens.keys() - self._named_tokens.keys():
            known = [*self._named_tokens, "extra_special_tokens"]
            raise UnknownArgumentError(
                f"{name!r} is no name of a special token; the names are {', '.join(known)}.{nearest(name, known)} Pass "
                "tokens without a name in extra_special_tokens."
            )
        named = {name: _special(checked_token(name, token)) for name, token in tokens.items()}
        self._named_tokens |= named
        if not replace_extra_special_tokens:
            present = self.extra_special_tokens
            extra = [token for token in extra if token.content not in present]
            self._extra_special_tokens += extra
        elif extra:
            self._extra_special_tokens = list(extra)
        return self.add_tokens([*named.values(), *extra], special_tokens=True)

    # ---- tokens <-> ids ----------------------------------------------------------------------------------------------

    def convert_tokens_to_ids(self, tokens: Tokens) -> Any:
        """The id of a token, or the ids of a list of tokens. An unknown token has the id of `unk_token`, or None."""
        if isinstance(tokens, str):
            return self._id(tokens)
        return [self._id(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: TokenIds, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the tokens of a list, array or tensor of ids; None for an id that has no token.

        Raises:
            TokenizationError: a negative id, or a batch of sequences.
        """
        plain = plain_ids(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens and isinstance(plain, list) else set()
        tokens = [self._tokenizer.id_to_token(index) for index in self._check_ids(plain) if index not in skipped]
        return tokens[0] if isinstance(plain, int) else tokens

    def get_special_tokens_mask(
        self,
        token_ids_0: TokenIds,
        token_ids_1: TokenIds | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for every special token in `token_ids_0`, 0 for the others.

        Raises:
            TokenizationError: `already_has_special_tokens` is False, or there is a second sequence. (Call the tokenizer
                with return_special_tokens_mask=True to get the mask of a text.)
        """
        if not already_has_special_tokens or token_ids_1 is not None:
            raise TokenizationError(
                "get_special_tokens_mask takes one sequence that has its special tokens: pass "
                "already_has_special_tokens=True and no token_ids_1. For texts call the tokenizer with "
                "return_special_tokens_mask=True."
            )
        special = set(self.all_special_ids)
        return [int(index in special) for index in self._check_ids(plain_ids(token_ids_0))]

    def _id(self, token: object) -> int | None:
        if not isinstance(token, str):
            raise TokenizationError(f"A token must be a str, got {token!r} of type {type(token).__name__}.")
        index: int | None = self._tokenizer.token_to_id(token)
        if index is None and (unknown := self._named_tokens["unk_token"]) is not None:
            index = self._tokenizer.token_to_id(str(unknown))
        return index

    def _token(self, index: TokenIds) -> Any:
        """The token of an id; TokenizationError where it has none."""
        token = self.convert_ids_to_tokens(index)
        if token is None:
            raise TokenizationError(f"No token has the id {index}: add it first, with add_special_tokens.")
        return token

    def _check_ids(self, ids: int | list[Any]) -> list[int]:
        """`ids` as a list, if they are one sequence of ids of some vocabulary; else TokenizationError."""
        ids = [ids] if isinstance(ids, int) else ids
        if list in map(type, ids):
            raise TokenizationError("Expected one sequence of ids, got a batch of them: pass its rows one by one.")
        if ids and min(ids) < 0:
            raise TokenizationError(
                f"No token has the negative id {min(ids)}. Labels hold -100 where there is nothing to predict: replace "
                "-100 by tokenizer.pad_token_id before decoding."
            )
        if ids and max(ids) >= 2**32:
            raise TokenizationError(f"No token has the id {max(ids)}: ids are smaller than 2³².")
        return ids


def plain_ids(ids: object) -> int | list[Any]:
    """Ids, given as ints, lists, arrays or tensors, as ints in (nested) lists.

    Raises:
        TokenizationError: a value that is no whole number.
    """
    if isinstance(ids, (torch.Tensor, np.ndarray, np.generic)):
        ids = ids.tolist()
    if isinstance(ids, (list, tuple)):
        return [index if type(index) is int else plain_ids(index) for index in ids]
    try:
        return operator.index(ids)  # type: ignore[arg-type]
    except TypeError:
        raise TokenizationError(
            f"Ids must be whole numbers, in a list, array or tensor; got {ids!r} of type {type(ids).__name__}."
        ) from None


def _special(token: Token) -> AddedToken:
    return token if isinstance(token, AddedToken) else AddedToken(token, special=True, normalized=False)


def is_token(value: object) -> bool:
    """Whether `value` can be a token."""
    return isinstance(value, (str, AddedToken))


def checked_token(name: str, token: Any) -> Token:
    """`token`, if it is a str or an AddedToken; else TokenizationError."""
    if not is_token(token):
        raise TokenizationError(f"{name} must be a str or an AddedToken, got {token!r} of type {type(token).__name__}.")
    value: Token = token
    return value


def _checked_list(name: str, tokens: Any) -> list[Token]:
    """`tokens` as a list (None: an empty one), if they are a list of tokens; else TokenizationError."""
    if not isinstance(tokens, (list, tuple, type(None))):
        raise TokenizationError(f"{name} must be a list of tokens, got {tokens!r}.")
    return [checked_token(name, token) for token in tokens or ()]
