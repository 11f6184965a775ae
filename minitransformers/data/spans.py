"""Denoising for encoder–decoder models: T5's span corruption and BART's text infilling and sentence permutation.

Each is a function on the ids of one text, and a collator that corrupts the texts of a batch and pads them.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from minitransformers.configs.checks import check_probability
from minitransformers.data.checks import input_ids_of, token_id
from minitransformers.data.collators import DataCollatorForSeq2Seq, DataCollatorMixin
from minitransformers.data.seeded import Seeded, check_seed
from minitransformers.errors import InputError

# ---- T5 --------------------------------------------------------------------------------------------------------------


class CorruptedSpans(NamedTuple):
    """Input: the text with a sentinel for each span. Target: the spans, each behind its sentinel."""

    input_ids: Int[Tensor, " inputs"]
    labels: Int[Tensor, " targets"]


def draw_spans(
    length: int, noise_density: float, mean_span_length: float, generator: torch.Generator | None = None
) -> Bool[Tensor, " length"]:
    """Draw which tokens of a text are noise: a fixed number of tokens, in a fixed number of spans of random lengths.

    A text starts with what is kept and ends with noise, as in T5's released code (Raffel et al., 2020, §3.1.4 and
    §3.3.4). Both the kept and the dropped tokens are cut into that many parts, each way of cutting equally likely.

    Args:
        length: of the text, at least 2: something is kept and something is dropped.
        noise_density: the share of tokens that are dropped, between 0 and 1.
        mean_span_length: of the spans, at least 1.
        generator: draws twice as many numbers as there are tokens, or a little less.
    """
    noise = min(max(round(length * noise_density), 1), length - 1)
    spans = min(max(round(noise / mean_span_length), 1), length - noise)
    kept_lengths = _cut(length - noise, spans, generator)
    noise_lengths = _cut(noise, spans, generator)
    lengths = torch.stack([kept_lengths, noise_lengths], dim=1).flatten()
    return (torch.arange(2 * spans) % 2 == 1).repeat_interleave(lengths)


def corrupt_spans(
    input_ids: Int[Tensor, " length"],
    noise: Bool[Tensor, " length"],
    sentinel_ids: Sequence[int],
    *,
    final_sentinel: bool = True,
) -> CorruptedSpans:
    """Replace each stretch of noise by a sentinel; the target lists what was replaced (Raffel et al., 2020, figure 2).

        Thank you <X> me to your party <Y> week .   ->   <X> for inviting <Y> last <Z>

    Args:
        input_ids: the text.
        noise: True where it is dropped.
        sentinel_ids: the ids of <X>, <Y>, <Z>, …; T5's are <extra_id_0>, <extra_id_1>, …
        final_sentinel: whether a further sentinel closes the target, as in the paper's text and figure. In T5's
            released code the end-of-text token alone closes it.

    Raises:
        InputError: more spans than sentinels.
    """
    first = noise & ~noise.roll(1)
    first[:1] = noise[:1]
    spans = int(first.sum())
    if spans + final_sentinel > len(sentinel_ids):
        raise InputError(
            f"{spans} spans{' and the end of the target' if final_sentinel else ''} need as many sentinels, but "
            f"sentinel_ids holds {len(sentinel_ids)}: give the tokenizer more, or cut the text ({len(input_ids)} "
            f"tokens) into shorter ones."
        )
    sentinels = torch.tensor(list(sentinel_ids), dtype=torch.long)
    inputs = input_ids.clone()
    inputs[first] = sentinels[:spans]
    dropped = input_ids[noise]
    # In the target a sentinel is put in front of each span: token i moves on by the number of spans up to it.
    number = first.cumsum(dim=0)[noise]
    targets = torch.empty(len(dropped) + spans + final_sentinel, dtype=torch.long)
    targets[torch.arange(len(dropped)) + number] = dropped
    starts = first[noise].nonzero()[:, 0]
    targets[starts + torch.arange(spans)] = sentinels[:spans]
    if final_sentinel:
        targets[-1] = sentinels[spans]
    return CorruptedSpans(inputs[~noise | first], targets)


def restore_spans(
    input_ids: Int[Tensor, " inputs"], labels: Int[Tensor, " targets"], sentinel_ids: Sequence[int]
) -> Int[Tensor, " length"]:
    """The text that `corrupt_spans` took apart; also what a model's answer makes of an input.

    A sentinel of the input becomes what stands behind it in the target, up to the next sentinel; nothing, if the target
    does not have it. Take the end-of-text token off both before.
    """
    known = set(sentinel_ids)
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for token in labels.tolist():
        if token in known:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    text: list[int] = []
    for token in input_ids.tolist():
        text += spans.get(token, []) if token in known else [token]
    return torch.tensor(text, dtype=torch.long)


def sentinel_token_ids(tokenizer: Any) -> list[int]:
    """The ids of <extra_id_0>, <extra_id_1>, … of a tokenizer, in this order.

    Raises:
        InputError: it has none.
    """
    vocabulary = tokenizer.get_vocab()
    ids: list[int] = []
    while (index := vocabulary.get(f"<extra_id_{len(ids)}>")) is not None:
        ids.append(index)
    if not ids:
        raise InputError(
            f"tokenizer ({type(tokenizer).__name__}) has no sentinels: its vocabulary lacks <extra_id_0>. Add them as "
            f"extra_special_tokens, or pass sentinel_ids."
        )
    return ids


def _cut(items: int, parts: int, generator: torch.Generator | None) -> Int[Tensor, " parts"]:
    """The lengths of `parts` parts of at least one item each, every way of cutting equally likely."""
    cuts = torch.randperm(items - 1, generator=generator)[: parts - 1].sort().values + 1
    ends = torch.cat([torch.tensor([0]), cuts, torch.tensor([items])])
    return ends.diff()


# ---- BART ------------------------------------------------------------------------------------------------------------


class Infilled(NamedTuple):
    """The text with one mask token for each span, and the spans, in order."""

    input_ids: Int[Tensor, " inputs"]
    spans: list[Tensor]


def infill_text(
    input_ids: Int[Tensor, " length"],
    *,
    mask_token_id: int,
    mask_ratio: float = 0.3,
    mean_span_length: float = 3.0,
    generator: torch.Generator | None = None,
) -> Infilled:
    """Replace spans by a single mask token each, however long they are (Lewis et al., 2020, §2.2).

    Lengths are drawn from a Poisson distribution until the share of tokens to be masked is reached; the last one is
    shortened to it. A span of length 0 puts a mask token where nothing is missing. Every order of spans and remaining
    tokens is equally likely (so a token at either end is in a span less often: fewer spans can reach it).

    Args:
        input_ids: the text, without special tokens.
        mask_token_id: what stands for a span.
        mask_ratio: the share of tokens in spans.
        mean_span_length: of the Poisson distribution, above 0.
        generator: draws lengths and places.
    """
    budget = round(len(input_ids) * mask_ratio)
    lengths: list[int] = []
    while (left := budget - sum(lengths)) > 0:
        # Nearly always enough in one draw.
        chances = torch.full((math.ceil(left / mean_span_length) + 8,), float(mean_span_length))
        drawn = torch.poisson(chances, generator=generator).long()
        lengths += drawn[: int((drawn.cumsum(0) < left).sum()) + 1].tolist()
    if lengths:
        lengths[-1] -= sum(lengths) - budget
    pieces = len(input_ids) - budget + len(lengths)  # the tokens that remain, and the spans
    is_span = torch.zeros(pieces, dtype=torch.bool)
    is_span[torch.randperm(pieces, generator=generator)[: len(lengths)]] = True
    sizes = torch.ones(pieces, dtype=torch.long)
    sizes[is_span] = torch.tensor(lengths, dtype=torch.long)
    starts = sizes.cumsum(0) - sizes
    inputs = torch.full((pieces,), mask_token_id)
    inputs[~is_span] = input_ids[starts[~is_span]]
    spans = [input_ids[start : start + size] for start, size in zip(starts[is_span], sizes[is_span], strict=True)]
    return Infilled(inputs, spans)


def restore_infilled(
    input_ids: Int[Tensor, " inputs"], spans: Sequence[Tensor], mask_token_id: int
) -> Int[Tensor, " length"]:
    """The text that `infill_text` masked: each mask token replaced by its span.

    Raises:
        InputError: not as many spans as mask tokens.
    """
    masks = (input_ids == mask_token_id).nonzero()[:, 0].tolist()
    if len(masks) != len(spans):
        raise InputError(f"input_ids has {len(masks)} mask tokens, but there are {len(spans)} spans.")
    pieces, start = [], 0
    for mask, span in zip(masks, spans, strict=True):
        pieces += [input_ids[start:mask], span]
        start = mask + 1
    return torch.cat([*pieces, input_ids[start:]])


def permute_sentences(
    input_ids: Int[Tensor, " length"],
    sentence_end_ids: Int[Tensor, " ends"],
    generator: torch.Generator | None = None,
) -> Int[Tensor, " length"]:
    """An order that shuffles the sentences of a text (Lewis et al., 2020, §2.2): `input_ids[order]` is the result.

    A sentence ends with a token of `sentence_end_ids`, and with the text. `order.argsort()` leads back.
    """
    ends = torch.isin(input_ids, sentence_end_ids)
    sentence = ends.cumsum(dim=0) - ends.long()
    places = torch.randperm(int(sentence[-1]) + 1 if len(sentence) else 0, generator=generator)
    return places[sentence].argsort(stable=True)


# ---- collators -------------------------------------------------------------------------------------------------------


class DenoisingCollator(DataCollatorMixin, Seeded):
    """The base of the collators here: a subclass says what becomes of one text.

    Examples are dictionaries with `input_ids`, or mere sequences of ids; of other fields only `attention_mask` counts:
    padding is taken off. The batch has `input_ids`, `attention_mask`, `labels`, and `decoder_input_ids` if there is a
    model that makes them.
    """

    tokenizer: Any
    model: Any
    pad_to_multiple_of: int | None
    return_tensors: str

    @abstractmethod
    def corrupt(self, input_ids: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The input and the labels that one text becomes."""

    def torch_call(self, features: Any) -> Any:
        """The batch as torch tensors."""
        generator = self.generator
        examples = []
        for index, feature in enumerate(features):
            ids = input_ids_of(feature, index)
            if isinstance(feature, Mapping) and feature.get("attention_mask") is not None:
                ids = ids[torch.as_tensor(feature["attention_mask"]).bool()]
            inputs, labels = self.corrupt(ids, generator)
            examples.append({"input_ids": inputs.tolist(), "labels": labels.tolist()})
        pad = DataCollatorForSeq2Seq(self.tokenizer, self.model, pad_to_multiple_of=self.pad_to_multiple_of)
        return pad(examples, return_tensors="pt")


@dataclass
class DataCollatorForSpanCorruption(DenoisingCollator):
    """T5's objective: spans of the text become sentinels, and are to be predicted (Raffel et al., 2020, §3.1.4).

    The end-of-text token is taken off a text that has it, and put behind both the input and the labels.

    Args:
        tokenizer: its `pad` and its end-of-text and sentinel tokens are used.
        noise_density: the share of tokens in spans.
        mean_span_length: of the spans, in tokens.
        model: makes `decoder_input_ids`, if it can.
        sentinel_ids: the sentinels; <extra_id_0>, <extra_id_1>, … of the tokenizer unless given.
        final_sentinel: see `corrupt_spans`.
        pad_to_multiple_of: pad on to a multiple of this number.
        return_tensors: "pt" or "np".
        seed: an int, a torch.Generator, or None for PyTorch's own generator. See `Seeded` for DataLoader workers.

    Raises:
        InputError: a density or length that is none, a tokenizer without sentinels; when called, a text of fewer than
            two tokens, or one with more spans than there are sentinels.
    """

    tokenizer: Any
    noise_density: float = 0.15
    mean_span_length: float | int = 3.0
    model: Any = None
    sentinel_ids: Sequence[int] | None = None
    final_sentinel: bool = True
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"
    seed: Any = None

    def __post_init__(self) -> None:
        if not 0 < check_probability("noise_density", self.noise_density) < 1:
            raise InputError(
                f"noise_density={self.noise_density!r} must lie between 0 and 1: some is dropped, some kept."
            )
        if not self.mean_span_length >= 1:
            raise InputError(f"mean_span_length={self.mean_span_length!r} must be at least 1 token.")
        check_seed("seed", self.seed)
        if self.sentinel_ids is None:
            self.sentinel_ids = sentinel_token_ids(self.tokenizer)

    def corrupt(self, input_ids: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The input and the labels that one text becomes."""
        end = getattr(self.tokenizer, "eos_token_id", None)
        closing = torch.tensor([] if end is None else [end], dtype=torch.long)
        if end is not None and len(input_ids) and input_ids[-1] == end:
            input_ids = input_ids[:-1]
        if len(input_ids) < 2:
            raise InputError(
                f"A text has {len(input_ids)} tokens without its end-of-text token; span corruption needs at least 2: "
                f"one to keep and one to drop."
            )
        noise = draw_spans(len(input_ids), self.noise_density, float(self.mean_span_length), generator)
        corrupted = corrupt_spans(input_ids, noise, self.sentinel_ids or (), final_sentinel=self.final_sentinel)
        return torch.cat([corrupted.input_ids, closing]), torch.cat([corrupted.labels, closing])


@dataclass
class DataCollatorForTextInfilling(DenoisingCollator):
    """BART's objective: sentences shuffled and spans masked, the whole text to be predicted (Lewis et al., 2020, §2.2).

    Special tokens at the beginning and end of a text stay where they are.

    Args:
        tokenizer: its `pad` and its mask token are used.
        mask_ratio: the share of tokens in masked spans.
        mean_span_length: of the Poisson distribution of span lengths, in tokens.
        shuffle_sentences: whether to permute the sentences first.
        sentence_ends: the tokens that end a sentence; those that the vocabulary lacks do not count.
        model: makes `decoder_input_ids`, if it can.
        pad_to_multiple_of: pad on to a multiple of this number.
        return_tensors: "pt" or "np".
        seed: an int, a torch.Generator, or None for PyTorch's own generator. See `Seeded` for DataLoader workers.

    Raises:
        InputError: no mask token, a ratio or length that is none, sentences to shuffle and no token that ends one.
    """

    tokenizer: Any
    mask_ratio: float | int = 0.3
    mean_span_length: float | int = 3.0
    shuffle_sentences: bool = True
    sentence_ends: Sequence[str] = (".", "!", "?")
    model: Any = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"
    seed: Any = None

    def __post_init__(self) -> None:
        check_probability("mask_ratio", self.mask_ratio)
        if not self.mean_span_length > 0:
            raise InputError(f"mean_span_length={self.mean_span_length!r} must be above 0 tokens.")
        check_seed("seed", self.seed)
        self._mask = token_id(self.tokenizer, "mask_token", "stands for a span")
        vocabulary = self.tokenizer.get_vocab() if self.shuffle_sentences else {}
        ends = [vocabulary[token] for token in self.sentence_ends if token in vocabulary]
        if self.shuffle_sentences and not ends:
            raise InputError(
                f"shuffle_sentences=True needs a token that ends a sentence, but the vocabulary has none of "
                f"sentence_ends={tuple(self.sentence_ends)!r}: name others, or pass shuffle_sentences=False."
            )
        self._ends = torch.tensor(ends, dtype=torch.long)

    def corrupt(self, input_ids: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """The input and the labels that one text becomes."""
        special_ids = torch.tensor([index for index in self.tokenizer.all_special_ids if index is not None]).long()
        ordinary = (~torch.isin(input_ids, special_ids)).nonzero()[:, 0].tolist()
        first, last = (ordinary[0], ordinary[-1] + 1) if ordinary else (0, 0)
        text = input_ids[first:last]
        if self.shuffle_sentences:
            text = text[permute_sentences(text, self._ends, generator)]
        infilled = infill_text(
            text,
            mask_token_id=self._mask,
            mask_ratio=float(self.mask_ratio),
            mean_span_length=float(self.mean_span_length),
            generator=generator,
        )
        return torch.cat([input_ids[:first], infilled.input_ids, input_ids[last:]]), input_ids
