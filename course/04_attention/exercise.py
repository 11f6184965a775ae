"""Exercise 4: scaled dot-product attention."""

from math import sqrt

import torch
from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d) V.

    Do not use F.scaled_dot_product_attention here. The shapes may have further dimensions in front.

    Args:
        query: (batch, queries, dim).
        key: (batch, keys, dim).
        value: (batch, keys, dim).
        mask: bool, (queries, keys) or any shape that broadcasts to the scores; True = the query may see the key.

    Returns:
        (batch, queries, dim).
    """
    ...  # write this
