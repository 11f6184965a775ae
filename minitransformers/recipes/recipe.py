"""The settings of a recipe, from keywords, a command line or a YAML file."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minitransformers.configs.checks import check_choice, check_count, check_flag, check_positive
from minitransformers.errors import ConfigError, MissingFileError, UnknownArgumentError, nearest
from minitransformers.recipes.methods import METHODS

TASKS = ("classify", "tag", "answer", "generate", "chat")

# What PyYAML raises besides its own errors: numbers and dates that Python does not read, tags whose value has no sense
_VALUE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(kw_only=True)
class Recipe:
    """What is learnt from what, and how.

    Attributes:
        task: "classify" (a label for each text), "tag" (a label for each word), "answer" (a part of a text answers a
            question), "generate" (the next token of texts) or "chat" (the assistant's turns).
        data: a file (.csv, .tsv, .jsonl, .json, .conll, .txt), or the name of a data set on a hub; see `read_rows`.
        output: the directory for the model and its figures.
        validation: the same, to choose the best epoch on; by default a tenth of `data`.
        test: the same, measured once at the end; by default there is none.
        model: a directory or a name on a hub; by default MiniLM, a BERT. "generate" and "chat" need one that writes.
        method: which parameters are trained, a name of `METHODS`.
        size: the rank, size or length of the method's adapter.
        epochs, batch_size, seed: as usual.
        learning_rate: at its highest; by default the method's.
        max_length: texts are cut to so many tokens.
        text, pair, label: the columns of texts and labels of "classify"; `pair` is for a second text.
        limit: use only so many rows, drawn at random.
        progress: show a bar.

    Raises:
        ConfigError: a value that is impossible.
    """

    task: str
    data: str
    output: str
    validation: str | None = None
    test: str | None = None
    model: str | None = None
    method: str = "full"
    size: int | None = None
    epochs: int = 3
    batch_size: int = 16
    learning_rate: float | None = None
    max_length: int = 128
    text: str = "text"
    pair: str | None = None
    label: str = "label"
    limit: int | None = None
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("data", "output", "validation", "test", "model"):
            check_text(name, getattr(self, name), (str, os.PathLike), optional=name not in ("data", "output"))
        for name in ("text", "pair", "label"):
            check_text(name, getattr(self, name), (str,), optional=name == "pair")
        check_choice("task", self.task, TASKS)
        check_choice("method", self.method, tuple(METHODS))
        for name in ("size", "epochs", "batch_size", "max_length", "limit"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least=1)
        check_count("seed", self.seed, least=0)
        check_flag("progress", self.progress)
        if self.learning_rate is not None:
            check_positive("learning_rate", self.learning_rate)
        if self.model is None and self.task in ("generate", "chat"):
            raise ConfigError(
                f"The task {self.task!r} needs model=…: a directory or a name of a model that writes texts."
            )

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Recipe:
        """A recipe of values by name; None leaves the default.

        Raises:
            UnknownArgumentError: there is no such setting; the message has the nearest.
            ConfigError: a setting that is needed is missing, or a value is impossible.
        """
        return cls(**given_settings(cls, values))


def given_settings(recipe_class: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not None, once their names are known and those that every recipe needs are there.

    Raises:
        UnknownArgumentError: the recipe has no such setting; the message has the nearest.
        ConfigError: a setting that is needed is missing.
    """
    known = {field.name for field in fields(recipe_class)}
    given = {name: value for name, value in values.items() if value is not None}
    for name in given:
        if name not in known:
            raise UnknownArgumentError(f"{recipe_class.__name__} has no setting {name!r}.{nearest(name, known)}")
    for name in ("task", "data", "output"):
        if name not in given:
            raise ConfigError(f"The recipe has no {name!r}: pass --{name}, or write it into the recipe's file.")
    return given


def read_recipe(path: str) -> dict[str, Any]:
    """The settings in a YAML file, by name.

    Raises:
        MissingFileError: there is no such file.
        ConfigError: it is no YAML, no mapping of names to values, or has a setting twice.
        ImportError: the library PyYAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError("Recipes in YAML need the library PyYAML: pip install pyyaml.") from error
    if not Path(path).is_file():
        raise MissingFileError(f"There is no recipe {path}.")
    try:
        text = Path(path).read_text("utf-8")
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, *_VALUE_ERRORS) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} has no settings such as 'task: classify'.")
    names = [str(key.value).replace("-", "_") for key, _ in yaml.compose(text, Loader=yaml.SafeLoader).value]
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise ConfigError(f"{path} has the setting {twice!r:.80} twice: remove one of them.")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def check_text(name: str, value: Any, kinds: tuple[type, ...], *, optional: bool) -> None:
    """Refuse a value that is of none of the kinds; None is allowed where the setting is optional.

    Raises:
        ConfigError: it is another one, such as a number or a date that YAML has read.
    """
    if isinstance(value, kinds) or (optional and value is None):
        return
    raise ConfigError(f"{name}={value!r:.80} must be a text; in YAML, write it in quotes.")
