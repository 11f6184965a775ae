"""What prefix tuning and prompt tuning share: trained vectors in front of every text, and how a model is given them.

The vectors are a module of the model, `prompt_encoder`, whose hooks complete the arguments of a forward pass. The
model's code is not changed, and `generate` needs no other arguments.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.adapters.config import AdapterConfig
from minitransformers.configs.fields import size
from minitransformers.errors import InputError
from minitransformers.models.base.checks import can_read_values
from minitransformers.nn.masks import documents_from_positions

NAME = "prompt_encoder"


class VirtualTokensConfig(AdapterConfig):
    """The base of `PrefixTuningConfig` and `PromptTuningConfig`.

    Attributes:
        num_virtual_tokens: how many vectors stand in front of a text. They count as positions: a model of 512
            positions has room for 512 − num_virtual_tokens tokens.
    """

    num_virtual_tokens: int = size(20)

    def detach(self, model: Any) -> None:
        """Take the vectors and their hooks out of the model."""
        vectors = getattr(model, NAME)
        for module in model.modules():
            for hooks in (module._forward_pre_hooks, module._forward_hooks):
                for key, hook in list(hooks.items()):
                    if getattr(hook, "__self__", None) is vectors:
                        del hooks[key]
        delattr(model, NAME)

    def tensors(self, model: Any, names: list[str]) -> dict[str, Tensor]:
        """The vectors, and the modules that are trained whole."""
        kept = super().tensors(model, [name for name in names if not name.startswith(f"{NAME}.")])
        kept = {name.replace("base_model.model.", "base_model.", 1): tensor for name, tensor in kept.items()}
        return {**kept, "prompt_embeddings": getattr(model, NAME)()}

    def file_fields(self, model: Any) -> dict[str, Any]:
        """The fields, and the model's sizes, from which peft computes those of the vectors."""
        return {**super().file_fields(model), **getattr(model, NAME).sizes}


class VirtualTokens(nn.Module):
    """The base of the trained vectors.

    Args:
        count: how many there are.
        sizes: of the model, for the file.
    """

    def __init__(self, count: int, sizes: dict[str, Any]) -> None:
        super().__init__()
        self.count, self.sizes = count, sizes

    def in_mask(self, mask: Tensor | None, length: int) -> Tensor | None:
        """`mask` with the vectors in front of `length` tokens; unchanged where it has them already.

        Raises:
            InputError: a mask of four dimensions.
        """
        if mask is None or mask.shape[-1] == length + self.count:
            return mask
        if mask.ndim == 4:
            raise InputError(
                f"attention_mask of four dimensions has {mask.shape[-1]} keys; with {self.count} virtual tokens in "
                f"front it needs {length + self.count}: pass a mask for those, too, or one of two dimensions."
            )
        return F.pad(mask, (self.count, 0), value=1)


def refuse_packed(arguments: dict[str, Any]) -> None:
    """Refuse rows of several texts, told by `position_ids` that start again: the vectors would be the first one's.

    Raises:
        InputError: a row has several texts.
    """
    positions: Any = arguments.get("position_ids")
    if positions is None or positions.ndim != 2 or arguments.get("attention_mask") is not None:
        return
    if can_read_values(positions) and documents_from_positions(positions).any():
        raise InputError(
            "position_ids start again within a row, and virtual tokens would stand in front of the first text only: "
            "pass one text a row, or use LoraConfig."
        )


def named_arguments(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `module.forward` by name, as a hook is given them."""
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def cached_length(cache: Any) -> int:
    """How many tokens a cache holds; 0 without one."""
    return 0 if cache is None else int(cache.get_seq_length())


def text_length(arguments: dict[str, Any]) -> int:
    """The number of tokens, or vectors in their place, that a model is given; 0 if it is given neither."""
    ids, vectors = arguments.get("input_ids"), arguments.get("inputs_embeds")
    if isinstance(ids, Tensor):
        return ids.shape[-1]
    return vectors.shape[-2] if isinstance(vectors, Tensor) and vectors.ndim > 2 else 0


def positions_in_front(position_ids: Tensor, count: int) -> Tensor:
    """`position_ids` moved by `count`, after the positions of `count` virtual tokens."""
    first = position_ids.amin(dim=-1, keepdim=True)
    return torch.cat([first + torch.arange(count, device=position_ids.device), position_ids + count], dim=-1)
