"""Masked language modelling: which tokens to predict, and what the model sees there (Devlin et al., 2018, §3.1).

`mask_tokens` is the whole of it; the functions before it are its steps. They draw in the order of transformers, so
after the same seed its collator and ours select the same tokens and replace them in the same way. Two things differ on
purpose: a random replacement is never a special token, and what the tokenizer calls special is never selected, even
where a `special_tokens_mask` that was passed along says otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from minitransformers.data.seeded import spare_generator
from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED


class MaskedTokens(NamedTuple):
    """What the model sees, and what it is to predict: the token at selected positions, -100 at all others."""

    input_ids: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"]


def maskable_tokens(
    input_ids: Int[Tensor, "batch length"],
    special_ids: Int[Tensor, " special"],
    *,
    special_tokens_mask: Shaped[Tensor, "batch length"] | None = None,
    attention_mask: Shaped[Tensor, "batch length"] | None = None,
) -> Bool[Tensor, "batch length"]:
    """True where a token may be selected: neither special, nor padding.

    Args:
        input_ids: the batch.
        special_ids: the ids that are special wherever they stand.
        special_tokens_mask: 1 at further positions that may not be selected, as tokenizers return it.
        attention_mask: 0 at padding.
    """
    maskable = ~torch.isin(input_ids, special_ids)
    if special_tokens_mask is not None:
        maskable &= ~special_tokens_mask.bool()
    if attention_mask is not None:
        maskable &= attention_mask.bool()
    return maskable


def words_from_offsets(
    offsets: Int[Tensor, "batch length 2"], maskable: Bool[Tensor, "batch length"]
) -> Int[Tensor, "batch length"]:
    """Number the words: a token goes on with the word before it if it starts at the very character where that ended.

    Args:
        offsets: the first character of each token in the text, and the one after its last.
        maskable: tokens that belong to a word; behind one that does not, a new word starts.

    Returns:
        The number of the word of each token, counted from 0 in each row, and -1 where there is none.
    """
    ends = offsets[:, :-1, 1]
    goes_on = torch.zeros_like(maskable)
    goes_on[:, 1:] = maskable[:, :-1] & (offsets[:, 1:, 0] == ends)
    return ((maskable & ~goes_on).cumsum(dim=-1) - 1).masked_fill(~maskable, -1)


def select_tokens(
    maskable: Bool[Tensor, "batch length"],
    probability: float,
    *,
    word_ids: Int[Tensor, "batch length"] | None = None,
    at_least_one: bool = False,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "batch length"]:
    """Select each maskable token, or each word, with the same probability.

    Args:
        maskable: where a token may be selected.
        probability: of each token, or of each word, to be selected.
        word_ids: which word each token belongs to: neighbours with the same number are selected together. Without it
            each token is a word of its own.
        at_least_one: select one token or word in rows where chance selects none (and something is maskable).
        generator: draws a number for each position, and with `at_least_one` another.
    """
    starts = maskable
    if word_ids is not None:
        goes_on = torch.zeros_like(maskable)
        goes_on[:, 1:] = maskable[:, :-1] & (word_ids[:, 1:] == word_ids[:, :-1])
        starts = maskable & ~goes_on
    chances = torch.full(starts.shape, probability, device=starts.device).masked_fill(~starts, 0.0)
    selected = torch.bernoulli(chances, generator=generator).bool()
    if at_least_one and starts.shape[1] > 0:
        lots = torch.rand(starts.shape, generator=generator, device=starts.device).masked_fill(~starts, -1.0)
        drawn = torch.zeros_like(starts).scatter(1, lots.argmax(dim=1, keepdim=True), True) & starts
        selected |= drawn & ~selected.any(dim=1, keepdim=True)
    if word_ids is None:
        return selected
    # A word's first token was drawn; the others take its lot. Number 0 is what stands before the first word.
    number = starts.cumsum(dim=1)
    lot_of_word = torch.zeros(len(starts), starts.shape[1] + 1, dtype=torch.bool, device=starts.device)
    lot_of_word = lot_of_word.scatter(1, number * starts, selected & starts)
    lot_of_word[:, 0] = False
    return lot_of_word.gather(1, number) & maskable


def replace_tokens(
    input_ids: Int[Tensor, "batch length"],
    selected: Bool[Tensor, "batch length"],
    *,
    mask_token_id: int,
    vocab_size: int,
    special_ids: Int[Tensor, " special"],
    mask_replace_prob: float = 0.8,
    random_replace_prob: float = 0.1,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "batch length"]:
    """What the model sees at the selected positions: the mask token, a random token, or the token as it was.

    The unchanged rest keeps the model from trusting what it sees only where nothing is to be predicted.

    Args:
        input_ids: the batch. It is left as it is.
        selected: the positions.
        mask_token_id: the mask token.
        vocab_size: random tokens have ids below it.
        special_ids: ids that no random token has.
        mask_replace_prob: of the mask token.
        random_replace_prob: of a random token; what is left of 1 remains unchanged.
        generator: draws for every position of the batch, whether it is selected or not.

    Raises:
        InputError: a vocabulary of special tokens only.
    """

    def chance(probability: float) -> Bool[Tensor, "batch length"]:
        chances = torch.full(input_ids.shape, probability, device=input_ids.device)
        return torch.bernoulli(chances, generator=generator).bool()

    masked = selected & chance(mask_replace_prob)
    replaced = input_ids.masked_fill(masked, mask_token_id)
    if mask_replace_prob == 1 or random_replace_prob == 0:
        return replaced
    random = chance(random_replace_prob / (1 - mask_replace_prob)) & selected & ~masked
    tokens = torch.randint(vocab_size, input_ids.shape, generator=generator, device=input_ids.device)
    again = random & torch.isin(tokens, special_ids)
    if again.any():
        ordinary = torch.ones(vocab_size, dtype=torch.bool, device=input_ids.device)
        ordinary[special_ids[special_ids < vocab_size]] = False
        ordinary_ids = ordinary.nonzero()[:, 0]
        if len(ordinary_ids) == 0:
            raise InputError(
                f"All {vocab_size} tokens of the vocabulary are special: no random token can be drawn. Pass "
                f"random_replace_prob=0.0."
            )
        # From a spare generator, so that the next batch has the draws that it has in transformers.
        draws = torch.randint(len(ordinary_ids), (int(again.sum()),), generator=spare_generator(generator))
        tokens[again] = ordinary_ids[draws.to(input_ids.device)]
    return torch.where(random, tokens, replaced)


def mask_tokens(
    input_ids: Int[Tensor, "batch length"],
    maskable: Bool[Tensor, "batch length"],
    *,
    mask_token_id: int,
    vocab_size: int,
    special_ids: Int[Tensor, " special"],
    mlm_probability: float = 0.15,
    mask_replace_prob: float = 0.8,
    random_replace_prob: float = 0.1,
    word_ids: Int[Tensor, "batch length"] | None = None,
    at_least_one: bool = False,
    generator: torch.Generator | None = None,
) -> MaskedTokens:
    """Select 15 % of the tokens to be predicted; show 80 % of them as [MASK], 10 % as a random token, 10 % as they are.

    The arguments are those of `select_tokens` (`mlm_probability` is its probability) and of `replace_tokens`.
    """
    selected = select_tokens(
        maskable, mlm_probability, word_ids=word_ids, at_least_one=at_least_one, generator=generator
    )
    replaced = replace_tokens(
        input_ids,
        selected,
        mask_token_id=mask_token_id,
        vocab_size=vocab_size,
        special_ids=special_ids,
        mask_replace_prob=mask_replace_prob,
        random_replace_prob=random_replace_prob,
        generator=generator,
    )
    return MaskedTokens(replaced, input_ids.masked_fill(~selected, IGNORED))
