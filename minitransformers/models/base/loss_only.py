"""Forward passes of which only the loss is read: the logits that it does not need are not computed.

Most of a batch of masked texts has no label, and the vocabulary's scores are the largest tensors of a language model.
The training loop reads the loss alone. It says so with `loss_only` (training/loop/loss_only.py), which sets
`_loss_only` for a forward pass; everywhere else a model's output has all of its logits.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minitransformers.nn.linear_cross_entropy import fits_in_a_chunk, linear_cross_entropy
from minitransformers.nn.losses import IGNORED, causal_lm_loss, token_cross_entropy


class LossOnly(nn.Module):
    """The two savings, a base of `PreTrainedModel`."""

    _loss_only: ClassVar[bool] = False

    @property
    def skips_logits(self) -> bool:
        """Whether this forward pass may leave out logits. Compiled models compute all: chunks would break the graph."""
        return self._loss_only and not torch.compiler.is_compiling()

    def with_labels(
        self, hidden_states: Float[Tensor, "batch length hidden"], labels: Int[Tensor, "*any"] | None
    ) -> tuple[Float[Tensor, "*tokens hidden"], Int[Tensor, "*tokens"] | None]:
        """The positions to score, and their labels: where logits are skipped, those that have a label."""
        if labels is None:
            return hidden_states, None
        labels = labels.view(hidden_states.shape[:-1])
        if not self.skips_logits:
            return hidden_states, labels
        has_label = labels != IGNORED
        return hidden_states[has_label], labels[has_label]

    def next_token_loss(
        self,
        head: nn.Module,
        hidden_states: Float[Tensor, "batch length hidden"],
        labels: Int[Tensor, "*any"],
        num_items: int | Tensor | None = None,
        shift_labels: Int[Tensor, "*any"] | None = None,
    ) -> Float[Tensor, ""]:
        """`causal_lm_loss` of the head's logits, where they are many a part at a time (nn/linear_cross_entropy.py)."""
        shape = hidden_states.shape[:2]
        if not is_plain_linear(head) or fits_in_a_chunk(shape.numel(), head.weight):  # type: ignore[arg-type]
            logits = head(hidden_states)
            if shift_labels is None:
                return causal_lm_loss(logits, labels.view(shape), num_items=num_items)
            return token_cross_entropy(logits, shift_labels.view(shape), num_items=num_items, upcast=True)
        if shift_labels is None:
            hidden_states, labels = hidden_states[:, :-1], labels.view(shape)[:, 1:]
        else:
            labels = shift_labels.view(shape)
        has_label = labels != IGNORED
        x, labels = hidden_states[has_label], labels[has_label].long()
        total = linear_cross_entropy(x, head.weight, head.bias, labels)  # type: ignore[arg-type]
        return total / (len(labels) if num_items is None else num_items)


def is_plain_linear(head: nn.Module) -> bool:
    """Whether the head is a linear layer and nothing else: no subclass, hook, parametrization or sharded weight."""
    hooks = (head._forward_hooks, head._forward_pre_hooks, head._backward_hooks, head._backward_pre_hooks)
    return type(head) is nn.Linear and not any(hooks) and not hasattr(head.weight, "placements")
