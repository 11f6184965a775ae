"""Checks of arguments that several files of this folder share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from minitransformers.errors import InputError, nearest


def check_features(features: Any) -> None:
    """Refuse what is not a list of examples, and an empty one."""
    if isinstance(features, (Mapping, str)) or not hasattr(features, "__getitem__"):
        raise InputError(
            f"features must be a list of examples, got {type(features).__name__}: collators take single examples, not "
            f"what is a batch already."
        )
    if len(features) == 0:
        raise InputError("features is empty: a batch needs at least one example.")


def input_ids_of(feature: Any, index: int) -> Int[Tensor, " length"]:
    """The ids of an example, which is a dictionary that has them, or nothing but them.

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
        InputError: anything that is not one sequence of whole numbers.
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
    """The id of the special token `name` ("mask_token"), or InputError saying what it is needed for."""
    index = getattr(tokenizer, f"{name}_id", None)
    if index is None:
        raise InputError(
            f"tokenizer ({type(tokenizer).__name__}) has no {name}, which {purpose}. Give it one: "
            f"tokenizer.add_special_tokens({{{name!r}: …}}), and resize the model's embeddings."
        )
    return int(index)


def special_token_ids(tokenizer: Any) -> Int[Tensor, " special"]:
    """The ids of all special tokens of a tokenizer, sorted."""
    return torch.tensor(sorted({index for index in tokenizer.all_special_ids if index is not None}), dtype=torch.long)
