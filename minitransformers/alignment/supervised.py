"""Supervised fine-tuning on conversations (Ouyang et al., 2022, §3.5): the loss is of the answers alone.

    L = −1/|A| Σ_{t ∈ A} log p(x_t | x_<t)            A: the assistant's tokens of the whole batch

`Trainer` does the same with batches of this kind; this is the loop in the open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from minitransformers.alignment.likelihood import next_token_logits, token_log_probabilities
from minitransformers.nn.losses import IGNORED


def answer_loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """The mean of −log p over the answers' tokens of the batch.

    Args:
        model: a causal language model.
        batch: `labels`, −100 outside of answers, and the model's inputs. Rows may hold several conversations, with
            `position_ids` that start again at each.
    """
    found = token_log_probabilities(next_token_logits(model, batch), batch["labels"])
    return -found.sum() / (batch["labels"][:, 1:] != IGNORED).sum()


def fine_tune(
    model: Any, batches: Iterable[Mapping[str, Tensor]], optimizer: Optimizer, *, max_grad_norm: float = 1.0
) -> Iterator[dict[str, float]]:
    """Train `model` one step a batch; yield each step's `loss` and its number of learnt `tokens`.

    Args:
        batches: of `encode_conversation` or `encode_answer`, on the model's device.
        optimizer: of the parameters that are trained: all, or an adapter's.
        max_grad_norm: longer gradients are cut to this norm.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for batch in batches:
        model.train()
        loss = answer_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
        optimizer.step()
        yield {"loss": float(loss.detach()), "tokens": int((batch["labels"][:, 1:] != IGNORED).sum())}
