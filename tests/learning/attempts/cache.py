"""Caches of keys and values, and decoders that use one, as learners write them."""

from math import sqrt
from types import SimpleNamespace

import torch
from torch import nn


class Cache:
    """A right one, of which the wrong ones change a method."""

    def __init__(self):
        self.k, self.v = {}, {}

    def update(self, k, v, layer=0):
        if layer in self.k:
            k, v = torch.cat([self.k[layer], k], dim=2), torch.cat([self.v[layer], v], dim=2)
        self.k[layer], self.v[layer] = k, v
        return k, v

    def reorder(self, rows):
        self.k = {layer: k[rows] for layer, k in self.k.items()}
        self.v = {layer: v[rows] for layer, v in self.v.items()}

    def crop(self, length):
        self.k = {layer: k[:, :, :length] for layer, k in self.k.items()}
        self.v = {layer: v[:, :, :length] for layer, v in self.v.items()}


class WithoutLayers:
    """A right one of a single layer, without reorder and crop."""

    def __init__(self):
        self.keys = self.values = None

    def update(self, key, value):
        self.keys = key if self.keys is None else torch.cat((self.keys, key), -2)
        self.values = value if self.values is None else torch.cat((self.values, value), -2)
        return self.keys, self.values


class NewOnly(Cache):
    def update(self, k, v, layer=0):
        super().update(k, v, layer)
        return k, v


class OneBehind(Cache):
    def update(self, k, v, layer=0):
        before = (self.k.get(layer), self.v.get(layer))
        after = super().update(k, v, layer)
        return after if before[0] is None else before


class Overwrites(Cache):
    def update(self, k, v, layer=0):
        if layer in self.k:
            self.k[layer], self.v[layer] = self.k[layer][:, :, :-1], self.v[layer][:, :, :-1]
        return super().update(k, v, layer)


class InFront(Cache):
    def update(self, k, v, layer=0):
        if layer in self.k:
            k, v = torch.cat([k, self.k[layer]], dim=2), torch.cat([v, self.v[layer]], dim=2)
        self.k[layer], self.v[layer] = k, v
        return k, v


class Exchanged(Cache):
    def update(self, k, v, layer=0):
        k, v = super().update(k, v, layer)
        return v, k


class KeysTwice(Cache):
    def update(self, k, v, layer=0):
        k, _ = super().update(k, v, layer)
        return k, k


class LayersShared(Cache):
    def update(self, k, v, layer=0):
        return super().update(k, v, 0)


class ReorderForgotten(Cache):
    def reorder(self, rows):
        pass


class KeysReordered(Cache):
    def reorder(self, rows):
        self.k = {layer: k[rows] for layer, k in self.k.items()}


class Scattered(Cache):
    def reorder(self, rows):
        for store in (self.k, self.v):
            for layer, old in store.items():
                new = old.clone()
                new[rows] = old
                store[layer] = new


class FirstLayerReordered(Cache):
    def reorder(self, rows):
        self.k[0], self.v[0] = self.k[0][rows], self.v[0][rows]


class CropsTooLittle(Cache):
    def crop(self, length):
        super().crop(length + 1)


class CropsTooMuch(Cache):
    def crop(self, length):
        super().crop(length - 1)


class KeepsTheEnd(Cache):
    def crop(self, length):
        self.k = {layer: k[:, :, -length:] for layer, k in self.k.items()}
        self.v = {layer: v[:, :, -length:] for layer, v in self.v.items()}


class CropForgotten(Cache):
    def crop(self, length):
        pass


class Decoder(nn.Module):
    """One head over embeddings and positions; a right one, of which the wrong ones change a part."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=7)
        self.tokens, self.positions = nn.Embedding(7, 8), nn.Embedding(16, 8)
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))

    def first_position(self, past):
        return past

    def offset(self, past):
        return past

    def join(self, old, new):
        return torch.cat([old, new], 1)

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=False):
        past = 0 if past_key_values is None else past_key_values[0].shape[1]
        n = input_ids.shape[1]
        if position_ids is None:
            start = self.first_position(past) if past else 0
            position_ids = torch.arange(start, start + n)[None]
        x = self.tokens(input_ids) + self.positions(position_ids)
        q, new_k, new_v = self.q(x), self.k(x), self.v(x)
        k = new_k if past_key_values is None else self.join(past_key_values[0], new_k)
        v = new_v if past_key_values is None else self.join(past_key_values[1], new_v)
        row = torch.arange(n)[:, None] + (k.shape[1] - n if self.offset(past) else 0)
        mask = (torch.arange(k.shape[1])[None] <= row)[None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, :].bool()
        scores = (q @ k.mT / sqrt(8)).masked_fill(~mask, -1e9)
        kept = (
            (k, v)
            if past_key_values is None
            else tuple(torch.cat([o, w], 1) for o, w in zip(past_key_values, (new_k, new_v), strict=True))
        )
        logits = self.out(scores.softmax(-1) @ v + x) @ self.tokens.weight.T
        return Output(logits=logits, past_key_values=kept)


class Output(dict):
    """A dictionary whose entries are attributes too."""

    __getattr__ = dict.__getitem__


class PositionsFromZero(Decoder):
    def first_position(self, past):
        return 0


class PositionsOneTooFar(Decoder):
    def first_position(self, past):
        return past + 1


class PositionsOneTooFew(Decoder):
    def first_position(self, past):
        return past - 1


class LastTokenLost(Decoder):
    def join(self, old, new):
        return torch.cat([old[:, :-1], new], 1)


class UpperLeft(Decoder):
    def offset(self, past):
        return 0


class CacheUnused(Decoder):
    def first_position(self, past):
        return 0

    def join(self, old, new):
        return new


WRONG = [
    (NewOnly, "only the new keys and values"),
    (OneBehind, "the cache is off by one: the keys and values of this call are missing"),
    (Overwrites, "the cache is off by one: each call overwrites"),
    (InFront, "put in front of the old ones"),
    (Exchanged, "keys and values are exchanged"),
    (KeysTwice, "keys are returned as values too"),
    (LayersShared, "all layers share one store"),
    (ReorderForgotten, "reorder changes nothing"),
    (KeysReordered, "reorder moves the keys and leaves the values"),
    (Scattered, "reorder moves row i to rows[i]"),
    (FirstLayerReordered, "reorder moves the first layer only"),
    (CropsTooLittle, "one position too many"),
    (CropsTooMuch, "one position too few"),
    (KeepsTheEnd, "the last positions, not the first"),
    (CropForgotten, "crop changes nothing"),
]
WRONG_DECODERS = [
    (PositionsFromZero, "positions start at 0 in each piece"),
    (PositionsOneTooFar, "one too large"),
    (PositionsOneTooFew, "one too small"),
    (LastTokenLost, "the last cached token is not seen"),
    (UpperLeft, "aligned to the upper left"),
    (CacheUnused, "the cache is ignored"),
]
RIGHT = [Cache, WithoutLayers]
RIGHT_DECODERS = [Decoder]
