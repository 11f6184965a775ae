"""Exercise 17: temperature, top-k and top-p."""

import torch
from torch import Tensor


def filter_logits(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Change the logits that a next token is drawn from. The steps come in the order of the arguments.

    Args:
        logits: (rows, vocab_size).
        temperature: logits are divided by it.
        top_k: keep the k best tokens, and all that tie with the k-th.
        top_p: keep the smallest set of best tokens whose probabilities add up to at least p.

    Returns:
        (rows, vocab_size), −inf for tokens that were dropped.
    """
    logits = logits / temperature
    if top_k is not None:
        worst = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < worst, -torch.inf)
    if top_p is not None:
        ordered, index = logits.sort(descending=True, stable=True)
        mass = ordered.softmax(-1)
        before = mass.cumsum(-1) - mass
        drop = before >= top_p
        drop[:, 0] = False
        logits = logits.masked_fill(torch.zeros_like(drop).scatter(1, index, drop), -torch.inf)
    return logits
