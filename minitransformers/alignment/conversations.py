"""Conversations to ids and labels: the assistant's words are learnt, and everything else is read.

    features = [encode_conversation(tokenizer, messages) for messages in conversations]

Batch them with `DataCollatorForSeq2Seq(tokenizer, padding=True)`, which pads labels too, or with
`DataCollatorWithFlattening()`, which packs them into one row: `position_ids` that start again keep the conversations
apart (call the model with use_cache=False).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED

Features = dict[str, list[int]]


def encode_conversation(tokenizer: Any, messages: Sequence[dict[str, Any]], max_length: int | None = None) -> Features:
    """`input_ids` of a conversation, and `labels` that are −100 everywhere but at the assistant's words.

    Args:
        tokenizer: one with a chat template that marks the assistant's words by `{% generation %}`.
        messages: `{"role": "user", "content": "…"}`; at least one of the role "assistant".
        max_length: cut the conversation to this many tokens.

    Raises:
        InputError: nothing to learn: no words of the assistant, a template that does not mark them, or all were cut.
    """
    encoded = tokenizer.apply_chat_template(
        messages, return_assistant_tokens_mask=True, truncation=max_length is not None, max_length=max_length
    )
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    if not any(mask):
        raise InputError(
            "The conversation has no words of the assistant to learn: it needs a message of the role 'assistant' "
            "within max_length, and a chat template with {% generation %} around such messages."
        )
    return {"input_ids": ids, "labels": [id if learnt else IGNORED for id, learnt in zip(ids, mask, strict=True)]}


def encode_answer(tokenizer: Any, prompt: str, answer: str, max_length: int | None = None) -> Features:
    """The same of a plain prompt and its answer, for models without a chat template; `eos_token` ends the answer.

    Prompt and answer are encoded apart, so that no token has letters of both. Begin the answer with its space.

    Raises:
        InputError: the tokenizer has no `eos_token`, or the prompt alone fills `max_length`.
    """
    if tokenizer.eos_token_id is None:
        raise InputError("The tokenizer has no eos_token, with which the answer would end: set tokenizer.eos_token.")
    question, words = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
    ids, labels = question + words + [tokenizer.eos_token_id], [IGNORED] * len(question) + words
    labels.append(tokenizer.eos_token_id)
    if max_length is not None and len(question) >= max_length:
        raise InputError(f"The prompt has {len(question)} tokens, and max_length={max_length} leaves no answer.")
    return {"input_ids": ids[:max_length], "labels": labels[:max_length]}


class PairCollator:
    """Batches of pairs: `{"chosen": features, "rejected": features}` to one batch of 2 × batch rows, chosen first.

    Padding is on the right, so that every row starts at position 0.

    Args:
        pad_token_id: fills short rows; the mask leaves it out.
    """

    def __init__(self, pad_token_id: int = 0) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, pairs: Sequence[dict[str, Features]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask`, and `labels` where the features have them."""
        rows = [pair[side] for side in ("chosen", "rejected") for pair in pairs]
        length = max(len(row["input_ids"]) for row in rows)

        def padded(values: list[list[int]], filler: int) -> Tensor:
            return torch.tensor([value + [filler] * (length - len(value)) for value in values])

        ids = [list(row["input_ids"]) for row in rows]
        batch = {"input_ids": padded(ids, self.pad_token_id), "attention_mask": padded([[1] * len(i) for i in ids], 0)}
        if "labels" in rows[0]:
            batch["labels"] = padded([list(row["labels"]) for row in rows], IGNORED)
        return batch
