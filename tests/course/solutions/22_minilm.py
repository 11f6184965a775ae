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
        self.embeddings = BertEmbeddings(vocab_size, hidden_size, max_positions, segments)
        self.blocks = nn.ModuleList(EncoderBlock(hidden_size, num_heads, inner_size) for _ in range(num_layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The output of the last block.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 = a real token, 0 = padding. All tokens are of segment 0.

        Returns:
            (batch, length, hidden_size).
        """
        x = self.embeddings(input_ids, torch.zeros_like(input_ids))
        for block in self.blocks:
            x = block(x, padding_mask(attention_mask))
        return x


def load(directory: Path) -> Bert:
    """Build the model that config.json describes, and fill it with the tensors of model.safetensors.

    Args:
        directory: holds both files.

    Returns:
        The model, in evaluation mode.
    """
    config = json.loads((Path(directory) / "config.json").read_text())
    model = Bert(
        config["vocab_size"],
        config["hidden_size"],
        config["num_hidden_layers"],
        config["num_attention_heads"],
        config["intermediate_size"],
        config["max_position_embeddings"],
        config["type_vocab_size"],
    )
    names = {
        "embeddings.tokens": "embeddings.word_embeddings",
        "embeddings.positions": "embeddings.position_embeddings",
        "embeddings.segments": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
    }
    for index in range(config["num_hidden_layers"]):
        ours, theirs = f"blocks.{index}", f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            names[f"{ours}.attention.{part}"] = f"{theirs}.attention.self.{part}"
        names[f"{ours}.attention.output"] = f"{theirs}.attention.output.dense"
        names[f"{ours}.attention_norm"] = f"{theirs}.attention.output.LayerNorm"
        names[f"{ours}.feed_forward.up"] = f"{theirs}.intermediate.dense"
        names[f"{ours}.feed_forward.down"] = f"{theirs}.output.dense"
        names[f"{ours}.feed_forward_norm"] = f"{theirs}.output.LayerNorm"
    tensors = load_file(Path(directory) / "model.safetensors")
    state = {}
    for name in model.state_dict():
        module, _, kind = name.rpartition(".")
        state[name] = tensors[f"{names[module]}.{kind}"]
    model.load_state_dict(state)
    return model.eval()


def sentence_vectors(model: Bert, texts: list[str], vocabulary: dict[str, int]) -> Tensor:
    """The meaning of each text as a vector: the mean over the outputs at its real tokens, scaled to length 1.

    Args:
        model: from `load`.
        texts: sentences of different lengths; shorter ones are padded on the right.
        vocabulary: the id of each piece; padding is "[PAD]".

    Returns:
        (texts, hidden_size).
    """
    ids = [encode(text, vocabulary) for text in texts]
    longest = max(map(len, ids))
    padded = torch.tensor([line + [vocabulary["[PAD]"]] * (longest - len(line)) for line in ids])
    mask = torch.tensor([[1] * len(line) + [0] * (longest - len(line)) for line in ids])
    with torch.no_grad():
        output = model(padded, mask) * mask[..., None]
    return nn.functional.normalize(output.sum(1) / mask.sum(1, keepdim=True), dim=-1)
