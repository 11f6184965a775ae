"""The logit lens and the tuned lens: which token would the model choose if it stopped after this block?

Logit lens: nostalgebraist (2020), "interpreting GPT: the logit lens". Tuned lens: Belrose et al. (2023), "Eliciting
latent predictions from transformers with the tuned lens", §3.

Both replace the last block's output by the residual stream after an earlier block. The model's own final norm and head
compute the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError
from minitransformers.interpret.patching import patch
from minitransformers.interpret.tracing import trace
from minitransformers.interpret.watching import blocks, logits_of


@torch.no_grad()
def logit_lens(model: nn.Module, inputs: Any) -> Float[Tensor, "layers batch length vocabulary"]:
    """The logits that follow from the residual stream before the first block and after each block.

    Args:
        model: a model whose output has `logits`: a language model, or a classifier of any kind.
        inputs: its arguments as a mapping, or token ids.

    Returns:
        One row more than blocks; the last is the model's own logits, bit for bit. A classifier's rows have its shape.
    """
    stream, last, _ = _stream(model, inputs)
    return torch.stack([_finish(model, inputs, last, x) for x in stream])


class TunedLens(nn.Module):
    """A logit lens with a learned translation for each block, h + A h + b, because bases drift from block to block.

    It is fitted to the model's own final distribution. The last block has no translation.

        lens = TunedLens(model, inputs)
        lens.fit(batches, steps=200)
        logits = lens(inputs)
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        """`inputs`, of any content, shows how many blocks run and how wide they are. It starts as the logit lens."""
        super().__init__()
        stream, _, _ = _stream(model, inputs)
        # Not registered as a submodule: the lens has only parameters of its own.
        self._model = (model,)
        width = stream[0].shape[-1]
        self.translators = nn.ModuleList(nn.Linear(width, width) for _ in stream[:-1])
        for parameter in self.translators.parameters():
            nn.init.zeros_(parameter)
        self.to(stream[0])

    def forward(self, inputs: Any) -> Float[Tensor, "layers batch length vocabulary"]:
        """The logits after each block, as `logit_lens` returns them."""
        stream, last, final = _stream(self._model[0], inputs)
        translated = [x + translate(x) for x, translate in zip(stream[:-1], self.translators, strict=True)]
        return torch.stack([*(_finish(self._model[0], inputs, last, x) for x in translated), final])

    def fit(self, batches: Sequence[Any], *, steps: int = 200, learning_rate: float = 1e-2) -> list[float]:
        """Minimize the divergence of each block's distribution from the final one; the model stays as it is.

        Args:
            batches: inputs, taken in turn.
            steps: updates by Adam.
            learning_rate: of Adam.

        Returns:
            The mean divergence, in nats, of every step.
        """
        if not batches:
            raise InputError("fit needs at least one batch, and got none.")
        parameters = list(self.translators.parameters())
        optimizer = torch.optim.Adam(parameters, lr=learning_rate)
        losses = []
        with torch.enable_grad():
            for step in range(steps):
                log_probabilities = self(batches[step % len(batches)]).log_softmax(-1)
                final = log_probabilities[-1:].detach().expand_as(log_probabilities[:-1])
                loss = F.kl_div(log_probabilities[:-1], final, reduction="none", log_target=True).sum(-1).mean()
                # Gradients of the translators alone, so that none is left in the model.
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.grad = gradient
                optimizer.step()
                losses.append(loss.item())
        return losses


@torch.no_grad()
def _stream(model: nn.Module, inputs: Any) -> tuple[list[Tensor], str, Tensor]:
    """The residual stream that the head reads, the name of the last block, and the model's logits."""
    with trace(model) as activations:
        logits = logits_of(model, inputs)
    return activations.residual(), blocks(model)[activations.stacks[-1]][-1], logits


def _finish(model: nn.Module, inputs: Any, last: str, residual: Tensor) -> Tensor:
    """The logits that follow from a residual stream after the last block."""
    with patch(model, {last: residual}):
        return logits_of(model, inputs)
