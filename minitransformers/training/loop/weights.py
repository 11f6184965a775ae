"""The weights of a model by name, and whether they are finite numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minitransformers.training.loop.distributed import max_over_ranks, unwrap


def named_weights(model: nn.Module) -> dict[str, Tensor]:
    """Saved parameters and buffers by name; tied ones once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in found.values()}


def has_finite_weights(model: nn.Module) -> bool:
    """Whether all weights, on all ranks, are finite numbers."""
    shards = (getattr(tensor, "_local_tensor", tensor) for tensor in named_weights(unwrap(model)).values())
    return not max_over_ranks(int(not all(_is_finite(each) for each in shards if each.is_floating_point())))


def _is_finite(tensor: Tensor) -> bool:
    # A finite sum has finite terms, and needs no memory. A sum may also overflow.
    return bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(tensor.isfinite().all())
