"""Packing: documents one behind the other, cut into blocks of one length, so that no computing is spent on padding.

This is how GPT's texts are laid out (Radford et al., 2018, §4.1; Brown et al., 2020, §3 and appendix B): an end-of-text
token behind each document. Brown et al. let tokens attend to the documents before their own, taking the
end-of-text token as a hint that these do not matter. With `document_mask=True` they cannot: blocks come with
`position_ids` that restart at each document, and decoders read the borders from them where there is no cache, as in
transformers: call `model(**batch, use_cache=False)`, or set `model.config.use_cache = False` to train.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from minitransformers.configs.checks import check_count
from minitransformers.data.checks import as_ids, token_id
from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED


class PackedDocuments(NamedTuple):
    """All documents in one row, and the place in it where each starts."""

    input_ids: Int[Tensor, " tokens"]
    starts: Int[Tensor, " documents"]


def concatenate_documents(documents: Iterable[Any], end_of_text_id: int | None) -> PackedDocuments:
    """Put documents one behind the other, each followed by `end_of_text_id` (None: they bring their own).

    Raises:
        InputError: no documents, an empty one, or one that is no sequence of ids.
    """
    rows, starts, total = [], [], 0
    end = [] if end_of_text_id is None else [torch.tensor([end_of_text_id])]
    for index, document in enumerate(documents):
        row = as_ids(f"documents[{index}]", document)
        if len(row) == 0:
            raise InputError(f"documents[{index}] is empty: leave documents without tokens out.")
        rows += [row, *end]
        starts.append(total)
        total += len(row) + len(end)
    if not rows:
        raise InputError("documents is empty: there is nothing to pack.")
    return PackedDocuments(torch.cat(rows), torch.tensor(starts))


def restarting_positions(starts: Int[Tensor, " documents"], tokens: int, block_size: int) -> Int[Tensor, " tokens"]:
    """The position of each token in its document, or in the part of it that is in its block.

    Args:
        starts: where documents start, in order, the first at 0.
        tokens: how many there are in all.
        block_size: at its multiples a block starts, and positions with it: they stay below `block_size`.
    """
    places = torch.arange(tokens)
    document_starts = starts[torch.searchsorted(starts, places, right=True) - 1]
    return places - torch.maximum(document_starts, places - places % block_size)


class PackedDataset(Dataset[dict[str, Tensor]]):
    """Blocks of documents for causal language modelling: `input_ids`, `labels`, and `position_ids` where asked for.

    Labels are the ids: models shift them by one. With `document_mask=True` each document's first token has label -100,
    since what stands before it belongs to another document. Batch with `default_data_collator`; a shorter last block,
    if it is kept, in a batch of its own (`drop_last=True` of a DataLoader leaves it out).

    Args:
        documents: sequences of ids, without special tokens.
        block_size: how many tokens a block has: as many as the model takes.
        end_of_text_id: put behind each document; None if they end with one already.
        document_mask: keep documents apart: return `position_ids` that restart with each. The model must not make a
            cache then (use_cache=False).
        drop_last: leave out the last block if it is shorter.

    Raises:
        InputError: no documents or an empty one, a length below 2, or with `drop_last` fewer tokens than one block.
    """

    def __init__(
        self,
        documents: Iterable[Any],
        block_size: int,
        end_of_text_id: int | None,
        *,
        document_mask: bool = False,
        drop_last: bool = False,
    ) -> None:
        self.block_size = check_count("block_size", block_size, least=2)
        self.input_ids, self.starts = concatenate_documents(documents, end_of_text_id)
        if drop_last:
            if len(self.input_ids) < block_size:
                raise InputError(
                    f"block_size={block_size} is more than the {len(self.input_ids)} tokens of all documents, and "
                    f"drop_last=True leaves shorter blocks out: nothing is left. Pass a smaller block_size or "
                    f"drop_last=False."
                )
            self.input_ids = self.input_ids[: len(self.input_ids) // block_size * block_size]
        self.position_ids = (
            restarting_positions(self.starts, len(self.input_ids), block_size) if document_mask else None
        )

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        tokenizer: Any,
        block_size: int,
        *,
        document_mask: bool = False,
        drop_last: bool = False,
    ) -> PackedDataset:
        """From documents as texts: tokenized without special tokens, `eos_token` behind each."""
        end = token_id(tokenizer, "eos_token", "stands behind each document")
        documents = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return cls(documents, block_size, end, document_mask=document_mask, drop_last=drop_last)

    def __len__(self) -> int:
        return -(-len(self.input_ids) // self.block_size)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} blocks.")
        start = index % len(self) * self.block_size
        block = slice(start, start + self.block_size)
        input_ids = self.input_ids[block]
        labels = input_ids.clone()
        if self.position_ids is None:
            return {"input_ids": input_ids, "labels": labels}
        position_ids = self.position_ids[block]
        labels[position_ids == 0] = IGNORED
        return {"input_ids": input_ids, "labels": labels, "position_ids": position_ids}
