"""Exercise 5: who may see whom."""

import torch
from torch import Tensor


def causal_mask(queries: int, keys: int | None = None) -> Tensor:
    """Each query sees itself and all keys before it, and none after it.

    Args:
        queries: number of new tokens.
        keys: number of all tokens; the queries are the last of them. None: as many as queries.

    Returns:
        bool (queries, keys), True = may see.
    """
    keys = queries if keys is None else keys
    place = torch.arange(keys - queries, keys)
    return torch.arange(keys) <= place[:, None]


def padding_mask(attention_mask: Tensor) -> Tensor:
    """No query sees padding.

    Args:
        attention_mask: (batch, length), 1 = a real token, 0 = padding.

    Returns:
        bool (batch, 1, 1, length), True = may see; it broadcasts over heads and queries.
    """
    return attention_mask.bool()[:, None, None, :]
