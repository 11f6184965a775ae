"""NEFTune: noise on embeddings, against overfitting in instruction fine-tuning (Jain et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError


@contextmanager
def noisy_embeddings(model: nn.Module, alpha: float | int | None) -> Iterator[None]:
    """Add noise to the token embeddings of a model in training mode; None adds no noise.

    For texts of n tokens, padding included, in d dimensions, the noise is uniform in ±α/√(n d) (algorithm 1).

    Raises:
        InputError: a model without `get_input_embeddings()`.
    """
    if alpha is None:
        yield
        return
    get_input_embeddings: Any = getattr(model, "get_input_embeddings", None)
    if get_input_embeddings is None:
        raise InputError(
            f"neftune_noise_alpha={alpha}: {type(model).__name__} has no get_input_embeddings(): add that method, or "
            f"leave neftune_noise_alpha out."
        )

    def with_noise(module: nn.Module, _: object, embeddings: Tensor) -> Tensor | None:
        if not module.training:
            return None
        limit = alpha / math.sqrt(embeddings.shape[-2] * embeddings.shape[-1])
        return embeddings + torch.zeros_like(embeddings).uniform_(-limit, limit)

    hook = get_input_embeddings().register_forward_hook(with_noise)
    try:
        yield
    finally:
        hook.remove()
