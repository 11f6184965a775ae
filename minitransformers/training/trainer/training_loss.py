"""TrainingLoss: the loop's `loss`, made of a Trainer's `compute_loss`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.errors import InputError
from minitransformers.training.loop.batches import Batch
from minitransformers.training.loop.objective import Counts, count_labels


class TrainingLoss:
    """Calls `compute_loss`, and normalizes its result by the number of labels of all accumulated batches.

    Args:
        compute_loss: the method of the Trainer.
        is_normalized: whether `compute_loss` divides by `num_items_in_batch`; None if it sets that attribute itself.
        input_name: the entry of a batch with the ids.
        padding: the id of padding, which is not counted as a token; None counts all tokens.
        skip_padding: whether to leave padding out of the number of tokens.
        num_parameters: of the model, without embeddings.

    Attributes:
        counts: the labels of all accumulated batches, while a loss is computed.
        is_normalized: whether the loss that was computed last is divided by these counts.
    """

    def __init__(
        self,
        compute_loss: Callable[..., Any],
        is_normalized: bool | None,
        *,
        input_name: str,
        padding: int | None,
        skip_padding: bool,
        num_parameters: int,
    ) -> None:
        self.compute_loss, self.always_normalized = compute_loss, is_normalized
        self.input_name, self.padding, self.skip_padding = input_name, padding, skip_padding
        self.num_parameters = num_parameters
        self.counts: Counts | None = None
        self.is_normalized = False
        self._flos, self._tokens = 0.0, 0

    def __call__(self, model: nn.Module, batch: Batch, counts: Counts) -> Tensor:
        """The loss of a micro-batch; see `normalized_loss`.

        Raises:
            InputError: an empty batch, or a loss that is not one number.
        """
        if not batch:
            raise InputError("The collator returned an empty batch: does the data set have the model's arguments?")
        own = count_labels(model, batch)
        ids = batch.get(self.input_name)
        if isinstance(ids, Tensor):
            self._flos += 6.0 * ids.numel() * self.num_parameters
            self._tokens += self._num_tokens(ids, batch.get("attention_mask"))
        self.counts, self.is_normalized = counts, False
        try:
            loss = self.compute_loss(model, dict(batch), **num_items(self.compute_loss, counts, batch))
        finally:
            self.counts = None
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise InputError(f"compute_loss must return one number, a tensor, not {loss!r:.80}.")
        is_normalized = self.is_normalized if self.always_normalized is None else self.always_normalized
        return loss if is_normalized else loss * (sum(own.values()) / max(1, sum(counts.values())))

    def pop_counts(self) -> dict[str, float]:
        """The floating-point operations and tokens of this process since the last call."""
        counts = {"flos": self._flos, "tokens": self._tokens}
        self._flos, self._tokens = 0.0, 0
        return counts

    def _num_tokens(self, ids: Tensor, mask: Tensor | None) -> int:
        if self.skip_padding and mask is not None:
            return int(mask.sum())
        if self.skip_padding and self.padding is not None:
            return int(ids.ne(self.padding).sum())
        return ids.numel()


def num_items(compute_loss: Callable[..., Any], counts: Counts, batch: Batch) -> dict[str, Any]:
    """`num_items_in_batch`, on the device of the batch, if `compute_loss` takes it by name or in `**kwargs`."""
    parameters = inspect.signature(compute_loss).parameters
    if "num_items_in_batch" not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return {}
    device = next((value.device for value in batch.values() if isinstance(value, Tensor)), None)
    items = torch.tensor(int(counts["labels"]), device=device) if "labels" in counts else None
    return {"num_items_in_batch": items}
