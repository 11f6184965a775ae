"""Exercise 11: BERT's first task, masked tokens."""

import torch
from torch import Tensor


def mask_tokens(
    input_ids: Tensor,
    special_tokens_mask: Tensor,
    mask_token_id: int,
    vocab_size: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Hide some tokens, and say which ones the model has to find.

    15 % of the tokens are selected, special ones never. Of those, 80 % become [MASK], 10 % a random token of the
    vocabulary, and 10 % stay. The input is not changed in place.

    Args:
        input_ids: (batch, length).
        special_tokens_mask: (batch, length), 1 or True where a token is special or padding.
        mask_token_id: the id of [MASK].
        vocab_size: random ids are below it.
        generator: of the random numbers.

    Returns:
        The changed ids, and the labels: the former id where a token was selected, −100 elsewhere. Both (batch, length).
    """
    selected = torch.rand(input_ids.shape, generator=generator) < 0.15
    selected &= ~special_tokens_mask.bool()
    kind = torch.rand(input_ids.shape, generator=generator)
    random = torch.randint(vocab_size, input_ids.shape, generator=generator)
    changed = torch.where(selected & (kind < 0.8), mask_token_id, input_ids)
    changed = torch.where(selected & (kind >= 0.8) & (kind < 0.9), random, changed)
    return changed, torch.where(selected, input_ids, -100)
