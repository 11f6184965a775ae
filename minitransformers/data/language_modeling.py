"""The collator of language modelling, masked and causal, and data sets that are masked once and for all.

Dynamic masking (Liu et al., 2019, §4.1) is the collator's: it masks a text anew each time that it comes. Static masking
is `MaskedDataset`'s: the same mask each time.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from minitransformers.configs.checks import check_count, check_probability
from minitransformers.data.checks import input_ids_of, special_token_ids, token_id
from minitransformers.data.collators import DataCollatorMixin
from minitransformers.data.masking import MaskedTokens, mask_tokens, maskable_tokens, words_from_offsets
from minitransformers.data.seeded import Seeded, check_seed, generator_from
from minitransformers.errors import InputError, warn
from minitransformers.nn.losses import IGNORED


@dataclass
class DataCollatorForLanguageModeling(DataCollatorMixin, Seeded):
    """Pads, and makes the labels of masked (`mlm=True`) or causal language modelling.

    Masked: 15 % of the tokens are selected; labels are -100 everywhere else. Special tokens and padding are never
    selected and never drawn as replacements. Causal: labels are the ids (models shift them), -100 at padding, as the
    attention mask has it. So where the padding token is also the end of text, real ends stay to be learnt; transformers
    takes all of them for padding. Without attention masks, padding is what the collator fills up, and the padding
    tokens that examples hold themselves, unless the padding token is the end of text.

    Args:
        tokenizer: with a mask token, if `mlm`.
        mlm: masked language modelling; False is causal.
        whole_word_mask: select words, not tokens. Examples need `offset_mapping` (tokenize with
            return_offsets_mapping=True). As in transformers, all selected tokens then become the mask token.
        mlm_probability: of each token (or word) to be selected.
        mask_replace_prob: of a selected token to become the mask token.
        random_replace_prob: of a selected token to become a random one; what is left of 1 stays as it is.
        pad_to_multiple_of: pad on to a multiple of this number.
        return_tensors: "pt" or "np": the same numbers.
        seed: an int, a torch.Generator, or None for PyTorch's own generator. See `Seeded` for DataLoader workers.
        at_least_one: select a token (or word) also in texts where chance selects none. (Not in transformers.)

    Examples are dictionaries or mere sequences of ids; mere sequences give `input_ids` and `labels` only.

    Raises:
        InputError: no mask token, a probability that is none, or two that add up to more than 1; when called, no
            examples, or no `offset_mapping` for whole words.
    """

    tokenizer: Any
    mlm: bool = True
    whole_word_mask: bool = False
    mlm_probability: float | int | None = 0.15
    mask_replace_prob: float | int = 0.8
    random_replace_prob: float | int = 0.1
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"
    seed: Any = None
    at_least_one: bool = False

    def __post_init__(self) -> None:
        self.mask_replace_prob = check_probability("mask_replace_prob", self.mask_replace_prob)
        self.random_replace_prob = check_probability("random_replace_prob", self.random_replace_prob)
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise InputError(
                f"mask_replace_prob={self.mask_replace_prob} and random_replace_prob={self.random_replace_prob} add up "
                f"to more than 1: they share what is selected."
            )
        check_seed("seed", self.seed)
        if self.mlm:
            token_id(self.tokenizer, "mask_token", "masked language modelling needs (mlm=False does without)")
            self.mlm_probability = check_probability("mlm_probability", self.mlm_probability)
        elif self.whole_word_mask:
            raise InputError("whole_word_mask=True needs mlm=True: causal language modelling masks nothing.")
        if self.whole_word_mask and self.mask_replace_prob < 1:
            warn(
                "whole_word_mask=True replaces all selected tokens by the mask token: mask_replace_prob becomes 1 and "
                "random_replace_prob 0. Pass these values to be spared this warning."
            )
            self.mask_replace_prob, self.random_replace_prob = 1.0, 0.0

    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors."""
        if isinstance(features[0], Mapping):
            kept = [{k: v for k, v in one.items() if k not in ("labels", "offset_mapping")} for one in features]
            batch = self.tokenizer.pad(kept, return_tensors="pt", pad_to_multiple_of=self.pad_to_multiple_of)
            had_mask = "attention_mask" in features[0]
            lengths = [len(feature["input_ids"]) for feature in features]
            offsets = self._pad_offsets(features, batch["input_ids"].shape[1]) if self.whole_word_mask else None
        else:
            rows = [input_ids_of(feature, index) for index, feature in enumerate(features)]
            had_mask, offsets = False, None
            lengths = [len(row) for row in rows]
            batch = {"input_ids": self._pad_rows(rows)}
        input_ids = batch["input_ids"]
        real = batch["attention_mask"].bool() if had_mask else self._real_tokens(input_ids, lengths)
        special = batch.pop("special_tokens_mask", None)
        if self.mlm:
            not_to_select = ~real if special is None else ~real | special.bool()
            masked = self.torch_mask_tokens(input_ids, not_to_select, offsets)
            batch["input_ids"], batch["labels"] = masked
        else:
            batch["labels"] = input_ids.masked_fill(~real, IGNORED)
        return batch

    def torch_mask_tokens(
        self, inputs: Tensor, special_tokens_mask: Any = None, offset_mapping: Any = None
    ) -> tuple[Tensor, Tensor]:
        """What the model sees of `inputs` (batch, length), and the labels.

        Args:
            inputs: ids. They are left as they are.
            special_tokens_mask: 1 where nothing may be selected, besides the special tokens.
            offset_mapping: (batch, length, 2), for whole words.

        Raises:
            InputError: no `offset_mapping`, and whole words asked for.
        """
        special_ids = special_token_ids(self.tokenizer)
        mask = None if special_tokens_mask is None else torch.as_tensor(special_tokens_mask)
        maskable = maskable_tokens(inputs, special_ids, special_tokens_mask=mask)
        word_ids = None
        if self.whole_word_mask:
            if offset_mapping is None:
                raise InputError(
                    "whole_word_mask=True needs to know where words start, but the examples have no 'offset_mapping': "
                    "tokenize with return_offsets_mapping=True."
                )
            word_ids = words_from_offsets(torch.as_tensor(offset_mapping), maskable)
        masked: MaskedTokens = mask_tokens(
            inputs,
            maskable,
            mask_token_id=self.tokenizer.mask_token_id,
            vocab_size=len(self.tokenizer),
            special_ids=special_ids,
            mlm_probability=float(self.mlm_probability or 0.0),
            mask_replace_prob=float(self.mask_replace_prob),
            random_replace_prob=float(self.random_replace_prob),
            word_ids=word_ids,
            at_least_one=self.at_least_one,
            generator=self.generator,
        )
        return masked.input_ids, masked.labels

    def _pad_rows(self, rows: list[Tensor]) -> Tensor:
        length = max(len(row) for row in rows)
        if self.pad_to_multiple_of is not None:
            length += -length % self.pad_to_multiple_of
        if all(len(row) == length for row in rows):
            return torch.stack(rows)
        filler = token_id(self.tokenizer, "pad_token", "texts of different lengths need")
        padded = torch.full((len(rows), length), filler)
        padded[self._filled([len(row) for row in rows], length)] = torch.cat(rows)
        return padded

    def _real_tokens(self, input_ids: Tensor, lengths: list[int]) -> Tensor:
        """True where a row is not filled up; nor already was, if the padding token is nothing but padding."""
        real = self._filled(lengths, input_ids.shape[1])
        pad = self.tokenizer.pad_token_id
        if pad is not None and pad != getattr(self.tokenizer, "eos_token_id", None):
            real = real & (input_ids != pad)
        return real

    def _filled(self, lengths: list[int], length: int) -> Tensor:
        """(batch, length), True where rows of these lengths lie in a padded batch."""
        sizes = torch.tensor(lengths)[:, None]
        positions = torch.arange(length)
        return positions < sizes if self.tokenizer.padding_side == "right" else positions >= length - sizes

    def _pad_offsets(self, features: Sequence[Mapping[str, Any]], length: int) -> Tensor | None:
        if any("offset_mapping" not in feature for feature in features):
            return None
        rows = [torch.as_tensor(feature["offset_mapping"]).long().reshape(-1, 2) for feature in features]
        padded = torch.zeros(len(rows), length, 2, dtype=torch.long)
        padded[self._filled([len(row) for row in rows], length)] = torch.cat(rows)
        return padded


class MaskedDataset(Dataset[dict[str, Any]]):
    """Texts that are masked beforehand: an example's mask depends on the seed and its index alone.

    So it is the same in every epoch, in any order, batch or number of workers, and a run that is resumed sees what it
    would have seen. Batch the examples with `DataCollatorForTokenClassification`, which pads their labels.

    Args:
        dataset: examples as the collator takes them, by index.
        collator: a `DataCollatorForLanguageModeling` with mlm=True, whose settings are used (not its seed).
        seed: of the masks.
        versions: how many masks each text has, taken in turn epoch by epoch: 1 is static masking, 10 what Liu et al.
            (2019, §4.1) compare dynamic masking with, None a new one in every epoch.

    `set_epoch` says which epoch it is; it starts as 0.

    Raises:
        InputError: a collator of causal language modelling, or a seed or number of versions that is none.
    """

    def __init__(
        self, dataset: Any, collator: DataCollatorForLanguageModeling, *, seed: int = 0, versions: int | None = 1
    ) -> None:
        if not collator.mlm:
            raise InputError("collator has mlm=False: causal language modelling has no masks to keep. Pass mlm=True.")
        self.dataset = dataset
        self.seed = check_count("seed", seed, least=0)
        self.versions = None if versions is None else check_count("versions", versions, least=1)
        self.epoch = 0
        self._collator = copy.copy(collator)
        self._collator.pad_to_multiple_of = None

    def set_epoch(self, epoch: int) -> None:
        """Turn to the masks of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} examples.")
        index %= len(self)
        version = self.epoch if self.versions is None else self.epoch % self.versions
        self._collator.generator = generator_from(self.seed, version, index)
        return {name: value[0] for name, value in self._collator([self.dataset[index]], "pt").items()}
