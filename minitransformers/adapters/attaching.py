"""add_adapter, remove_adapter, merge_adapter, unmerge_adapter: adapters in a model, and what is trained beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from minitransformers.adapters.config import AdapterConfig
from minitransformers.adapters.linear import adapted_layers
from minitransformers.adapters.targets import ends
from minitransformers.errors import InputError, nearest
from minitransformers.models.base.pretrained import PreTrainedModel

ModelType = TypeVar("ModelType", bound=PreTrainedModel)


@dataclass
class Attached:
    """The adapter of a model; `attached(model)` finds it.

    Attributes:
        config: its settings.
        names: of its own parameters, in the model.
        originals: values that parameters had which are now trained whole, by name.
        was_trainable: names of the parameters that required gradients before.
    """

    config: AdapterConfig
    names: list[str] = field(default_factory=list)
    originals: dict[str, Tensor] = field(default_factory=dict)
    was_trainable: set[str] = field(default_factory=set)

    @property
    def all_names(self) -> list[str]:
        """Of all parameters that are trained and saved."""
        return [*self.names, *self.originals]


def add_adapter(model: ModelType, config: AdapterConfig, *, is_strict: bool = True) -> ModelType:
    """Give `model` an adapter, and freeze everything else but `config.modules_to_save`.

    The model is changed in place, and computes at first what it did before, with LoRA and (IA)³ to the last bit.
    (A prefix or a prompt changes it from the start.) New modules are part of its state dict. `config` is completed:
    fields that are None get the values that were chosen for the model.

    Args:
        config: `LoraConfig`, `IA3Config`, `BottleneckConfig`, `PrefixTuningConfig` or `PromptTuningConfig`.
        is_strict: every name in `config` must match a module.

    Returns:
        The same model.

    Raises:
        InputError: no model or no config of these; a model that has an adapter; a name that matches nothing.
    """
    if not isinstance(model, PreTrainedModel):
        raise InputError(f"model must be a model of minitransformers, got {type(model).__name__}.")
    if not isinstance(config, AdapterConfig):
        raise InputError(f"config must be a LoraConfig, IA3Config …, got {type(config).__name__}.")
    if hasattr(model, "_attached_adapter"):
        present = type(model._attached_adapter.config).__name__
        raise InputError(
            f"{type(model).__name__} already has an adapter ({present}): call remove_adapter(model) first, after "
            f"merge_adapter(model) to keep its effect."
        )
    if model._hf_peft_config_loaded:
        raise InputError(f"{type(model).__name__} has an adapter of peft: call model.delete_adapter(…) first.")
    if config.modules_to_save is None:
        config.modules_to_save = head_names(model)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = [*_modules_to_save(model, config, is_strict), *config.trained_besides(model)]
    saved = [name for name in parameters if name.startswith(tuple(f"{module}." for module in modules) or "/")]
    _refuse_tied(model, saved)

    config.attach(model, is_strict=is_strict)
    new = [name for name, _ in model.named_parameters() if name not in parameters]
    saved = [name for name in saved if name not in new]
    attached = Attached(
        config,
        new,
        {name: parameters[name].detach().clone() for name in saved},
        {name for name, parameter in parameters.items() if parameter.requires_grad},
    )
    model._attached_adapter = attached  # type: ignore[assignment]
    for module in model.modules():
        module._is_hf_initialized = True  # type: ignore[assignment]  # init_weights() would draw B anew
    set_trainable(model, is_trainable=True)
    return model


def remove_adapter(model: ModelType) -> ModelType:
    """Take the adapter out of `model`, which then computes and trains what it did before.

    After `merge_adapter`, the weights stay merged and the modules that were trained whole stay trained: an ordinary
    model, that `save_pretrained` writes and that has the adapter's effect.

    Raises:
        InputError: the model has no adapter.
    """
    adapter = attached(model)
    is_merged = any(layer.is_merged for layer in adapted_layers(model))
    adapter.config.detach(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in adapter.was_trainable)
        if name in adapter.originals and not is_merged:
            parameter.data.copy_(adapter.originals[name])
        parameter.grad = None
    del model._attached_adapter
    return model


def merge_adapter(model: ModelType) -> ModelType:
    """Put the adapter into the weights that it changes: the same outputs, as fast as without it.

    The weights before are kept, for `unmerge_adapter`, until `remove_adapter`. A merged adapter is not trained.

    Raises:
        InputError: no adapter, one that is merged already, or a method that changes no weight (bottlenecks, prefixes
            and prompts).
    """
    layers = adapted_layers(model)
    config = attached(model).config
    if not layers:
        raise InputError(f"{type(config).__name__} changes no weights: its adapter cannot be merged.")
    if layers[0].is_merged:
        raise InputError("The adapter is merged already: call unmerge_adapter(model) to take it out of the weights.")
    for layer in layers:
        layer.merge()
    return model


def unmerge_adapter(model: ModelType) -> ModelType:
    """Give the weights their values of before `merge_adapter`, to the last bit.

    Raises:
        InputError: no adapter, or one that is not merged.
    """
    attached(model)
    layers = adapted_layers(model)
    if not layers or not layers[0].is_merged:
        raise InputError("The adapter is not merged: call merge_adapter(model) first.")
    for layer in layers:
        layer.unmerge()
    return model


def trainable_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """How many numbers are trained, and how many the model has; tied parameters are counted once."""
    return model.num_parameters(only_trainable=True), model.num_parameters()


def print_trainable_parameters(model: PreTrainedModel) -> None:
    """Print the trainable share: "trainable: 296,450 of 109,780,228 parameters (0.2700 %)"."""
    trained, total = trainable_parameters(model)
    print(f"trainable: {trained:,} of {total:,} parameters ({100 * trained / total:.4f} %)")


def attached(model: Any) -> Attached:
    """The adapter of `model`.

    Raises:
        InputError: there is none.
    """
    found = getattr(model, "_attached_adapter", None)
    if found is None:
        raise InputError(f"{type(model).__name__} has no adapter: call add_adapter or load_adapter first.")
    return found  # type: ignore[no-any-return]


def set_trainable(model: PreTrainedModel, is_trainable: bool) -> None:
    """Freeze everything but, where `is_trainable`, the adapter and the modules that are trained whole."""
    trained = set(attached(model).all_names) if is_trainable else set()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def head_names(model: PreTrainedModel) -> list[str]:
    """The parts of a classifier behind its backbone; none of a language model or of a backbone."""
    if model.get_output_embeddings() is not None:
        return []
    parts = {name: part for name, part in model.named_children() if any(True for _ in part.parameters())}
    if model.base_model is not model:
        return [name for name, part in parts.items() if part is not model.base_model]
    return [name for name in parts if name == "qa_outputs"]


def _modules_to_save(model: PreTrainedModel, config: AdapterConfig, is_strict: bool) -> list[str]:
    """The names of the modules that `config.modules_to_save` means, outermost only."""
    names = [name for name, _ in model.named_modules() if name]
    found = [name for name in names if name.endswith(tuple(config.modules_to_save or ()) or "/")]
    for entry in config.modules_to_save or () if is_strict else ():
        if not any(name.endswith(entry) for name in found):
            raise InputError(
                f"modules_to_save: {entry!r} matches no module of {type(model).__name__}.{nearest(entry, ends(names))}"
            )
    return [name for name in found if not any(name.startswith(f"{other}.") for other in found)]


def _refuse_tied(model: PreTrainedModel, saved: list[str]) -> None:
    """Refuse to train a parameter whole that is also another, frozen one."""
    trained = {id(model.get_parameter(name)): name for name in saved}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in trained and name not in saved:
            raise InputError(
                f"modules_to_save: {trained[id(parameter)]!r} is tied to {name!r}, which would be trained too. Name "
                f"both, or load the model with tie_word_embeddings=False."
            )
