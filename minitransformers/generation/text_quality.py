"""evaluate_text: how likely a model finds a text, how varied the text is, and how much it repeats itself."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from minitransformers.errors import InputError


@dataclass(frozen=True)
class TextEvaluation:
    """What `evaluate_text` measures. All counts are of tokens.

    Attributes:
        tokens: how many the text has, those of the context not among them.
        perplexity: exp of the mean negative log-likelihood of a token, given those before it (Jelinek et al., 1977).
            1 is a text that was certain, the size of the vocabulary one that was guessed blindly.
        distinct_1, distinct_2, distinct_3: of its n-grams, how many are different ones: see `distinct_n`.
        repetition: of its 4-grams, the portion that repeat an earlier one: 1 − distinct_n(…, 4), the seq-rep-4 of
            Welleck et al. (2019). Human prose is near 0, a loop near 1.
    """

    tokens: int
    perplexity: float
    distinct_1: float
    distinct_2: float
    distinct_3: float
    repetition: float


def evaluate_text(
    model: Any,
    tokenizer: Any,
    text: str | Sequence[int],
    *,
    context: str | Sequence[int] = "",
    window: int | None = None,
    stride: int | None = None,
) -> TextEvaluation:
    """Measure a text by a language model and by itself.

    Perplexity counts each token once. The first is left out where nothing stands before it: there is nothing that it
    could be predicted from. A text longer than the model's context window is read in overlapping windows. The first
    predicts all of its tokens, each further one begins `stride` tokens later and predicts the `stride` that are new. So
    all tokens but those of the first window are predicted from at least `window − stride + 1` tokens; a small stride is
    more exact and takes longer.

    Args:
        model: a causal language model, called with input_ids (1, length); gives logits (1, length, vocabulary).
        tokenizer: the one that the model was trained with.
        text: what to measure, as text or as token ids. For what a model has generated, ids are better: the tokenizer
            may write the same text with other tokens, which the model finds very unlikely.
        context: what stood before the text, such as its prompt: the model reads it, but it is not measured.
        window: how many tokens the model reads at a time; unless given, as many as it has positions.
        stride: at most `window`; half of it unless given.

    Raises:
        InputError: a text without tokens, or with one and no context; a window or stride that is impossible.
    """
    text_ids = _ids_of(tokenizer, text, add_special_tokens=False)
    context_ids = _ids_of(tokenizer, context, add_special_tokens=True)  # with what begins every text, if anything does
    if not text_ids or len(context_ids) + len(text_ids) < 2:
        raise InputError(f"text={text!r} is too short: there is no token that could be predicted from one before it.")
    longest = getattr(model.config, "max_position_embeddings", None)
    window = longest or len(context_ids) + len(text_ids) if window is None else window
    if window < 1 or (longest is not None and window > longest):
        raise InputError(f"window={window} must be between 1 and the model's {longest or 'unlimited'} positions.")
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride <= window:
        raise InputError(f"stride={stride} must be between 1 and window={window}: else tokens would be left out.")

    ids = context_ids + text_ids
    first = max(1, len(context_ids))
    loss = _negative_log_likelihood(model, ids, first, window, stride)
    return TextEvaluation(
        tokens=len(text_ids),
        perplexity=math.exp(loss / (len(ids) - first)),
        distinct_1=distinct_n(text_ids, 1),
        distinct_2=distinct_n(text_ids, 2),
        distinct_3=distinct_n(text_ids, 3),
        repetition=1 - distinct_n(text_ids, 4),
    )


def _ids_of(tokenizer: Any, text: str | Sequence[int], *, add_special_tokens: bool) -> list[int]:
    if isinstance(text, str):
        return list(tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"])
    return [int(token_id) for token_id in text]


def distinct_n(tokens: Sequence[Hashable], n: int) -> float:
    """The number of different n-grams over the number of all n-grams (distinct-n; Li et al., 2016).

    1 means that none occurs twice. NaN for fewer than n tokens, which have no n-gram. (The paper divides by the number
    of tokens, which is n − 1 more and keeps short texts without any repetition below 1.)

    Raises:
        InputError: n below 1.
    """
    if n < 1:
        raise InputError(f"n={n} must be at least 1.")
    grams = list(zip(*(tokens[start:] for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else math.nan


def _negative_log_likelihood(model: Any, ids: list[int], first: int, window: int, stride: int) -> float:
    """The sum of −log p(token | those before it in its window), in nats, of the tokens from `first` on."""
    device = next(model.parameters()).device
    total, done = 0.0, first  # tokens before `done` need no prediction any more
    was_training = model.training
    model.eval()  # dropout would make it a matter of chance
    try:
        with torch.no_grad():
            for start in range(0, len(ids), stride):
                end = min(start + window, len(ids) - 1)  # tokens start … end−1 are read, the latest predicted is `end`
                if end < done:
                    continue  # only context
                read = torch.tensor([ids[start:end]], device=device)
                logits = model(input_ids=read).logits[0, done - 1 - start :].float()
                targets = torch.tensor(ids[done : end + 1], device=device)
                total += float(F.cross_entropy(logits, targets, reduction="sum"))
                done = end + 1
                if done == len(ids):
                    break
    finally:
        model.train(was_training)
    return total
