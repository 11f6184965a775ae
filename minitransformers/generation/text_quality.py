"""evaluate_text: the perplexity of a text under a model, its variety, and how much it repeats itself."""

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
    """The result of `evaluate_text`. All counts are of tokens.

    Attributes:
        tokens: length of the text, without its context.
        perplexity: exp of the mean negative log-likelihood of a token, given those before it (Jelinek et al., 1977).
            1 means certainty; the size of the vocabulary is the perplexity of uniform guessing.
        distinct_1, distinct_2, distinct_3: the portion of its n-grams that are different: see `distinct_n`.
        repetition: the portion of its 4-grams that repeat an earlier one: 1 − distinct_n(…, 4), the seq-rep-4 of
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

    Perplexity counts each token once; without a context, the first token is left out, since nothing precedes it. A text
    longer than the model's context window is read in overlapping windows. The first window predicts all of its tokens;
    each further one begins `stride` tokens later and predicts the `stride` new ones. All tokens after the first window
    are predicted from at least `window − stride + 1` tokens; a small stride is more exact and takes longer.

    Args:
        model: a causal language model, called with input_ids (1, length); returns logits (1, length, vocabulary).
        tokenizer: the one that the model was trained with.
        text: the text or its token ids. For generated text, ids are better: the tokenizer may encode the same text as
            other tokens, which the model finds very unlikely.
        context: the preceding text, such as a prompt: the model reads it, but it is not measured.
        window: number of tokens that the model reads at a time; by default, its number of positions.
        stride: at most `window`; by default, half of it.

    Raises:
        InputError: the text has no tokens, or one and no context; the window or the stride is impossible.
    """
    text_ids = _ids_of(tokenizer, text, add_special_tokens=False)
    context_ids = _ids_of(
        tokenizer, context, add_special_tokens=True
    )  # including the token that begins every text, if any
    if not text_ids or len(context_ids) + len(text_ids) < 2:
        raise InputError(f"text={text!r} is too short: it has no token that can be predicted from another.")
    max_positions = getattr(model.config, "max_position_embeddings", None)
    window = max_positions or len(context_ids) + len(text_ids) if window is None else window
    if window < 1 or (max_positions is not None and window > max_positions):
        raise InputError(f"window={window} must be between 1 and the model's {max_positions or 'unlimited'} positions.")
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

    1 means that no n-gram occurs twice; fewer than n tokens give NaN. (The paper divides by the
    number of tokens, which is n − 1 more and keeps short texts without any repetition below 1.)

    Raises:
        InputError: n below 1.
    """
    if n < 1:
        raise InputError(f"n={n} must be at least 1.")
    grams = list(zip(*(tokens[start:] for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else math.nan


def _negative_log_likelihood(model: Any, ids: list[int], first: int, window: int, stride: int) -> float:
    """The sum of −log p(token | preceding tokens of its window) in nats, over the tokens from `first` on."""
    device = next(model.parameters()).device
    total, done = 0.0, first  # tokens before `done` have been predicted
    was_training = model.training
    model.eval()  # without dropout
    try:
        with torch.no_grad():
            for start in range(0, len(ids), stride):
                end = min(start + window, len(ids) - 1)  # reads tokens start … end−1, predicts up to token `end`
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
