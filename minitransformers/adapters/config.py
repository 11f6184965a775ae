"""AdapterConfig: the settings of a method, and the four things that each method does in its own way."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from minitransformers.configs.base import ConfigBase
from minitransformers.configs.checks import refuse_unknown
from minitransformers.errors import InputError


class AdapterConfig(ConfigBase):
    """The base of `LoraConfig` and the others; field names are peft's where it has the method.

    Attributes:
        modules_to_save: modules that are trained whole and saved with the adapter, by the end of their names. None
            means the head of a classifier, which is new and has to be learnt; a language model's head stays frozen.
            An empty list means none.

    Raises:
        ConfigError: a value of the wrong type or range.
        UnknownArgumentError: a field that the method does not have; the message has the nearest.
    """

    method: ClassVar[str] = ""  # "peft_type" in files
    modules_to_save: list[str] | None = None

    def __init__(self, **values: Any) -> None:
        super().__init__(**{name: _as_list(value) for name, value in values.items()})

    def __post_init__(self, **values: Any) -> None:
        """Refuse fields that the method does not have."""
        refuse_unknown(type(self).__name__, values, self._fields)

    def attach(self, model: Any, *, is_strict: bool = True) -> None:
        """Put new modules into `model`; everything is checked before anything is changed.

        With `is_strict`, every name of the config must match a module; names in files may be those of a larger model.
        """
        raise InputError(f"{type(self).__name__} is only the base of LoraConfig, IA3Config …: pass one of those.")

    def detach(self, model: Any) -> None:
        """Take the modules out again."""

    def trained_besides(self, model: Any) -> list[str]:
        """The names of modules that the method trains whole, besides `modules_to_save`."""
        return []

    def tensors(self, model: Any, names: list[str]) -> dict[str, Tensor]:
        """What a file holds of the parameters `names`, under the file's names and in transformers' layout."""
        state = model.checkpoint_names.transposed({name: model.get_parameter(name) for name in names})
        return {f"base_model.model.{name}": tensor for name, tensor in state.items()}

    def file_fields(self, model: Any) -> dict[str, Any]:
        """What adapter_config.json holds: the fields, and those that follow from the model."""
        return self.to_dict()


def _as_list(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else list(value) if isinstance(value, tuple) else value
