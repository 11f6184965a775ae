"""What scripts and other libraries ask a model for, besides its forward pass: sizes, parts, and small switches.

All of it is by name and in one place; no forward pass goes through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError, warn
from minitransformers.models.base.loss_functions import LOSS_MAPPING, ForCausalLMLoss
from minitransformers.models.base.summary import Summary, summarize


class ModelAttributes(nn.Module):
    """Properties and parts of a model, a base of `PreTrainedModel`."""

    main_input_name: ClassVar[str] = "input_ids"
    input_modalities: ClassVar[Any] = "text"
    output_modalities: ClassVar[Any] = None
    model_tags: list[str] | None = None
    base_model_prefix: ClassVar[str]
    base_model: Any
    config: Any
    get_input_embeddings: Callable[[], Any]
    _loss_function: Callable[..., Any] = staticmethod(ForCausalLMLoss)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = re.search("|".join(LOSS_MAPPING), cls.__name__)
        if found and "_loss_function" not in vars(cls):
            cls._loss_function = staticmethod(LOSS_MAPPING[found[0]])

    # ---- sizes -------------------------------------------------------------------------------------------------------

    @property
    def name_or_path(self) -> str:
        """Where the model was loaded from."""
        return str(self.config.name_or_path)

    @property
    def transformer_backbone_name(self) -> str:
        """The attribute that holds the backbone, under the name by which peft's prefix tuning asks for it."""
        return self.base_model_prefix

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Ids of a small batch, (3, 5), for trying a forward pass."""
        return {"input_ids": torch.tensor(DUMMY_IDS)}

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the model has `generate`."""
        return hasattr(cls, "generate")

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

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """The bytes of all parameters, tied ones counted once, and with `return_buffers` of all buffers."""
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def summary(self, *, length: int | None = None, depth: int = 4) -> Summary:
        """The parameters, shapes and arithmetic of each part, and the memory of all, as a table that `print` shows.

        Args:
            length: tokens of the text for which arithmetic is counted; default: 128, or the longest text if shorter.
            depth: how many levels of modules the table shows.
        """
        return summarize(self, length=length, depth=depth)

    # ---- parts -------------------------------------------------------------------------------------------------------

    def get_encoder(self, modality: str | None = None) -> Any:
        """The part that reads the source: the module `encoder` of the backbone, or this model if it has none.

        Args:
            modality: "image", "video" or "audio" ask for the encoder of a model with several, which none is here.
        """
        owner = self._owner("encoder", modality)
        return self if owner is None else owner.encoder

    def get_decoder(self) -> Any:
        """The part that writes the target: the module `decoder` of the backbone, or the backbone if it has none."""
        owner = self._owner("decoder")
        return self.base_model if owner is None else owner.decoder

    def set_encoder(self, encoder: nn.Module, modality: str | None = None) -> None:
        """Replace the module that `get_encoder` returns.

        Raises:
            InputError: the model is its own encoder.
        """
        self._set_part("encoder", encoder, modality)

    def set_decoder(self, decoder: nn.Module) -> None:
        """Replace the module that `get_decoder` returns.

        Raises:
            InputError: the model is its own decoder.
        """
        self._set_part("decoder", decoder)

    def _owner(self, part: str, modality: str | None = None) -> Any:
        if modality not in (None, "image", "video", "audio"):
            raise InputError(f"modality={modality!r} must be 'image', 'video' or 'audio', or None for a text's.")
        owners = (model for model in (self, self.base_model) if modality is None and hasattr(model, part))
        return next(owners, None)

    def _set_part(self, part: str, module: nn.Module, modality: str | None = None) -> None:
        owner = self._owner(part, modality)
        if owner is None:
            raise InputError(f"{type(self).__name__} has no module {part!r} to replace: it is one stack of blocks.")
        setattr(owner, part, module)

    def get_parameter_or_buffer(self, target: str) -> Tensor:
        """The parameter or buffer of that name.

        Raises:
            AttributeError: there is neither.
        """
        tensors: dict[str, Tensor] = {**dict(self.named_buffers(remove_duplicate=False))}
        tensors |= dict(self.named_parameters(remove_duplicate=False))
        if target not in tensors:
            raise AttributeError(f"{type(self).__name__} has no parameter or buffer {target!r}.")
        return tensors[target]

    def named_non_persistent_buffers(
        self, recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers that no state dict holds, because they are computed from the config."""
        for name, buffer in self.named_buffers(recurse=recurse, remove_duplicate=remove_duplicate):
            path, _, leaf = name.rpartition(".")
            if leaf in self.get_submodule(path)._non_persistent_buffers_set:
                yield name, buffer

    def retrieve_modules_from_names(
        self, names: Iterable[str], add_prefix: bool = False, remove_prefix: bool = False
    ) -> list[nn.Module]:
        """The modules that own parameters of these names, in the model's order.

        Args:
            names: of parameters, or of the entries of an `nn.ParameterList`.
            add_prefix: `names` begin with `base_model_prefix` and this model's own do not.
            remove_prefix: this model's names begin with it and `names` do not.
        """
        names = list(names)
        owners = {name.rpartition(".")[0] for name in names}
        owners |= {name.rpartition(".")[0].rpartition(".")[0] for name in names if name[-1:].isdigit()}
        prefix = self.base_model_prefix
        found = []
        for name, module in self.named_modules():
            if remove_prefix:
                name = name.removeprefix(f"{prefix}.")
            elif add_prefix:
                name = f"{prefix}.{name}" if name else prefix
            if name in owners:
                found.append(module)
        return found

    # ---- switches ----------------------------------------------------------------------------------------------------

    @property
    def loss_function(self) -> Callable[..., Any]:
        """How the head computes its loss; assign another function to replace it.

        Language models call it as `loss_function(logits=…, labels=…, vocab_size=…, num_items_in_batch=…,
        shift_labels=…)`; see loss_functions.py for the others. Heads that transformers gives a loss of their own, such
        as those of BERT, T5 and BART, do not call it.
        """
        replaced: Any = self._modules.get("loss_function")  # a module is registered, and hidden by this property
        return self._loss_function if replaced is None else replaced

    @loss_function.setter
    def loss_function(self, value: Callable[..., Any]) -> None:
        self._loss_function = value

    def enable_input_require_grads(self) -> None:
        """Let the embedded tokens require gradients, though the embedding is frozen.

        Adapters under gradient checkpointing need it: a checkpointed block has gradients where its input has.
        """
        self.disable_input_require_grads()
        tables = {id(table): table for model in self.modules() if (table := _token_embedding(model)) is not None}
        self._require_grads_hooks = [table.register_forward_hook(_require_grad) for table in tables.values()]
        if not tables:
            warn(f"{type(self).__name__} has no token embedding: enable_input_require_grads() has no effect.")

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        for hook in getattr(self, "_require_grads_hooks", ()):
            hook.remove()
        self._require_grads_hooks = []

    def add_model_tags(self, tags: list[str] | str) -> None:
        """Add tags, which README.md of the repository gets where the model is pushed to a hub."""
        present = self.model_tags or []
        new = [tags] if isinstance(tags, str) else tags
        self.model_tags = list(dict.fromkeys([*present, *new]))

    def warn_if_padding_and_no_attention_mask(self, input_ids: Tensor, attention_mask: Tensor | None) -> None:
        """Warn where the first or last token of a row is padding and no mask says so."""
        padding = self.config.pad_token_id
        if attention_mask is not None or padding is None or torch.compiler.is_compiling():
            return
        if (input_ids[:, [0, -1]] == padding).any():
            warn(
                f"input_ids begin or end with the padding token {padding}, and there is no attention_mask: pass the "
                f"tokenizer's, or the model attends to padding."
            )


DUMMY_IDS = [[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]]


def _token_embedding(module: nn.Module) -> nn.Module | None:
    """The token embedding of a model or a part of one; None where it has none."""
    if not isinstance(module, ModelAttributes):
        return None
    try:
        table = module.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # a user's own model, without one
        return None
    return table if isinstance(table, nn.Module) else None


def _require_grad(module: nn.Module, inputs: Any, output: Tensor) -> None:
    output.requires_grad_(True)
