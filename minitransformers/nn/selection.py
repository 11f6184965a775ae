"""Which positions of a sequence a head reads: the last token, or those whose logits are wanted."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def last_token_positions(input_ids: Int[Tensor, "batch length"], pad_token_id: int) -> Int[Tensor, " batch"]:
    """The position of the rightmost token that is not padding; 0 where all are."""
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    return (positions * (input_ids != pad_token_id)).amax(dim=-1)


def of_last_tokens(
    vectors: Float[Tensor, "batch length features"],
    input_ids: Int[Tensor, "batch length"] | None,
    pad_token_id: int | None,
) -> Float[Tensor, "batch features"]:
    """The vector of each sequence's last token; of its last position where it is not known what is padding."""
    if input_ids is None or pad_token_id is None:
        return vectors[:, -1]
    last = last_token_positions(input_ids, pad_token_id)
    return vectors.take_along_dim(last[:, None, None], dim=1).squeeze(1)


def keep_positions(
    hidden_states: Float[Tensor, "batch length hidden"], logits_to_keep: int | Tensor
) -> Float[Tensor, ...]:
    """The hidden states whose logits are wanted, so that the others need not be computed.

    Args:
        logits_to_keep: a number of last positions, 0 for all; positions, (kept,) for all rows alike or (batch, kept);
            or a bool mask (batch, length), which gives (number of True, hidden).
    """
    if isinstance(logits_to_keep, int):
        return hidden_states[:, -logits_to_keep:] if logits_to_keep else hidden_states
    if logits_to_keep.dtype == torch.bool and logits_to_keep.ndim == 2:
        return hidden_states[logits_to_keep]
    if logits_to_keep.ndim == 2:
        return torch.take_along_dim(hidden_states, logits_to_keep[..., None], dim=1)
    return hidden_states[:, logits_to_keep]
