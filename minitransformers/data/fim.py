"""Fill in the middle: documents rearranged so that a causal model learns to fill gaps (Bavarian et al., 2022).

A document is cut at two random places into prefix, middle and suffix. The middle is moved to the end, and three special
tokens <PRE>, <SUF> and <MID> mark the parts (§3):

    PSM   <PRE> prefix <SUF> suffix <MID> middle
    SPM   <PRE> <SUF> suffix <MID> prefix middle

SPM is the variant of §3 that is trained together with PSM. To fill a gap, give the model all up to <MID> (in SPM up to
the prefix), and let it generate up to the end of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from minitransformers.configs.checks import check_probability
from minitransformers.data.checks import input_ids_of, token_id
from minitransformers.data.collators import DataCollatorMixin
from minitransformers.data.seeded import Seeded, check_seed
from minitransformers.errors import InputError, nearest
from minitransformers.nn.losses import IGNORED


class MiddleTokens(NamedTuple):
    """The ids of <PRE>, <SUF> and <MID>."""

    prefix: int
    suffix: int
    middle: int


def fill_in_the_middle(
    prefix: Int[Tensor, " prefix"],
    middle: Int[Tensor, " middle"],
    suffix: Int[Tensor, " suffix"],
    tokens: MiddleTokens,
    *,
    suffix_first: bool = False,
) -> Int[Tensor, " tokens"]:
    """The three parts of a document in the order PSM, or SPM with `suffix_first`."""
    pre, suf, mid = (torch.tensor([token]) for token in tokens)
    if suffix_first:
        return torch.cat([pre, suf, suffix, mid, prefix, middle])
    return torch.cat([pre, prefix, suf, suffix, mid, middle])


def restore_middle(input_ids: Int[Tensor, " tokens"], tokens: MiddleTokens) -> Int[Tensor, " document"]:
    """The document that `fill_in_the_middle` has rearranged in either order; one without <PRE> is returned as it is.

    Raises:
        InputError: a special token is missing or occurs twice, or they stand in another order.
    """
    if not torch.isin(input_ids, torch.tensor(tokens)).any():
        return input_ids
    places = [(input_ids == token).nonzero()[:, 0].tolist() for token in tokens]
    if any(len(found) != 1 for found in places) or not places[0] == [0] or not places[1] < places[2]:
        raise InputError(
            "input_ids must begin with <PRE>, and have one <SUF> and one <MID> behind it: pass what fill_in_the_middle "
            "gave, without padding."
        )
    (suf,), (mid,) = places[1:]
    prefix, suffix, behind = input_ids[1:suf], input_ids[suf + 1 : mid], input_ids[mid + 1 :]
    # In SPM prefix and middle stand together behind <MID>, and nothing between <PRE> and <SUF>. So does a PSM with an
    # empty prefix, whose middle is what stands there.
    return torch.cat([prefix, behind, suffix])


@dataclass
class DataCollatorForFillInTheMiddle(DataCollatorMixin, Seeded):
    """Rearranges documents for filling in the middle, pads them, and makes the labels of causal language modelling.

    Labels are the ids (models shift them), -100 at padding. Special tokens count in the loss, as in the paper. A row
    has three tokens more than its document, besides the end of text; at character level a few more, where words are
    cut.

    Args:
        tokenizer: its `pad`, its end-of-text token and the three special tokens are used.
        rate: the probability that a document is rearranged; the others stay as they are. 0.5 to 0.9 cost the model
            nothing from left to right (§4.1).
        suffix_first_rate: the probability that a rearranged document is SPM, not PSM (§4.3 mixes both).
        level: "character" cuts texts before they are tokenized, so that the model learns to go on within words (§4.4):
            examples are texts, or dictionaries with a `text`. "token" cuts between tokens: examples are ids, or
            dictionaries with `input_ids`.
        prefix_token, suffix_token, middle_token: <PRE>, <SUF> and <MID>, as in StarCoder unless given.
        append_eos: whether rows end with the tokenizer's end-of-text token (which is first taken off examples).
        pad_to_multiple_of: pad on to a multiple of this number.
        return_tensors: "pt" or "np".
        seed: an int, a torch.Generator, or None for PyTorch's own generator. See `Seeded` for DataLoader workers.

    Raises:
        InputError: a rate that is none, an unknown level, a tokenizer without one of the tokens; when called, examples
            that do not fit the level.
    """

    tokenizer: Any
    rate: float | int = 0.9
    suffix_first_rate: float | int = 0.5
    level: str = "character"
    prefix_token: str = "<fim_prefix>"
    suffix_token: str = "<fim_suffix>"
    middle_token: str = "<fim_middle>"
    append_eos: bool = True
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"
    seed: Any = None

    def __post_init__(self) -> None:
        check_probability("rate", self.rate)
        check_probability("suffix_first_rate", self.suffix_first_rate)
        check_seed("seed", self.seed)
        if self.level not in (levels := ("character", "token")):
            raise InputError(f"level={self.level!r} must be 'character' or 'token'.{nearest(str(self.level), levels)}")
        self.tokens = MiddleTokens(*map(self._id, ("prefix_token", "suffix_token", "middle_token")))
        self._end = token_id(self.tokenizer, "eos_token", "ends each row") if self.append_eos else None

    def _id(self, name: str) -> int:
        token, vocabulary = getattr(self, name), self.tokenizer.get_vocab()
        if token not in vocabulary:
            raise InputError(
                f"The tokenizer has no token {name}={token!r}. Add it, and resize the model's embeddings: "
                f"tokenizer.add_special_tokens({{'additional_special_tokens': [{token!r}, …]}})."
            )
        return int(vocabulary[token])

    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors."""
        rows = [self.rearrange(feature, index).tolist() for index, feature in enumerate(features)]
        batch = self.tokenizer.pad(
            [{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows],
            return_tensors="pt",
            pad_to_multiple_of=self.pad_to_multiple_of,
        )
        batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        return batch

    def rearrange(self, feature: Any, index: int = 0) -> Int[Tensor, " tokens"]:
        """The row of one example; `index` stands in error messages."""
        document = self._text_of(feature, index) if self.level == "character" else self._ids_of(feature, index)
        generator = self.generator
        draws = torch.rand(2, generator=generator).tolist()
        cuts = torch.randint(len(document) + 1, (2,), generator=generator).sort().values.tolist()
        if draws[0] < self.rate:
            parts = (document[: cuts[0]], document[cuts[0] : cuts[1]], document[cuts[1] :])
            prefix, middle, suffix = map(self._encoded, parts)
            suffix_first = draws[1] < self.suffix_first_rate
            row = fill_in_the_middle(prefix, middle, suffix, self.tokens, suffix_first=suffix_first)
        else:
            row = self._encoded(document)
        return row if self._end is None else torch.cat([row, torch.tensor([self._end])])

    def _encoded(self, part: Any) -> Int[Tensor, " tokens"]:
        if isinstance(part, Tensor):
            return part
        return torch.tensor(self.tokenizer(part, add_special_tokens=False)["input_ids"], dtype=torch.long)

    def _text_of(self, feature: Any, index: int) -> str:
        text = feature.get("text") if isinstance(feature, Mapping) else feature
        if not isinstance(text, str):
            raise InputError(
                f"features[{index}] has no text, which level='character' cuts: pass texts, or dictionaries with 'text' "
                "(with a Trainer, remove_unused_columns=False), or level='token' for ids."
            )
        return text

    def _ids_of(self, feature: Any, index: int) -> Int[Tensor, " tokens"]:
        if isinstance(feature, str):
            raise InputError(f"features[{index}] is a text, but level='token' cuts ids: pass level='character'.")
        ids = input_ids_of(feature, index)
        if isinstance(feature, Mapping) and feature.get("attention_mask") is not None:
            ids = ids[torch.as_tensor(feature["attention_mask"]).bool()]
        return ids[:-1] if self._end is not None and len(ids) and ids[-1] == self._end else ids
