"""Weights that are NaN or infinite: a model has them after a run that diverged, and answers with NaN."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from minitransformers.errors import CheckpointError

logger = logging.getLogger(__name__)

LOOKED_AT = 2**15  # elements at each end of a weight, whose pages are read from the file


def report_non_finite(weights: Mapping[str, Tensor], refuse: bool, origin: str) -> None:
    """Warn of weights that are not finite, by their names in the file.

    Args:
        weights: to look at; memory-mapped ones are read only where they are looked at.
        refuse: look at every element, and raise an error in place of a warning.
        origin: source of the weights, for the message.

    Raises:
        CheckpointError: there are some, and `refuse` is set.
    """
    wrong = [name for name, tensor in weights.items() if not _is_finite(tensor, whole=refuse)]
    if not wrong:
        return
    words = f"In {origin}, {len(wrong)} weights are NaN or infinite, such as {', '.join(map(repr, wrong[:4]))}"
    if refuse:
        raise CheckpointError(f"{words}: the training that made them has diverged. Take an earlier checkpoint.")
    logger.warning("%s: what the model computes will be NaN. Take an earlier checkpoint.", words)


def converted(tensor: Tensor, dtype: torch.dtype | None, name: str, origin: str) -> Tensor:
    """`tensor` in another type.

    Raises:
        CheckpointError: a finite element is too large for it.
    """
    if dtype is None or tensor.dtype == dtype:
        return tensor
    result = tensor.to(dtype)
    can_overflow = not tensor.is_meta and torch.finfo(tensor.dtype).max > torch.finfo(dtype).max
    if can_overflow and bool((result.isinf() & ~tensor.isinf()).any()):
        largest = tensor[tensor.isfinite()].abs().max().item()
        raise CheckpointError(
            f"{name!r} in {origin} has elements up to {largest:.3g}, which overflow {dtype}: pass dtype={tensor.dtype}."
        )
    return result


def _is_finite(tensor: Tensor, whole: bool) -> bool:
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    flat = tensor.detach().flatten()
    parts = [flat] if whole or len(flat) <= 2 * LOOKED_AT else [flat[:LOOKED_AT], flat[-LOOKED_AT:]]
    return all(bool(torch.isfinite(part).all()) for part in parts)
