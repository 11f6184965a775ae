"""How likely a language model finds each token of an answer, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minitransformers.nn.losses import IGNORED


def token_log_probabilities(
    logits: Float[Tensor, "batch length vocabulary"], labels: Int[Tensor, "batch length"]
) -> Float[Tensor, "batch length-1"]:
    """log p(labels[:, t + 1] | what is before), from the logits at t; 0 where the label is −100."""
    targets = labels[:, 1:]
    ignored = targets == IGNORED
    logits = logits[:, :-1].to(torch.promote_types(logits.dtype, torch.float32))
    scores = logits.log_softmax(dim=-1)
    found = scores.gather(-1, targets.masked_fill(ignored, 0)[..., None]).squeeze(-1)
    return found.masked_fill(ignored, 0.0)


def next_token_logits(model: Any, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch length vocabulary"]:
    """The logits of a causal language model, without a cache: packed texts are then kept apart by `position_ids`."""
    inputs: dict[str, Any] = {name: value for name, value in batch.items() if name != "labels"}
    if "use_cache" in model._forward_arguments:
        inputs["use_cache"] = False
    return model(**inputs).logits  # type: ignore[no-any-return]


def answer_log_probabilities(model: Any, batch: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
    """log p(answer | prompt) of every row: the sum over the tokens whose label is not −100.

    Args:
        model: a causal language model.
        batch: `input_ids`, `attention_mask` and `labels`, padded on the right.
    """
    return token_log_probabilities(next_token_logits(model, batch), batch["labels"]).sum(dim=-1)
