"""Language models as learners write them: wrong ones with the cause that must be named, and right ones."""

from math import sqrt

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, hidden_size, num_heads):
        super().__init__()
        self.heads = num_heads
        self.ln_1 = nn.LayerNorm(hidden_size)
        self.qkv, self.proj = nn.Linear(hidden_size, 3 * hidden_size), nn.Linear(hidden_size, hidden_size)
        self.ln_2 = nn.LayerNorm(hidden_size)
        self.up, self.down = nn.Linear(hidden_size, 4 * hidden_size), nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, x, is_causal=True):
        parts = [y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.qkv(self.ln_1(x)).chunk(3, dim=-1)]
        mixed = F.scaled_dot_product_attention(*parts, is_causal=is_causal)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class Right(nn.Module):
    def __init__(self, vocab_size, hidden_size, num_heads, num_layers, max_positions):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, hidden_size)
        self.positions = nn.Embedding(max_positions, hidden_size)
        self.blocks = nn.ModuleList([Block(hidden_size, num_heads) for _ in range(num_layers)])
        self.norm = nn.LayerNorm(hidden_size)

    def embed(self, ids):
        return self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))

    def run(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, ids):
        return self.run(self.embed(ids)) @ self.tokens.weight.T


class TiedLinear(Right):
    def __init__(self, vocab_size, hidden_size, num_heads, num_layers, max_positions):
        super().__init__(vocab_size, hidden_size, num_heads, num_layers, max_positions)
        self.head = nn.Linear(hidden_size, vocab_size, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        return self.head(self.run(self.embed(ids)))


class NotTied(Right):
    def __init__(self, vocab_size, hidden_size, num_heads, num_layers, max_positions):
        super().__init__(vocab_size, hidden_size, num_heads, num_layers, max_positions)
        self.head = nn.Linear(hidden_size, vocab_size, bias=False)

    def forward(self, ids):
        return self.head(self.run(self.embed(ids)))


class NoPositions(Right):
    def embed(self, ids):
        return self.tokens(ids)


class PositionsFromOne(Right):
    def embed(self, ids):
        return self.tokens(ids) + self.positions(torch.arange(1, ids.shape[1] + 1))


class Scaled(Right):
    def embed(self, ids):
        return self.tokens(ids) * sqrt(self.tokens.embedding_dim) + self.positions(torch.arange(ids.shape[1]))


class NoLastNorm(Right):
    def run(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class WithoutALastNorm(NoLastNorm):
    def __init__(self, vocab_size, hidden_size, num_heads, num_layers, max_positions):
        super().__init__(vocab_size, hidden_size, num_heads, num_layers, max_positions)
        del self.norm


class OneBlockForAll(Right):
    def __init__(self, vocab_size, hidden_size, num_heads, num_layers, max_positions):
        super().__init__(vocab_size, hidden_size, num_heads, num_layers, max_positions)
        self.blocks = nn.ModuleList([Block(hidden_size, num_heads)] * num_layers)


class BlocksReversed(Right):
    def run(self, x):
        for block in reversed(self.blocks):
            x = block(x)
        return self.norm(x)


class OneBlockTooFew(Right):
    def run(self, x):
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(x)


class NotCausal(Right):
    def run(self, x):
        for block in self.blocks:
            x = block(x, is_causal=False)
        return self.norm(x)


class Probabilities(Right):
    def forward(self, ids):
        return super().forward(ids).softmax(-1)


WRONG = [
    (NotTied, "the head has weights of its own"),
    (NoPositions, "the positions are missing"),
    (PositionsFromOne, "positions are off by one"),
    (Scaled, "multiplied by √hidden"),
    (NoLastNorm, "the norm after the last block is missing"),
    (WithoutALastNorm, "the norm after the last block is missing"),
    (OneBlockForAll, "share the same weights"),
    (BlocksReversed, "from the last to the first"),
    (OneBlockTooFew, "the last block is left out"),
    (NotCausal, "there is no causal mask"),
    (Probabilities, "the output is probabilities"),
]
RIGHT = [Right, TiedLinear]
