"""Direct preference optimization (Rafailov et al., 2023, §4): preferences without a reward model or sampling.

    r(x, y) = β log π(y|x)/π_ref(y|x)                              (eq. 5, up to a constant that cancels)
    L = −E log σ(r(x, y_w) − r(x, y_l))                            (eq. 7)

The policy π is its own reward model: answers that it finds likelier than the reference π_ref does have a reward.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from minitransformers.alignment.likelihood import answer_log_probabilities


def dpo_loss(
    policy: Float[Tensor, " rows"], reference: Float[Tensor, " rows"], beta: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " pairs"]]:
    """The loss, and each pair's margin r(x, y_w) − r(x, y_l).

    Args:
        policy, reference: log π(y|x) and log π_ref(y|x), of the chosen answers and, in the second half, the rejected.
        beta: how much a change of the likelihood counts as reward; a small one lets the policy go far.
    """
    chosen, rejected = (beta * (policy - reference)).chunk(2)
    margins = chosen - rejected
    return -F.logsigmoid(margins).mean(), margins


def dpo(
    model: Any,
    batches: Iterable[Mapping[str, Tensor]],
    optimizer: Optimizer,
    *,
    reference: Any = None,
    beta: float = 0.1,
    max_grad_norm: float = 1.0,
) -> Iterator[dict[str, float]]:
    """Train `model` one step a batch; yield `loss`, mean `margin`, and `accuracy` (pairs with a positive margin).

    Args:
        model: a causal language model, usually one that was fine-tuned on the chosen answers.
        batches: of `PairCollator`, with labels that are −100 outside of answers.
        optimizer: of the parameters that are trained: all, or an adapter's.
        reference: π_ref; by default a copy of the model as it is when training starts.
        beta: see `dpo_loss`.
        max_grad_norm: longer gradients are cut to this norm.
    """
    reference = (copy.deepcopy(model) if reference is None else reference).eval().requires_grad_(False)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for batch in batches:
        with torch.no_grad():
            before = answer_log_probabilities(reference, batch)
        model.train()
        loss, margins = dpo_loss(answer_log_probabilities(model, batch), before, beta)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
        optimizer.step()
        yield {
            "loss": float(loss.detach()),
            "margin": float(margins.detach().mean()),
            "accuracy": float((margins > 0).double().mean()),
        }
