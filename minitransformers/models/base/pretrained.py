"""PreTrainedModel: how a model is built and called, and the base of all of them.

What else a model can do is in its bases, a file each: loading and saving (checkpoints.py), initialization.py,
inputs.py, token_embeddings.py, checkpointing.py, adapters.py, attributes.py, and inference/methods.py.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar, overload, runtime_checkable

import torch

from minitransformers.compat.forward import IGNORED_ARGUMENTS
from minitransformers.configs.config import Config
from minitransformers.configs.limits import check_size
from minitransformers.errors import InputError, UnknownArgumentError, nearest
from minitransformers.files.checkpoint_names import CheckpointNames
from minitransformers.generation.config import GenerationConfig
from minitransformers.inference.methods import FastPaths
from minitransformers.models.base.checkpointing import Checkpointing
from minitransformers.models.base.checkpoints import Checkpoints
from minitransformers.models.base.inputs import OutputOptions, PreparesInputs
from minitransformers.models.base.loss_only import LossOnly
from minitransformers.outputs import ModelOutput

Arguments = ParamSpec("Arguments")
Output = TypeVar("Output", covariant=True)


@runtime_checkable  # for the test run, which checks annotations
class HasForward(Protocol[Arguments, Output]):
    """Gives a call of a model the arguments and the result of its `forward`, for type checkers and editors."""

    def forward(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Output:
        """The forward pass."""
        ...


class PreTrainedModel(Checkpoints, PreparesInputs, Checkpointing, LossOnly, FastPaths):
    """The base of all models.

    A family sets `config_class`, `base_model_prefix` (the attribute under which models with a head keep their
    backbone), `checkpoint_names` (where names in files differ), `optional_weights` (parts of the backbone that a
    checkpoint may lack: they are newly initialized) and `keep_in_fp32` (parts that stay float32 in a float16 model).
    """

    config_class: ClassVar[type[Config]] = Config
    base_model_prefix: ClassVar[str] = ""
    checkpoint_names: ClassVar[CheckpointNames]
    _no_split_modules: ClassVar[list[str]] = []  # blocks that stay on one device; other libraries read it

    config: Config
    _forward_arguments: ClassVar[frozenset[str]] = frozenset()
    _takes_any_argument: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "checkpoint_names"):  # a user's own model
            cls.checkpoint_names = CheckpointNames(base=cls.base_model_prefix)
        _, *parameters = inspect.signature(cls.forward).parameters.values()
        any_name = [parameter for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD]
        names = {parameter.name for parameter in parameters if parameter not in any_name}
        is_ours = any("OutputOptions" in str(parameter.annotation) for parameter in any_name)
        cls._forward_arguments = frozenset(names | (OutputOptions.__annotations__.keys() if is_ours else set()))
        cls._takes_any_argument = bool(any_name) and not is_ours

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise InputError(
                f"{type(self).__name__} is built from a {self.config_class.__name__}, got {type(config).__name__}; "
                f"weights are loaded with {type(self).__name__}.from_pretrained(…)."
            )
        config.validate()
        check_size(config)
        self.config = config
        self.num_labels = config.num_labels
        if self.can_generate():
            self.generation_config = GenerationConfig.from_model_config(config)

    @overload
    def __call__(self: HasForward[Arguments, Output], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Output: ...

    @overload
    def __call__(
        self: HasForward[Arguments, Output], *args: Any, return_dict: bool | None, **kwargs: Any
    ) -> Output: ...

    def __call__(self, *args: Any, return_dict: bool | None = None, **kwargs: Any) -> Any:  # type: ignore[misc]
        """Run `forward`; arguments that it does not have are refused with the nearest name.

        `return_dict=False`, here or in the config, returns the output as a plain tuple. Fields that tokenizers and
        collators put into a batch, and that the model does not use, are ignored (compat/forward.py).
        """
        known = self._forward_arguments
        if not self._takes_any_argument and not kwargs.keys() <= known:
            for name in kwargs.keys() - known:
                if name not in IGNORED_ARGUMENTS and kwargs[name] is not None:
                    raise UnknownArgumentError(
                        f"{type(self).__name__} takes no argument {name!r}.{nearest(name, known)}"
                    )
            kwargs = {name: value for name, value in kwargs.items() if name in known}
        if "return_dict" in known:  # a user's own forward, which reads it
            return super().__call__(*args, return_dict=return_dict, **kwargs)
        output = super().__call__(*args, **kwargs)
        as_output = self.config.return_dict if return_dict is None else return_dict
        return output.to_tuple() if not as_output and isinstance(output, ModelOutput) else output

    def post_init(self) -> None:
        """The last line of every constructor: initialize what is new, and tie the embeddings."""
        self.init_weights()

    def init_weights(self) -> None:
        """Initialize modules that are neither loaded nor initialized yet, and tie the embeddings."""
        if not any(parameter.is_meta for parameter in self.parameters()):
            self.initialize_weights()
        self.tie_weights()

    # ---- what people ask a model for ---------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the first parameter is."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the first floating-point parameter."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Choose the attention kernel: "sdpa" (fused) or "eager" (the formula)."""
        self.config.attn_implementation = attn_implementation

    def __getattr__(self, name: str) -> Any:  # only names that are not found otherwise
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in ("generate", "generate_steps", "generation_config"):
                raise
        raise AttributeError(
            f"{type(self).__name__} cannot continue a text, and has no {name!r}: load a class with a language-model "
            f"head, with AutoModelForCausalLM or AutoModelForSeq2SeqLM."
        )


def attention_kernel_name(config: Config, output_attentions: bool) -> str:
    """Which kernel a forward pass uses: only the eager one has the weights that `output_attentions=True` asks for."""
    return "eager" if output_attentions else config.attn_implementation or "sdpa"
