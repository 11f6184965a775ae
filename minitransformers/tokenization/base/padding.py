"""Padding what was encoded before: examples in any form, as rows of lists, filled up to one length.

`Codec.pad` calls these one after the other. (A call of a tokenizer leaves padding to the Rust library.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as brief
from typing import Any

import numpy as np
import torch

from minitransformers.errors import InputError, nearest
from minitransformers.tokenization.base.lengths import Lengths, PaddingStrategy

Rows = list[list[Any]]


@dataclass
class Table:
    """Encoded sequences, one in each row of each field.

    Attributes:
        rows: by field.
        batched: whether they came as a batch; else it is one sequence, and each field has one row.
    """

    rows: dict[str, Rows]
    batched: bool


def fields_of(encoded: Any) -> dict[str, Any]:
    """What was encoded, as one dictionary: of a list of dictionaries, each field as a list.

    Raises:
        InputError: something else, or examples with different fields.
    """
    if isinstance(encoded, Mapping):
        return dict(encoded)
    if not isinstance(encoded, (list, tuple)) or not encoded or not all(isinstance(row, Mapping) for row in encoded):
        raise InputError(
            f"encoded_inputs must be a dictionary or a list of dictionaries with input_ids, got {brief(encoded)}."
        )
    for row in encoded:
        if row.keys() != encoded[0].keys():
            raise InputError(f"All examples must have the same fields; got {list(encoded[0])} and {list(row)}.")
    return {name: [row[name] for row in encoded] for name in encoded[0]}


def rows_of(fields: Mapping[str, Any], main: str) -> Table | None:
    """Fields of one sequence or of a batch as rows; None where there are no ids at all.

    Args:
        main: the field that has the ids.

    Raises:
        InputError: no ids, or a field with another number of rows than they have.
    """
    if main not in fields:
        raise InputError(f"pad needs {main!r}, got only {list(fields)}.{nearest(main, fields)}")
    ids = _to_lists(fields[main])
    if not isinstance(ids, list):
        raise InputError(f"{main!r} must be a list of ids, or of lists of ids; got {brief(ids)}.")
    if not ids:
        return None
    batched = isinstance(ids[0], list)
    table = {name: _to_lists(value) if batched else [_to_lists(value)] for name, value in fields.items()}
    for name, rows in table.items():
        if not isinstance(rows, list) or len(rows) != len(table[main]):
            raise InputError(f"{name!r} must have {len(ids)} rows, as {main!r} has; got {brief(rows)}.")
    return Table(table, batched)


def tensor_kind(value: Any) -> str | None:
    """The tensors that a field came in: "pt", "np", or None for lists."""
    while isinstance(value, (list, tuple)):
        if not value:
            return None
        value = next((row for row in value if not isinstance(row, (list, tuple)) or row), None)
    return "pt" if isinstance(value, torch.Tensor) else "np" if isinstance(value, np.ndarray) else None


def padded_length(lengths: Lengths, ids: Rows) -> int:
    """The length to pad to; 0, which pads nothing, where nothing is to be padded."""
    if not lengths.pads:
        return 0
    length = max(map(len, ids))
    if lengths.padding == PaddingStrategy.MAX_LENGTH:
        assert lengths.max_length is not None
        length = lengths.max_length
    multiple = lengths.pad_to_multiple_of or 1
    return -(-length // multiple) * multiple


def pad_rows(table: Mapping[str, Rows], length: int, fillers: Mapping[str, Any], side: str) -> dict[str, Rows]:
    """`table` with each row of the fields in `fillers` filled up to `length`, and all other fields as they are."""

    def pad(row: list[Any], filler: Any) -> list[Any]:
        filling = [filler] * (length - len(row))
        return row + filling if side == "right" else filling + row

    return {
        name: [pad(row, fillers[name]) for row in rows] if name in fillers else rows for name, rows in table.items()
    }


_NUMBERS = frozenset({int, float, bool})


def _to_lists(value: Any) -> Any:
    """Arrays, tensors and tuples, however deep, as lists."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if not isinstance(value, (list, tuple)):
        return value
    # A row of ids is looked at as a whole: one after the other they would take longer than all the rest of padding.
    return list(value) if _NUMBERS.issuperset(map(type, value)) else [_to_lists(row) for row in value]
