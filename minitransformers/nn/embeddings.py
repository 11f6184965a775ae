"""From ids to vectors: token + position + segment (Devlin et al., 2018, §3, figure 2)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minitransformers.nn.normalization import LayerNorm
from minitransformers.nn.positions import LearnedPositions, count_positions


class Embeddings(nn.Module):
    """token + segment + position, then LayerNorm and dropout, as in BERT.

    Args:
        vocab_size: number of tokens.
        hidden_size: width of the vectors.
        embedding_size: width of the embeddings, where they are narrower and projected to `hidden_size` at the end: the
            factorised embedding of ALBERT (Lan et al., 2019, §3.1) and ELECTRA. None: they are not projected.
        max_positions: the longest sequence.
        num_token_types: number of segments (sentence A, sentence B).
        padding_idx: the token whose vector is not trained.
        eps: of the LayerNorm.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        embedding_size: int | None = None,
        max_positions: int,
        num_token_types: int = 2,
        padding_idx: int | None = None,
        dropout: float = 0.0,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        width = embedding_size or hidden_size
        self.token_embedding = nn.Embedding(vocab_size, width, padding_idx=padding_idx)
        self.position_embedding = LearnedPositions(max_positions, width)
        self.token_type_embedding = nn.Embedding(num_token_types, width)
        self.norm = LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Identity() if embedding_size is None else nn.Linear(embedding_size, hidden_size)

    def forward(
        self,
        input_ids: Int[Tensor, "batch length"] | None = None,
        *,
        token_type_ids: Int[Tensor, "#batch length"] | None = None,
        position_ids: Int[Tensor, "#batch length"] | None = None,
        inputs_embeds: Float[Tensor, "batch length embedding"] | None = None,
        past_length: int = 0,
    ) -> Float[Tensor, "batch length hidden"]:
        """Embed ids, or complete vectors that stand for them (`inputs_embeds`).

        Args:
            token_type_ids: segment of each token; 0 everywhere if None.
            position_ids: position of each token; counted from `past_length` if None.
        """
        tokens = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = count_positions(tokens.shape[1], past_length, device=tokens.device)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(position_ids)
        embedded = tokens + self.token_type_embedding(token_type_ids) + self.position_embedding(position_ids)
        projected: Tensor = self.projection(self.dropout(self.norm(embedded)))
        return projected
