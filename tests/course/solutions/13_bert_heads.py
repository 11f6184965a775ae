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
        self.dense = nn.Linear(table.shape[1], table.shape[1])
        self.norm = LayerNorm(table.shape[1], eps=1e-12)
        self.table = table
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, hidden_size) to logits (batch, length, vocab_size)."""
        return self.norm(F.gelu(self.dense(x))) @ self.table.T + self.bias


class Pooler(nn.Module):
    """One vector for each text: tanh(W x₀ + b), where x₀ is the output at [CLS]."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, hidden_size) to (batch, hidden_size)."""
        return torch.tanh(self.dense(x[:, 0]))


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
    return F.cross_entropy(mlm_logits.flatten(0, 1), mlm_labels.flatten()) + F.cross_entropy(nsp_logits, nsp_labels)
