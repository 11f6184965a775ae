"""Pieces of input to padded batches, and a batch's outputs back to single ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.outputs import ModelOutput

T = TypeVar("T")
Piece = Mapping[str, Any]


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def with_last(items: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Each item, and whether it is the last."""
    iterator = iter(items)
    for item in islice(iterator, 1):
        current = item
        for following in iterator:
            yield current, False
            current = following
        yield current, True


def collate(pieces: Sequence[Piece], pad_token_id: int | None, padding_side: str) -> dict[str, Any]:
    """Join tensors (1, length, …) to one (pieces, longest, …), and other values to lists.

    Ids are padded with `pad_token_id`, `special_tokens_mask` with 1, and everything else with 0.

    Raises:
        InputError: pieces with different fields, or of different lengths without a padding token.
    """
    names = pieces[0].keys()
    for piece in pieces:
        if piece.keys() != names:
            raise InputError(f"Pieces with different fields, {list(names)} and {list(piece)}, cannot be one batch.")
    fillers = {"input_ids": pad_token_id, "special_tokens_mask": 1, "p_mask": 1}
    batch: dict[str, Any] = {}
    for name in names:
        values = [piece[name] for piece in pieces]
        is_tensor = isinstance(values[0], Tensor)
        batch[name] = _pad(values, fillers.get(name, 0), padding_side) if is_tensor else values
    return batch


def _pad(rows: Sequence[Tensor], filler: int | None, padding_side: str) -> Tensor:
    longest = max(row.shape[1] if row.ndim > 1 else 0 for row in rows)
    if all(row.shape[1:] == rows[0].shape[1:] for row in rows):
        return torch.cat(list(rows))
    if filler is None:
        raise InputError(
            "A batch of texts of different lengths needs a padding token: set tokenizer.pad_token = "
            "tokenizer.eos_token (and model.config.pad_token_id for a classifier), or pass batch_size=1."
        )
    padded = rows[0].new_full((len(rows), longest, *rows[0].shape[2:]), filler)
    for number, row in enumerate(rows):
        length = row.shape[1]
        place = slice(longest - length, None) if padding_side == "left" else slice(length)
        padded[number, place] = row[0]
    return padded


def split(outputs: Any, size: int) -> list[Any]:
    """The outputs of each of the `size` pieces of a batch, with a batch axis of length 1. Caches are left out."""
    if isinstance(outputs, Tensor):
        return [outputs[number : number + 1] for number in range(size)]
    fields = {name: value for name, value in outputs.items() if name != "past_key_values"}
    rows = [{name: _row(value, number) for name, value in fields.items()} for number in range(size)]
    is_output = isinstance(outputs, ModelOutput)
    return [type(outputs)(**row) for row in rows] if is_output else rows


def _row(value: Any, number: int) -> Any:
    if isinstance(value, Tensor):
        return value[number : number + 1]
    if isinstance(value, tuple):  # hidden states or attentions: a tensor for each layer
        return tuple(_row(each, number) for each in value)
    return None if value is None else value[number]


def to_device(value: Any, device: torch.device | str) -> Any:
    """`value` with all tensors in it, in dictionaries, lists and tuples, on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, ModelOutput):
        return type(value)(**{name: to_device(each, device) for name, each in value.items()})
    if isinstance(value, Mapping):
        return {name: to_device(each, device) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_device(each, device) for each in value)
    return value
