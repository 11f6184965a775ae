"""Prefix language modelling: the model reads the first part of a text in both directions and predicts the rest.

Any causal model learns it (Raffel et al., 2020, §3.2.1 and §3.2.3; Liu et al., 2018): only the mask differs, and the
loss counts the rest alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from minitransformers.data.checks import input_ids_of
from minitransformers.data.collators import DataCollatorMixin
from minitransformers.data.seeded import Seeded, check_seed
from minitransformers.errors import InputError
from minitransformers.nn.losses import IGNORED
from minitransformers.nn.masks import padding_mask, prefix_mask


@dataclass
class DataCollatorForPrefixLM(DataCollatorMixin, Seeded):
    """Cuts each text into a prefix and the rest at a random place, pads, and makes mask and labels.

    The batch has `input_ids`; `attention_mask`, bool, (batch, 1, query, key): the tokens of the prefix see all of it,
    those of the rest see what came before them; and `labels`: -100 at the prefix and at padding, elsewhere the ids
    (models shift them, so the last token of the prefix predicts the first of the rest). Train with use_cache=False.

    Args:
        tokenizer: its `pad` is used.
        pad_to_multiple_of: pad on to a multiple of this number.
        return_tensors: "pt" or "np".
        seed: an int, a torch.Generator, or None for PyTorch's own generator. See `Seeded` for DataLoader workers.

    Examples are ids, or dictionaries with `input_ids`. One with a `prefix_length` is cut there, such as between
    question and answer; else each length from 1 to all but one token is equally likely.

    Raises:
        InputError: when called, a text of fewer than two tokens, or a prefix_length that leaves nothing to predict.
    """

    tokenizer: Any
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"
    seed: Any = None

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)

    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors."""
        rows, lengths = [], []
        for index, feature in enumerate(features):
            ids = input_ids_of(feature, index)
            if isinstance(feature, Mapping) and feature.get("attention_mask") is not None:
                ids = ids[torch.as_tensor(feature["attention_mask"]).bool()]
            rows.append({"input_ids": ids.tolist(), "attention_mask": [1] * len(ids)})
            lengths.append(self._prefix_length(feature, index, len(ids)))
        batch = self.tokenizer.pad(rows, return_tensors="pt", pad_to_multiple_of=self.pad_to_multiple_of)
        is_real = batch["attention_mask"].bool()
        is_prefix = is_real & (is_real.cumsum(dim=1) <= torch.tensor(lengths)[:, None])  # padding may be on the left
        batch["attention_mask"] = prefix_mask(is_prefix) & padding_mask(is_real)
        batch["labels"] = batch["input_ids"].masked_fill(is_prefix | ~is_real, IGNORED)
        return batch

    def _prefix_length(self, feature: Any, index: int, tokens: int) -> int:
        if tokens < 2:
            raise InputError(
                f"features[{index}] has {tokens} tokens; a prefix LM needs at least 2: one to read, one to predict."
            )
        given = feature.get("prefix_length") if isinstance(feature, Mapping) else None
        if given is None:
            return int(torch.randint(1, tokens, (), generator=self.generator))
        if isinstance(given, bool) or int(given) != given or not 0 < given < tokens:
            raise InputError(
                f"features[{index}] has prefix_length={given!r}; it must be from 1 to {tokens - 1}, so that of "
                f"{tokens} tokens some are read and some are predicted."
            )
        return int(given)
