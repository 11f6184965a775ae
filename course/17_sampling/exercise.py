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
    ...  # write this
