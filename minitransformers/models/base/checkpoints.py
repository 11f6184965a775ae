"""Models from files and into files: `from_pretrained` and `save_pretrained`.

What is in the files is the subject of minitransformers/files, and adapters that lie beside a model that of adapters.py.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, overload

import torch
from torch import Tensor

from minitransformers.compat.device_map import device_of
from minitransformers.compat.keywords import LOADING_WEIGHTS, SAVING_WEIGHTS, remove_no_ops
from minitransformers.configs.config import Config
from minitransformers.configs.limits import check_against_file
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError, nearest
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.files.file_names import PICKLE, SAFETENSORS
from minitransformers.files.hub import Source
from minitransformers.files.loading import LoadingReport, is_listed, load_weights
from minitransformers.files.pushing import PushToHub
from minitransformers.files.reading import checkpoint_of, open_checkpoint
from minitransformers.files.saving import named_for_files, write_checkpoint
from minitransformers.generation.config import GenerationConfig
from minitransformers.models.base.adapters import ADAPTER_FILES, Adapters, find_adapter
from minitransformers.models.base.attributes import ModelAttributes
from minitransformers.models.base.initialization import Initialization, WithoutWeights
from minitransformers.models.base.token_embeddings import TokenEmbeddings

ModelType = TypeVar("ModelType", bound="Checkpoints")


class Checkpoints(ModelAttributes, TokenEmbeddings, Initialization, Adapters, PushToHub):
    """Loading and saving, a base of `PreTrainedModel`."""

    config_class: ClassVar[type[Config]] = Config
    checkpoint_names: ClassVar[CheckpointNames]
    optional_weights: ClassVar[tuple[str, ...]] = ()
    keep_in_fp32: ClassVar[tuple[str, ...]] = ()
    # Regular expressions that a user's class may set: names of weights that may be missing in a file, or unused in it
    # without a word, and parts that stay float32. And names that are not saved.
    _keys_to_ignore_on_load_missing: ClassVar[Any] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[Any] = None
    _keep_in_fp32_modules: ClassVar[Any] = None
    _keys_to_ignore_on_save: ClassVar[Any] = None

    config: Config
    generation_config: GenerationConfig
    dtype: Any

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ModelType], *args: Any, output_loading_info: Literal[False] = False, **kwargs: Any
    ) -> ModelType: ...

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ModelType], *args: Any, output_loading_info: Literal[True], **kwargs: Any
    ) -> tuple[ModelType, dict[str, Any]]: ...

    @classmethod  # type: ignore[misc]  # the overloads only tell the two return types apart
    def from_pretrained(
        cls: type[ModelType],
        pretrained_model_name_or_path: str | PathLike[str] | None,
        *model_args: Any,
        config: Config | str | PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        cache_dir: str | PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        device_map: Any = None,
        variant: str | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        key_mapping: Mapping[str, str] | None = None,
        generation_config: GenerationConfig | None = None,
        adapter_name: str | None = None,
        refuse_non_finite: bool = False,
        **overrides: Any,
    ) -> ModelType | tuple[ModelType, dict[str, Any]]:
        """Load a model from a directory, or from a repository of a hub.

        Reads config.json and model.safetensors (whole or in shards), or pytorch_model.bin where there is no other.
        The model comes in evaluation mode; its weights stay mapped to the file until they are changed.

        Args:
            pretrained_model_name_or_path: a directory, or a name such as "google-bert/bert-base-uncased"; None with
                `state_dict` and `config`.
            config: a configuration, or where to read one, in place of the checkpoint's own.
            dtype: torch.float32, "bfloat16", … for the weights; None or "auto" takes what config.json says, or the
                file. `torch_dtype` is its former name. In float16, a family's `keep_in_fp32` stay float32.
            attn_implementation: "sdpa" (default) or "eager".
            ignore_mismatched_sizes: newly initialize a head whose size differs from the file's.
            output_loading_info: also return what was missing, unused, or of another size.
            cache_dir, force_download, local_files_only, token, revision, subfolder: see `Source`.
            device_map: the device that the model is moved to: "cpu", "cuda:0", or "auto" for the machine's accelerator.
            variant: read model.VARIANT.safetensors, or its shards, in place of model.safetensors.
            state_dict: the weights, named as in files, where they are in memory already.
            key_mapping: regular expressions in the files' names of weights, and what to write in their place.
            generation_config: the model's settings of `generate`, in place of the checkpoint's.
            adapter_name: of an adapter that lies beside the model, or that names the model as its own (see
                `load_adapter`).
            refuse_non_finite: read all weights, and raise an error if one is NaN or infinite. Without it there is a
                warning, for which only the beginning and the end of large weights are read.
            overrides: fields of the config (`num_labels=3`) and arguments of the constructor
                (`add_pooling_layer=False`).

        Raises:
            MissingFileError: a file is missing, or the hub cannot be reached.
            CheckpointError: a damaged file, or weights that do not fit the model.
            ConfigError, UnknownArgumentError: an override that is impossible or unknown.
        """
        device = device_of(device_map)
        if generation_config is not None and not isinstance(generation_config, GenerationConfig):
            raise InputError(
                f"generation_config must be a GenerationConfig, got {type(generation_config).__name__}: make one with "
                f"GenerationConfig.from_pretrained or GenerationConfig(…)."
            )
        overrides = remove_no_ops(f"{cls.__name__}.from_pretrained", overrides, LOADING_WEIGHTS)
        token = overrides.pop("token", token)  # given by its former name
        where: dict[str, Any] = {"cache_dir": cache_dir, "revision": revision, "subfolder": subfolder, "token": token}
        where |= {"local_files_only": local_files_only, "force_download": force_download}
        source: Source | None = None
        adapter: Source | None = None
        if state_dict is None:
            source, adapter = find_adapter(pretrained_model_name_or_path, **where)
        elif pretrained_model_name_or_path is not None or config is None:
            raise InputError(
                "state_dict= takes the place of files: pass None as the name of the model, and config=, or load the "
                "files and call model.load_state_dict."
            )
        constructor = {key: overrides.pop(key) for key in list(overrides) if key in cls._constructor_arguments()}
        if attn_implementation is not None:
            overrides["attn_implementation"] = attn_implementation
        config = cls._find_config(config, source, overrides)
        wanted = _read_dtype(dtype if dtype is not None else torch_dtype)

        weights = checkpoint_of(state_dict or {}) if source is None else open_checkpoint(source, variant)
        if key_mapping:
            weights = weights.renamed(key_mapping)
        check_against_file(config, len(weights), "the state dict" if source is None else source.name)
        with WithoutWeights():
            model = cls(config, *model_args, **constructor)
        report = load_weights(
            model,
            weights,
            model.checkpoint_names,
            ties=model._ties_in_files(),
            shape_of=weights.shape,
            dtype=wanted or config.dtype,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            refuse_non_finite=refuse_non_finite,
            origin="the state dict" if source is None else source.name,
        )
        model._note_untied()
        config.dtype = model.dtype
        model.eval()
        if device is not None:
            model.to(device)
        if model.can_generate() and generation_config is not None:
            model.generation_config = copy.deepcopy(generation_config)
        elif model.can_generate() and source is not None:
            model.generation_config = GenerationConfig.of_checkpoint(source, config)
        if adapter is not None:
            model.load_adapter(adapter.name, adapter_name, **where)
        return (model, dict(vars(report))) if output_loading_info else model

    def load_hf_state_dict(self, state_dict: Mapping[str, Tensor], **options: Any) -> LoadingReport:
        """Take over weights named as in files, which may lack a head; the inverse of `hf_state_dict`.

        Tensors are shared, not copied; clone them first where both models are trained. `options`: `dtype`,
        `ignore_mismatched_sizes`.
        """
        ties = self._ties_in_files()
        report = load_weights(self, state_dict, self.checkpoint_names, ties=ties, origin="the state dict", **options)
        self._note_untied()
        return report

    def hf_state_dict(self) -> dict[str, Tensor]:
        """All weights in the layout of `transformers`: the state dict, with GPT-1's and GPT-2's matrices transposed."""
        return self.checkpoint_names.transposed(self.state_dict())

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "50GB",
        variant: str | None = None,
        *,
        safe_serialization: bool = True,
        **hub_options: Any,
    ) -> None:
        """Write config.json and model.safetensors, which `from_pretrained` here and in `transformers` loads.

        Of a model with an adapter, only the adapter is written: adapter_config.json and adapter_model.safetensors.

        Args:
            save_directory: made where it is missing; may be the directory that the model was loaded from.
            is_main_process: False writes nothing: of several processes with the same model, one saves it.
            state_dict: the weights to write, in place of the model's own.
            push_to_hub: push the files, too.
            max_shard_size: larger checkpoints are split; a number of bytes, or a text such as "5GB".
            variant: becomes a part of the names of the weights' files, "fp16" of model.fp16.safetensors;
                `from_pretrained(variant="fp16")` reads them.
            safe_serialization: False writes pytorch_model.bin, a pickle that `torch.load(weights_only=True)` reads, and
                removes model.safetensors, which would be read in its place. (transformers 5 writes no pickles.)
            hub_options: `repo_id` and others of `push_to_hub`. `save_function` has no effect.
        """
        hub_options = remove_no_ops(f"{type(self).__name__}.save_pretrained", hub_options, SAVING_WEIGHTS)
        if not is_main_process:
            return
        directory = Path(save_directory)
        if directory.is_file():
            raise InputError(f"save_directory={str(directory)!r} is a file; pass a directory.")
        with self._pushing(directory, push_to_hub, hub_options):
            if self._hf_peft_config_loaded:
                directory.mkdir(parents=True, exist_ok=True)
                tensors, names = self._adapter_for_files(directory, state_dict), ADAPTER_FILES
            else:
                state = self.state_dict() if state_dict is None else state_dict
                kept = {
                    name: tensor for name, tensor in state.items() if name not in (self._keys_to_ignore_on_save or ())
                }
                tensors = named_for_files(kept, self.checkpoint_names, self._ties_in_files())
                names = (SAFETENSORS, PICKLE)
            write_checkpoint(
                directory,
                tensors,
                max_shard_size=max_shard_size,
                variant=variant,
                safe_serialization=safe_serialization,
                names=names,
            )
            self.config.architectures = [type(self).__name__]
            self.config.dtype = self.dtype
            if not self._hf_peft_config_loaded:
                self.config.save_pretrained(directory)
            if self.can_generate():
                self.generation_config.save_pretrained(directory)

    @classmethod
    def _from_config(cls: type[ModelType], config: Config, **options: Any) -> ModelType:
        """A newly initialized model of this class; `config` is copied.

        Args:
            config: the configuration.
            options: `attn_implementation`; `dtype` (or `torch_dtype`), the type of the weights, `config.dtype` unless
                given; and arguments of the constructor.
        """
        config = copy.deepcopy(config)
        options = remove_no_ops(f"{cls.__name__}._from_config", options)
        for name in ("torch_dtype", "dtype", "attn_implementation"):
            if options.get(name) not in (None, "auto"):
                setattr(config, name, options[name])
            options.pop(name, None)
        default = torch.get_default_dtype()
        torch.set_default_dtype(config.dtype or default)
        try:
            return cls(config, **options)
        finally:
            torch.set_default_dtype(default)

    @classmethod
    def _find_config(
        cls, config: Config | str | PathLike[str] | None, source: Source | None, overrides: dict[str, Any]
    ) -> Config:
        found: Config
        unused: Any
        if isinstance(config, Config):
            found = copy.deepcopy(config)  # the caller's stays as it is
            unused = {name for name in overrides if not hasattr(config, name)}
            found.update({name: value for name, value in overrides.items() if name not in unused})
        elif config is not None or source is None:
            found, unused = cls.config_class.from_pretrained(config or "", return_unused_kwargs=True, **overrides)
        else:
            found, unused = cls.config_class.from_source(source, return_unused_kwargs=True, **overrides)
        for name in unused:
            arguments = set(inspect.signature(cls.from_pretrained).parameters)
            known = arguments | cls._constructor_arguments() | set(cls.config_class._known_names())
            raise UnknownArgumentError(
                f"{cls.__name__}.from_pretrained takes no argument {name!r}, and {cls.config_class.__name__} "
                f"has no such field.{nearest(name, known)}"
            )
        return found

    @classmethod
    def _constructor_arguments(cls) -> set[str]:
        return set(inspect.signature(cls.__init__).parameters) - {"self", "config"}

    def _may_be_missing(self, name: str) -> bool:
        """Whether a parameter belongs to a head, or to an optional part of the backbone."""
        in_backbone = self.base_model is self or name.startswith(f"{self.base_model_prefix}.")
        is_optional = any(part in f".{name}" for part in self.optional_weights)
        return not in_backbone or is_optional or is_listed(name, self._keys_to_ignore_on_load_missing)

    def _keeps_fp32(self, name: str, dtype: torch.dtype | None) -> bool:
        """Whether a parameter is float32 in a model that is loaded in float16."""
        parts = (*self.keep_in_fp32, *(f".{part}." for part in self._keep_in_fp32_modules or ()))
        return dtype == torch.float16 and any(part in f".{name}" for part in parts)

    def _ties_in_files(self) -> dict[str, str]:
        """Tied pairs of the family, of which a file may have either; none where the config does not tie."""
        return self._tied_weights_keys if self.config.tie_word_embeddings else {}


def _read_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or dtype == "auto":
        return None
    named = dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise ConfigError(f"dtype={dtype!r} must be torch.float32, torch.bfloat16 …, its name, or 'auto'.")
    return named
