"""What stands on top of a backbone, where it is more than one linear layer."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minitransformers.nn.feed_forward import activation_function
from minitransformers.nn.normalization import LayerNorm


class Pooler(nn.Module):
    """tanh(W · first token): BERT's vector for the whole sequence (Devlin et al., 2018, §3)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden_states: Float[Tensor, "batch length hidden"]) -> Float[Tensor, "batch hidden"]:
        """Pool the sequence into the vector of its first token."""
        return torch.tanh(self.dense(hidden_states[:, 0]))


class MaskedLMHead(nn.Module):
    """dense → activation → LayerNorm → scores over the vocabulary (Devlin et al., 2018, §3.1, task 1).

    `decoder`, the last layer, usually shares its weight with the token embedding; `embedding_size` is the width of that
    where it is not `hidden_size`.
    """

    def __init__(
        self,
        hidden_size: int,
        vocab_size: int,
        *,
        embedding_size: int | None = None,
        activation: str = "gelu",
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        width = embedding_size or hidden_size
        self.dense = nn.Linear(hidden_size, width)
        self.activation = activation_function(activation)
        self.norm = LayerNorm(width, eps=eps)
        self.decoder = nn.Linear(width, vocab_size)

    def forward(self, hidden_states: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch vocab"]:
        """Score every token of the vocabulary at every position."""
        scores: Tensor = self.decoder(self.norm(self.activation(self.dense(hidden_states))))
        return scores


class DenseClassifier(nn.Module):
    """dropout → dense → activation → dropout → scores: the classifier of RoBERTa and ELECTRA, with a layer of its own.

    Where BERT classifies the pooler's vector, these take the hidden state of a token and learn to pool anew.
    """

    def __init__(self, hidden_size: int, num_labels: int, *, activation: str = "tanh", dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.activation = activation_function(activation)
        self.output = nn.Linear(hidden_size, num_labels)

    def forward(self, hidden_states: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch labels"]:
        """Score every class for every sequence."""
        pooled = self.activation(self.dense(self.dropout(hidden_states)))
        scores: Tensor = self.output(self.dropout(pooled))
        return scores


class SequenceSummary(nn.Module):
    """One vector for a sequence, then a projection: the multiple-choice head of GPT (Radford et al., 2018, §3.2).

    Args:
        hidden_size: width of the hidden states.
        output_size: width of the projection; None leaves it out.
        pick: which vector stands for the sequence: the "last", the "first", the "mean", or that at given positions
            ("cls_index").
        activation: after the projection; None for none.
        dropout: before the projection.
    """

    def __init__(
        self,
        hidden_size: int,
        output_size: int | None,
        *,
        pick: str = "cls_index",
        activation: str | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pick = pick
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Identity() if output_size is None else nn.Linear(hidden_size, output_size)
        self.activation = activation_function(activation or "linear")

    def forward(
        self, hidden_states: Float[Tensor, "*batch length hidden"], positions: Int[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch output"]:
        """Summarise; `positions` is where `pick="cls_index"` looks, the last token if None."""
        if self.pick == "first":
            summary = hidden_states[..., 0, :]
        elif self.pick == "mean":
            summary = hidden_states.mean(dim=-2)
        elif self.pick == "last" or positions is None:
            summary = hidden_states[..., -1, :]
        else:
            summary = torch.take_along_dim(hidden_states, positions[..., None, None], dim=-2).squeeze(-2)
        projected: Tensor = self.activation(self.projection(self.dropout(summary)))
        return projected


def last_token_positions(input_ids: Int[Tensor, "batch length"], pad_token_id: int) -> Int[Tensor, " batch"]:
    """The position of the rightmost token that is not padding; 0 where all are."""
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    return (positions * (input_ids != pad_token_id)).amax(dim=-1)


def of_last_tokens(
    vectors: Float[Tensor, "batch length features"],
    input_ids: Int[Tensor, "batch length"] | None,
    pad_token_id: int | None,
) -> Float[Tensor, "batch features"]:
    """The vector of each sequence's last token; of its last position where it is not known what is padding."""
    if input_ids is None or pad_token_id is None:
        return vectors[:, -1]
    last = last_token_positions(input_ids, pad_token_id)
    return vectors.take_along_dim(last[:, None, None], dim=1).squeeze(1)


def keep_positions(
    hidden_states: Float[Tensor, "batch length hidden"], logits_to_keep: int | Tensor
) -> Float[Tensor, ...]:
    """The hidden states whose logits are wanted, so that the others need not be computed.

    Args:
        logits_to_keep: a number of last positions, 0 for all; positions, (kept,) for all rows alike or (batch, kept);
            or a bool mask (batch, length), which gives (number of True, hidden).
    """
    if isinstance(logits_to_keep, int):
        return hidden_states[:, -logits_to_keep:] if logits_to_keep else hidden_states
    if logits_to_keep.dtype == torch.bool and logits_to_keep.ndim == 2:
        return hidden_states[logits_to_keep]
    if logits_to_keep.ndim == 2:
        return torch.take_along_dim(hidden_states, logits_to_keep[..., None], dim=1)
    return hidden_states[:, logits_to_keep]
