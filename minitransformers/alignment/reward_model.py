"""A reward model (Ouyang et al., 2022, §3.5, eq. 1): a score for texts, learnt from pairs of which one is preferred.

    p(y_w ≻ y_l) = σ(r(x, y_w) − r(x, y_l))                       (Bradley and Terry, 1952)
    L = −E log σ(r(x, y_w) − r(x, y_l))

The model is a sequence classifier with one label, as `AutoModelForSequenceClassification.from_pretrained(…,
num_labels=1)` loads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from minitransformers.errors import InputError


def pairwise_loss(chosen: Float[Tensor, " batch"], rejected: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """−log σ(chosen − rejected), the mean over the pairs."""
    return -F.logsigmoid(chosen - rejected).mean()


def train_reward_model(
    model: Any, batches: Iterable[Mapping[str, Tensor]], optimizer: Optimizer, *, max_grad_norm: float = 1.0
) -> Iterator[dict[str, float]]:
    """Train `model` one step a batch; yield `loss`, `accuracy` (pairs in the right order) and mean `margin`.

    Args:
        model: a sequence classifier with one label.
        batches: of `PairCollator`: chosen texts in the first half of the rows, rejected ones in the second.
        optimizer: of the parameters that are trained.
        max_grad_norm: longer gradients are cut to this norm.

    Raises:
        InputError: a model with another number of labels.
    """
    if getattr(model.config, "num_labels", None) != 1:
        raise InputError(f"A reward model has one label: load {type(model).__name__} with num_labels=1.")
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for batch in batches:
        model.train()
        rewards = model(**{name: value for name, value in batch.items() if name != "labels"}).logits.squeeze(-1)
        chosen, rejected = rewards.chunk(2)
        loss = pairwise_loss(chosen, rejected)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
        optimizer.step()
        margins = (chosen - rejected).detach()
        yield {
            "loss": float(loss.detach()),
            "accuracy": float((margins > 0).double().mean()),
            "margin": float(margins.mean()),
        }
