"""GenerationConfig: how a text is continued. The fields of generation_config.json, checked as they are set."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from minitransformers.configs.config import Config, read_config_file
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError, nearest
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source
from minitransformers.files.pushing import PushToHub
from minitransformers.generation import kinds
from minitransformers.generation.defaults import DEFAULTS, NOT_COVERED
from minitransformers.generation.kinds import Kind

GENERATION_CONFIG_FILE = "generation_config.json"

Number = float | int
TokenIds = int | list[int]


ConfigType = TypeVar("ConfigType", bound="GenerationConfig")


class GenerationConfig(PushToHub):
    """Everything that `generate` can be told about length, strategy, sampling and output.

    The names are those of `transformers`; None means unset, and `DEFAULTS` says what holds then. `generate` takes each
    field as an argument too. Unknown keys of a *file* are kept and written back; an unknown *keyword* is an error.

    Raises:
        ConfigError: a value of the wrong type, or impossible.
        UnknownArgumentError: a keyword that is no field; the message has the nearest name.
    """

    # ---- length ----
    max_length: int | None = kinds.SIZE  # of prompt and continuation together
    max_new_tokens: int | None = kinds.SIZE  # of the continuation; wins over max_length
    min_length: int | None = kinds.COUNT
    min_new_tokens: int | None = kinds.COUNT
    max_time: Number | None = kinds.SECONDS
    stop_strings: str | list[str] | None = kinds.TEXTS
    # ---- strategy ----
    do_sample: bool | None = kinds.FLAG
    num_beams: int | None = kinds.SIZE
    early_stopping: bool | str | None = kinds.EARLINESS
    length_penalty: Number | None = kinds.NUMBER  # exponent of the length that a beam's score is divided by
    use_cache: bool | None = kinds.FLAG
    # ---- which tokens may come, and how likely: see processors.py, constraints.py and warpers.py ----
    temperature: Number | None = kinds.NUMBER
    top_k: int | None = kinds.WHOLE
    top_p: Number | None = kinds.NUMBER
    min_p: Number | None = kinds.NUMBER
    top_h: Number | None = kinds.NUMBER
    typical_p: Number | None = kinds.NUMBER
    epsilon_cutoff: Number | None = kinds.NUMBER
    eta_cutoff: Number | None = kinds.NUMBER
    repetition_penalty: Number | None = kinds.NUMBER
    encoder_repetition_penalty: Number | None = kinds.NUMBER
    no_repeat_ngram_size: int | None = kinds.COUNT
    encoder_no_repeat_ngram_size: int | None = kinds.COUNT
    bad_words_ids: list[list[int]] | None = kinds.WORDS
    sequence_bias: dict[tuple[int, ...], float] | list[list[Any]] | None = kinds.BIASES
    suppress_tokens: list[int] | None = kinds.IDS
    begin_suppress_tokens: list[int] | None = kinds.IDS
    forced_bos_token_id: int | None = kinds.WHOLE
    forced_eos_token_id: TokenIds | None = kinds.ID_OR_IDS
    exponential_decay_length_penalty: tuple[int, Number] | list[Number] | None = kinds.DECAY
    renormalize_logits: bool | None = kinds.FLAG
    remove_invalid_values: bool | None = kinds.FLAG
    # ---- output ----
    num_return_sequences: int | None = kinds.SIZE
    return_dict_in_generate: bool | None = kinds.FLAG
    output_scores: bool | None = kinds.FLAG
    output_logits: bool | None = kinds.FLAG
    output_attentions: bool | None = kinds.FLAG
    output_hidden_states: bool | None = kinds.FLAG
    # ---- special tokens ----
    pad_token_id: int | None = kinds.WHOLE
    bos_token_id: int | None = kinds.WHOLE
    eos_token_id: TokenIds | None = kinds.ID_OR_IDS
    decoder_start_token_id: TokenIds | None = kinds.ID_OR_IDS
    # ---- assisted decoding ----
    num_assistant_tokens: int | None = kinds.SIZE
    num_assistant_tokens_schedule: str | None = kinds.SCHEDULE
    assistant_confidence_threshold: Number | None = kinds.NUMBER
    prompt_lookup_num_tokens: int | None = kinds.SIZE
    max_matching_ngram_size: int | None = kinds.SIZE

    _fields: ClassVar[dict[str, Kind]] = {}
    _pushed_as: ClassVar[str] = "config"

    def __init__(self, **values: Any) -> None:
        self._extra: dict[str, Any] = {}  # keys of the file that are no field
        _refuse_unknown("GenerationConfig has no field", values, self._fields)
        for name in self._fields:
            setattr(self, name, values.get(name))
        self.validate()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fields:
            value = value.tolist() if isinstance(value, Tensor) else value
            value = list(value) if name.endswith(("_ids", "_tokens")) and isinstance(value, tuple) else value
            if value is not None and not self._fields[name].holds(value):
                raise ConfigError(f"{name}={value!r} must be {self._fields[name].expected}.")
        elif name in self.__dict__.get("_extra", ()):
            self._extra[name] = value
            return
        elif not name.startswith("_"):
            _refuse_unknown("GenerationConfig has no field", [name], self._fields)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:  # only what is not found otherwise
        if name in self.__dict__.get("_extra", ()):
            return self._extra[name]
        raise AttributeError(f"GenerationConfig has no field {name!r}.{nearest(name, self._fields)}")

    def validate(self) -> None:
        """Check that the values fit each other; `generate` does so once they are all known."""
        wanted, beams = self.num_return_sequences or 1, self.num_beams or 1
        if beams == 1 and wanted > 1 and not self.do_sample:
            raise ConfigError(
                f"num_return_sequences={wanted} needs do_sample=True or num_beams of at least as many: "
                f"greedy decoding has one result."
            )
        if 1 < beams < wanted:
            raise ConfigError(f"num_return_sequences={wanted} must not be more than num_beams={beams}.")
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = as_list(getattr(self, name))
            if forced and set(forced) <= set(self.suppress_tokens or ()):
                raise ConfigError(f"{name}={getattr(self, name)} is also in suppress_tokens: leave it out of one.")

    # ---- joining ----

    @property
    def values(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: getattr(self, name) for name in self._fields if getattr(self, name) is not None}

    def update(self, **values: Any) -> dict[str, Any]:
        """Assign the fields among `values`; give back what is no field."""
        for name in values.keys() & self._fields.keys():
            setattr(self, name, values[name])
        self.validate()
        return {name: value for name, value in values.items() if name not in self._fields}

    @classmethod
    def resolve(
        cls: type[ConfigType], arguments: Mapping[str, Any], given: GenerationConfig | None, of_model: GenerationConfig
    ) -> ConfigType:
        """What holds for one call: its arguments, then the config it was given, then the model's, then `DEFAULTS`.

        An argument counts even if it is None: `top_k=None` turns the filter off that is on by default.

        Raises:
            InputError: a config asks for something that is not covered here and would change the result.
        """
        for config in (of_model, given):
            for name, value in {} if config is None else config._extra.items():
                if value is not None and value not in NOT_COVERED.get(name, [value]):
                    raise InputError(f"The generation config has {name}={value!r}, which is not covered: set it None.")
        return cls(**{**DEFAULTS, **of_model.values, **({} if given is None else given.values), **arguments})

    # ---- files ----

    @classmethod
    def from_dict(cls: type[ConfigType], content: Mapping[str, Any], **overrides: Any) -> ConfigType:
        """Build from the content of a generation_config.json; `overrides` are fields and win over it."""
        known = {name: copy.deepcopy(value) for name, value in content.items() if name in cls._fields}
        config = cls(**{**known, **overrides})
        config._extra = {name: copy.deepcopy(value) for name, value in content.items() if name not in cls._fields}
        return config

    @classmethod
    def from_model_config(cls: type[ConfigType], model_config: Config) -> ConfigType:
        """What a model's config.json says about generation: special tokens and, in old ones, any of the fields."""
        content = model_config.to_dict()
        config = cls(**{name: content[name] for name in cls._fields if content.get(name) is not None})
        if config.output_attentions or config.output_hidden_states:
            config.return_dict_in_generate = True
        return config

    @classmethod
    def from_pretrained(
        cls: type[ConfigType],
        pretrained_model_name: str | PathLike[str],
        config_file_name: str | None = None,
        cache_dir: str | PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        *,
        subfolder: str = "",
        **overrides: Any,
    ) -> ConfigType:
        """Build from the generation_config.json of a directory, or of a repository of a hub; `overrides` are fields."""
        source = Source(pretrained_model_name, cache_dir, revision, subfolder, local_files_only, token, force_download)
        return cls.from_dict(read_config_file(source.file(config_file_name or GENERATION_CONFIG_FILE)), **overrides)

    @classmethod
    def of_checkpoint(cls: type[ConfigType], source: Source, model_config: Config) -> ConfigType:
        """The generation_config.json of a checkpoint or, where it has none, what its config.json says."""
        path = source.find(GENERATION_CONFIG_FILE)
        return cls.from_model_config(model_config) if path is None else cls.from_dict(read_config_file(path))

    def to_dict(self) -> dict[str, Any]:
        """All fields and the further keys of the file, as JSON values."""
        fields = {name: copy.deepcopy(getattr(self, name)) for name in self._fields}
        if isinstance(self.sequence_bias, dict):  # JSON has no tuples as keys
            fields["sequence_bias"] = [[list(ids), bias] for ids, bias in self.sequence_bias.items()]
        return {**copy.deepcopy(self._extra), **fields}

    def to_diff_dict(self) -> dict[str, Any]:
        """What generation_config.json holds: the fields that are set, and the further keys of the file."""
        return {name: value for name, value in self.to_dict().items() if value is not None or name in self._extra}

    def to_json_string(self) -> str:
        """The text of generation_config.json."""
        return json.dumps(self.to_diff_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        config_file_name: str | None = None,
        push_to_hub: bool = False,
        **hub_options: Any,
    ) -> None:
        """Write generation_config.json into `save_directory`, which is made where it is missing.

        With `push_to_hub=True` it is pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.
        """
        self.validate()
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_text(Path(save_directory) / (config_file_name or GENERATION_CONFIG_FILE), self.to_json_string())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and other.to_dict() == self.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"GenerationConfig {self.to_json_string()}"


GenerationConfig._fields = {name: kind for name, kind in vars(GenerationConfig).items() if isinstance(kind, Kind)}
GenerationConfig.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what help() and editors show
    [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in GenerationConfig.__annotations__.items()
        if name in GenerationConfig._fields
    ]
)


def as_list(ids: TokenIds | None) -> list[int]:
    """Token ids as a list, whether there are none, one or several."""
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _refuse_unknown(message: str, names: Any, known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise UnknownArgumentError(f"{message} {name!r}.{nearest(name, known)}")
