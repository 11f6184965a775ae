"""LabelSmoother: the loss of labels of which a part is spread over all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from minitransformers.nn.losses import IGNORED
from minitransformers.training.loop.objective import has_loss


@dataclass
class LabelSmoother:
    """Cross-entropy with labels of which `epsilon` is spread over all classes (Szegedy et al., 2015, §7).

    Attributes:
        epsilon: the part that is spread.
        ignore_index: the label of positions without a label.
    """

    epsilon: float = 0.1
    ignore_index: int = IGNORED

    def __call__(
        self,
        model_output: Any,
        labels: Tensor,
        shift_labels: bool = False,
        num_items_in_batch: Tensor | float | int | None = None,
    ) -> Tensor:
        """The loss of a model's output.

        Args:
            model_output: has `logits` [..., classes]; of a tuple, the first entry that is no loss.
            labels: [...] or [..., 1].
            shift_labels: the logits at position t are compared with the label at t + 1.
            num_items_in_batch: the sum of the losses is divided by this number, by default that of the labels here.
        """
        has_names = hasattr(model_output, "items")
        logits = model_output["logits"] if has_names else model_output[int(has_loss(model_output))]
        if labels.ndim == logits.ndim:
            labels = labels.squeeze(-1)
        if shift_labels:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
        logits, labels = logits.flatten(0, -2), labels.flatten()
        total = F.cross_entropy(
            logits, labels, ignore_index=self.ignore_index, label_smoothing=self.epsilon, reduction="sum"
        )
        if num_items_in_batch is None:
            num_items_in_batch = labels.ne(self.ignore_index).sum()
        if isinstance(num_items_in_batch, Tensor):
            num_items_in_batch = num_items_in_batch.to(total.device)
        return total / num_items_in_batch
