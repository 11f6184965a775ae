"""Exercise 19: a training loop."""

from torch import Tensor, nn
from torch.optim import Optimizer


def train(
    model: nn.Module,
    batches: list[Tensor],
    optimizer: Optimizer,
    accumulation: int = 1,
    max_norm: float | None = None,
) -> list[float]:
    """Train for one pass over the batches, in training mode.

    Each step takes the next `accumulation` batches (the last step those that are left). Its gradient is the mean of
    theirs. If the norm of all gradients together is above `max_norm`, they are scaled down to it.

    Args:
        model: `model(batch)` is the mean loss of a batch.
        batches: what the model is given.
        optimizer: of the model's parameters.
        accumulation: number of batches of a step.
        max_norm: largest norm; None: gradients are not clipped.

    Returns:
        The mean loss of each step, as plain numbers.
    """
    model.train()
    losses = []
    for start in range(0, len(batches), accumulation):
        group = batches[start : start + accumulation]
        optimizer.zero_grad()
        total = 0.0
        for batch in group:
            loss = model(batch) / len(group)
            loss.backward()
            total += loss.item()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(total)
    return losses


def learning_rate(step: int, peak: float, warmup: int, total: int) -> float:
    """The rate at a step: a line from 0 up to `peak` at step `warmup`, then a line down to 0 at step `total`.

    Args:
        step: counts from 0; after `total` the rate stays 0.
        peak: the largest rate.
        warmup: number of steps of the first line.
        total: number of all steps.

    Returns:
        The rate.
    """
    if step < warmup:
        return peak * step / warmup
    return peak * max(0, total - step) / (total - warmup)
