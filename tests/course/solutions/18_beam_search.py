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
    ids, scores = input_ids, torch.zeros(1, dtype=torch.float64)
    texts: list[tuple[float, Tensor]] = []
    logits, cache = model(input_ids, None)
    for step in range(max_new_tokens):
        totals = scores[:, None] + logits.log_softmax(-1)
        scores, flat = totals.flatten().topk(min(num_beams, totals.numel()))
        rows, tokens = flat // totals.shape[1], flat % totals.shape[1]
        ids = torch.cat([ids[rows], tokens[:, None]], dim=1)
        ended = (tokens == eos_token_id) | (step == max_new_tokens - 1)
        texts += [(float(scores[i]), ids[i]) for i in ended.nonzero().flatten()]
        if ended.all():
            break
        ids, scores, rows, tokens = ids[~ended], scores[~ended], rows[~ended], tokens[~ended]
        logits, cache = model(tokens[:, None], cache.reorder(rows))
    best = max(texts, key=lambda text: text[0])[1]
    return best[input_ids.shape[1] :]
