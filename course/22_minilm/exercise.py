"""Exercise 22: your pieces read a real checkpoint."""

import json
from pathlib import Path

import torch
from pieces import BertEmbeddings, EncoderBlock, encode, padding_mask
from safetensors.torch import load_file
from torch import Tensor, nn


class Bert(nn.Module):
    """Embeddings and a list of encoder blocks."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        inner_size: int,
        max_positions: int,
        segments: int = 2,
    ) -> None:
        super().__init__()
        ...  # write this

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The output of the last block.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 = a real token, 0 = padding. All tokens are of segment 0.

        Returns:
            (batch, length, hidden_size).
        """
        ...  # write this


def load(directory: Path) -> Bert:
    """Build the model that config.json describes, and fill it with the tensors of model.safetensors.

    Args:
        directory: holds both files.

    Returns:
        The model, in evaluation mode.
    """
    ...  # write this


def sentence_vectors(model: Bert, texts: list[str], vocabulary: dict[str, int]) -> Tensor:
    """The meaning of each text as a vector: the mean over the outputs at its real tokens, scaled to length 1.

    Args:
        model: from `load`.
        texts: sentences of different lengths; shorter ones are padded on the right.
        vocabulary: the id of each piece; padding is "[PAD]".

    Returns:
        (texts, hidden_size).
    """
    ...  # write this
