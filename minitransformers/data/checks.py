"""Ids of examples and special tokens: checks that several files of this folder share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from minitransformers.errors import InputError, nearest


def input_ids_of(feature: Any, index: int) -> Int[Tensor, " length"]:
    """The ids of an example, a dictionary with `input_ids` or the ids alone.

    Raises:
        InputError: a dictionary without `input_ids`, or ids that are not one sequence of whole numbers.
    """
    if not isinstance(feature, Mapping):
        return as_ids(f"features[{index}]", feature)
    if "input_ids" not in feature:
        raise InputError(f"features[{index}] has no 'input_ids', only {list(feature)}.{nearest('input_ids', feature)}")
    return as_ids(f"input_ids of features[{index}]", feature["input_ids"])


def as_ids(name: str, ids: Any) -> Int[Tensor, " length"]:
    """One sequence of ids (a list, an array, a tensor) as a tensor.

    Raises:
        InputError: a value of another form.
    """
    try:
        row = torch.as_tensor(ids)
    except (ValueError, TypeError, RuntimeError):
        row = torch.empty(0, 0)
    if row.ndim == 1 and row.numel() == 0:
        return row.long()
    if row.ndim != 1 or row.is_floating_point() or row.is_complex() or row.dtype == torch.bool:
        raise InputError(f"{name} must be one sequence of ids, whole numbers in a list, array or tensor.")
    return row.long()


def token_id(tokenizer: Any, name: str, purpose: str) -> int:
    """The id of the special token `name` ("mask_token"), or an InputError with the purpose of the token."""
    index = getattr(tokenizer, f"{name}_id", None)
    if index is None:
        raise missing_token(tokenizer, name, purpose)
    return int(index)


def missing_token(tokenizer: Any, name: str, purpose: str) -> InputError:
    """The error for a tokenizer without the special token `name`; `purpose` completes "a mask_token, which …"."""
    return InputError(
        f"tokenizer ({type(tokenizer).__name__}) has no {name}, which {purpose}. Add one: "
        f"tokenizer.add_special_tokens({{{name!r}: …}}), and resize the model's embeddings."
    )
