"""Config: the fields of a config.json, typed, validated, and written back as they were read.

What a single field may hold is in fields.py.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import logging
import typing
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar, dataclass_transform

import torch

from minitransformers.configs.fields import (
    choice,
    constrained,
    count,
    from_json_value,
    positive,
    probability,
    size,
    to_json_value,
    validated,
)
from minitransformers.errors import ConfigError, MissingFileError, UnknownArgumentError, nearest
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source
from minitransformers.files.pushing import PushToHub

CONFIG_FILE = "config.json"

# typing.Self cannot be checked at run time, which the tests do; hence a variable for "the class it was called on".
ConfigType = TypeVar("ConfigType", bound="Config")

logger = logging.getLogger(__name__)


@dataclass_transform(kw_only_default=True, field_specifiers=(constrained, size, count, probability, positive, choice))
class Config(PushToHub):
    """The base of all configurations: a keyword-only data class that reads and writes config.json.

    A subclass lists its fields under the names of its own config.json. `attribute_map` gives further names for them
    (`gpt2_config.hidden_size` is `n_embd`), usable as keyword and as attribute. Values are checked on construction and
    on assignment. Keys of a file that are no field are kept, readable as attributes, and written back; an unknown
    *keyword* is an error, since it is most likely a typing mistake.

    Raises:
        ConfigError: a value of the wrong type or range, or values that do not fit each other.
        UnknownArgumentError: a keyword that is no field; the message has the nearest name.
    """

    model_type: ClassVar[str] = ""
    _pushed_as: ClassVar[str] = "config"
    attribute_map: ClassVar[dict[str, str]] = {}

    architectures: list[str] | None = None
    dtype: torch.dtype | None = constrained(
        None, lambda value: value.is_floating_point, "a floating-point torch.dtype or its name"
    )
    output_hidden_states: bool = False
    output_attentions: bool = False
    return_dict: bool = True
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = True
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    problem_type: str | None = choice(None, ("regression", "single_label_classification", "multi_label_classification"))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _as_dataclass(cls)

    def __init__(self, **values: Any) -> None:
        self._extra: dict[str, Any] = {}  # keys of the file that are no field
        self._file: dict[str, Any] | None = None  # the file's content, in its order
        self._labels_read: Any = None  # id2label and label2id as they came from the file
        self.name_or_path = str(values.pop("name_or_path", ""))
        self.attn_implementation = values.pop("attn_implementation", None)
        num_labels = values.pop("num_labels", None)

        values = {self._field_name(name): value for name, value in values.items()}
        for name in values.keys() - self._fields.keys():
            raise UnknownArgumentError(
                f"{type(self).__name__} has no field {name!r}.{nearest(name, self._known_names())}"
            )
        for name, field in self._fields.items():
            setattr(self, name, values.get(name, field.default))
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
        """Refuse values of two fields where one must be a multiple of the other: a width, cut into that many heads."""
        value, divisor = getattr(self, name), getattr(self, of)
        if value % divisor:
            raise ConfigError(f"{name}={value} must be a multiple of {of}={divisor}.")

    # ---- labels ----

    @property
    def num_labels(self) -> int:
        """How many classes a task head has: the length of `id2label`."""
        return len(self.id2label) if self.id2label else 0

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ConfigError(f"num_labels={number!r} must be a whole number of at least 1.")
        if self.id2label is None or len(self.id2label) != number:
            self.id2label = {index: f"LABEL_{index}" for index in range(number)}
            self.label2id = {label: index for index, label in self.id2label.items()}

    # ---- attributes: aliases, validation, further keys of the file ----

    def __setattr__(self, name: str, value: Any) -> None:
        name = self._field_name(name)
        if name in self._fields:
            value = validated(type(self).__name__, name, value, self._hints[name], self._fields[name])
        elif name == "attn_implementation":
            if value not in (None, "eager", "sdpa"):
                raise ConfigError(f"attn_implementation={value!r} must be 'eager' or 'sdpa' (None chooses 'sdpa').")
        elif not (name.startswith("_") or name == "name_or_path" or hasattr(type(self), name)):
            if name not in self._extra:
                raise UnknownArgumentError(
                    f"{type(self).__name__} has no field {name!r}.{nearest(name, self._known_names())}"
                )
            self._extra[name] = value
            return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # only what is not found otherwise
        if name.startswith("__") or "_extra" not in self.__dict__:
            raise AttributeError(name)  # while being copied or unpickled
        name_of_field = self._field_name(name)
        if name_of_field != name:
            return getattr(self, name_of_field)
        if name in self._extra:
            return self._extra[name]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}.{nearest(name, self._known_names())}")

    @classmethod
    def _field_name(cls, name: str) -> str:
        return cls.attribute_map.get(name, _FORMER_NAMES.get(name, name))

    @classmethod
    def _known_names(cls) -> list[str]:
        return [*cls._fields, *cls.attribute_map, "num_labels", "name_or_path", "attn_implementation"]

    # ---- files ----

    @classmethod
    def from_dict(cls: type[ConfigType], content: dict[str, Any], **overrides: Any) -> ConfigType:
        """Build from the content of a config.json; `overrides` are fields and win over it.

        Raises:
            ConfigError: the content is of another model type, or a value is impossible.
            UnknownArgumentError: an override that is no field.
        """
        model_type = content.get("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ConfigError(
                f"The configuration is of model_type {model_type!r}, and {cls.__name__} is for {cls.model_type!r}: "
                f"use the classes of that family, or AutoConfig and AutoModel, which choose by model_type."
            )
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in content.items():
            name = cls._field_name(key)
            if name in cls._fields or name == "num_labels":
                if key == name or name not in content:  # of two names, the present one counts
                    values[name] = value
            elif key != "model_type":
                extra[key] = copy.deepcopy(value)
        overrides = {cls._field_name(name): value for name, value in overrides.items()}
        number, labels = overrides.get("num_labels"), values.get("id2label")
        same_number = number is None or (isinstance(labels, dict) and len(labels) == number)
        if "id2label" in overrides or not same_number:  # the file's labels are those of another head
            values = {name: value for name, value in values.items() if name not in _LABELS}
        config = cls(**{**values, **overrides})
        config._extra = extra
        config._file = copy.deepcopy(content)
        if not overrides.keys() & _LABELS:
            config._labels_read = copy.deepcopy((config.id2label, config.label2id))
        config.validate()
        return config

    @classmethod
    def from_json_file(cls: type[ConfigType], path: str | PathLike[str]) -> ConfigType:
        """Build from a config.json at `path`."""
        return cls.from_dict(read_config_file(Path(path)))

    @classmethod
    def from_pretrained(
        cls: type[ConfigType],
        pretrained_model_name_or_path: str | PathLike[str],
        *,
        cache_dir: str | PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        **overrides: Any,
    ) -> ConfigType:
        """Build from the config.json of a directory, or of a repository of a hub; `overrides` are fields."""
        source = Source(
            pretrained_model_name_or_path, cache_dir, revision, subfolder, local_files_only, token, force_download
        )
        return cls.from_source(source, **overrides)

    @classmethod
    def from_source(cls: type[ConfigType], source: Source, **overrides: Any) -> ConfigType:
        """Build from the config.json of `source`."""
        return cls.from_dict(
            read_config_file(source.file(CONFIG_FILE)), **{"name_or_path": source.name_or_path, **overrides}
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, the further keys of the file, and the model type, as JSON values."""
        fields = {name: to_json_value(getattr(self, name)) for name in self._fields}
        return {**copy.deepcopy(self._extra), **fields, "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """What config.json holds: the keys that the file had, in its order, and every field that is not at its default.

        A configuration that came from no file has all fields of its own class, and of the common ones those that
        are not at their default.
        """
        defaults = type(self)()
        labels_read = (defaults.id2label, defaults.label2id) if self._file is None else self._labels_read
        labels_are_as_read = (self.id2label, self.label2id) == labels_read
        values = {**self.to_dict(), "num_labels": self.num_labels}
        content = {}
        for key, old in (self._file or {}).items():
            name = self._field_name(key)
            # A value that is still what the file said stays as it is written there ("0.10" or 0.1, "768" …).
            as_read = labels_are_as_read if name in _LABELS else name in self._fields and _same(self, name, old)
            content[key] = old if as_read else values[name]
        written = {self._field_name(key) for key in content}
        for name in self._fields:
            if name in written or (name in _LABELS and labels_are_as_read):
                continue
            own = self._file is None and name not in Config.__annotations__
            if own or getattr(self, name) != getattr(defaults, name):
                content[name] = values[name]
        if self._file is None:
            content["model_type"] = self.model_type
            return dict(sorted(content.items()))
        return content

    def to_json_string(self) -> str:
        """The text of config.json."""
        return json.dumps(self.to_diff_dict(), indent=2, ensure_ascii=True) + "\n"

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **hub_options: Any
    ) -> None:
        """Write config.json into `save_directory`, which is made where it is missing.

        With `push_to_hub=True` it is pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.
        """
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_text(Path(save_directory) / CONFIG_FILE, self.to_json_string())

    def update(self, values: dict[str, Any]) -> None:
        """Assign several fields."""
        for name, value in values.items():
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.to_dict() == self.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    # Filled in for every class by _as_dataclass.
    _fields: ClassVar[dict[str, dataclasses.Field[Any]]]
    _hints: ClassVar[dict[str, Any]]


# Further names of every configuration's fields, in old files and scripts.
_FORMER_NAMES = {
    "torch_dtype": "dtype",
    "use_return_dict": "return_dict",
    "_attn_implementation": "attn_implementation",
}
_LABELS = {"num_labels", "id2label", "label2id"}


def _as_dataclass(cls: type[Config]) -> None:
    """Make a class that lists fields a data class, and keep what Config asks of it: fields, their types, a signature.

    Not the decorator alone: Config has an `__init__` of its own, which checks, and knows aliases.
    """
    dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
    cls._fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    cls._hints = typing.get_type_hints(cls)
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=cls._hints[name])
        for name, field in cls._fields.items()
    ]
    cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what help() and editors show


_as_dataclass(Config)


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of a JSON file that must hold an object.

    Raises:
        MissingFileError: there is no such file, or it cannot be read.
        ConfigError: the file is no JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFileError(f"The configuration {str(path)!r} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is not JSON ({error}): is the download complete?") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; a configuration is an object with named fields.")
    return content


def _same(config: Config, name: str, written: Any) -> bool:
    """Whether a field has the value that a file's `written` stands for."""
    return bool(from_json_value(written, config._hints[name]) == getattr(config, name))
