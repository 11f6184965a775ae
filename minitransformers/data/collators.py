"""Collators: a list of examples becomes a batch of tensors, padded to one length.

Names, arguments and results are those of transformers. Collators that draw are in `language_modeling.py` and
`spans.py`. An example is a dictionary of lists, arrays or tensors, such as tokenizers return. Any tokenizer with `pad`,
`padding_side` and the ids of special tokens will do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minitransformers.data.checks import as_ids, input_ids_of
from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED

DataCollator = Callable[[list[Any]], dict[str, Any]]
"""A function from a list of examples to a batch: the `collate_fn` of a DataLoader."""


class DataCollatorMixin(ABC):
    """The base of collators: a subclass makes a batch of torch tensors in `torch_call`."""

    return_tensors: str

    def __call__(self, features: Any, return_tensors: str | None = None) -> Any:
        """The batch of a list of examples. `return_tensors` is "pt" or "np"; by default `self.return_tensors`."""
        kind = self.return_tensors if return_tensors is None else return_tensors
        check_call(features, kind)
        return self.torch_call(features) if kind == "pt" else self.numpy_call(features)

    @abstractmethod
    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors."""

    def numpy_call(self, features: Any) -> Any:
        """The same batch as numpy arrays."""
        return as_numpy(self.torch_call(features))


def check_call(features: Any, return_tensors: Any) -> None:
    """Raise InputError for `features` that are no list of examples, and for unknown `return_tensors`."""
    if return_tensors not in ("pt", "np"):
        raise InputError(f"return_tensors={return_tensors!r} must be 'pt' (torch tensors) or 'np' (numpy arrays).")
    if isinstance(features, (Mapping, str)) or not hasattr(features, "__getitem__"):
        raise InputError(
            f"features must be a list of examples, got {type(features).__name__}: collators take single examples, not "
            f"batches."
        )
    if len(features) == 0:
        raise InputError("features is empty: a batch needs at least one example.")


def as_numpy(batch: Any) -> Any:
    """`batch`, a dictionary, with numpy arrays in place of torch tensors, in place."""
    for name, value in batch.items():
        batch[name] = value.numpy() if isinstance(value, Tensor) else value
    return batch


# ---- without padding -------------------------------------------------------------------------------------------------


def default_data_collator(features: Any, return_tensors: str = "pt") -> dict[str, Any]:
    """Stack examples of equal lengths: each field becomes a tensor, `label` or `label_ids` become `labels`.

    Fields that are None or strings in the first example are left out. Whole-number labels become int64, others float32.

    Args:
        features: dictionaries, or objects whose attributes are the fields. The batch has the fields of the first one.
        return_tensors: "pt" or "np".

    Raises:
        InputError: no examples, a field that is missing in some of them, or rows of different lengths.
    """
    kind = return_tensors
    check_call(features, kind)
    rows = [feature if isinstance(feature, Mapping) else vars(feature) for feature in features]
    first, batch = rows[0], {}
    for source in ("label", "label_ids"):
        if first.get(source) is not None:
            batch["labels"] = _stack(source, _column(rows, source), kind, labels=True)
            break
    for name, value in first.items():
        if name not in ("label", "label_ids") and value is not None and not isinstance(value, str):
            batch[name] = _stack(name, _column(rows, name), kind)
    return batch


@dataclass
class DefaultDataCollator(DataCollatorMixin):
    """`default_data_collator` as an object with `return_tensors`."""

    return_tensors: str = "pt"

    def torch_call(self, features: Any) -> dict[str, Any]:
        """The batch as torch tensors."""
        return default_data_collator(features, "pt")

    def numpy_call(self, features: Any) -> dict[str, Any]:
        """The batch as numpy arrays."""
        return default_data_collator(features, "np")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """The values of one field, one for each example."""
    missing = [index for index, row in enumerate(rows) if row.get(name) is None]
    if missing:
        raise InputError(
            f"{name!r} is missing in features {missing[:5]}, but others of the {len(rows)} examples have it: add it to "
            f"all or remove it from all."
        )
    return [row[name] for row in rows]


def _stack(name: str, values: list[Any], kind: str, *, labels: bool = False) -> Any:
    """One field of all examples as one tensor."""
    array = isinstance(values[0], (Tensor, np.ndarray))
    # Rows of labels that are tensors of this kind keep their dtype; all others become int64 or float32.
    kept = isinstance(values[0], Tensor if kind == "pt" else np.ndarray) and values[0].ndim > 0
    cast = labels and not kept
    try:
        if kind == "np":
            stacked = np.stack([np.asarray(value) for value in values])
            return stacked.astype(np.float32 if stacked.dtype.kind == "f" else np.int64) if cast else stacked
        if isinstance(values[0], Tensor):
            tensor = torch.stack(values)
        else:
            tensor = torch.from_numpy(np.stack(values)) if array else torch.tensor(values)
        return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64) if cast else tensor
    except (ValueError, TypeError, RuntimeError) as error:
        shapes = sorted({str(np.shape(value)) for value in values if not isinstance(value, (list, tuple))})
        lengths = sorted({len(value) for value in values if isinstance(value, (list, tuple))})
        raise InputError(
            f"{name!r} of these examples cannot be stacked (shapes or lengths {lengths or shapes}): "
            f"{error}. Pad them when tokenizing (padding='max_length'), or use DataCollatorWithPadding."
        ) from error


# ---- with padding ----------------------------------------------------------------------------------------------------


@dataclass
class DataCollatorWithPadding:
    """Pads the fields that the tokenizer pads; `label` or `label_ids`, one number for each example, become `labels`.

    Args:
        tokenizer: pads by its method `pad`.
        padding: True or "longest" (of the batch), "max_length", False or "do_not_pad".
        max_length: the length for "max_length"; by default the tokenizer's `model_max_length`.
        pad_to_multiple_of: rounds the padded length up to a multiple of this number (8 suits tensor cores).
        return_tensors: "pt" or "np".

    Raises:
        InputError: a call without examples, or with fields that cannot become one tensor.
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Any) -> Any:
        """The batch."""
        # A dictionary of lists is accepted too: `collator(dataset[:8])`.
        check_call([features] if isinstance(features, Mapping) else features, self.return_tensors)
        batch = _pad(self, features, self.return_tensors)
        for name in ("label", "label_ids"):
            if name in batch:
                batch["labels"] = batch.pop(name)
        return batch


@dataclass
class DataCollatorForTokenClassification(DataCollatorMixin):
    """Pads examples and their labels, one for each token (`labels`, or `label`, which keeps its name).

    Args:
        tokenizer, padding, max_length, pad_to_multiple_of: as for `DataCollatorWithPadding`.
        label_pad_token_id: the label of padding; losses ignore -100.
        return_tensors: "pt" or "np".

    Raises:
        InputError: a call with examples of which only some have labels, or with more labels than tokens.
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pt"

    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors."""
        name, labels, others = take_labels(features)
        batch = _pad(self, others, "pt")
        if labels is not None:
            length = batch["input_ids"].shape[1]
            batch[name] = pad_labels(labels, length, self.label_pad_token_id, self.tokenizer.padding_side)
        return batch


@dataclass
class DataCollatorForSeq2Seq(DataCollatorMixin):
    """Pads examples, and separately the labels (`labels` or `label`), which have another length.

    Args:
        tokenizer: pads by its method `pad`.
        model: if it has `prepare_decoder_input_ids_from_labels`, the batch gets `decoder_input_ids` from it.
        padding, max_length, pad_to_multiple_of: as for `DataCollatorWithPadding`, also for labels.
        label_pad_token_id: the label of padding; losses ignore -100.
        return_tensors: "pt" or "np".

    Raises:
        InputError: a call with examples of which only some have labels, or with labels longer than `max_length`.
    """

    tokenizer: Any
    model: Any = None
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pt"

    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors; `labels` is None if no example has labels."""
        name, labels, others = take_labels(features)
        batch = _pad(self, others, "pt")
        batch["labels"] = None
        if labels is None:
            return batch
        length = self._label_length(name, labels)
        batch["labels"] = pad_labels(labels, length, self.label_pad_token_id, self.tokenizer.padding_side)
        if hasattr(self.model, "prepare_decoder_input_ids_from_labels"):
            batch["decoder_input_ids"] = self.model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])
        return batch

    def _label_length(self, name: str, labels: Sequence[Any]) -> int:
        """The length to which labels are padded."""
        lengths = {len(row) for row in labels}
        if self.padding is False or self.padding == "do_not_pad":
            if len(lengths) > 1:
                raise InputError(
                    f"{name!r} of different lengths ({sorted(lengths)}) cannot become one tensor with "
                    f"padding={self.padding!r}: pass padding=True."
                )
            return max(lengths)
        length = max(lengths)
        if self.padding == "max_length" and self.max_length is not None:
            length = self.max_length
        return length if self.pad_to_multiple_of is None else length + -length % self.pad_to_multiple_of


@dataclass
class DataCollatorForMultipleChoice(DataCollatorMixin):
    """Pads all choices of all examples to one length: fields become (batch, choices, length).

    Each field of an example is a list with one entry for each choice; `labels` (or `label`) is the index of the right
    choice.

    Args:
        tokenizer, padding, max_length, pad_to_multiple_of: as for `DataCollatorWithPadding`.
        return_tensors: "pt" or "np".

    Raises:
        InputError: a call with examples of which only some have labels, or with different numbers of choices.
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def torch_call(self, features: Any) -> dict[str, Any]:
        """The batch as torch tensors."""
        _, labels, others = take_labels(features)
        choices = len(others[0]["input_ids"])
        for index, example in enumerate(others):
            numbers = {name: len(value) for name, value in example.items()}
            if set(numbers.values()) != {choices}:
                raise InputError(
                    f"features[{index}] has {numbers} entries, but the first example has {choices} choices: every "
                    f"field of every example needs one entry for each choice."
                )
        flat = [{name: value[i] for name, value in one.items()} for one in others for i in range(choices)]
        batch = {name: value.view(len(features), choices, -1) for name, value in _pad(self, flat, "pt").items()}
        if labels is not None:
            batch["labels"] = torch.tensor([int(label) for label in labels])
        return batch


@dataclass
class DataCollatorWithFlattening(DataCollatorMixin):
    """Joins all examples in a single row, without padding.

    `position_ids` restart at each example. Decoders take from this where examples begin, and let no token attend to
    another example. As in transformers, they do so only without a cache: pass use_cache=False to the model. Labels are
    the ids (or the examples' `labels`), with `separator_id` at the first token of each example, which the example
    before it cannot predict.

    Args:
        return_tensors: "pt" or "np".
        return_position_ids: whether to return `position_ids`.
        separator_id: the label of each example's first token.
        return_flash_attn_kwargs: whether to return FlashAttention's `cu_seq_lens_q`, `cu_seq_lens_k` (the starts and
            the end of the examples, int32), `max_length_q` and `max_length_k` (ints).
        return_seq_idx: whether to return `seq_idx`, the index of each token's example (int32).
        position_ids_start: the position of each example's first token (RoBERTa's is padding_idx + 1).

    Raises:
        InputError: a call with an empty example, with examples of which only some have labels, or with labels of
            another length.
    """

    return_tensors: str = "pt"
    return_position_ids: bool = True
    separator_id: int = IGNORED
    return_flash_attn_kwargs: bool = False
    return_seq_idx: bool = False
    position_ids_start: int = 0

    def __call__(self, features: Any, return_tensors: str | None = None, separator_id: int | None = None) -> Any:
        """The row. Each argument is by default the attribute of the same name."""
        kind = self.return_tensors if return_tensors is None else return_tensors
        check_call(features, kind)
        batch = self._flatten(features, self.separator_id if separator_id is None else separator_id)
        return as_numpy(batch) if kind == "np" else batch

    def torch_call(self, features: Any) -> dict[str, Any]:
        """The row as torch tensors."""
        return self._flatten(features, self.separator_id)

    def _flatten(self, features: Any, separator_id: int) -> dict[str, Any]:
        rows = [input_ids_of(feature, index) for index, feature in enumerate(features)]
        given = take_labels(features)[1] if "labels" in features[0] else None
        targets = [as_ids(f"labels of features[{i}]", label) for i, label in enumerate(given or rows)]
        for index, (row, target) in enumerate(zip(rows, targets, strict=True)):
            if len(row) == 0 or len(row) != len(target):
                raise InputError(
                    f"features[{index}] has {len(row)} input_ids and {len(target)} labels: it needs as many labels as "
                    f"input_ids, and at least one."
                )
        lengths = torch.tensor([len(row) for row in rows])
        ends = lengths.cumsum(0)
        labels = torch.cat(targets)
        labels[ends - lengths] = separator_id
        batch: dict[str, Any] = {"input_ids": torch.cat(rows)[None], "labels": labels[None]}
        if self.return_position_ids:
            restarts = (ends - lengths).repeat_interleave(lengths)
            batch["position_ids"] = (torch.arange(len(labels)) - restarts + self.position_ids_start)[None]
        if self.return_seq_idx:
            batch["seq_idx"] = torch.arange(len(rows), dtype=torch.int32).repeat_interleave(lengths)[None]
        if self.return_flash_attn_kwargs:
            borders = torch.cat([torch.zeros(1, dtype=torch.long), ends]).to(torch.int32)
            batch |= {"cu_seq_lens_q": borders, "cu_seq_lens_k": borders}
            batch |= {"max_length_q": int(lengths.max()), "max_length_k": int(lengths.max())}
        return batch


# ---- shared by collators ---------------------------------------------------------------------------------------------


def _pad(collator: Any, features: Any, return_tensors: str) -> Any:
    """Pad by the collator's tokenizer and arguments."""
    return collator.tokenizer.pad(
        features,
        padding=collator.padding,
        max_length=collator.max_length,
        pad_to_multiple_of=collator.pad_to_multiple_of,
        return_tensors=return_tensors,
    )


def take_labels(features: Any) -> tuple[str, list[Any] | None, list[dict[str, Any]]]:
    """The name of the labels ("label" if the first example has it, otherwise "labels"), the labels, and other fields.

    The labels are None if no example has any.

    Raises:
        InputError: only some examples have labels.
    """
    name = "label" if "label" in features[0] else "labels"
    others = [{key: value for key, value in feature.items() if key != name} for feature in features]
    if all(feature.get(name) is None for feature in features):
        return name, None, others
    return name, _column(features, name), others


def pad_labels(labels: Sequence[Any], length: int, filler: int, side: str) -> Tensor:
    """Rows of labels as one int64 tensor (batch, length), padded with `filler` on one side, "left" or "right".

    Raises:
        InputError: a row that is longer than `length`.
    """
    padded = torch.full((len(labels), length), filler)
    for index, row in enumerate(labels):
        values = as_ids(f"labels of features[{index}]", row)
        if len(values) > length:
            raise InputError(
                f"labels of features[{index}] has {len(values)} entries, but the batch has room for {length}: truncate "
                f"them (max_length applies to labels too)."
            )
        if len(values):
            padded[index, slice(len(values)) if side == "right" else slice(-len(values), None)] = values
    return padded
