"""GenerationConfig: how a text is continued. The fields of generation_config.json, checked as they are set."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, overload

from torch import Tensor

from minitransformers.compat.generation import OPTIONS
from minitransformers.compat.keywords import remove_no_ops
from minitransformers.configs.base import ConfigBase
from minitransformers.configs.config import Config, read_config_file
from minitransformers.configs.fields import choice, constrained, count, size
from minitransformers.errors import ConfigError
from minitransformers.files.atomic import write_text
from minitransformers.files.hub import Source
from minitransformers.generation.consistency import (
    ARGUMENTS_OF_GENERATE,
    CACHES,
    DEFAULTS,
    NEEDED,
    CompileConfig,
    GenerationMode,
    check_strictly,
    mode_of,
)
from minitransformers.generation.synthid import is_watermarking_config, watermarking_config_from
from minitransformers.generation.watermarks import BaseWatermarkingConfig

GENERATION_CONFIG_FILE = "generation_config.json"

TokenIds = int | list[int]
ConfigType = TypeVar("ConfigType", bound="GenerationConfig")


def _value(expected: str, test: Callable[[Any], bool] = lambda value: True) -> Any:
    """A field of its annotated type that is None unless set."""
    return constrained(None, test, expected)


def _are_pairs(biases: Any) -> bool:
    return isinstance(biases, dict) or all(len(pair) == 2 and isinstance(pair[0], list) for pair in biases)


class GenerationConfig(ConfigBase):
    """All settings of `generate`: length, strategy, sampling and output.

    The names are those of `transformers`. None means unset: then the value of `DEFAULTS` holds. `generate` takes each
    field as an argument too. Other names, as keywords, assignments or keys of a file, are kept and written back; one
    that looks like a misspelt field is refused.

    Raises:
        ConfigError: a value has the wrong type, or is impossible.
        UnknownArgumentError: a misspelt name; the message has the nearest field.
    """

    extra_output_flags: ClassVar[tuple[str, ...]] = tuple(
        f"output_{name}" for name in ("attentions", "hidden_states", "scores", "logits")
    )

    # ---- length ----
    max_length: int | None = size(None)  # of prompt and continuation together
    max_new_tokens: int | None = size(None)  # of the continuation; takes precedence over max_length
    min_length: int | None = count(None)
    min_new_tokens: int | None = count(None)
    max_time: float | None = _value("a number of seconds above 0", lambda value: value > 0)
    stop_strings: str | list[str] | None = _value(
        "a text or a list of them, none empty", lambda value: bool(value) and "" not in list(value)
    )
    # ---- strategy ----
    do_sample: bool | None = _value("True or False")
    num_beams: int | None = size(None)
    early_stopping: bool | str | None = _value("True, False or 'never'", lambda value: value in (True, False, "never"))
    length_penalty: float | None = _value("a number")  # exponent of the length that a beam's score is divided by
    guidance_scale: float | None = _value("a number")
    # ---- cache ----
    use_cache: bool | None = _value("True or False")
    cache_implementation: str | None = choice(None, tuple(CACHES))
    max_cache_len: int | None = size(None)  # the least size of a static cache
    compile_config: CompileConfig | None = _value("a CompileConfig")  # has no effect
    # ---- scores of the next token: see processors/ ----
    temperature: float | None = _value("a number")
    top_k: int | None = _value("a whole number")
    top_p: float | None = _value("a number")
    min_p: float | None = _value("a number")
    top_h: float | None = _value("a number")
    typical_p: float | None = _value("a number")
    epsilon_cutoff: float | None = _value("a number")
    eta_cutoff: float | None = _value("a number")
    repetition_penalty: float | None = _value("a number")
    encoder_repetition_penalty: float | None = _value("a number")
    no_repeat_ngram_size: int | None = count(None)
    encoder_no_repeat_ngram_size: int | None = count(None)
    bad_words_ids: list[list[int]] | None = _value("lists of token ids")
    sequence_bias: dict[tuple[int, ...], float] | list[list[list[int] | float]] | None = _value(
        "a dict {(token ids): bias} or a list of [[token ids], bias]", _are_pairs
    )
    suppress_tokens: list[int] | None = _value("a list of token ids")
    begin_suppress_tokens: list[int] | None = _value("a list of token ids")
    forced_bos_token_id: int | None = _value("a token id")
    forced_eos_token_id: TokenIds | None = _value("a token id or a list of them")
    exponential_decay_length_penalty: tuple[float, ...] | None = _value(
        "(first token, factor)", lambda value: len(value) == 2
    )
    renormalize_logits: bool | None = _value("True or False")
    remove_invalid_values: bool | None = _value("True or False")
    watermarking_config: BaseWatermarkingConfig | dict[str, Any] | None = _value(
        "a WatermarkingConfig, a SynthIDTextWatermarkingConfig, or the dict of one", is_watermarking_config
    )
    # ---- output ----
    num_return_sequences: int | None = size(None)
    return_dict_in_generate: bool | None = _value("True or False")
    output_scores: bool | None = _value("True or False")
    output_logits: bool | None = _value("True or False")
    output_attentions: bool | None = _value("True or False")
    output_hidden_states: bool | None = _value("True or False")
    # ---- special tokens ----
    pad_token_id: int | None = _value("a token id")
    bos_token_id: int | None = _value("a token id")
    eos_token_id: TokenIds | None = _value("a token id or a list of them")
    decoder_start_token_id: TokenIds | None = _value("a token id or a list of them")
    # ---- assisted decoding ----
    num_assistant_tokens: int | None = size(None)
    num_assistant_tokens_schedule: str | None = choice(None, ("constant", "heuristic", "heuristic_transient"))
    assistant_confidence_threshold: float | None = _value("a number")
    prompt_lookup_num_tokens: int | None = size(None)
    max_matching_ngram_size: int | None = size(None)
    assistant_early_exit: int | None = size(None)  # number of the model's own layers that guess

    def __post_init__(self, **values: Any) -> None:
        """Take over names that are no field, and check that the values fit each other."""
        self.watermarking_config = watermarking_config_from(self.watermarking_config)
        super().__post_init__(**values)
        self.validate()

    def __setattr__(self, name: str, value: Any) -> None:
        value = value.tolist() if isinstance(value, Tensor) else value
        value = list(value) if name.endswith(("_ids", "_tokens")) and isinstance(value, tuple) else value
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # called only where an attribute is missing
        return None if name in OPTIONS else super().__getattr__(name)

    @classmethod
    def _refuse_misspelling(cls, name: str) -> None:
        if name in ARGUMENTS_OF_GENERATE:
            raise ConfigError(f"{cls.__name__} has no field {name!r}: pass it to generate.")
        if name not in OPTIONS:
            super()._refuse_misspelling(name)

    def validate(self, strict: bool = False, user_set_attributes: set[str] | None = None) -> None:
        """Check that the values fit each other; `generate` does so once they are all known.

        Args:
            strict: refuse values without effect, too.
            user_set_attributes: has no effect: `generate` warns of its arguments that have no effect.

        Raises:
            ConfigError: they do not.
        """
        if strict:
            check_strictly(self)
        wanted, beams = self.num_return_sequences or 1, self.num_beams or 1
        if beams == 1 and wanted > 1 and not self.do_sample:
            raise ConfigError(
                f"num_return_sequences={wanted} needs do_sample=True or num_beams of at least as many: "
                f"greedy decoding has one result."
            )
        if 1 < beams < wanted:
            raise ConfigError(f"num_return_sequences={wanted} must not be more than num_beams={beams}.")
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = as_list(getattr(self, name)) if self.suppress_tokens else []
            if forced and set(forced) <= set(self.suppress_tokens or ()):
                raise ConfigError(f"{name}={getattr(self, name)} is also in suppress_tokens: leave it out of one.")

    def without_effect(self, names: Iterable[str]) -> list[str]:
        """What to say of those of `names` that are set, and have no effect beside the other settings."""
        names, found = set(names), []
        for (field, least, condition), needing in NEEDED.items():
            unused = [n for n in needing if n in names and getattr(self, n) not in (None, False, DEFAULTS.get(n))]
            if unused and (getattr(self, field) or 0) < least:
                found.append(f"{', '.join(unused)} has no effect without {condition}.")
        return found

    def get_generation_mode(self, assistant_model: Any = None) -> GenerationMode:
        """The strategy that these settings choose, together with an assistant model, if any."""
        return mode_of(self, assistant_model)

    # ---- settings of a call ----

    @property
    def values(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: getattr(self, name) for name in self._fields if getattr(self, name) is not None}

    def update(  # type: ignore[override]
        self,
        values: Mapping[str, Any] | None = None,
        *,
        defaults_only: bool = False,
        allow_custom_entries: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Assign fields, and return the keywords that were not assigned.

        Args:
            values: names and values, which may be the user's own fields.
            defaults_only: assign only fields that are not set.
            allow_custom_entries: take `kwargs` that are no field as the user's own fields.
            kwargs: fields; other names are returned.
        """
        unused = {}
        for name, value in {**(values or {}), **kwargs}.items():
            is_new = name in kwargs and name not in {*self, *OPTIONS} and not allow_custom_entries
            if is_new or (defaults_only and getattr(self, name, None) is not None):
                unused[name] = value
            else:
                setattr(self, name, watermarking_config_from(value) if name == "watermarking_config" else value)
        self.validate()
        return unused

    @staticmethod
    def resolve(
        arguments: Mapping[str, Any], given: GenerationConfig | None, of_model: GenerationConfig
    ) -> GenerationConfig:
        """The settings of one call: its arguments, then the config it was given, then the model's, then `DEFAULTS`.

        An argument counts even if it is None: `top_k=None` turns off the filter that is on by default.

        Raises:
            InputError: a config or an argument asks for something that is not supported and would change the result.
        """
        settings = GenerationConfig.__new__(GenerationConfig)
        vars(settings).update(vars(of_model))
        vars(settings).update({name: value for name, value in DEFAULTS.items() if getattr(of_model, name) is None})
        for name, value in {**({} if given is None else given.values | given._own()), **arguments}.items():
            setattr(settings, name, value)
        settings.validate()
        further = settings._own()
        if further.keys() & OPTIONS.keys():
            remove_no_ops("generate", further, OPTIONS)
        return settings

    # ---- files ----

    @overload
    @classmethod
    def from_dict(
        cls: type[ConfigType],
        config_dict: Mapping[str, Any],
        *,
        return_unused_kwargs: Literal[False] = False,
        **overrides: Any,
    ) -> ConfigType: ...

    @overload
    @classmethod
    def from_dict(
        cls: type[ConfigType],
        config_dict: Mapping[str, Any],
        *,
        return_unused_kwargs: Literal[True],
        **overrides: Any,
    ) -> tuple[ConfigType, dict[str, Any]]: ...

    @classmethod
    def from_dict(cls: type[ConfigType], config_dict: Mapping[str, Any], **overrides: Any) -> Any:
        """Build from the content of a generation_config.json; `overrides` take precedence over it.

        With `return_unused_kwargs=True`, the result is a pair with an empty dict: names that are no field are kept.
        """
        returns_unused = overrides.pop("return_unused_kwargs", False)
        content = copy.deepcopy(dict(config_dict))
        known = {name: content.pop(name) for name in content.keys() & cls._fields.keys()}
        config = cls(**{**known, **overrides})
        vars(config).update({name: value for name, value in content.items() if name not in overrides})
        return (config, {}) if returns_unused else config

    @classmethod
    def from_model_config(cls: type[ConfigType], model_config: Config | dict[str, Any]) -> ConfigType:
        """The settings in a model's config.json: special tokens and, in old ones, any of the fields."""
        content = model_config if isinstance(model_config, dict) else model_config.to_dict()
        config = cls(**{name: content[name] for name in cls._fields if content.get(name) is not None})
        if config.output_attentions or config.output_hidden_states:
            config.return_dict_in_generate = True
        return config._as_loaded()

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ConfigType],
        pretrained_model_name: str | PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: Literal[False] = False,
        **options: Any,
    ) -> ConfigType: ...

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ConfigType],
        pretrained_model_name: str | PathLike[str],
        config_file_name: str | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **options: Any,
    ) -> tuple[ConfigType, dict[str, Any]]: ...

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
    ) -> Any:
        """Build from the generation_config.json of a directory, or of a repository of a hub; `overrides` are fields."""
        overrides = remove_no_ops(f"{cls.__name__}.from_pretrained", overrides)
        token = overrides.pop("token", token)
        source = Source(pretrained_model_name, cache_dir, revision, subfolder, local_files_only, token, force_download)
        returns_unused = overrides.pop("return_unused_kwargs", False)
        content = read_config_file(source.file(config_file_name or GENERATION_CONFIG_FILE))
        config = cls.from_dict(content, **overrides)._as_loaded()
        return (config, {}) if returns_unused else config

    @classmethod
    def of_checkpoint(cls: type[ConfigType], source: Source, model_config: Config) -> ConfigType:
        """The generation_config.json of a checkpoint or, if there is none, the settings in its config.json."""
        path = source.find(GENERATION_CONFIG_FILE)
        if path is None:
            return cls.from_model_config(model_config)
        return cls.from_dict(read_config_file(path))._as_loaded()

    def _as_loaded(self: ConfigType) -> ConfigType:
        """The configuration, which may be saved as it is even if some of its values have no effect."""
        object.__setattr__(self, "_loaded", self.to_json_string())
        return self

    def to_dict(self) -> dict[str, Any]:
        """A copy of all fields, as JSON values."""
        content = super().to_dict()
        if isinstance(self.sequence_bias, dict):  # JSON has no tuples as keys
            content["sequence_bias"] = [[list(ids), bias] for ids, bias in self.sequence_bias.items()]
        return content

    def to_diff_dict(self) -> dict[str, Any]:
        """The content of generation_config.json: the fields that are set, and the user's own, sorted by name."""
        return dict(sorted(super().to_diff_dict().items()))

    def to_json_string(
        self, use_diff: bool = True, ignore_metadata: bool = False, keys_to_pop: list[str] | None = None
    ) -> str:
        """The text of generation_config.json.

        Args:
            use_diff: leave out fields that are not set.
            ignore_metadata: leave out the version of the library that wrote the file.
            keys_to_pop: further fields to leave out.
        """
        content = self.to_diff_dict() if use_diff else self.to_dict()
        for name in [*(keys_to_pop or ()), *(["transformers_version"] if ignore_metadata else [])]:
            content.pop(name, None)
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    def to_json_file(
        self, json_file_path: str | PathLike[str], use_diff: bool = True, keys_to_pop: list[str] | None = None
    ) -> None:
        """Write `to_json_string` into a file."""
        write_text(Path(json_file_path), self.to_json_string(use_diff, keys_to_pop=keys_to_pop))

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.to_json_string(ignore_metadata=True))

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        config_file_name: str | None = None,
        push_to_hub: bool = False,
        **hub_options: Any,
    ) -> None:
        """Write generation_config.json into `save_directory`, which is made if it does not exist.

        With `push_to_hub=True` it is pushed too; `hub_options` are `repo_id` and others of `push_to_hub`.

        Raises:
            ConfigError: the values do not fit each other or, unless they are as they were loaded, have no effect.
        """
        self.validate(strict=self.to_json_string() != vars(self).get("_loaded"))
        with self._pushing(save_directory, push_to_hub, hub_options):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_text(
                Path(save_directory) / (config_file_name or GENERATION_CONFIG_FILE),
                self.to_json_string(keys_to_pop=["compile_config"]),
            )


OPTION_NAMES = frozenset({*GenerationConfig._fields, *OPTIONS})
"""The names of all fields, and of the reference's options that are accepted."""


def as_list(ids: TokenIds | None) -> list[int]:
    """Token ids as a list, whether there are none, one or several."""
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
