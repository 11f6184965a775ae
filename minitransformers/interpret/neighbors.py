"""The tokens whose embeddings lie nearest to a vector (Mikolov et al., 2013, §4: by the cosine of the angle)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minitransformers.errors import InputError


class Neighbor(NamedTuple):
    """A token's id, its text where a tokenizer was given, and the cosine of its angle to the vector."""

    id: int
    token: str
    cosine: float


@torch.no_grad()
def nearest_tokens(
    model: nn.Module, vector: int | Float[Tensor, " hidden"], *, count: int = 10, tokenizer: Any = None
) -> list[Neighbor]:
    """The tokens nearest to a token, or to any vector of the embeddings' width.

    Args:
        model: a model with `get_input_embeddings()`.
        vector: a token's id, which is not among its own neighbors; or a vector, for instance of the residual stream or
            king − man + woman.
        count: how many.
        tokenizer: gives their texts by `convert_ids_to_tokens`.
    """
    table: Tensor = model.get_input_embeddings().weight.detach()  # type: ignore[operator]
    own = vector if isinstance(vector, int) else None
    if own is not None and not 0 <= own < len(table):
        raise InputError(f"There is no token {own}: the model has {len(table)}.")
    point = table[vector] if isinstance(vector, int) else vector
    if point.shape != table.shape[1:]:
        raise InputError(f"vector must have the shape ({table.shape[1]},), not {tuple(point.shape)}.")
    cosines = F.cosine_similarity(table, point.to(table)[None], dim=-1)
    if own is not None:
        cosines[own] = -float("inf")
    best = cosines.topk(min(count, len(table) - (own is not None)))
    ids = best.indices.tolist()
    tokens = [""] * len(ids) if tokenizer is None else tokenizer.convert_ids_to_tokens(ids)
    return [Neighbor(*each) for each in zip(ids, tokens, best.values.tolist(), strict=True)]
