"""Direct logit attribution: how much each head and each feed-forward network adds to a logit by itself.

Elhage et al. (2021), "A mathematical framework for transformer circuits", "Transformer overview". In a pre-norm model
the last residual stream is a sum: the embeddings, and the output of each sub-layer. With the scale of the final norm
held at its value, norm and head are linear, and a logit is the sum of the parts' contributions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.interpret.patching import patch
from minitransformers.interpret.tracing import Activations, trace
from minitransformers.interpret.watching import blocks, logits_of


@dataclass(frozen=True)
class LogitAttribution:
    """The parts of a logit.

    Attributes:
        parts: names, such as "embeddings", "h.0 head 3", "h.0 bias of attention", "h.0 feed-forward".
        values: what each part adds, for each row of the batch.
        constant: what the biases of the final norm and of the head add.
        logit: the model's own logit; the sum of `values` and `constant`, up to rounding.
    """

    parts: list[str]
    values: Float[Tensor, "parts batch"]
    constant: Float[Tensor, " batch"]
    logit: Float[Tensor, " batch"]

    def largest(self, count: int = 5, *, row: int = 0) -> list[tuple[str, float]]:
        """The parts with the largest contributions, of either sign, to the logit of a row."""
        order = self.values[:, row].abs().argsort(descending=True)[:count]
        return [(self.parts[index], float(self.values[index, row])) for index in order.tolist()]


def direct_logit_attribution(model: nn.Module, inputs: Any, token: int, *, position: int = -1) -> LogitAttribution:
    """Split the logit of `token` at `position` into what the parts of the model add to it.

    Args:
        model: a pre-norm language model with a linear head, in evaluation: GPT-2, GPT-Neo, GPT-NeoX, Llama, Mistral,
            Qwen2, T5.
        inputs: its arguments as a mapping, or token ids.
        token: id of the token.
        position: of the logit, in the decoder of an encoder-decoder.

    Raises:
        InputError: the model is training, is post-norm (BERT, GPT, BART), or has a head that is not linear.
    """
    if model.training:
        raise InputError("The model is training, where dropout changes the parts. Call model.eval() before.")
    with torch.no_grad(), trace(model) as activations:
        logits = logits_of(model, inputs)
    names = blocks(model)[activations.stacks[-1]]
    norm_name = _final_norm(model, activations, names[-1])
    norm = model.get_submodule(norm_name)
    last = activations.residual()[-1][:, position]
    direction, constant = _through_the_head(model, inputs, norm_name, activations[norm_name], token, position)
    logit = logits[:, position, token]
    if not torch.allclose((direction * activations[norm_name][:, position]).sum(-1) + constant, logit, atol=1e-3):
        raise InputError(f"The head of {type(model).__name__} is not linear: a logit is no sum of parts.")

    def contribution(part: Tensor) -> Tensor:
        return (_with_scale_of(norm, last, part) * direction).sum(-1)

    parts, values = ["embeddings"], [contribution(activations.residual()[0][:, position])]
    for number, name in enumerate(names):
        short = ".".join(name.split(".")[-2:])
        before, after = (activations.residual()[number + step][:, position] for step in (0, 1))
        rest = after - before
        for attention in (each for each in activations.attentions if each.name.startswith(f"{name}.")):
            merge = model.get_submodule(attention.projection)
            assert isinstance(merge, nn.Linear)
            cross = "cross-" if attention.kind == "cross" else ""
            matrices = merge.weight.detach().chunk(attention.heads.shape[1], dim=1)
            for head, matrix in enumerate(matrices):
                written = attention.heads[:, head, position] @ matrix.T
                parts.append(f"{short} {cross}head {head}")
                values.append(contribution(written))
                rest = rest - written
            if merge.bias is not None:
                parts.append(f"{short} bias of {cross}attention")
                values.append(contribution(merge.bias.detach().expand_as(last)))
                rest = rest - merge.bias.detach()
        parts.append(f"{short} feed-forward")
        values.append(contribution(rest))
    if getattr(norm, "bias", None) is not None:
        constant = constant + (norm.bias.detach() * direction).sum(-1)  # type: ignore[operator]
    return LogitAttribution(parts, torch.stack(values), constant, logit)


def _final_norm(model: nn.Module, activations: Activations, last_block: str) -> str:
    """The norm that reads the last block's output."""
    start = len(activations.order) - 1 - activations.order[::-1].index(last_block)
    after = [name for name in activations.order[start:] if name != last_block and not name.startswith(f"{last_block}.")]
    name = after[0] if after else ""
    if not isinstance(model.get_submodule(name), (nn.LayerNorm, nn.RMSNorm)) or not torch.equal(
        activations.input(name), activations.residual()[-1]
    ):
        raise InputError(
            f"{type(model).__name__} has no final norm after its blocks, so that its residual stream is not a sum. "
            "Take a pre-norm model, such as GPT-2 or Llama."
        )
    return name


def _through_the_head(
    model: nn.Module, inputs: Any, norm: str, normed: Tensor, token: int, position: int
) -> tuple[Tensor, Tensor]:
    """The gradient of the logit with respect to the final norm's output, and the logit where that output is 0."""
    leaf = torch.zeros_like(normed).requires_grad_()
    with torch.enable_grad(), patch(model, {norm: leaf}):
        logit = logits_of(model, inputs)[:, position, token]
        (gradient,) = torch.autograd.grad(logit.sum(), leaf)
    return gradient[:, position], logit.detach()


def _with_scale_of(norm: nn.Module, x: Tensor, part: Tensor) -> Tensor:
    """The norm of `part` without its bias, with the scale that it has for `x`."""
    assert isinstance(norm, (nn.LayerNorm, nn.RMSNorm))
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    if isinstance(norm, nn.LayerNorm):
        part = part - part.mean(-1, keepdim=True)
        scale = (x.var(-1, keepdim=True, unbiased=False) + eps).rsqrt()
    else:
        scale = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
    return part * scale if norm.weight is None else part * scale * norm.weight.detach()
