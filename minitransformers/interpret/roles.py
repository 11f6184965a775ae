"""Heads with a role: how much each attends to the previous token, to repeated text, or to given tokens.

Attention to the previous token and to punctuation: Clark et al. (2019), "What does BERT look at?", §3.1 and §3.2.
Induction heads: Olsson et al. (2022), "In-context learning and induction heads", "Key concepts": in a sequence of
random tokens and its repetition, such a head attends from a token to the one after its first occurrence.

In the GPT of `examples/checkpoints/gpt`, head 0 of block 2 attends to the latest punctuation mark: on passages of plays
that it was not trained on, 57 % to 69 % of its weight is on marks, where an even distribution has 11 % to 17 %. This
small model has no induction head: no score exceeds 0.03.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.interpret.tracing import HeadActivations, trace


def previous_token_scores(attentions: Sequence[HeadActivations]) -> Float[Tensor, "layers heads"]:
    """The mean weight of a token on the one before it, over all tokens but the first."""
    return torch.stack([each.weights.diagonal(-1, 2, 3).mean(dim=(0, 2)) for each in attentions])


def token_scores(
    attentions: Sequence[HeadActivations], keys: Bool[Tensor, "batch key"]
) -> Float[Tensor, "layers heads"]:
    """The mean weight on the keys that are True, for instance on punctuation, of the queries that see at least one.

    A query sees the keys with a weight above 0.
    """
    scores = []
    for each in attentions:
        wanted = keys[:, None, None, :]
        sees = ((each.weights > 0) & wanted).any(-1)
        scores.append(((each.weights * wanted).sum(-1) * sees).sum((0, 2)) / sees.sum((0, 2)).clamp(min=1))
    return torch.stack(scores)


@torch.no_grad()
def induction_scores(
    model: nn.Module, *, vocab_size: int, length: int = 25, batch: int = 8, seed: int = 0
) -> Float[Tensor, "layers heads"]:
    """The mean weight of a token's repetition on the token after its first occurrence, in repeated random tokens.

    Args:
        model: a decoder that takes token ids.
        vocab_size: random ids are below it.
        length: tokens before the repetition.
        batch: how many sequences.
        seed: of the ids.
    """
    if length < 2:
        raise InputError(f"length={length} is too short: a token needs one after it.")
    once = torch.randint(vocab_size, (batch, length), generator=torch.Generator().manual_seed(seed))
    with trace(model) as activations:
        model(torch.cat([once, once], dim=1).to(next(model.parameters()).device))
    # Query i of the repetition (length + i) and key i + 1: the diagonal length − 1 below the main one.
    return torch.stack(
        [each.weights.diagonal(1 - length, 2, 3)[..., 1:].mean(dim=(0, 2)) for each in activations.attentions]
    )
