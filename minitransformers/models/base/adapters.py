"""Adapters of peft inside a model: `model.add_adapter(LoraConfig(…))`, without a wrapper around it.

peft does the work and must be installed; its own `peft.get_peft_model(model, …)` works too, and wraps the model.
Adapters are saved as peft and transformers save them, by `model.save_pretrained`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minitransformers.compat.keywords import LOADING_ADAPTERS, remove_no_ops
from minitransformers.configs.checks import refuse_unknown
from minitransformers.errors import CheckpointError, InputError
from minitransformers.files.hub import Source
from minitransformers.files.json_text import parse_json
from minitransformers.files.reading import open_checkpoint
from minitransformers.utils.availability import is_peft_available

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_IN_FILES = "base_model.model."  # what names in files begin with: peft's wrapper around a model


class Adapters(nn.Module):
    """Adding, loading and choosing adapters, a base of `PreTrainedModel`."""

    _hf_peft_config_loaded = False  # other libraries read it
    peft_config: dict[str, Any]

    def add_adapter(self, adapter_config: Any, adapter_name: str | None = None) -> None:
        """Put a new adapter into the model, which is the active one then, and freeze everything else.

        Args:
            adapter_config: a `peft.LoraConfig` or another that changes layers; prompts need `peft.get_peft_model`.
            adapter_name: "default" unless given.

        Raises:
            InputError: the name is taken.
            TypeError: `adapter_config` is no configuration of peft.
        """
        peft = _peft()
        name = adapter_name or "default"
        if not isinstance(adapter_config, peft.PeftConfig):
            raise TypeError(f"adapter_config must be a peft.PeftConfig, got {type(adapter_config).__name__}.")
        self._refuse_taken(name)
        adapter_config.base_model_name_or_path = getattr(self, "name_or_path", None)
        peft.inject_adapter_in_model(adapter_config, self, name)
        self._hf_peft_config_loaded = True
        self.set_adapter(name)

    def load_adapter(
        self,
        peft_model_id: str | Path | None = None,
        adapter_name: str | None = None,
        peft_config: Any = None,
        adapter_state_dict: Mapping[str, Tensor] | None = None,
        is_trainable: bool = False,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        subfolder: str = "",
        local_files_only: bool = False,
        force_download: bool = False,
        **no_ops: Any,
    ) -> None:
        """Put an adapter with its weights into the model.

        Args:
            peft_model_id: a directory, or a hub's repository, with adapter_config.json and adapter_model.safetensors.
            adapter_name: "default" unless given.
            peft_config, adapter_state_dict: a configuration and weights, in place of files.
            is_trainable: whether its weights are trained; the model is in evaluation mode otherwise.
            revision, token, cache_dir, subfolder, local_files_only, force_download: see `Source`.
            no_ops: `low_cpu_mem_usage` and others without effect.

        Raises:
            InputError: the name is taken, or there is nothing to load from.
            CheckpointError: files that are missing, or do not fit the model.
        """
        peft = _peft()
        owner = f"{type(self).__name__}.load_adapter"
        unknown = remove_no_ops(owner, no_ops, LOADING_ADAPTERS)
        refuse_unknown(owner, unknown, inspect.signature(Adapters.load_adapter).parameters)
        name = adapter_name or "default"
        self._refuse_taken(name)
        if peft_model_id is None:
            if peft_config is None or adapter_state_dict is None:
                raise InputError("load_adapter needs peft_model_id, or both peft_config and adapter_state_dict.")
        else:
            source = Source(peft_model_id, cache_dir, revision, subfolder, local_files_only, token, force_download)
            if peft_config is None:
                peft_config = peft.PeftConfig.from_pretrained(str(source.file(ADAPTER_CONFIG_FILE).parent))
            if adapter_state_dict is None:
                adapter_state_dict = open_checkpoint(source, names=ADAPTER_FILES)
        peft_config.inference_mode = not is_trainable
        peft.inject_adapter_in_model(peft_config, self, name)
        self._hf_peft_config_loaded = True
        state = {key.removeprefix(_IN_FILES): tensor for key, tensor in adapter_state_dict.items()}
        result = peft.set_peft_model_state_dict(self, state, adapter_name=name)
        if result.unexpected_keys or not state:
            unexpected = ", ".join(map(repr, result.unexpected_keys[:4])) or "no weights at all"
            raise CheckpointError(
                f"The adapter {peft_model_id or name!r} has {unexpected}, for which {type(self).__name__} has no "
                f"place: it is of another model."
            )
        self.set_adapter(name)
        if not is_trainable:
            self.eval()
            for layer in self._adapter_layers():
                layer.requires_grad_(False)

    def set_adapter(self, adapter_name: str | list[str]) -> None:
        """Use this adapter, or these, and no other.

        Raises:
            InputError: there is none of that name.
        """
        names = [adapter_name] if isinstance(adapter_name, str) else adapter_name
        self._refuse_unknown_adapters(names)
        for layer in self._adapter_layers(with_saved=True):
            layer.set_adapter(adapter_name)

    def active_adapters(self) -> list[str]:
        """The names of the adapters in use.

        Raises:
            InputError: the model has no adapter.
        """
        self._refuse_unknown_adapters([])
        active = next(self._adapter_layers()).active_adapters
        return [active] if isinstance(active, str) else list(active)

    def disable_adapters(self) -> None:
        """Compute without adapters, which stay in the model.

        Raises:
            InputError: the model has no adapter.
        """
        self._refuse_unknown_adapters([])
        for layer in self._adapter_layers(with_saved=True):
            layer.enable_adapters(enabled=False)

    def enable_adapters(self) -> None:
        """Undo `disable_adapters`.

        Raises:
            InputError: the model has no adapter.
        """
        self._refuse_unknown_adapters([])
        for layer in self._adapter_layers(with_saved=True):
            layer.enable_adapters(enabled=True)

    def delete_adapter(self, adapter_names: str | list[str]) -> None:
        """Take adapters out of the model; without the last one, its layers compute what they did before.

        Raises:
            InputError: there is none of that name.
        """
        _peft()
        from peft.functional import delete_adapter

        names = [adapter_names] if isinstance(adapter_names, str) else adapter_names
        self._refuse_unknown_adapters(names)
        for name in names:
            kind = self.peft_config[name].peft_type.value.lower()
            delete_adapter(self, adapter_name=name, prefix=f"{kind}_")
            self.peft_config.pop(name, None)
        if not self.peft_config:
            del self.peft_config
            self._hf_peft_config_loaded = False

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, state_dict: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The weights of an adapter, the active one unless given, without its name.

        Args:
            adapter_name: whose weights.
            state_dict: the model's, where it is gathered from several devices.

        Raises:
            InputError: there is no such adapter.
        """
        name = adapter_name or self.active_adapters()[0]
        self._refuse_unknown_adapters([name])
        weights: dict[str, Tensor] = _peft().get_peft_model_state_dict(self, state_dict=state_dict, adapter_name=name)
        return weights

    # ---- files -------------------------------------------------------------------------------------------------------

    def _adapter_for_files(self, directory: Path, state: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Write adapter_config.json of the active adapter; its weights, named as in files.

        Raises:
            InputError: several adapters are active.
        """
        active = self.active_adapters()
        if len(active) > 1:
            raise InputError(
                f"{', '.join(active)} are active, and one adapter is saved at a time: choose it with model.set_adapter."
            )
        self.peft_config[active[0]].save_pretrained(str(directory))
        return {f"{_IN_FILES}{name}": tensor for name, tensor in self.get_adapter_state_dict(active[0], state).items()}

    # ---- checks ------------------------------------------------------------------------------------------------------

    def _adapter_layers(self, with_saved: bool = False) -> Iterator[Any]:
        """The layers of adapters and, if asked for, copies of modules that are trained whole beside them."""
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils import ModulesToSaveWrapper

        kinds = (BaseTunerLayer, ModulesToSaveWrapper) if with_saved else (BaseTunerLayer,)
        return (module for module in self.modules() if isinstance(module, kinds))

    def _refuse_taken(self, name: str) -> None:
        if self._hf_peft_config_loaded and name in self.peft_config:
            raise InputError(f"adapter_name={name!r} is taken: choose another name, or call delete_adapter first.")

    def _refuse_unknown_adapters(self, names: Sequence[str]) -> None:
        if not self._hf_peft_config_loaded:
            raise InputError(f"{type(self).__name__} has no adapter: call add_adapter or load_adapter first.")
        for name in names:
            if name not in self.peft_config:
                raise InputError(f"There is no adapter {name!r}; there are {', '.join(self.peft_config)}.")


def find_adapter(name_or_path: Any, **where: Any) -> tuple[Source, Source | None]:
    """Where to read a model, and the adapter for it if there is one; the arguments are those of `Source`.

    A directory or repository that has an adapter and no config.json names the model that the adapter is for.

    Raises:
        CheckpointError: it names none.
    """
    source = Source(name_or_path, **where)
    if not is_peft_available():
        return source, None
    is_model = source.find("config.json") is not None
    path = source.find(ADAPTER_CONFIG_FILE)
    if path is None or is_model:
        return source, None if path is None else source
    try:
        base = dict(parse_json(path.read_bytes())).get("base_model_name_or_path")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is no configuration of an adapter: {error!r}.") from error
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{source} has an adapter, and {ADAPTER_CONFIG_FILE} does not say of which model: load that model and call "
            f"model.load_adapter({source.name!r})."
        )
    elsewhere = {name: value for name, value in where.items() if name not in ("revision", "subfolder")}
    return Source(base, **elsewhere), source


def _peft() -> Any:
    """The package.

    Raises:
        ImportError: it is not installed.
    """
    if not is_peft_available():
        raise ImportError("Adapters need the package peft: pip install peft.")
    import peft

    return peft
