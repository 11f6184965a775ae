"""Blocks of a corpus as a model takes them: with special tokens around, and the places of words for masking."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from minitransformers.data import TokenSequence
from minitransformers.errors import InputError


class TextBlocks(Dataset[dict[str, Any]]):
    """The tokens of a corpus in blocks of one length; what is left at the end is left out.

    Items have `input_ids`, and for "mlm" `offset_mapping`, from which the collator knows which tokens are one word: a
    token that continues a word starts where the token before it ends. The tokens alone tell this: continuations
    begin with "##" in WordPiece, and without "Ġ" or "▁" in vocabularies that have those; in others every token is a
    word. The offsets are therefore not those of characters.

    Args:
        corpus: token ids without special tokens.
        tokenizer: adds the special tokens.
        length: of a block, special tokens included.
        task: "mlm" and "infilling" have special tokens around each block; for "spans" the collator adds them.

    Raises:
        InputError: a length that leaves no room for the special tokens, or more than the corpus has.
    """

    def __init__(self, corpus: TokenSequence, tokenizer: Any, length: int, task: str) -> None:
        with_special, plain = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
        begin = next((at for at in range(len(with_special)) if with_special[at : at + len(plain)] == plain), 0)
        has_special = task in ("mlm", "infilling")
        self.before = list(with_special[:begin]) if has_special else []
        self.behind = list(with_special[begin + len(plain) :]) if has_special else []
        room = length - len(self.before) - len(self.behind) - (task == "spans")
        if room < 2:
            raise InputError(f"max_length={length} leaves {room} tokens of text in a block: take more.")
        self.blocks = corpus.blocks(room)
        self.continues = _continuations(tokenizer) if task == "mlm" else None

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = [*self.before, *self.blocks[index]["input_ids"].tolist(), *self.behind]
        if self.continues is None:
            return {"input_ids": ids}
        ends = 2 * np.arange(len(ids)) + 2
        starts = ends - np.where(self.continues[ids], 2, 1)
        return {"input_ids": ids, "offset_mapping": np.stack([starts, ends], axis=1).tolist()}


def _continuations(tokenizer: Any) -> np.ndarray:
    """For each id, whether the token continues the word of the token before it."""
    vocabulary = tokenizer.get_vocab()
    starts = ("Ġ", "▁", "Ċ")
    is_wordpiece = any(token.startswith("##") for token in vocabulary)
    if not is_wordpiece and not any(token.startswith(starts) for token in vocabulary):
        return np.zeros(max(vocabulary.values()) + 1, dtype=bool)  # a vocabulary of whole words
    special = set(tokenizer.all_special_ids)
    continues = np.zeros(max(vocabulary.values()) + 1, dtype=bool)
    for token, number in vocabulary.items():
        is_start = not token.startswith("##") if is_wordpiece else token.startswith(starts)
        continues[number] = not is_start and number not in special
    return continues
