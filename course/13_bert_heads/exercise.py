"""Exercise 13: BERT's heads, and the loss of its pre-training."""

import torch
from pieces import LayerNorm
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedLMHead(nn.Module):
    """A score for each token of the vocabulary: LayerNorm(gelu(W x + b)) · tableᵀ + bias. eps is 1e-12.

    `table` is the embeddings' own parameter (vocab_size, hidden_size): keep it, do not copy it.
    """

    def __init__(self, table: nn.Parameter) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, hidden_size) to logits (batch, length, vocab_size)."""
        ...  # write this


class Pooler(nn.Module):
    """One vector for each text: tanh(W x₀ + b), where x₀ is the output at [CLS]."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        ...  # write this

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, hidden_size) to (batch, hidden_size)."""
        ...  # write this


def pretraining_loss(mlm_logits: Tensor, nsp_logits: Tensor, mlm_labels: Tensor, nsp_labels: Tensor) -> Tensor:
    """The mean of −log p over the selected tokens, plus the mean of −log p over the pairs.

    Args:
        mlm_logits: (batch, length, vocab_size).
        nsp_logits: (batch, 2).
        mlm_labels: (batch, length); −100 where nothing was selected.
        nsp_labels: (batch,), 0 or 1.

    Returns:
        One number.
    """
    ...  # write this
