"""PreTrainedModel: what every model can do besides its forward pass.

First values, loading and saving, and the properties that people ask a model for are here. Tied embeddings and their
resizing are in token_tables.py; gradient checkpointing and the cache in block_runner.py.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, overload

import torch
from torch import Tensor, nn

from minitransformers.configs.config import Config
from minitransformers.errors import ConfigError, InputError, UnknownArgumentError, nearest
from minitransformers.files.hub import Source
from minitransformers.files.loading import LoadingReport, load_weights
from minitransformers.files.pushing import PushToHub
from minitransformers.files.reading import open_checkpoint
from minitransformers.files.saving import to_reference_names, write_checkpoint
from minitransformers.files.weight_names import WeightTable
from minitransformers.generation.config import GenerationConfig
from minitransformers.models.base.block_runner import BlockRunner
from minitransformers.models.base.token_embeddings import TokenTables
from minitransformers.nn.attention import attention_kernel

logger = logging.getLogger(__name__)

ModelType = TypeVar("ModelType", bound="PreTrainedModel")


class PreTrainedModel(TokenTables, BlockRunner, PushToHub):
    """The base of all models.

    A family sets `config_class`, `base_model_prefix` (the attribute under which models with a head keep their
    backbone), `weights` (its table of names), `optional_weights` (parts of the backbone that a checkpoint may lack:
    they are newly initialised), and `wide_weights` (parts that stay float32 where a model is loaded in float16).
    """

    config_class: ClassVar[type[Config]]
    base_model_prefix: ClassVar[str]
    weights: WeightTable
    optional_weights: ClassVar[tuple[str, ...]] = ()
    wide_weights: ClassVar[tuple[str, ...]] = ()

    config: Config
    _forward_arguments: ClassVar[frozenset[str]] = frozenset()
    _place_of_return_dict: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _, *arguments = inspect.signature(cls.forward).parameters
        cls._forward_arguments = frozenset(arguments)
        cls._place_of_return_dict = arguments.index("return_dict") if "return_dict" in arguments else None

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise InputError(
                f"{type(self).__name__} is built from a {self.config_class.__name__}, got {type(config).__name__}; "
                f"weights are loaded with {type(self).__name__}.from_pretrained(…)."
            )
        config.validate()
        self.config = config
        if self.can_generate():
            self.generation_config = GenerationConfig.from_model_config(config)

    def __call__(self, *args: Any, return_dict: bool | None = None, **kwargs: Any) -> Any:
        """Run `forward`, after refusing arguments that it does not have, with the nearest name.

        `return_dict=False`, here or in the config, gives the output as a plain tuple. Families in which the reference
        takes it by position too have it among their `forward`'s arguments, but it is read here.
        """
        place = self._place_of_return_dict
        if place is not None and len(args) > place:
            return_dict = args[place]
        for name in kwargs:
            if name not in self._forward_arguments:
                raise UnknownArgumentError(
                    f"{type(self).__name__} takes no argument {name!r}.{nearest(name, self._forward_arguments)}"
                )
        output = super().__call__(*args, **kwargs)
        as_output = self.config.return_dict if return_dict is None else return_dict
        return output if as_output else output.to_tuple()

    # ---- first values ------------------------------------------------------------------------------------------------

    def post_init(self) -> None:
        """The last line of every constructor: give parameters their first values, and tie the embeddings."""
        with torch.no_grad():
            for module in _modules_outside_models(self):
                for name, parameter in module.named_parameters(recurse=False):
                    if not parameter.is_meta:
                        self.init_parameter(module, name, parameter)
        self.tie_weights()

    def init_parameter(self, module: nn.Module, name: str, parameter: Tensor) -> None:
        """The first value of one parameter, in place.

        N(0, initializer_range²) for matrices and embeddings, 0 for biases and the padding token's vector, 1 for the
        weights of norms (Devlin et al., 2018, appendix A.2 and the released code).
        """
        if name == "bias":
            parameter.zero_()
        elif parameter.ndim == 1:
            parameter.fill_(1.0)
        else:
            parameter.normal_(0.0, self.config.initializer_range)
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                parameter[module.padding_idx].zero_()

    # ---- loading and saving ------------------------------------------------------------------------------------------

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ModelType], *args: Any, output_loading_info: Literal[True], **kwargs: Any
    ) -> tuple[ModelType, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(cls: type[ModelType], *args: Any, **kwargs: Any) -> ModelType: ...

    @classmethod  # type: ignore[misc]  # the overloads only tell the two return types apart
    def from_pretrained(
        cls: type[ModelType],
        pretrained_model_name_or_path: str | PathLike[str],
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
        **overrides: Any,
    ) -> ModelType | tuple[ModelType, dict[str, Any]]:
        """Load a model from a directory, or from a repository of a hub.

        Reads config.json and model.safetensors (whole or in shards), or pytorch_model.bin where there is no other.
        The model comes in evaluation mode; its weights stay mapped to the file until they are changed.

        Args:
            pretrained_model_name_or_path: a directory, or a name such as "google-bert/bert-base-uncased".
            config: a configuration, or where to read one, in place of the checkpoint's own.
            dtype: torch.float32, "bfloat16", … for the weights; None or "auto" takes what config.json says, or the
                file. `torch_dtype` is its former name. In float16, a family's `wide_weights` stay float32.
            attn_implementation: "sdpa" (default) or "eager".
            ignore_mismatched_sizes: newly initialise a head whose size differs from the file's.
            output_loading_info: also return what was missing, unused, or of another size.
            cache_dir, force_download, local_files_only, token, revision, subfolder: see `Source`.
            overrides: fields of the config (`num_labels=3`) and arguments of the constructor
                (`add_pooling_layer=False`).

        Raises:
            MissingFileError: a file is missing, or the hub cannot be reached.
            CheckpointError: a damaged file, or weights that do not fit the model.
            ConfigError, UnknownArgumentError: an override that is impossible or unknown.
        """
        source = Source(
            pretrained_model_name_or_path, cache_dir, revision, subfolder, local_files_only, token, force_download
        )
        constructor = {key: overrides.pop(key) for key in list(overrides) if key in cls._constructor_arguments()}
        if attn_implementation is not None:
            overrides["attn_implementation"] = attn_implementation
        config = cls._find_config(config, source, overrides)
        wanted = _read_dtype(dtype if dtype is not None else torch_dtype)

        weights = open_checkpoint(source)
        with torch.device("meta"):
            model = cls(config, *model_args, **constructor)
        report = load_weights(
            model,
            weights,
            model.weights,
            may_be_missing=model._may_be_missing,
            stays_wide=model._stays_wide,
            initialise=model.init_parameter,
            tied=config.tie_word_embeddings,
            shape_of=weights.shape,
            dtype=wanted or config.dtype,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            origin=source.name,
        )
        if any(buffer.is_meta for buffer in model.buffers()):  # one that the file has not, of a user's own class
            computed = cls(config, *model_args, **constructor)
            for name, buffer in model.named_buffers():
                path, _, leaf = name.rpartition(".")
                setattr(model.get_submodule(path), leaf, computed.get_buffer(name) if buffer.is_meta else buffer)
        model._note_untied()
        config.dtype = model.dtype
        model.eval()
        if model.can_generate():
            model.generation_config = GenerationConfig.of_checkpoint(source, config)
        return (model, dict(vars(report))) if output_loading_info else model

    def load_hf_state_dict(self, state_dict: Mapping[str, Tensor], **options: Any) -> LoadingReport:
        """Take over weights named as in `transformers`, the inverse of `hf_state_dict`.

        Tensors are shared, not copied; clone them first where both models are trained. `options`: `dtype`,
        `ignore_mismatched_sizes`.
        """
        report = load_weights(
            self,
            state_dict,
            self.weights,
            may_be_missing=self._may_be_missing,
            stays_wide=self._stays_wide,
            initialise=self.init_parameter,
            tied=self.config.tie_word_embeddings,
            origin="the state dict",
            **options,
        )
        self._note_untied()
        return report

    def hf_state_dict(self) -> dict[str, Tensor]:
        """All weights under the names, and in the layout, that `transformers` has for this architecture."""
        return to_reference_names(self.state_dict(), self.weights)

    def save_pretrained(
        self,
        save_directory: str | PathLike[str],
        *,
        state_dict: Mapping[str, Tensor] | None = None,
        max_shard_size: int | str = "50GB",
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        **hub_options: Any,
    ) -> None:
        """Write config.json and model.safetensors, which `from_pretrained` here and in `transformers` loads.

        Args:
            save_directory: made where it is missing; may be the directory that the model was loaded from.
            state_dict: the weights to write, with our names; by default the model's own.
            max_shard_size: larger checkpoints are split; a number of bytes, or a text such as "5GB".
            safe_serialization: True, as scripts say who ask for safetensors; pickles are not written.
            push_to_hub: push the files, too.
            hub_options: `repo_id` and others of `push_to_hub`.
        """
        if not safe_serialization:
            raise InputError("safe_serialization=False would write a pickle; only safetensors are written.")
        directory = Path(save_directory)
        if directory.is_file():
            raise InputError(f"save_directory={str(directory)!r} is a file; pass a directory.")
        state = self.state_dict() if state_dict is None else state_dict
        tensors = to_reference_names(state, self.weights, shared=not self.config.tie_word_embeddings)
        tensors = {self.weights.in_files(name): tensor for name, tensor in tensors.items()}
        with self._pushing(directory, push_to_hub, hub_options):
            write_checkpoint(directory, tensors, max_shard_size=max_shard_size)
            self.config.architectures = [type(self).__name__]
            self.config.dtype = self.dtype
            self.config.save_pretrained(directory)
            if self.can_generate():
                self.generation_config.save_pretrained(directory)

    @classmethod
    def _find_config(
        cls, config: Config | str | PathLike[str] | None, source: Source, overrides: dict[str, Any]
    ) -> Config:
        known = set(cls.config_class._known_names())
        for key in overrides.keys() - known:
            arguments = (
                set(inspect.signature(PreTrainedModel.from_pretrained).parameters) | cls._constructor_arguments()
            )
            raise UnknownArgumentError(
                f"{cls.__name__}.from_pretrained takes no argument {key!r}, and {cls.config_class.__name__} "
                f"has no such field.{nearest(key, known | arguments)}"
            )
        if isinstance(config, Config):
            config = copy.deepcopy(config)  # the caller's stays as it is
            config.update(overrides)
            return config
        if config is not None:
            return cls.config_class.from_pretrained(config, **overrides)
        return cls.config_class.from_source(source, **overrides)

    @classmethod
    def _constructor_arguments(cls) -> set[str]:
        return set(inspect.signature(cls.__init__).parameters) - {"self", "config"}

    def _may_be_missing(self, name: str) -> bool:
        """Whether a parameter belongs to a head, or to an optional part of the backbone."""
        in_backbone = self.base_model is self or name.startswith(f"{self.base_model_prefix}.")
        return not in_backbone or any(part in f".{name}" for part in self.optional_weights)

    def _stays_wide(self, name: str) -> bool:
        """Whether a parameter is float32 in a model that is loaded in float16."""
        return any(part in f".{name}" for part in self.wide_weights)

    # ---- what people ask a model for ---------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the first parameter is."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the first floating-point parameter."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    @property
    def name_or_path(self) -> str:
        """Where the model was loaded from."""
        return self.config.name_or_path

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters, tied ones counted once.

        Args:
            only_trainable: count those with requires_grad.
            exclude_embeddings: leave out the weights of all embeddings.
        """
        embeddings = {id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding)}
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if (parameter.requires_grad or not only_trainable)
            and not (exclude_embeddings and id(parameter) in embeddings)
        )

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Choose the attention kernel: "sdpa" (fused) or "eager" (the formula)."""
        attention_kernel(attn_implementation)
        self.config.attn_implementation = attn_implementation

    def can_generate(self) -> bool:
        """Whether the model has `generate`."""
        return hasattr(self, "generate")

    def __getattr__(self, name: str) -> Any:  # only what is not found otherwise
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in ("generate", "generate_steps", "generation_config"):
                raise
        able = " or ".join(_generating_classes(PreTrainedModel, self.config_class)) or "a model of another family"
        raise AttributeError(f"{type(self).__name__} cannot continue a text, and has no {name!r}: load {able}.")


def attention_kernel_name(config: Config, output_attentions: bool) -> str:
    """Which kernel a forward pass uses: only the eager one has the weights that `output_attentions=True` asks for."""
    return "eager" if output_attentions else config.attn_implementation or "sdpa"


def _generating_classes(base: type[PreTrainedModel], config_class: type[Config]) -> list[str]:
    """The names of the family's own classes that can generate; a user's subclasses are not offered to others."""
    names = [name for child in base.__subclasses__() for name in _generating_classes(child, config_class)]
    is_own = base.__module__ == config_class.__module__ and not base.__name__.startswith("_")
    return [base.__name__, *names] if is_own and hasattr(base, "generate") else names


def _modules_outside_models(model: nn.Module) -> list[nn.Module]:
    """`model` and its parts, except for those of a model inside it, which has given them their first values itself."""
    modules = [model]
    for child in model.children():
        if not isinstance(child, PreTrainedModel):
            modules += _modules_outside_models(child)
    return modules


def _read_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or dtype == "auto":
        return None
    named = dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise ConfigError(f"dtype={dtype!r} must be torch.float32, torch.bfloat16 …, its name, or 'auto'.")
    return named
