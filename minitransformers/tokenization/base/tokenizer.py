"""PreTrainedTokenizer: any tokenizer of the `tokenizers` library with the interface of transformers.

This file creates, loads, saves and retrains a tokenizer. It inherits the rest, and each of these files needs only the
ones before it: tokens and ids (vocabulary.py), texts to ids and back (codec.py), conversations (conversations.py).
"""

from __future__ import annotations

import copy
import inspect
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import AddedToken, Tokenizer, processors

from minitransformers.compat.keywords import LOADING_PROCESSORS, remove_no_ops
from minitransformers.compat.tokenizers import SETTINGS
from minitransformers.configs.checks import check_choice, refuse_unknown
from minitransformers.errors import InputError, TokenizationError, shown
from minitransformers.files.atomic import replacing, write_text
from minitransformers.files.hub import Source, is_file
from minitransformers.files.pushing import PushToHub
from minitransformers.tokenization.base.arguments import NO_LIMIT, SIDES
from minitransformers.tokenization.base.backend import read_backend, special_tokens_around
from minitransformers.tokenization.base.conversations import ChatCodec
from minitransformers.tokenization.base.retraining import retrain
from minitransformers.tokenization.base.tokenizer_files import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    SingleFile,
    TokenizerFiles,
    as_json,
    write_chat_template,
)
from minitransformers.tokenization.base.vocabulary import Token, Vocabulary, is_token
from minitransformers.tokenization.chat.templates import read_templates, templates_in_config

T = TypeVar("T", bound="PreTrainedTokenizer")

# Attributes of transformers 4 that transformers 5 has removed, and their replacements.
REMOVED = {
    "additional_special_tokens": "use extra_special_tokens",
    "additional_special_tokens_ids": "use extra_special_tokens_ids",
    "all_special_tokens_extended": "use added_tokens_decoder, which holds AddedToken objects",
    "as_target_tokenizer": "pass text_target=… in a call",
    "batch_encode_plus": "call the tokenizer with the list of texts: tokenizer(texts, …)",
    "build_inputs_with_special_tokens": "call the tokenizer with the texts: it adds the special tokens",
    "create_token_type_ids_from_sequences": "call the tokenizer with text and text_pair, return_token_type_ids=True",
    "encode_plus": "call the tokenizer: tokenizer(text, …)",
    "max_len": "use model_max_length",
    "prepare_for_model": "call the tokenizer with the texts, or pad() ids that you have",
    "prepare_seq2seq_batch": "call the tokenizer with text_target=…",
    "special_tokens_map_extended": "use added_tokens_decoder, which holds AddedToken objects",
    "truncate_sequences": "call the tokenizer with truncation=True, max_length=…",
}


class PreTrainedTokenizer(ChatCodec, PushToHub):
    """A tokenizer from a tokenizer.json or from an object of the `tokenizers` library.

    Subclasses such as BertTokenizer build a pipeline of their own from a vocabulary.

    Args:
        tokenizer_object: a `tokenizers.Tokenizer`; it is copied.
        tokenizer_file: the path of a tokenizer.json. The arguments of a call decide on truncation and padding; settings
            stored in a tokenizer are cleared, except for the sides and the padding token.
        name_or_path: the directory or repository that it was loaded from.
        model_max_length: the largest number of tokens that the model takes. (`max_len` is its old name.)
        padding_side, truncation_side: "right" or "left".
        model_input_names: the fields that a call returns by default; the first has the ids.
        bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token: special tokens. Those that are not
            in the vocabulary are added at its end.
        extra_special_tokens: special tokens without a name, or a dictionary of further names.
            (`additional_special_tokens` is its old name, `model_specific_special_tokens` another for the dictionary.)
        added_tokens_decoder: tokens to add, in the order of their ids.
        add_bos_token, add_eos_token: add `bos_token` before and `eos_token` after every text. By default the
            `post_processor` decides.
        post_processor: adds special tokens to texts; by default that of the tokenizer.
        split_special_tokens: encode special tokens inside a text like ordinary text.
        clean_up_tokenization_spaces: whether `decode` removes the spaces before punctuation.
        chat_template: a Jinja template, or several by name, for `apply_chat_template`.
        chat_control_tokens: the control tokens of `apply_chat_template(sanitize_control_tokens=True)`.
        verbose: has no effect; the argument of a call turns warnings off.
        more_special_tokens: further named special tokens: `image_token="<image>"`. Settings without effect, such as
            `legacy`, are saved.

    Raises:
        TokenizationError: no tokenizer, or one that can't be read.
        UnknownArgumentError: an argument that does not exist.
    """

    vocab_files_names: Mapping[str, str] = {"tokenizer_file": TOKENIZER_FILE}
    _pushed_as = "tokenizer"
    _removed_names = REMOVED
    is_fast = True

    def __init__(
        self,
        *,
        tokenizer_object: Tokenizer | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        name_or_path: str | os.PathLike[str] = "",
        model_max_length: Any = None,
        max_len: Any = None,
        padding_side: Any = None,
        truncation_side: Any = None,
        model_input_names: Sequence[str] | None = None,
        bos_token: Token | None = None,
        eos_token: Token | None = None,
        unk_token: Token | None = None,
        sep_token: Token | None = None,
        pad_token: Token | None = None,
        cls_token: Token | None = None,
        mask_token: Token | None = None,
        extra_special_tokens: Any = None,
        additional_special_tokens: Any = None,
        model_specific_special_tokens: Mapping[str, Token] | None = None,
        added_tokens_decoder: Mapping[int, AddedToken] | None = None,
        add_bos_token: bool | None = None,
        add_eos_token: bool | None = None,
        post_processor: processors.PostProcessor | None = None,
        split_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = False,
        clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: bool = False,
        chat_template: Any = None,
        chat_control_tokens: Sequence[str] | None = None,
        verbose: bool = False,
        **more_special_tokens: Any,
    ) -> None:
        named = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        self._refuse_unknown(more_special_tokens)
        without_effect = {name: more_special_tokens.pop(name) for name in SETTINGS.keys() & more_special_tokens.keys()}
        more = {**more_special_tokens, **(model_specific_special_tokens or {})}
        extra = additional_special_tokens if extra_special_tokens is None else extra_special_tokens
        if isinstance(extra, Mapping):
            more, extra = {**more, **extra}, None

        backend = self._take_backend(tokenizer_object, tokenizer_file)
        padding, truncation = backend.padding or {}, backend.truncation or {}
        backend.no_padding()
        backend.no_truncation()
        if named["pad_token"] is None:
            named["pad_token"] = padding.get("pad_token")
        if post_processor is not None:
            backend.post_processor = post_processor
        backend.encode_special_tokens = split_special_tokens
        super().__init__(backend, {**named, **more}, extra)

        self.name_or_path = os.fspath(name_or_path)
        self.model_max_length = _limit(max_len if model_max_length is None else model_max_length)
        for name, value, stored in (
            ("padding_side", padding_side, padding),
            ("truncation_side", truncation_side, truncation),
        ):
            default = stored.get("direction", getattr(self, name))
            setattr(self, name, check_choice(name, default if value is None else value, SIDES))
        self.model_input_names = list(model_input_names or self.model_input_names)
        self.split_special_tokens = split_special_tokens
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = (
            clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
        )
        self.chat_template = read_templates(chat_template)
        self.chat_control_tokens = None if chat_control_tokens is None else list(chat_control_tokens)
        self.verbose = verbose
        self.init_kwargs: dict[str, Any] = {
            "name_or_path": self.name_or_path,
            **without_effect,
            **{name: token for name, token in self._named_tokens.items() if token is not None},
            **self._settings(),
        }

        self._add_missing_tokens(added_tokens_decoder or {})
        self._add_bos_token, self._add_eos_token = bool(add_bos_token), bool(add_eos_token)
        if add_bos_token is not None or add_eos_token is not None or backend.post_processor is None:
            self.update_post_processor()

    def _take_backend(self, tokenizer_object: Tokenizer | None, tokenizer_file: Any) -> Tokenizer:
        if tokenizer_object is not None:
            return copy.deepcopy(tokenizer_object)
        if tokenizer_file is not None:
            return read_backend(tokenizer_file)
        # A class with a pipeline of its own has assigned it before it called this constructor.
        backend: Tokenizer | None = self.__dict__.get("_tokenizer")
        if backend is None:
            raise TokenizationError(
                f"{type(self).__name__} needs tokenizer_object=… or tokenizer_file=…. To load a directory use "
                f"{type(self).__name__}.from_pretrained."
            )
        return backend

    def _add_missing_tokens(self, added_tokens: Mapping[int, AddedToken]) -> None:
        """Add `added_tokens` in the order of their ids, then the special tokens that are not among them."""
        tokens: list[Token] = [token for _, token in sorted(added_tokens.items())]
        known = self.get_added_vocab().keys() | {str(token) for token in tokens}
        named = [token for token in self._named_tokens.values() if token is not None]
        special = dict.fromkeys([*named, *self._extra_special_tokens])
        tokens += [token for token in special if str(token) not in known]
        names = set(self.special_tokens_map.values())
        self.add_tokens([_declared(token, str(token) in names) for token in tokens])

    # ---- special tokens around texts ---------------------------------------------------------------------------------

    @property
    def add_bos_token(self) -> bool:
        """Whether `bos_token` is added before every text. Assigning replaces the tokenizer's post-processor."""
        return self._add_bos_token

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._add_bos_token = value
        self.update_post_processor()

    @property
    def add_eos_token(self) -> bool:
        """Whether `eos_token` is added after every text. Assigning replaces the tokenizer's post-processor."""
        return self._add_eos_token

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._add_eos_token = value
        self.update_post_processor()

    def update_post_processor(self) -> None:
        """Add the present `bos_token` and `eos_token` to texts if `add_bos_token` and `add_eos_token` are set."""
        self._add_bos_token = self._add_bos_token and self.bos_token is not None
        self._add_eos_token = self._add_eos_token and self.eos_token is not None
        before = [str(self.bos_token)] if self._add_bos_token else []
        after = [str(self.eos_token)] if self._add_eos_token else []

        def around(text: str, segment: int) -> list[str]:
            return [f"{piece}:{segment}" for piece in (*before, text, *after)]

        self._tokenizer.post_processor = special_tokens_around(
            single=around("$A", 0),
            pair=[*around("$A", 0), *around("$B", 1)],
            special_tokens=[(token, self.convert_tokens_to_ids(token)) for token in {*before, *after}],
        )

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer of the Rust library."""
        return self._tokenizer

    def __repr__(self) -> str:
        added = "".join(f"\n\t{index}: {token!r}," for index, token in self.added_tokens_decoder.items())
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map}, "
            f"added_tokens_decoder={{{added + chr(10) if added else ''}}})"
        )

    # ---- loading -----------------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls: type[T],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        subfolder: str = "",
        **overrides: Any,
    ) -> T:
        """Load a tokenizer from a directory, a repository of a hub, or a single vocab.txt or tokenizer.json.

        Args:
            pretrained_model_name_or_path: the directory, the repository's name, or the file.
            cache_dir, force_download, local_files_only, token, revision, subfolder: see `Source`.
            trust_remote_code: has no effect. No code of a repository is ever run.
            overrides: arguments of the class; they replace those of the files. `use_fast` and others have no effect
                (compat/keywords.py).

        Raises:
            MissingFileError: no such directory or repository, or no vocabulary in it.
            TokenizationError: a damaged file, or one of another kind of tokenizer.
            UnknownArgumentError: an override that is no argument of the class.
        """
        token = overrides.pop("use_auth_token", None) or token
        name: Any = pretrained_model_name_or_path
        if isinstance(name, (str, os.PathLike)) and is_file(path := Path(name)):
            whole = path.name.endswith(TOKENIZER_FILE) or "vocab_file" not in cls.vocab_files_names
            return cls._load(
                SingleFile(path, TOKENIZER_FILE if whole else cls.vocab_files_names["vocab_file"]), overrides
            )
        source = Source(
            name,
            cache_dir=cache_dir,
            revision=revision,
            subfolder=subfolder,
            local_files_only=local_files_only,
            token=token,
            force_download=force_download,
        )
        return cls._load(source, overrides)

    @classmethod
    def _load(cls: type[T], source: Source | SingleFile, overrides: Mapping[str, Any]) -> T:
        overrides = remove_no_ops(f"{cls.__name__}.from_pretrained", overrides, LOADING_PROCESSORS)
        if "config" not in cls._options():  # in transformers it only chooses a class
            overrides.pop("config", None)
        cls._refuse_unknown(overrides)
        files = TokenizerFiles(source)
        options = files.options(overrides)
        cls._check_types(options)
        kept = {name: options.pop(name) for name in cls._unknown(options)}
        tokenizer = cls(**{**cls._from_files(files, options), "name_or_path": source.name_or_path, **options})
        # Keys of the file that are no arguments are kept, and saved again.
        tokenizer.init_kwargs = kept | tokenizer.init_kwargs
        return tokenizer

    @classmethod
    def _from_files(cls, files: TokenizerFiles, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments for the vocabulary, which may depend on the other arguments, `options`."""
        return {"tokenizer_file": files.source.file(TOKENIZER_FILE)}

    @classmethod
    def _options(cls) -> set[str]:
        """The names of the arguments of this class."""
        own = cls.__mro__[: cls.__mro__.index(PreTrainedTokenizer) + 1]
        constructors = [vars(base)["__init__"] for base in own if "__init__" in vars(base)]
        parameters = [item for function in constructors for item in inspect.signature(function).parameters.values()]
        return {item.name for item in parameters if item.kind != item.VAR_KEYWORD} - {"self"}

    @classmethod
    def _check_types(cls, options: Mapping[str, Any]) -> None:
        """Refuse flags, numbers and texts of other types, which files may have."""
        own = cls.__mro__[: cls.__mro__.index(PreTrainedTokenizer) + 1]
        for constructor in (vars(base)["__init__"] for base in own if "__init__" in vars(base)):
            for name, parameter in inspect.signature(constructor).parameters.items():
                kinds = _KINDS.get(str(parameter.annotation))
                if kinds and name in options and type(options[name]) not in kinds:
                    raise TokenizationError(
                        f"{cls.__name__}: {name}={shown(options[name])} must be of the type {parameter.annotation}."
                    )
        names = options.get("model_input_names")
        if names is not None and not (isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)):
            raise TokenizationError(f"model_input_names={shown(names)} must be a list of names.")

    @classmethod
    def _unknown(cls, options: Mapping[str, Any]) -> list[str]:
        """The names that are neither arguments of this class nor special tokens like image_token="<image>"."""
        known = cls._options()
        return [
            name
            for name, value in options.items()
            if name not in known and not (name.endswith("_token") and is_token(value))
        ]

    @classmethod
    def _refuse_unknown(cls, options: Mapping[str, Any]) -> None:
        unknown = {name: options[name] for name in cls._unknown(options)}
        refuse_unknown(cls.__name__, remove_no_ops(cls.__name__, unknown, SETTINGS), cls._options())

    # ---- saving ------------------------------------------------------------------------------------------------------

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        save_format: str | None = None,
        *,
        save_jinja_files: bool = True,
        **hub_options: Any,
    ) -> tuple[str, ...]:
        """Write tokenizer.json, tokenizer_config.json and chat templates, for this library and for transformers.

        Files of transformers 4 in the directory (special_tokens_map.json, added_tokens.json) are updated, because
        loading reads them.

        Args:
            save_directory: created if it does not exist.
            legacy_format: only None or False; `save_vocabulary` writes the old files.
            filename_prefix: precedes every file name, with a "-".
            push_to_hub: push the files, too.
            save_format: only None or "hf".
            save_jinja_files: False writes chat templates into tokenizer_config.json, like old versions.
            hub_options: `repo_id` and others of `push_to_hub`.

        Returns:
            The paths of the files.
        """
        if legacy_format:
            raise InputError("legacy_format=True is not supported: save_vocabulary writes the vocabulary's own files.")
        if save_format not in (None, "hf"):
            raise InputError(f"save_format must be None or 'hf', got {save_format!r}.")
        directory = Path(save_directory)
        if directory.is_file():
            raise InputError(f"save_directory={str(directory)!r} is a file: pass a directory.")
        general = PreTrainedTokenizer._options() | self._named_tokens.keys()
        config = {name: value for name, value in self.init_kwargs.items() if name not in general}
        config |= self._settings() | dict.fromkeys(self._named_tokens) | self.special_tokens_map
        if not all(name.endswith("_token") for name in self._named_tokens):  # the ending marks tokens in files
            general_names = Vocabulary.SPECIAL_TOKENS_ATTRIBUTES
            more = {name: token for name, token in self._named_tokens.items() if name not in general_names}
            config["model_specific_special_tokens"] = more
        # transformers 4 and 5 both have this name for generic tokenizers.
        generic = type(self) is PreTrainedTokenizer
        config["tokenizer_class"] = "PreTrainedTokenizerFast" if generic else type(self).__name__
        if not save_jinja_files and self.chat_template is not None:
            config["chat_template"] = templates_in_config(self.chat_template)

        self._tokenizer.no_truncation()
        texts = {CONFIG_FILE: as_json(config), TOKENIZER_FILE: self._tokenizer.to_str(pretty=True)}
        old: dict[str, Mapping[str, Any]] = {
            SPECIAL_TOKENS_FILE: self.special_tokens_map,
            ADDED_TOKENS_FILE: self.get_added_vocab(),
        }

        prefix = f"{filename_prefix}-" if filename_prefix else ""
        with self._pushing(directory, push_to_hub, hub_options):
            directory.mkdir(parents=True, exist_ok=True)
            texts |= {name: as_json(text) for name, text in old.items() if (directory / (prefix + name)).is_file()}
            templates = write_chat_template(directory, prefix, self.chat_template if save_jinja_files else None)
            for name, text in texts.items():
                write_text(directory / (prefix + name), text)
        config_path, *other_paths = (str(directory / (prefix + name)) for name in texts)
        return (config_path, *map(str, templates), *other_paths)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write the vocabulary without added tokens and settings: vocab.txt, or vocab.json and merges.txt."""
        directory = Path(save_directory)
        if not directory.is_dir():
            raise InputError(f"save_directory={str(directory)!r} is no directory: create it first.")
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        if self._tokenizer.model.__class__.__name__ == "WordPiece" and max(vocabulary.values()) >= len(vocabulary):
            raise TokenizationError("A vocab.txt has no place for unused ids: use save_pretrained.")
        with tempfile.TemporaryDirectory(dir=directory) as temporary:
            written = [Path(path) for path in self._tokenizer.model.save(temporary, filename_prefix)]
            for path in written:
                with replacing(directory / path.name) as target:
                    target.write_bytes(path.read_bytes())
        return tuple(str(directory / path.name) for path in written)

    def _settings(self) -> dict[str, Any]:
        """The attributes that tokenizer_config.json keeps."""
        settings: dict[str, Any] = {
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
        }
        if self._extra_special_tokens:
            settings["extra_special_tokens"] = self.extra_special_tokens
        for name in (
            "split_special_tokens",
            "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
            "chat_control_tokens",
        ):
            if getattr(self, name):
                settings[name] = getattr(self, name)
        if list(self.model_input_names) != list(type(self).model_input_names):
            settings["model_input_names"] = list(self.model_input_names)
        return settings

    # ---- training ----------------------------------------------------------------------------------------------------

    def train_new_from_iterator(
        self: T,
        text_iterator: Iterable[str] | Iterable[Sequence[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Sequence[Token] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **trainer_options: Any,
    ) -> T:
        """A tokenizer with the same pipeline and special tokens, and a vocabulary trained on texts.

        Args:
            text_iterator: texts, or batches of texts.
            vocab_size: the number of tokens, including special tokens.
            length: the number of items of the iterator, for the progress bar.
            new_special_tokens: further special tokens.
            special_tokens_map: new names for special tokens, old -> new.
            trainer_options: arguments of the trainer of the `tokenizers` library (min_frequency, show_progress, …).
        """
        renamed, new = special_tokens_map or {}, list(new_special_tokens or ())
        backend = retrain(
            self._tokenizer,
            text_iterator,
            vocab_size,
            trainer_options,
            length=length,
            new_special_tokens=new,
            renamed=renamed,
        )
        known = self._options()
        options = {name: value for name, value in self.init_kwargs.items() if name in known}
        options |= {name: renamed.get(token, token) for name, token in self.special_tokens_map.items()}
        if extra := [*self.extra_special_tokens, *new]:
            options["extra_special_tokens"] = extra
        return type(self)(tokenizer_object=backend, **options)


_KINDS: dict[str, set[Any]] = {"bool": {bool}, "bool | None": {bool, type(None)}, "int": {int}, "str": {str}}


def _declared(token: Token, named: bool) -> AddedToken:
    """`token` as an AddedToken, special if it is a str or has a name."""
    if isinstance(token, str):
        return AddedToken(token, special=True)
    if named:
        # A copy would lose whether `normalized` was given or follows `special`.
        token.special = True
    return token


def _limit(value: Any) -> int | float:
    """A model_max_length."""
    if value is None:
        return NO_LIMIT
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise InputError(f"model_max_length must be a number of tokens, got {value!r}.")
    return value
