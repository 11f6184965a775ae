"""Texts to the inputs of a model, refused in words where the model cannot read them."""

from __future__ import annotations

from reprlib import repr as brief
from typing import Any

from torch import nn

from minitransformers.errors import InputError
from minitransformers.tokenization.base.encoding import BatchEncoding

# The names of position embeddings in the families
_POSITIONS = ("position_embeddings", "wpe", "embed_positions", "positions_embed")
_NO_LIMIT = 1e20  # a greater model_max_length means that there is none


def position_limit(model: nn.Module) -> int | None:
    """How many tokens the model's position embeddings allow; None where they are computed (rotary, T5's biases)."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(_POSITIONS):
            unused = getattr(module, "offset", 0 if module.padding_idx is None else module.padding_idx + 1)
            return module.num_embeddings - unused
    return None


def length_limit(pipeline: Any) -> int | None:
    """How many tokens a text may have: what the tokenizer says, at most what the model can read; None for any."""
    both = (pipeline.tokenizer.model_max_length, pipeline.position_limit)
    limits = [limit for limit in both if limit and limit < _NO_LIMIT]
    return int(min(limits)) if limits else None


def encode(pipeline: Any, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
    """Call the pipeline's tokenizer for tensors (1, length), or (pieces, length) of overflowing tokens.

    With `truncation`, but neither `max_length` nor a limit of the tokenizer, the model's positions are the limit.

    Raises:
        InputError: no tokens, or more than the model has positions for.
    """
    tokenizer, limit = pipeline.tokenizer, pipeline.position_limit
    truncates = options.get("truncation") not in (None, False, "do_not_truncate")
    if truncates and options.get("max_length") is None and tokenizer.model_max_length > _NO_LIMIT:
        options = {**options, "max_length": limit, "truncation": options["truncation"] if limit else False}
    encoded: BatchEncoding = tokenizer(text, text_pair, **{"return_tensors": "pt", "verbose": False, **options})
    length = encoded["input_ids"].shape[1]
    if not length:
        raise InputError(f"The text {brief(text)} has no tokens: pass one with at least a word.")
    if limit is not None and length > limit:
        raise InputError(
            f"The text {brief(text)} has {length} tokens, and the model takes at most {limit}: pass truncation=True "
            f"to cut it, or split it."
        )
    return encoded
