"""The settings of pre-training, from keywords, a command line or a YAML file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from minitransformers.configs.checks import check_choice, check_count, check_flag, check_positive, check_probability
from minitransformers.errors import ConfigError
from minitransformers.recipes.recipe import check_text, given_settings

OBJECTIVES = ("mlm", "clm", "spans", "infilling")


@dataclass(kw_only=True)
class PretrainingRecipe:
    """Which objective, on which texts, with which model.

    Attributes:
        task: the objective: "mlm" (masked tokens; Devlin et al., 2018), "clm" (the next token; Radford et al., 2018),
            "spans" (span corruption; Raffel et al., 2020) or "infilling" (Lewis et al., 2020).
        data: a file, a directory, a pattern such as "texts/*.txt", or the name of a data set on a hub.
        output: the directory for the model, its figures, tokens and checkpoints.
        model: a directory or a name on a hub, whose training goes on. One of `model` and `config` is needed.
        config: a directory or a file of a configuration, for a model with new weights. It needs `tokenizer`.
        tokenizer: a directory or a name on a hub; by default the model's own.
        train: "all" parameters, or the "head" alone, which a model without one gets anew.
        documents: how files are parted into documents: "file", "line" or "blank line".
        validation: the share of the documents that is held out.
        max_length: tokens of a block, special ones included.
        masked: the share of tokens in gaps: 0.15, but 0.3 for "infilling".
        whole_words: mask whole words ("mlm" only).
        steps, batch_size, accumulation: of training; `batch_size` in blocks.
        learning_rate: at its highest, after 1/16 of the steps; then it falls to 0 in a straight line.
        precision: "fp32", "bf16" or "fp16".
        stream: read a data set of a hub without downloading the whole of it; see `limit`.
        limit: use only the first so many documents.
        text: the column of texts in a data set.
        workers: processes that tokenize.
        seed: of new weights, order and gaps.
        progress: show bars.

    Raises:
        ConfigError: a value that is impossible.
    """

    task: str
    data: str
    output: str
    model: str | None = None
    config: str | None = None
    tokenizer: str | None = None
    train: str = "all"
    documents: str = "file"
    validation: float | str = 0.05
    max_length: int = 128
    masked: float | None = None
    whole_words: bool = False
    steps: int = 1000
    batch_size: int = 16
    accumulation: int = 1
    learning_rate: float = 1e-4
    precision: str = "fp32"
    stream: bool = False
    limit: int | None = None
    text: str = "text"
    workers: int = 0
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("data", "output", "model", "config", "tokenizer"):
            check_text(name, getattr(self, name), (str, os.PathLike), optional=name not in ("data", "output"))
        check_text("text", self.text, (str,), optional=False)
        check_choice("task", self.task, OBJECTIVES)
        check_choice("train", self.train, ("all", "head"))
        check_choice("documents", self.documents, ("file", "line", "blank line"))
        check_choice("precision", self.precision, ("fp32", "bf16", "fp16"))
        for name in ("max_length", "steps", "batch_size", "accumulation", "limit"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least=1)
        for name in ("workers", "seed"):
            check_count(name, getattr(self, name), least=0)
        for name in ("whole_words", "stream", "progress"):
            check_flag(name, getattr(self, name))
        check_positive("learning_rate", self.learning_rate)
        if self.masked is None:
            self.masked = 0.3 if self.task == "infilling" else 0.15
        check_probability("masked", self.masked)
        try:
            self.validation = float(self.validation)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"validation={self.validation!r} must be a share of the documents, such as 0.05, when the task is "
                f"{self.task!r}."
            ) from error
        if (self.model is None) == (self.config is None):
            raise ConfigError("Pass one of model=… (a checkpoint) and config=… (for new weights).")
        if self.config is not None and self.tokenizer is None:
            raise ConfigError("A model of config=… needs tokenizer=…: a directory or a name on a hub.")
        if self.whole_words and self.task != "mlm":
            raise ConfigError(f"whole_words=True masks words, which the task {self.task!r} does not: take 'mlm'.")

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> PretrainingRecipe:
        """A recipe of values by name; None leaves the default.

        Raises:
            UnknownArgumentError: there is no such setting; the message has the nearest.
            ConfigError: a setting that is needed is missing, or a value is impossible.
        """
        return cls(**given_settings(cls, values))
