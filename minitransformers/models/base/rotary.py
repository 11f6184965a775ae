"""Rotary positions as configurations describe them: `rope_parameters`, and the module that computes the rotations.

`rope_parameters` is a dictionary in a config.json: `rope_type` names a way to stretch the positions for texts longer
than those of the training, `rope_theta` is the base, and each type has further numbers. Old files have `rope_theta`
outside the dictionary, and call the dictionary `rope_scaling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.configs.fields import size
from minitransformers.errors import ConfigError, nearest, shown
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

    `former_keywords` are old keywords, and keys of old files, with the entry or field that has their value now;
    `rope_defaults` are default entries.
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
        """`given` with its type, and with `defaults` for missing entries."""
        if not isinstance(given or {}, Mapping):
            raise ConfigError(f"rope_parameters={given!r} must be a dictionary.")
        parameters = {**defaults, **(given or {})}
        parameters.setdefault("rope_type", parameters.get("type", "default"))
        if parameters["rope_type"] in ("llama3", "yarn", "longrope"):
            parameters.setdefault("original_max_position_embeddings", self.max_position_embeddings)
        return parameters

    def validate(self) -> None:
        """Refuse descriptions from which positions cannot be computed."""
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
                    f"{name}[{key!r}]={factors!r} must be a list of {pairs} numbers above 0: one for each rotated pair "
                    f"of features, of heads of width {head_dim}."
                )
        if parameters["original_max_position_embeddings"] <= 1:
            raise ConfigError(f"{name}['original_max_position_embeddings'] must be above 1; it has {parameters}.")

    def all_rope_parameters(self) -> dict[str, dict[str, Any]]:
        """Every description of positions, by its name in errors."""
        return {"rope_parameters": self.rope_parameters or {}}

    @classmethod
    def from_dict(
        cls: type[ConfigType], config_dict: dict[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any
    ) -> Any:
        """As in every configuration; keys of old files, and overrides, are moved into `rope_parameters`."""
        replaced = [cls.former_keywords[key] for key in cls.former_keywords if key in overrides]
        content = {name: value for name, value in config_dict.items() if name not in replaced}
        if "rope_scaling" in content:  # the old name
            former = content.pop("rope_scaling")
            content.setdefault("rope_parameters", former)
        if isinstance(content.get("rope_parameters"), dict):
            parameters = content["rope_parameters"]
            content["rope_parameters"] = {key: value for key, value in parameters.items() if key not in replaced}
        old = {key: content.pop(key, None) for key in cls.former_keywords}
        beside = {key: value for key, value in old.items() if value is not None}
        return super().from_dict(content, return_unused_kwargs=return_unused_kwargs, **{**beside, **overrides})

    @classmethod
    def _known_names(cls) -> list[str]:
        return [*super()._known_names(), *cls.former_keywords]


def check_rope(name: str, parameters: dict[str, Any]) -> None:
    """Refuse an unknown type, and numbers that are missing or impossible.

    Raises:
        ConfigError: naming field, value and remedy.
    """
    rope_type = parameters.get("rope_type", "default")
    if not isinstance(rope_type, str) or rope_type not in NEEDED:
        raise ConfigError(
            f"{name} has rope_type={shown(rope_type)}; covered are {', '.join(NEEDED)}."
            f"{nearest(str(rope_type), NEEDED)}"
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


class RotaryEmbedding(nn.Module):
    """The rotation of each position, as the configuration's `rope_parameters` describe it (Su et al., 2021).

    The buffer `inv_freq` holds the frequencies, one for each pair of features, and stays float32 in a model of another
    type; `original_inv_freq` is a copy for those who change it. A model whose layers rotate differently names their
    types: it has both buffers for each of them, as `{layer_type}_inv_freq`.
    """

    def __init__(self, config: Any, layer_types: Iterable[str | None] = (None,)) -> None:
        super().__init__()
        self.config, self.layer_types = config, list(layer_types)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Compute the frequencies of texts that are no longer than those of the training."""
        for layer_type in self.layer_types:
            parameters = self._description(layer_type)
            scale = attention_scaling(parameters, self.config.max_position_embeddings)
            setattr(self, _name("attention_scaling", layer_type), scale)
            with torch.device("cpu"):  # in a model that is built on the meta device too: no file has them
                frequencies = initial_frequencies(parameters, self._rotated(parameters))
            for name in ("inv_freq", "original_inv_freq"):
                self.register_buffer(_name(name, layer_type), frequencies.clone(), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "batch length hidden"],
        position_ids: Int[Tensor, "#batch length"],
        layer_type: str | None = None,
    ) -> Rotary:
        """cos and sin of the angles of each position, in the type of `x`.

        Where longer texts are rotated differently ("dynamic", "longrope"), the last of `position_ids` decides for all
        of them; what a cache holds is not rotated again.
        """
        parameters, device = self._description(layer_type), position_ids.device
        frequencies = getattr(self, _name("inv_freq", layer_type)).to(device)
        if parameters["rope_type"] in ("dynamic", "longrope"):
            longest, limit = position_ids.max() + 1, self.config.max_position_embeddings
            rotated = self._rotated(parameters)
            if parameters["rope_type"] == "dynamic":
                base = dynamic_base(parameters["rope_theta"], rotated, longest, limit, parameters["factor"])
                of_long_texts = rotary_frequencies(rotated, base=base, device=device)
            else:
                limit = parameters["original_max_position_embeddings"]
                of_long_texts = _longrope(parameters, "long_factor", rotated, device)
            frequencies = torch.where(longest > limit, of_long_texts, frequencies)
        scale = getattr(self, _name("attention_scaling", layer_type))
        return rotary_positions(position_ids, frequencies, dtype=x.dtype, scale=scale)

    def _rotated(self, parameters: Mapping[str, Any]) -> int:
        config = self.config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(head_dim * (parameters.get("partial_rotary_factor") or 1.0))

    def _description(self, layer_type: str | None) -> dict[str, Any]:
        parameters: dict[str, Any] = self.config.rope_parameters
        return parameters if layer_type is None else parameters[layer_type]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotaryEmbedding:
        """`.to()`, `.half()`, `.to_empty()` and the like change the device of the frequencies, and not their type."""
        if any(buffer.is_meta for buffer in self.buffers()):
            self.reset_parameters()
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, moved in list(self.named_buffers()):
            setattr(self, name, before[name].to(moved.device))
        return self


def _name(name: str, layer_type: str | None) -> str:
    return name if layer_type is None else f"{layer_type}_{name}"


def initial_frequencies(parameters: Mapping[str, Any], rotated: int) -> Float[Tensor, " half"]:
    """The frequency of each pair of the first `rotated` features, for texts no longer than those of the training.

    Args:
        parameters: complete, see `RotaryConfig`.
    """
    rope_type, base = parameters["rope_type"], float(parameters["rope_theta"])
    if rope_type == "yarn":
        options = ("beta_fast", "beta_slow", "truncate")
        return yarn_frequencies(
            rotated,
            base=base,
            factor=parameters["factor"],
            trained_length=parameters["original_max_position_embeddings"],
            **{name: parameters[name] for name in options if parameters.get(name) is not None},
        )
    if rope_type == "longrope":
        return _longrope(parameters, "short_factor", rotated)
    frequencies = rotary_frequencies(rotated, base=base)
    if rope_type == "linear":
        return linear_frequencies(frequencies, parameters["factor"])
    if rope_type == "llama3":
        return llama3_frequencies(
            frequencies,
            factor=parameters["factor"],
            low_freq_factor=parameters["low_freq_factor"],
            high_freq_factor=parameters["high_freq_factor"],
            trained_length=parameters["original_max_position_embeddings"],
        )
    return frequencies


def _longrope(
    parameters: Mapping[str, Any], name: str, rotated: int, device: torch.device | None = None
) -> Float[Tensor, " half"]:
    factors = torch.tensor(parameters[name], dtype=torch.float32, device=device)
    return longrope_frequencies(rotated, base=float(parameters["rope_theta"]), factors=factors)


def attention_scaling(parameters: Mapping[str, Any], max_position_embeddings: int) -> float:
    """The factor by which rotated queries and keys become longer; 1 except for "yarn" and "longrope"."""
    if parameters["rope_type"] == "yarn":
        return _yarn_scale(parameters)
    if parameters["rope_type"] == "longrope":
        return _longrope_scale(parameters, max_position_embeddings / parameters["original_max_position_embeddings"])
    return 1.0


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
