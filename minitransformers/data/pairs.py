"""Pairs of sentences: which follows (Devlin et al., 2018, §3.1, A.2), and in which order (Lan et al., 2019, §3.1).

A document is a list of sentences, a sentence a list of ids without special tokens. A "sentence" of a pair is a stretch
of text: several sentences of the document, together about as long as the model takes. Both tasks walk through a
document in the same way: take sentences until there are enough, cut what was taken in two at a random place, and make
a pair of it.

The walk follows the description of BERT's released code, but for two things. There, a stretch of a single sentence
always becomes a pair with another document, so that more than half of the pairs are not next, and short documents give
the answer away. Here every label is a fair coin: a sentence left over at a document's end takes the one before it
along, and documents of one sentence only serve as what comes from another document. And the other document is always
another one; there, after ten draws of the same one, it is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from minitransformers.configs.checks import check_count, check_probability
from minitransformers.data.checks import token_id
from minitransformers.data.seeded import python_random
from minitransformers.errors import InputError, nearest

Documents = Sequence[Any]
"""Documents as sequences of sentences, which are sequences of ids."""

IS_NEXT, NOT_NEXT = 0, 1
IN_ORDER, SWAPPED = 0, 1


class SentencePair(NamedTuple):
    """Two stretches of text as ids, and the label: 0 = the second follows the first."""

    first: list[int]
    second: list[int]
    label: int


def next_sentence_pairs(
    documents: Documents, *, max_length: int, short_sequence_probability: float | int = 0.1, seed: Any = None
) -> list[SentencePair]:
    """Pairs for next-sentence prediction: label 0 = is next, 1 = from another document, half of each.

    What a pair with another document leaves over of the first one is used for the next pair.

    Args:
        documents: lists of sentences of ids.
        max_length: how many tokens both together may have, special tokens not counted; at least 2. Longer pairs lose
            tokens of the longer one, at either end.
        short_sequence_probability: of a pair to aim at a random shorter length, since texts that a model is used
            for later are shorter.
        seed: an int, a torch.Generator, or None for PyTorch's own. For other pairs in another epoch pass another seed.

    Raises:
        InputError: fewer than two documents, empty documents or sentences, no document of two sentences, a length or
            probability that is none.
    """
    lengths = _check(documents, max_length, short_sequence_probability)
    if len(documents) < 2:
        raise InputError(
            "documents holds one document, but half of the pairs take their second part from another one: pass at "
            "least two (split the text by chapters, for example), or make sentence_order_pairs."
        )
    draw = python_random(seed)
    pairs = []
    for index, document in enumerate(documents):
        start = 0
        while len(document) > 1 and start < len(document):
            target = target_length(draw, max_length, short_sequence_probability)
            is_next = draw.random() < 0.5
            end = _enough(lengths[index], start, target, at_least=2)
            # A single sentence is left: as a next one it takes the one before it along.
            first = start - 1 if is_next and end - start == 1 else start
            cut = draw.randint(first + 1, max(first + 1, end - 1))
            if is_next:
                second = document[cut:end]
            else:
                other = draw.randrange(len(documents) - 1)
                other += other >= index
                at = draw.randrange(len(documents[other]))
                to = _enough(lengths[other], at, target - sum(lengths[index][first:cut]), at_least=1)
                second, end = documents[other][at:to], cut
            parts = truncate_pair(join_sentences(document[first:cut]), join_sentences(second), max_length, draw)
            pairs.append(SentencePair(*parts, IS_NEXT if is_next else NOT_NEXT))
            start = end
    return pairs


def sentence_order_pairs(
    documents: Documents, *, max_length: int, short_sequence_probability: float | int = 0.1, seed: Any = None
) -> list[SentencePair]:
    """Pairs for sentence-order prediction: two neighbouring stretches, label 0 = in order, 1 = swapped, half of each.

    The arguments are those of `next_sentence_pairs`; one document is enough.

    Raises:
        InputError: no documents, empty documents or sentences, no document of two sentences, a length or probability
            that is none.
    """
    lengths = _check(documents, max_length, short_sequence_probability)
    draw = python_random(seed)
    pairs = []
    for index, document in enumerate(documents):
        start = 0
        while len(document) > 1 and start < len(document):
            end = _enough(
                lengths[index], start, target_length(draw, max_length, short_sequence_probability), at_least=2
            )
            first = start - 1 if end - start == 1 else start
            cut = draw.randint(first + 1, end - 1)
            before, after = truncate_pair(
                join_sentences(document[first:cut]), join_sentences(document[cut:end]), max_length, draw
            )
            swapped = draw.random() < 0.5
            pairs.append(SentencePair(after, before, SWAPPED) if swapped else SentencePair(before, after, IN_ORDER))
            start = end
    return pairs


TASKS: dict[str, tuple[Callable[..., list[SentencePair]], str]] = {
    "next_sentence": (next_sentence_pairs, "next_sentence_label"),
    "sentence_order": (sentence_order_pairs, "sentence_order_label"),
}


class SentencePairDataset(Dataset[dict[str, Any]]):
    """Pairs with special tokens around them, as a model takes them: [CLS] first [SEP] second [SEP].

    Examples have `input_ids`, `token_type_ids` (0 for the first part, 1 for the second), `attention_mask`,
    `special_tokens_mask` and the label under `label_name`. `DataCollatorForLanguageModeling` makes batches of them that
    are masked besides.

    Args:
        pairs: what `next_sentence_pairs` or `sentence_order_pairs` returned.
        tokenizer: with a `cls_token` and a `sep_token`.
        label_name: "next_sentence_label" for BertForPreTraining, "sentence_order_label" for AlbertForPreTraining,
            "labels" for BertForNextSentencePrediction.

    Raises:
        InputError: a tokenizer without these tokens.
    """

    def __init__(self, pairs: Sequence[SentencePair], tokenizer: Any, label_name: str = "next_sentence_label") -> None:
        self.pairs = pairs
        self.label_name = label_name
        self._cls = token_id(tokenizer, "cls_token", "stands before a pair of sentences")
        self._sep = token_id(tokenizer, "sep_token", "stands behind each sentence of a pair")

    @classmethod
    def from_texts(
        cls,
        documents: Sequence[Sequence[str]],
        tokenizer: Any,
        task: str = "next_sentence",
        *,
        max_length: int = 512,
        short_sequence_probability: float | int = 0.1,
        seed: Any = None,
    ) -> SentencePairDataset:
        """From documents as lists of sentences of text.

        Args:
            documents, tokenizer: what to read, and with what.
            task: "next_sentence" or "sentence_order".
            max_length: how many tokens a pair may have, its three special tokens included.
            short_sequence_probability, seed: as for `next_sentence_pairs`.
        """
        if task not in TASKS:
            raise InputError(f"task={task!r} must be one of {', '.join(map(repr, TASKS))}.{nearest(str(task), TASKS)}")
        make_pairs, label_name = TASKS[task]
        length = check_count("max_length", max_length, least=5) - 3
        ids = sentence_ids(documents, tokenizer)
        pairs = make_pairs(ids, max_length=length, short_sequence_probability=short_sequence_probability, seed=seed)
        return cls(pairs, tokenizer, label_name)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        first, second, label = self.pairs[index]
        return {
            "input_ids": [self._cls, *first, self._sep, *second, self._sep],
            "token_type_ids": [0] * (len(first) + 2) + [1] * (len(second) + 1),
            "attention_mask": [1] * (len(first) + len(second) + 3),
            "special_tokens_mask": [1, *[0] * len(first), 1, *[0] * len(second), 1],
            self.label_name: label,
        }


def sentence_ids(documents: Sequence[Sequence[str]], tokenizer: Any) -> list[list[list[int]]]:
    """Documents of sentences of text as documents of sentences of ids, all tokenized in one call.

    Sentences that become no token (empty lines) are left out, and documents without any other.
    """
    texts = [sentence for document in documents for sentence in document]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])
    read = [[list(ids) for _ in document if (ids := next(encoded))] for document in documents]
    return [document for document in read if document]


# ---- steps -----------------------------------------------------------------------------------------------------------


def _check(documents: Documents, max_length: Any, short_sequence_probability: Any) -> list[list[int]]:
    """The number of tokens of each sentence of each document, after a look at all arguments."""
    check_count("max_length", max_length, least=2)
    check_probability("short_sequence_probability", short_sequence_probability)
    if len(documents) == 0:
        raise InputError("documents is empty: pass lists of sentences of ids.")
    for index, document in enumerate(documents):
        if len(document) == 0:
            raise InputError(f"documents[{index}] is empty: leave documents without sentences out.")
    try:
        lengths = [[len(sentence) for sentence in document] for document in documents]
    except TypeError as error:
        raise InputError(
            f"documents must be lists of documents, each a list of sentences, each a list of ids ({error}); "
            f"sentence_ids makes them of texts."
        ) from error
    for index, sizes in enumerate(lengths):
        if 0 in sizes:
            raise InputError(f"documents[{index}][{sizes.index(0)}] is an empty sentence: leave it out.")
    if max(map(len, lengths)) < 2:
        raise InputError(
            f"None of the {len(documents)} documents has two sentences, so that no sentence follows another: split "
            f"documents into sentences."
        )
    return lengths


def target_length(draw: random.Random, max_length: int, short_sequence_probability: float | int) -> int:
    """How many tokens a pair aims at: `max_length`, or sometimes fewer."""
    return draw.randint(2, max_length) if draw.random() < short_sequence_probability else max_length


def _enough(lengths: Sequence[int], start: int, target: int, at_least: int) -> int:
    """Where to stop taking sentences from `start` on: there are `target` tokens, or the document ends."""
    end, total = start, 0
    while end < len(lengths) and (total < target or end - start < at_least):
        total += lengths[end]
        end += 1
    return end


def join_sentences(sentences: Sequence[Sequence[int]]) -> list[int]:
    """The tokens of several sentences."""
    return [token for sentence in sentences for token in sentence]


def truncate_pair(
    first: list[int], second: list[int], max_length: int, draw: random.Random
) -> tuple[list[int], list[int]]:
    """Take tokens of the longer one until both fit, each of them from the front or the back by a coin."""
    if len(first) + len(second) <= max_length:
        return first, second
    keep_second = min(len(second), max(max_length // 2, max_length - len(first)))
    parts = []
    for part, keep in ((first, max_length - keep_second), (second, keep_second)):
        # As many coins as tokens to go; those that show 1 take from the front.
        front = draw.getrandbits(len(part) - keep).bit_count() if len(part) > keep else 0
        parts.append(part[front : front + keep])
    return parts[0], parts[1]
