"""Config: the fields of a config.json, checked, and written back as they were read.

Declared fields, a user's own and their JSON text are the subject of base.py; what one field may hold, of fields.py.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

import torch

from minitransformers.compat.keywords import remove_no_ops
from minitransformers.configs.base import ConfigBase
from minitransformers.configs.checks import is_whole
from minitransformers.configs.fields import choice, constrained, count, from_json_value
from minitransformers.configs.limits import MOST_LABELS, check_fields
from minitransformers.errors import ConfigError, InputError, MissingFileError
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source, is_file
from minitransformers.files.json_text import parse_json

CONFIG_FILE = "config.json"

# typing.Self cannot be checked at run time, which the tests do; hence a variable for "the class it was called on".
ConfigType = TypeVar("ConfigType", bound="Config")

logger = logging.getLogger(__name__)


if TYPE_CHECKING:  # the constructor replaces None
    Names = dict[int, Any] | Any
    Ids = dict[Any, int] | Any
else:
    Names = dict[int, str | int] | None
    Ids = dict[str | int, int] | None


class Config(ConfigBase):
    """The base of all model configurations; reads and writes config.json.

    A subclass declares its fields under the names of its own config.json. `attribute_map` gives further names for them
    (`gpt2_config.hidden_size` is `n_embd`), usable as keyword and as attribute. Values are checked on construction and
    on assignment. Fields of a user's own (a subclass's, a keyword, an assignment) and further keys of a file are kept,
    readable as attributes, and written back.

    Raises:
        ConfigError: a value of the wrong type or range, or values that do not fit each other.
        UnknownArgumentError: a keyword that looks like a misspelling of a field; the message has the nearest name.
    """

    model_type: ClassVar[str] = ""
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]  # outputs that evaluation leaves out
    _former_names: ClassVar[dict[str, str]] = {  # in old files and scripts
        "torch_dtype": "dtype",
        "use_return_dict": "return_dict",
        "_attn_implementation": "attn_implementation",
        "_name_or_path": "name_or_path",
    }
    # Names that any configuration may have, though they look like other fields.
    _common_names: ClassVar[frozenset[str]] = frozenset(
        f"{token}_token_id" for token in ("bos", "eos", "pad", "sep", "cls", "unk", "mask", "decoder_start")
    )
    _not_fields: ClassVar[tuple[str, ...]] = ("num_labels", "name_or_path", "attn_implementation", "model_type")

    architectures: list[str] | None = None
    dtype: torch.dtype | None = constrained(
        None, lambda value: value.is_floating_point, "a floating-point torch.dtype or its name"
    )
    output_hidden_states: bool = False
    output_attentions: bool = False
    return_dict: bool = True
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = True
    chunk_size_feed_forward: int = count(0)  # has no effect: the result would be the same
    id2label: Names = None
    label2id: Ids = None
    problem_type: str | None = choice(None, ("regression", "single_label_classification", "multi_label_classification"))

    def __post_init__(
        self,
        *,
        name_or_path: str | PathLike[str] = "",
        attn_implementation: str | None = None,
        num_labels: int | None = None,
        model_type: str | None = None,
        **own: Any,
    ) -> None:
        self._file: dict[str, Any] | None = None  # the content of the file that the configuration came from
        self._labels_read: Any = None  # id2label and label2id as they came from the file
        if model_type is not None:
            self._check_model_type(model_type)
        self.name_or_path = str(name_or_path)
        self.attn_implementation = attn_implementation
        super().__post_init__(**own)
        check_fields(self)
        self.complete()

        if self.id2label is None:
            self.num_labels = 2 if num_labels is None else num_labels
        elif num_labels is not None:
            if num_labels != len(self.id2label):
                logger.warning(
                    "num_labels=%s contradicts id2label, which has %d entries: the labels are LABEL_0, LABEL_1, … now.",
                    num_labels,
                    len(self.id2label),
                )
            self.num_labels = num_labels
        if self.label2id is None and self.id2label is not None:
            self.label2id = {label: index for index, label in self.id2label.items()}
        self.validate()

    def complete(self) -> None:
        """Give a value to fields that are None and follow from others; subclasses say which. Runs once."""

    def validate(self) -> None:
        """Check that the values fit each other; subclasses add their own conditions.

        Runs at the end of construction, and again when a model is built, since fields may be assigned in between.
        """
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise ConfigError(
                "problem_type='single_label_classification' needs num_labels of at least 2, got 1; "
                "for one number use problem_type='regression'."
            )

    def check_multiple(self, name: str, *, of: str) -> None:
        """Refuse values of two fields where one must be a multiple of the other: a width split into that many heads."""
        value, divisor = getattr(self, name), getattr(self, of)
        if value % divisor:
            raise ConfigError(f"{name}={value} must be a multiple of {of}={divisor}.")

    @property
    def num_labels(self) -> int:
        """The number of classes of a task head: the length of `id2label`."""
        return len(self.id2label) if self.id2label else 0

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        if not is_whole(number, 1) or number > MOST_LABELS:
            raise ConfigError(f"num_labels={number!r} must be a whole number of at least 1, and at most {MOST_LABELS}.")
        if self.id2label is None or len(self.id2label) != number:
            self.id2label = {index: f"LABEL_{index}" for index in range(number)}
            self.label2id = {label: index for index, label in self.id2label.items()}

    # ---- attributes --------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if self._aliases.get(name, name) == "attn_implementation" and value not in (None, "eager", "sdpa"):
            raise ConfigError(f"attn_implementation={value!r} must be 'eager' or 'sdpa' (None chooses 'sdpa').")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # only names that are not found otherwise
        if name.startswith("_") and name in (vars(self).get("_file") or {}):
            return vars(self)["_file"][name]  # private keys of a file can be read
        return super().__getattr__(name)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Config:
        """The configuration of the text model: this one.

        Of an encoder–decoder, one half may be asked for: a copy in which its fields have the names of a model without
        halves (`decoder_layers` is `num_hidden_layers`).
        """
        if not self.is_encoder_decoder or decoder == encoder:
            return self
        half = copy.deepcopy(self)
        prefix = "decoder_" if decoder else "encoder_"
        names = {"layers": "num_hidden_layers", "attention_heads": "num_attention_heads"}
        for name in list(half):
            if name.startswith(prefix):
                part = name.removeprefix(prefix)
                object.__setattr__(
                    half, self._aliases.get(names.get(part, part), names.get(part, part)), getattr(self, name)
                )
        return half

    def update_from_string(self, update_str: str) -> None:
        """Assign fields that are numbers, flags or texts, given as "hidden_size=64,use_cache=false".

        Raises:
            ConfigError: a name that the configuration does not have, or a text that its kind of value cannot be.
        """
        for assignment in update_str.split(","):
            name, _, text = assignment.partition("=")
            if not hasattr(self, name):
                raise ConfigError(f"update_str={update_str!r}: {type(self).__name__} has no field {name!r}.")
            setattr(self, name, _value_from_text(name, text, getattr(self, name)))

    # ---- files -------------------------------------------------------------------------------------------------------

    @classmethod
    def _check_model_type(cls, model_type: str) -> None:
        """Refuse a file of another family; a user's subclass also reads the files of the class that it extends."""
        is_users = not cls.__module__.startswith("minitransformers.")
        readable = {getattr(base, "model_type", "") for base in (cls.__mro__ if is_users else [cls])}
        if cls.model_type and model_type not in readable:
            raise ConfigError(
                f"The configuration is of model_type {model_type!r}, and {cls.__name__} is for {cls.model_type!r}: "
                f"use the classes of that family, or AutoConfig and AutoModel, which choose by model_type."
            )

    @classmethod
    def from_dict(
        cls: type[ConfigType], config_dict: dict[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any
    ) -> Any:
        """Build from the content of a config.json; `overrides` are fields and win over it.

        With `return_unused_kwargs=True` the result is a pair: the configuration, and those of `overrides` that it has
        no field for.

        Raises:
            ConfigError: the content is of another model type, or a value is impossible.
            UnknownArgumentError: an override that looks like a misspelling of a field.
        """
        cls._check_model_type(config_dict.get("model_type", cls.model_type))
        values: dict[str, Any] = {}
        further: dict[str, Any] = {}  # keys that are no declared field
        for key, value in config_dict.items():
            name = cls._aliases.get(key, key)
            if name in cls._fields or name in cls._parameters or name == "num_labels":
                if key == name or name not in config_dict:  # of two names, the present one counts
                    values[name] = value
            elif not key.startswith("_") and key not in cls._not_fields and not hasattr(cls, key):
                further[key] = copy.deepcopy(value)
        overrides = {cls._aliases.get(name, name): value for name, value in overrides.items()}
        if overrides.get("dtype") == "auto":  # as the file says
            del overrides["dtype"]
        known = {*cls._known_names(), *cls._parameters, *further}
        unused = {name: value for name, value in overrides.items() if return_unused_kwargs and name not in known}
        overrides = {name: value for name, value in overrides.items() if name not in unused}
        number, labels = overrides.get("num_labels"), values.get("id2label")
        same_number = number is None or (isinstance(labels, dict) and len(labels) == number)
        if "id2label" in overrides or not same_number:  # the file's labels are those of another head
            values = {name: value for name, value in values.items() if name not in _LABELS}
        config = cls(**{**values, **{name: value for name, value in overrides.items() if name not in further}})
        for name, value in further.items():  # a file's keys are kept whatever they look like
            object.__setattr__(config, name, overrides.get(name, value))
        if "label2id" in overrides:
            config.label2id = overrides["label2id"]
        config._file = copy.deepcopy(config_dict)
        if not overrides.keys() & _LABELS:
            config._labels_read = copy.deepcopy((config.id2label, config.label2id))
        config.validate()
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls: type[ConfigType], json_file: str | PathLike[str]) -> ConfigType:
        """Build from a config.json at that path."""
        config: ConfigType = cls.from_dict(read_config_file(Path(json_file)))
        return config

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content of a config.json, and those of `options` that say nothing about where it is.

        Args:
            pretrained_model_name_or_path: a config.json, a directory, or a repository of a hub.
            options: arguments of `Source`, of which all but the first are options of every `from_pretrained`; keywords
                without effect here (compat/keywords.py) are dropped.

        Raises:
            MissingFileError: there is no such file.
            ConfigError: the file is not JSON, or no object.
        """
        options = remove_no_ops(f"{cls.__name__}.from_pretrained", options)
        where = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
        name = pretrained_model_name_or_path
        path = Path(name) if isinstance(name, str | PathLike) else None
        if path is None or not is_file(path):
            path = Source(pretrained_model_name_or_path, **where).file(CONFIG_FILE)
        return read_config_file(path), options

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ConfigType],
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        return_unused_kwargs: Literal[False] = False,
        **options: Any,
    ) -> ConfigType: ...

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ConfigType],
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        return_unused_kwargs: Literal[True],
        **options: Any,
    ) -> tuple[ConfigType, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(
        cls: type[ConfigType], pretrained_model_name_or_path: str | PathLike[str], **options: Any
    ) -> Any:
        """Build from the config.json of a directory, or of a repository of a hub.

        Args:
            pretrained_model_name_or_path: a directory, a config.json, or a repository of a hub.
            options: `cache_dir`, `revision`, `subfolder`, `local_files_only`, `token` and `force_download`, see
                `Source`; fields, which win over the file; and `return_unused_kwargs`, see `from_dict`.
        """
        content, overrides = cls.get_config_dict(pretrained_model_name_or_path, **options)
        return cls.from_dict(content, **{"name_or_path": str(pretrained_model_name_or_path), **overrides})

    @classmethod
    def from_source(cls: type[ConfigType], source: Source, **overrides: Any) -> Any:
        """Build from the config.json of `source`; `overrides` are those of `from_dict`."""
        content = read_config_file(source.file(CONFIG_FILE))
        return cls.from_dict(content, **{"name_or_path": source.name_or_path, **overrides})

    def to_dict(self) -> dict[str, Any]:
        """A copy of all fields and the model type, as JSON values."""
        return {**super().to_dict(), "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """The content of config.json: the keys that the file had, in its order, and every field not at its default.

        A configuration that came from no file has all fields of its own class, and of the common ones those that
        are not at their default.
        """
        defaults = self._defaults()
        labels_read = (defaults.id2label, defaults.label2id) if self._file is None else self._labels_read
        labels_are_as_read = (self.id2label, self.label2id) == labels_read
        values = {**self.to_dict(), "num_labels": self.num_labels}
        content = {}
        for key, old in (self._file or {}).items():
            name = self._aliases.get(key, key)
            # A value that is still what the file said stays as it is written there ("0.10" or 0.1, "768" …).
            as_read = labels_are_as_read if name in _LABELS else name in self._fields and _same(self, name, old)
            content[key] = old if as_read or name not in values or name == "model_type" else values[name]
        written = {self._aliases.get(key, key) for key in content}
        for name in self:
            if name in written or (name in _LABELS and labels_are_as_read):
                continue
            all_are_written = self._file is None and name not in Config._fields
            if all_are_written or name not in self._fields or getattr(self, name) != getattr(defaults, name):
                content[name] = values[name]
        if self._file is None:
            content["model_type"] = self.model_type
            return dict(sorted(content.items()))
        return content

    def _defaults(self) -> Config:
        """A configuration of this class that was given nothing but what it requires."""
        required = {name for name, field in self._fields.items() if field.default is dataclasses.MISSING}
        given = {name: getattr(self, name) for name in required}
        try:
            return type(self)(**given)
        except TypeError:  # a user's `__init__` that requires arguments
            defaults = type(self).__new__(type(self))
            ConfigBase.__init__(defaults, **given)
            return defaults

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **hub_options: Any
    ) -> None:
        """Write config.json into `save_directory`, which is made where it is missing.

        With `push_to_hub=True` it is pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.
        """
        if Path(save_directory).is_file():
            raise InputError(f"save_directory={str(save_directory)!r} is a file; pass a directory.")
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_text(Path(save_directory) / CONFIG_FILE, self.to_json_string())


PreTrainedConfig = PretrainedConfig = Config  # the reference's names

HUB_OPTIONS = ("cache_dir", "revision", "subfolder", "local_files_only", "token", "force_download")

_LABELS = {"num_labels", "id2label", "label2id"}


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of a JSON file that must hold an object.

    Raises:
        MissingFileError: there is no such file, or it cannot be read.
        ConfigError: the file is not JSON, or not an object.
    """
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise MissingFileError(f"The configuration {str(path)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}): is the download complete?") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; a configuration is an object with named fields.")
    return content


def _same(config: Config, name: str, written: Any) -> bool:
    """Whether a field has the value that a file's `written` stands for."""
    return bool(from_json_value(written, config._hints[name]) == getattr(config, name))


def _value_from_text(name: str, text: str, old: Any) -> Any:
    """`text` as a value of the kind that `old` is."""
    if isinstance(old, bool):
        if text.lower() not in _FLAGS:
            raise ConfigError(f"{name}={text!r} must be one of {', '.join(_FLAGS)}.")
        return _FLAGS[text.lower()]
    if not isinstance(old, (int, float, str)):
        raise ConfigError(f"{name} cannot be given as text: it is a {type(old).__name__}. Assign it instead.")
    try:
        return type(old)(text)
    except ValueError:
        raise ConfigError(f"{name}={text!r} must be {'a whole number' if type(old) is int else 'a number'}.") from None


_FLAGS = {"true": True, "1": True, "y": True, "yes": True, "false": False, "0": False, "n": False, "no": False}
