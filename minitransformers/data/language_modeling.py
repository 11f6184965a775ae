"""Masked and causal language modelling: the labels, and what the model sees (Devlin et al., 2018, §3.1).

`select_tokens` and `replace_tokens` are masking; the collator pads, masks and makes the labels. It masks a text
differently each time (dynamic masking; Liu et al., 2019, §4.1). A `MaskedDataset` gives a text the same mask each time
(static masking).

The functions draw in the order of transformers: after the same seed both collators select the same tokens and replace
them in the same way. Two things differ on purpose: a random replacement is never a special token, and the tokenizer's
special tokens are never selected, even if a `special_tokens_mask` allows it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from minitransformers.configs.checks import check_count, check_probability
from minitransformers.data.checks import input_ids_of, missing_token, token_id
from minitransformers.data.collators import DataCollatorMixin
from minitransformers.data.seeded import Seeded, check_seed, generator_from, spare_generator
from minitransformers.errors import InputError, warn
from minitransformers.nn.losses import IGNORED


def select_tokens(
    maskable: Bool[Tensor, "batch length"],
    probability: float,
    *,
    word_ids: Int[Tensor, "batch length"] | None = None,
    at_least_one: bool = False,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "batch length"]:
    """Select each maskable token, or each word, with the same probability.

    Args:
        maskable: True where a token may be selected.
        probability: of each token, or of each word.
        word_ids: the number of each token's word; neighbours with the same number are selected together. By default
            each token is a word.
        at_least_one: select one token or word in rows where chance selects none, if any is maskable.
        generator: draws a number for each position, and with `at_least_one` a second one.
    """
    starts = maskable if word_ids is None else _word_starts(maskable, word_ids)
    chances = torch.full(starts.shape, probability, device=starts.device).masked_fill(~starts, 0.0)
    selected = torch.bernoulli(chances, generator=generator).bool()
    if at_least_one and starts.shape[1] > 0:
        draws = torch.rand(starts.shape, generator=generator, device=starts.device).masked_fill(~starts, -1.0)
        best = torch.zeros_like(starts).scatter(1, draws.argmax(dim=1, keepdim=True), True) & starts
        selected |= best & ~selected.any(dim=1, keepdim=True)
    if word_ids is None:
        return selected
    # The word's other tokens share the selection of its first token. Word 0 is everything before the first word.
    word = starts.cumsum(dim=1)
    selected_words = torch.zeros(len(starts), starts.shape[1] + 1, dtype=torch.bool, device=starts.device)
    selected_words = selected_words.scatter(1, word * starts, selected & starts)
    selected_words[:, 0] = False
    return selected_words.gather(1, word) & maskable


def replace_tokens(
    input_ids: Int[Tensor, "batch length"],
    selected: Bool[Tensor, "batch length"],
    *,
    mask_token_id: int,
    vocab_size: int,
    special_ids: Int[Tensor, " special"],
    mask_replace_prob: float = 0.8,
    random_replace_prob: float = 0.1,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "batch length"]:
    """The input of the model: at the selected positions the mask token, a random token, or the token itself.

    Unchanged tokens teach the model to represent the tokens that it sees, not only to fill gaps.

    Args:
        input_ids: the batch. It is not changed.
        selected: the positions.
        mask_token_id: the mask token.
        vocab_size: random tokens have smaller ids.
        special_ids: no random token has one of these ids.
        mask_replace_prob: probability of the mask token.
        random_replace_prob: probability of a random token; the rest of 1 remains unchanged.
        generator: draws for every position of the batch, selected or not.

    Raises:
        InputError: a vocabulary of special tokens only.
    """
    device, shape = input_ids.device, input_ids.shape
    chances = torch.full(shape, mask_replace_prob, device=device)
    masked = selected & torch.bernoulli(chances, generator=generator).bool()
    replaced = input_ids.masked_fill(masked, mask_token_id)
    if mask_replace_prob == 1 or random_replace_prob == 0:
        return replaced
    chances = torch.full(shape, random_replace_prob / (1 - mask_replace_prob), device=device)
    random = torch.bernoulli(chances, generator=generator).bool() & selected & ~masked
    tokens = torch.randint(vocab_size, shape, generator=generator, device=device)
    if (special := random & torch.isin(tokens, special_ids)).any():
        tokens[special] = _ordinary_tokens(int(special.sum()), vocab_size, special_ids, generator)
    return torch.where(random, tokens, replaced)


def words_from_offsets(
    offsets: Int[Tensor, "batch length 2"], maskable: Bool[Tensor, "batch length"]
) -> Int[Tensor, "batch length"]:
    """Number the words. A token continues a word if it starts at the character where the token before it ends.

    Args:
        offsets: the first character of each token in the text, and the one after its last.
        maskable: tokens of words; a new word starts after any other token.

    Returns:
        The number of each token's word, from 0 in each row, and -1 outside words.
    """
    ends = offsets[:, :-1, 1]
    continues = torch.zeros_like(maskable)
    continues[:, 1:] = maskable[:, :-1] & (offsets[:, 1:, 0] == ends)
    return ((maskable & ~continues).cumsum(dim=-1) - 1).masked_fill(~maskable, -1)


def _word_starts(
    maskable: Bool[Tensor, "batch length"], word_ids: Int[Tensor, "batch length"]
) -> Bool[Tensor, "batch length"]:
    continues = torch.zeros_like(maskable)
    continues[:, 1:] = maskable[:, :-1] & (word_ids[:, 1:] == word_ids[:, :-1])
    return maskable & ~continues


def _ordinary_tokens(
    number: int, vocab_size: int, special_ids: Int[Tensor, " special"], generator: torch.Generator | None
) -> Int[Tensor, " number"]:
    """Random tokens that are not special. The next batch has the same draws as in transformers."""
    ordinary = torch.ones(vocab_size, dtype=torch.bool, device=special_ids.device)
    ordinary[special_ids[special_ids < vocab_size]] = False
    ordinary_ids = ordinary.nonzero()[:, 0]
    if len(ordinary_ids) == 0:
        raise InputError(
            f"All {vocab_size} tokens of the vocabulary are special: no random token can be drawn. Pass "
            f"random_replace_prob=0.0."
        )
    draws = torch.randint(len(ordinary_ids), (number,), generator=spare_generator(generator))
    return ordinary_ids[draws.to(ordinary_ids.device)]


@dataclass
class DataCollatorForLanguageModeling(DataCollatorMixin, Seeded):
    """Pads, and makes the labels of masked (`mlm=True`) or causal language modelling.

    Masked: 15 % of the tokens are selected; labels are -100 everywhere else. Special tokens and padding are never
    selected and never drawn as replacements. Causal: labels are the ids (models shift them), and -100 at padding, which
    the attention mask defines. So the model learns to end texts even if the padding token is the end of text;
    transformers treats each such token as padding. Without attention masks, padding is the tokens that the collator
    adds, and the padding tokens inside examples unless they are the end of text.

    Args:
        tokenizer: with a mask token, if `mlm`.
        mlm: masked language modelling; False is causal.
        whole_word_mask: select words, not tokens. Examples need `offset_mapping` (tokenize with
            return_offsets_mapping=True). As in transformers, all selected tokens then become the mask token.
        mlm_probability: the probability that a token (or word) is selected.
        mask_replace_prob: the probability that a selected token becomes the mask token.
        random_replace_prob: the probability that it becomes a random token; the rest of 1 remains unchanged.
        pad_to_multiple_of: rounds the padded length up to a multiple of this number.
        return_tensors: "pt" or "np": the same numbers.
        seed: an int, a torch.Generator, or None for PyTorch's own generator. See `Seeded` for DataLoader workers.
        at_least_one: select one token (or word) in texts where chance selects none. (Not in transformers.)

    Examples are dictionaries or sequences of ids; sequences give `input_ids` and `labels` only.

    Raises:
        InputError: no mask token, an invalid probability, or two that add up to more than 1; in a call, no examples, or
            no `offset_mapping` for whole words.
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
        for name in ("mask_replace_prob", "random_replace_prob", *(("mlm_probability",) if self.mlm else ())):
            value = getattr(self, name)
            if not (isinstance(value, float) and 0 <= value <= 1):
                setattr(self, name, check_probability(name, value))
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise InputError(
                f"mask_replace_prob={self.mask_replace_prob} and random_replace_prob={self.random_replace_prob} add up "
                f"to more than 1."
            )
        check_seed("seed", self.seed)
        if self.mlm and getattr(self.tokenizer, "mask_token_id", None) is None:
            raise missing_token(self.tokenizer, "mask_token", "masked language modelling needs (unlike mlm=False)")
        if self.whole_word_mask and not self.mlm:
            raise InputError("whole_word_mask=True needs mlm=True: causal language modelling masks nothing.")
        if self.whole_word_mask and self.mask_replace_prob < 1:
            warn(
                "whole_word_mask=True replaces all selected tokens by the mask token: mask_replace_prob becomes 1 and "
                "random_replace_prob 0. Pass these values to avoid this warning."
            )
            self.mask_replace_prob, self.random_replace_prob = 1.0, 0.0

    def torch_call(self, examples: Any) -> Any:
        """The batch as torch tensors."""
        if isinstance(examples[0], Mapping):
            kept = [{k: v for k, v in one.items() if k not in ("labels", "offset_mapping")} for one in examples]
            batch = self.tokenizer.pad(kept, return_tensors="pt", pad_to_multiple_of=self.pad_to_multiple_of)
            had_mask = "attention_mask" in examples[0]
            lengths = [len(example["input_ids"]) for example in examples]
            offsets = self._pad_offsets(examples, batch["input_ids"].shape[1]) if self.whole_word_mask else None
        else:
            rows = [input_ids_of(example, index) for index, example in enumerate(examples)]
            had_mask, offsets = False, None
            lengths = [len(row) for row in rows]
            batch = {"input_ids": self._pad_rows(rows)}
        input_ids = batch["input_ids"]
        real = batch["attention_mask"].bool() if had_mask else self._real_tokens(input_ids, lengths)
        special = batch.pop("special_tokens_mask", None)
        if self.mlm:
            special = ~real if special is None else ~real | special.bool()
            batch["input_ids"], batch["labels"] = self.torch_mask_tokens(input_ids, special, offsets)
        else:
            batch["labels"] = input_ids.masked_fill(~real, IGNORED)
        return batch

    def torch_mask_tokens(
        self, inputs: Tensor, special_tokens_mask: Any = None, offset_mapping: Any = None
    ) -> tuple[Tensor, Tensor]:
        """The input of the model, (batch, length), and the labels.

        Args:
            inputs: ids, (batch, length). They are not changed.
            special_tokens_mask: 1 at further positions, besides special tokens, that are never selected.
            offset_mapping: (batch, length, 2), for whole words. Without it, they raise an InputError.
        """
        special_ids = torch.tensor([index for index in self.tokenizer.all_special_ids if index is not None]).long()
        maskable = ~torch.isin(inputs, special_ids)
        if special_tokens_mask is not None:
            maskable &= ~torch.as_tensor(special_tokens_mask).bool()
        word_ids = None
        if self.whole_word_mask:
            if offset_mapping is None:
                raise InputError(
                    "whole_word_mask=True needs the offsets of tokens, but the examples have no 'offset_mapping': "
                    "tokenize with return_offsets_mapping=True."
                )
            word_ids = words_from_offsets(torch.as_tensor(offset_mapping), maskable)
        selected = select_tokens(
            maskable,
            float(self.mlm_probability or 0.0),
            word_ids=word_ids,
            at_least_one=self.at_least_one,
            generator=self.generator,
        )
        replaced = replace_tokens(
            inputs,
            selected,
            mask_token_id=self.tokenizer.mask_token_id,
            vocab_size=len(self.tokenizer),
            special_ids=special_ids,
            mask_replace_prob=float(self.mask_replace_prob),
            random_replace_prob=float(self.random_replace_prob),
            generator=self.generator,
        )
        return replaced, inputs.masked_fill(~selected, IGNORED)

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
        """False at the tokens that `pad` added, and at all padding tokens unless they also end texts."""
        real = self._filled(lengths, input_ids.shape[1])
        pad = self.tokenizer.pad_token_id
        if pad is not None and pad != getattr(self.tokenizer, "eos_token_id", None):
            real = real & (input_ids != pad)
        return real

    def _filled(self, lengths: list[int], length: int) -> Tensor:
        """(batch, length), True at the tokens of rows of these lengths, False at padding."""
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
    """Masked texts: the mask of an example depends only on the seed and its index.

    It is the same in every epoch, for any order, batch size and number of workers, and in a run that is resumed. Use
    `DataCollatorForTokenClassification` for batches; it pads the labels.

    Args:
        dataset: examples for the collator, by index.
        collator: a `DataCollatorForLanguageModeling` with mlm=True. Its settings are used, except for its seed.
        seed: of the masks.
        versions: the number of masks of each text, one epoch after the other: 1 is static masking, 10 the baseline of
            Liu et al. (2019, §4.1), None gives a new mask in every epoch.

    `set_epoch` sets the epoch, which is 0 at first.

    Raises:
        InputError: a collator of causal language modelling, or an invalid seed or number of versions.
    """

    def __init__(
        self, dataset: Any, collator: DataCollatorForLanguageModeling, *, seed: int = 0, versions: int | None = 1
    ) -> None:
        if not collator.mlm:
            raise InputError("collator has mlm=False: causal language modelling has no masks. Pass mlm=True.")
        self.dataset = dataset
        self.seed = check_count("seed", seed, least=0)
        self.versions = None if versions is None else check_count("versions", versions, least=1)
        self.epoch = 0
        self._collator = copy.copy(collator)
        self._collator.pad_to_multiple_of = None

    def set_epoch(self, epoch: int) -> None:
        """Use the masks of an epoch."""
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
