"""Exercise 18: the most likely text."""

from collections.abc import Callable

import torch
from torch import Tensor


def beam_search(model: Callable, input_ids: Tensor, num_beams: int, max_new_tokens: int, eos_token_id: int) -> Tensor:
    """The best continuation that is found with a few beams; its score is the sum of its log-probabilities.

    A text ends at `eos_token_id`. It is set aside with its score, and its beam becomes free. At the end the best of all
    texts is returned, finished or not.

    Args:
        model: `model(new_ids, cache)` gives the logits (rows, vocab_size) of the token after the last one, and a cache;
            `cache` is None at first. `cache.reorder(rows)` makes row i what row rows[i] was, and returns the cache.
        input_ids: the prompt, (1, length).
        num_beams: how many texts are kept at each step.
        max_new_tokens: longest continuation.
        eos_token_id: the token that ends a text.

    Returns:
        The new ids, (n,).
    """
    ...  # write this
