"""What laws look at: the tensors of an output that belong to tokens, and one number that depends on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.testing.comparing import named_tensors

Model = Callable[..., Any]
"""Anything that is called with `input_ids=…` and gives tensors: see `minitransformers.testing.laws`."""


class TargetSide(nn.Module):
    """An encoder–decoder as a decoder, of its target: to read one source, or what the encoder has made of it.

    Args:
        source: arguments of the model, such as `input_ids` and `attention_mask`, or `encoder_outputs`.
    """

    def __init__(self, model: Any, source: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.source, self.config = model, dict(source), model.config

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **arguments: Any,
    ) -> Any:
        """The model's output without what the encoder gave; ids, mask and vectors are of the target."""
        output = self.model(
            **self.source,
            decoder_input_ids=input_ids,
            decoder_attention_mask=attention_mask,
            decoder_inputs_embeds=inputs_embeds,
            **arguments,
        )
        for name in list(output):
            if name.startswith("encoder_"):
                output[name] = None
        return output


def per_token(output: Any, length: int) -> dict[str, Tensor]:
    """The tensors of an output that have an entry for each token: (batch, length) or (batch, length, …)."""
    found = {
        name: tensor
        for name, tensor in named_tensors(output)
        if tensor.ndim in (2, 3) and tensor.shape[1] == length and "past_key_values" not in name
    }
    if not found:
        raise InputError(f"The output has no tensor (batch, {length}, …) with an entry for each token.")
    return found


def mixture(tensors: Mapping[str, Tensor]) -> Tensor:
    """One number to which every number in `tensors` contributes, each with a fixed weight of its own."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.is_floating_point():
            weights = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).add(0.5)
            signs = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
            total = total + (tensor * (weights * signs).to(tensor)).sum()
    return total


def gradients_of(model: nn.Module, target: Tensor) -> dict[str, Tensor | None]:
    """The gradient of `target` for each parameter that is trained; None where it does not depend on it."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = torch.autograd.grad(target, list(trained.values()), allow_unused=True)
    return dict(zip(trained, gradients, strict=True))
