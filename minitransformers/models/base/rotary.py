"""Rotary positions as configurations describe them: `rope_parameters`, and the angles that it stands for.

`rope_parameters` is a dictionary in a config.json: `rope_type` names a way to stretch the positions for texts longer
than those of the training, `rope_theta` is the base, and each type has numbers of its own. Files of former years have
`rope_theta` beside it, and call it `rope_scaling`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from minitransformers.configs.config import Config
from minitransformers.configs.fields import size
from minitransformers.errors import ConfigError, nearest
from minitransformers.nn.positions import (
    Rotary,
    dynamic_base,
    linear_frequencies,
    llama3_frequencies,
    longrope_frequencies,
    rotary_frequencies,
    rotary_positions,
    yarn_frequencies,
)

# rope_type -> the numbers that it needs, besides the base
NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("factor", "original_max_position_embeddings"),
    "longrope": ("short_factor", "long_factor", "original_max_position_embeddings"),
}
_POSITIVE = (
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
)

ConfigType = TypeVar("ConfigType", bound="RotaryConfig")


class RotaryConfig(Config):
    """A configuration with `rope_parameters`.

    `former_keywords` are keywords, and keys of former files, whose values belong into it, or into another field;
    `rope_defaults` is what it has where nothing else is said.
    """

    attribute_map: ClassVar[dict[str, str]] = {"rope_scaling": "rope_parameters"}
    former_keywords: ClassVar[dict[str, str]] = {"rope_theta": "rope_theta"}
    rope_defaults: ClassVar[dict[str, Any]] = {"rope_theta": 10_000.0}

    max_position_embeddings: int = size(2048)
    rope_parameters: dict[str, Any] | None = None

    def __init__(self, **values: Any) -> None:
        self._beside = {key: values.pop(key) for key in self.former_keywords if key in values}
        super().__init__(**values)

    def complete(self) -> None:
        """Bring `rope_parameters` into its present form."""
        beside = {self.former_keywords[key]: value for key, value in self._beside.items()}
        self.rope_parameters = self.completed_rope(self.rope_parameters, {**self.rope_defaults, **beside})

    def completed_rope(self, given: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """`given` with its type, and with `defaults` for what it does not say."""
        if not isinstance(given or {}, Mapping):
            raise ConfigError(f"rope_parameters={given!r} must be a dictionary.")
        parameters = {**defaults, **(given or {})}
        parameters.setdefault("rope_type", parameters.get("type", "default"))
        if parameters["rope_type"] in ("llama3", "yarn", "longrope"):
            parameters.setdefault("original_max_position_embeddings", self.max_position_embeddings)
        return parameters

    def validate(self) -> None:
        """Refuse positions that cannot be computed."""
        super().validate()
        for name, parameters in self.all_rope_parameters().items():
            check_rope(name, parameters)
            if parameters.get("rope_type") == "longrope":
                self._check_longrope(name, parameters)

    def _check_longrope(self, name: str, parameters: dict[str, Any]) -> None:
        """Refuse factors that are not one number above 0 for each pair of features."""
        head_dim = getattr(self, "head_dim", None) or getattr(self, "hidden_size", 0) // self.num_attention_heads
        pairs = (int(head_dim * (parameters.get("partial_rotary_factor") or 1.0)) + 1) // 2
        for key in ("short_factor", "long_factor"):
            factors = parameters[key]
            if not isinstance(factors, list) or len(factors) != pairs or not all(map(_is_positive, factors)):
                raise ConfigError(
                    f"{name}[{key!r}]={factors!r} must be a list of {pairs} numbers above 0: one for each pair of "
                    f"features that is turned, of heads of width {head_dim}."
                )
        if parameters["original_max_position_embeddings"] <= 1:
            raise ConfigError(f"{name}['original_max_position_embeddings'] must be above 1; it has {parameters}.")

    def all_rope_parameters(self) -> dict[str, dict[str, Any]]:
        """Every description of positions that there is, by the name that errors give it."""
        return {"rope_parameters": self.rope_parameters or {}}

    @classmethod
    def from_dict(cls: type[ConfigType], content: dict[str, Any], **overrides: Any) -> ConfigType:
        """As everywhere; keys of former files, and overrides, find their way into `rope_parameters`."""
        replaced = [cls.former_keywords[key] for key in cls.former_keywords if key in overrides]
        content = {name: value for name, value in content.items() if name not in replaced}
        if "rope_scaling" in content:  # the former name
            former = content.pop("rope_scaling")
            content.setdefault("rope_parameters", former)
        if isinstance(content.get("rope_parameters"), dict):
            parameters = content["rope_parameters"]
            content["rope_parameters"] = {key: value for key, value in parameters.items() if key not in replaced}
        beside = {key: content[key] for key in cls.former_keywords if content.get(key) is not None}
        return super().from_dict(content, **{**beside, **overrides})

    @classmethod
    def _known_names(cls) -> list[str]:
        return [*super()._known_names(), *cls.former_keywords]


def check_rope(name: str, parameters: dict[str, Any]) -> None:
    """Refuse a type that there is none of, and numbers that are missing or impossible.

    Raises:
        ConfigError: naming field, value and remedy.
    """
    rope_type = parameters.get("rope_type", "default")
    if rope_type not in NEEDED:
        raise ConfigError(
            f"{name} has rope_type={rope_type!r}; covered are {', '.join(NEEDED)}.{nearest(str(rope_type), NEEDED)}"
        )
    missing = [key for key in ("rope_theta", *NEEDED[rope_type]) if parameters.get(key) is None]
    if missing:
        raise ConfigError(f"{name} of rope_type {rope_type!r} lacks {', '.join(missing)}; it has {parameters}.")
    for key in _POSITIVE:
        value = parameters.get(key)
        if value is not None and not _is_positive(value):
            raise ConfigError(f"{name}[{key!r}]={value!r} must be a number above 0.")
    if (parameters.get("partial_rotary_factor") or 1.0) > 1:
        raise ConfigError(f"{name}['partial_rotary_factor']={parameters['partial_rotary_factor']} must be at most 1.")
    if rope_type == "llama3" and parameters["high_freq_factor"] <= parameters["low_freq_factor"]:
        raise ConfigError(f"{name}: high_freq_factor must be above low_freq_factor; it has {parameters}.")


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def rotary_from_parameters(
    parameters: Mapping[str, Any],
    position_ids: Int[Tensor, "#batch length"],
    *,
    head_dim: int,
    max_position_embeddings: int,
    dtype: torch.dtype,
) -> Rotary:
    """cos and sin of the angles by which queries and keys are rotated at each position, as `rope_parameters` say.

    Args:
        parameters: complete, see `RotaryConfig`.
        head_dim: width of a head; `partial_rotary_factor` is the portion of it, from the front, that is rotated.
        max_position_embeddings: the length that the model was made for.
        dtype: of the result.
    """
    rope_type, base = parameters["rope_type"], float(parameters["rope_theta"])
    rotated = int(head_dim * (parameters.get("partial_rotary_factor") or 1.0))
    device, scale = position_ids.device, 1.0
    if rope_type == "yarn":
        names = ("beta_fast", "beta_slow", "truncate")
        frequencies = yarn_frequencies(
            rotated,
            base=base,
            factor=parameters["factor"],
            trained_length=parameters["original_max_position_embeddings"],
            device=device,
            **{name: parameters[name] for name in names if parameters.get(name) is not None},
        )
        scale = _yarn_scale(parameters)
    elif rope_type == "longrope":
        trained_length = parameters["original_max_position_embeddings"]
        frequencies = longrope_frequencies(
            rotated,
            base=base,
            longest=position_ids.max() + 1,
            trained_length=trained_length,
            short_factor=torch.tensor(parameters["short_factor"], device=device),
            long_factor=torch.tensor(parameters["long_factor"], device=device),
        )
        scale = _longrope_scale(parameters, max_position_embeddings / trained_length)
    elif rope_type == "dynamic":
        longest = position_ids.max() + 1
        grown = dynamic_base(base, rotated, longest, max_position_embeddings, parameters["factor"])
        frequencies = rotary_frequencies(rotated, base=grown, device=device)
    else:
        frequencies = rotary_frequencies(rotated, base=base, device=device)
        if rope_type == "linear":
            frequencies = linear_frequencies(frequencies, parameters["factor"])
        elif rope_type == "llama3":
            frequencies = llama3_frequencies(
                frequencies,
                factor=parameters["factor"],
                low_freq_factor=parameters["low_freq_factor"],
                high_freq_factor=parameters["high_freq_factor"],
                trained_length=parameters["original_max_position_embeddings"],
            )
    return rotary_positions(position_ids, frequencies, dtype=dtype, scale=scale)


def _yarn_scale(parameters: Mapping[str, Any]) -> float:
    """YaRN makes queries and keys longer, which sharpens attention over more keys (Peng et al., 2023, eq. 22)."""
    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])

    def longer(weight: float) -> float:
        return 0.1 * weight * math.log(parameters["factor"]) + 1.0 if parameters["factor"] > 1 else 1.0

    if parameters.get("mscale") and parameters.get("mscale_all_dim"):
        return longer(parameters["mscale"]) / longer(parameters["mscale_all_dim"])
    return longer(1.0)


def _longrope_scale(parameters: Mapping[str, Any], stretch: float) -> float:
    """As YaRN's, for texts s times as long: √(1 + ln s / ln trained length) (Ding et al., 2024, §3.2)."""
    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])
    stretch = stretch if parameters.get("factor") is None else parameters["factor"]
    trained_length = parameters["original_max_position_embeddings"]
    return math.sqrt(1 + math.log(stretch) / math.log(trained_length)) if stretch > 1 else 1.0
