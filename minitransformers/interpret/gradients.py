"""Gradient × input: which tokens a score depends on, to first order (Shrikumar et al., 2016, §2).

For token i with embedding eᵢ it is eᵢ · ∂score/∂eᵢ. Its sum over tokens is the derivative of the score when all
embeddings are scaled together. A token whose effect is saturated gets little (Sundararajan et al., 2017, §2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.interpret.watching import logits_of, watch


def gradient_times_input(
    model: nn.Module, inputs: Any, score: Callable[[Tensor], Tensor]
) -> list[Float[Tensor, "batch length"]]:
    """Attribute a score to the embeddings of the tokens.

    Args:
        model: a model with `get_input_embeddings()` whose output has `logits`.
        inputs: its arguments as a mapping, or token ids; not `inputs_embeds`.
        score: a number for the logits, for instance `lambda logits: logits[:, -1, 42].sum()`.

    Returns:
        A number for each token: one tensor, or two of an encoder-decoder, of the source and of the target. The model's
        own gradients do not change.

    Raises:
        InputError: the model looked up no token.
    """
    embeddings: list[Tensor] = []

    # Encoder and decoder may have embeddings of their own, with the same table.
    table = cast(Any, model).get_input_embeddings().weight
    names = {
        name for name, module in model.named_modules() if isinstance(module, nn.Embedding) and module.weight is table
    }

    def see(name: str, part: str, value: Tensor) -> Tensor | None:
        if part != "output" or name not in names:
            return None
        embeddings.append(value.detach().requires_grad_())
        return embeddings[-1]

    with torch.enable_grad(), watch(model, see):
        result = score(logits_of(model, inputs))
    if not embeddings:
        raise InputError(f"{type(model).__name__} looked up no token. Give it input_ids, not embeddings or images.")
    gradients = torch.autograd.grad(result, embeddings)
    return [(value.detach() * gradient).sum(-1) for value, gradient in zip(embeddings, gradients, strict=True)]
