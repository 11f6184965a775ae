"""Pairs of sentences: what follows what, from which document, how many of each, how long."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, strategies as st
from small_tokenizers import CLS, PAD, SEP, both, ours

from minitransformers import BertConfig, BertForPreTraining, DataCollatorForLanguageModeling, MinitransformersError
from minitransformers.data import SentencePairDataset, next_sentence_pairs, sentence_ids, sentence_order_pairs
from minitransformers.data.pairs import truncate_pair

seeds = st.integers(0, 2**32)
lengths_of_documents = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=7), min_size=2, max_size=6).filter(
    lambda documents: max(map(len, documents)) > 1
)


def number_tokens(sizes):
    """Documents of sentences of these sizes, whose ids count on from 0, with a gap between documents.

    So an id says where it stands, and neighbours in a document are neighbours as numbers.
    """
    documents, document_of, count = [], {}, 0
    for number, document in enumerate(sizes):
        sentences = []
        for size in document:
            sentences.append(list(range(count, count + size)))
            document_of |= dict.fromkeys(sentences[-1], number)
            count += size
        documents.append(sentences)
        count += 1
    return documents, document_of


def sentence_starts(documents):
    return {sentence[0] for document in documents for sentence in document}


def is_stretch(ids):
    return ids == list(range(ids[0], ids[0] + len(ids)))


@given(sizes=lengths_of_documents, max_length=st.integers(2, 40), short=st.floats(0, 1), seed=seeds)
def test_laws_of_next_sentence_pairs(sizes, max_length, short, seed):
    """They fit; each part is a stretch of one document; negatives come from another one, positives from behind."""
    documents, document_of = number_tokens(sizes)
    options = {"max_length": max_length, "short_sequence_probability": short, "seed": seed}
    pairs = next_sentence_pairs(documents, **options)
    assert pairs
    for first, second, label in pairs:
        assert first
        assert second
        assert len(first) + len(second) <= max_length
        assert is_stretch(first)
        assert is_stretch(second)
        here, there = document_of[first[0]], document_of[second[0]]
        assert {document_of[token] for token in first} == {here}
        assert {document_of[token] for token in second} == {there}
        assert len(documents[here]) > 1
        if label == 0:
            assert here == there
            assert first[-1] < second[0]
        else:
            assert label == 1
            assert here != there
    assert next_sentence_pairs(documents, **options) == pairs


@given(sizes=lengths_of_documents, seed=seeds, target=st.integers(2, 40))
def test_nothing_is_lost_and_nothing_torn_where_nothing_is_cut_off(sizes, seed, target):
    """The second of a positive pair starts where the first ends; parts are whole sentences; all of them occur."""
    documents, _ = number_tokens(sizes)
    starts, short = sentence_starts(documents), 1.0 if target < 10 else 0.0
    total = sum(map(sum, sizes))
    for make in (next_sentence_pairs, sentence_order_pairs):
        pairs = make(documents, max_length=2 * total, short_sequence_probability=short, seed=seed)
        for first, second, label in pairs:
            assert {first[0], second[0]} <= starts
            if make is next_sentence_pairs and label == 0:
                assert second[0] == first[-1] + 1
            if make is sentence_order_pairs:
                before, after = (second, first) if label else (first, second)
                assert after[0] == before[-1] + 1
        seen = {token for first, second, _ in pairs for token in first + second}
        assert seen >= {token for document in documents if len(document) > 1 for one in document for token in one}


@given(sizes=lengths_of_documents, max_length=st.integers(2, 40), short=st.floats(0, 1), seed=seeds)
def test_laws_of_sentence_order_pairs(sizes, max_length, short, seed):
    documents, document_of = number_tokens(sizes)
    options = {"max_length": max_length, "short_sequence_probability": short, "seed": seed}
    pairs = sentence_order_pairs(documents, **options)
    assert pairs
    for first, second, label in pairs:
        assert first
        assert second
        assert len(first) + len(second) <= max_length
        assert len({document_of[token] for token in first + second}) == 1
        assert is_stretch(first)
        assert is_stretch(second)
        before, after = (second, first) if label else (first, second)
        assert before[-1] < after[0]
    assert sentence_order_pairs(documents, **options) == pairs


def many_documents(number, sentences, seed=0):
    draw = random.Random(seed)
    sizes = [[draw.randint(1, 30) for _ in range(draw.choice(sentences))] for _ in range(number)]
    return number_tokens(sizes)[0]


@pytest.mark.parametrize("sentences", [[1, 2], [2], [3, 9], [1, 40]], ids=str)
@pytest.mark.parametrize("make", [next_sentence_pairs, sentence_order_pairs])
def test_half_of_each(make, sentences):
    """Short documents too, where released code makes more than half of the pairs negative: within 4 deviations."""
    pairs = make(many_documents(3000, sentences), max_length=60, seed=1)
    ones = sum(pair.label for pair in pairs)
    assert abs(ones - len(pairs) / 2) < 4 * (len(pairs) / 4) ** 0.5


def test_every_other_document_is_as_likely():
    documents, document_of = number_tokens([[1, 1]] * 5)
    counts = torch.zeros(5, 5)
    for seed in range(1500):
        for first, second, label in next_sentence_pairs(documents, max_length=10, seed=seed):
            counts[document_of[first[0]], document_of[second[0]]] += label
    assert (counts.diagonal() == 0).all()
    others = counts[~torch.eye(5, dtype=torch.bool)]
    assert (others - others.mean()).abs().max() < 4 * others.mean() ** 0.5


def test_pairs_fill_the_length_and_some_are_short():
    documents = many_documents(60, [200])
    full = next_sentence_pairs(documents, max_length=128, short_sequence_probability=0.0, seed=0)
    mixed = next_sentence_pairs(documents, max_length=128, short_sequence_probability=0.1, seed=0)

    def share_of_full(pairs):
        return sum(len(pair.first) + len(pair.second) > 110 for pair in pairs) / len(pairs)

    assert share_of_full(full) > 0.95
    assert 0.82 < share_of_full(mixed) < 0.95


@given(first=st.integers(1, 30), second=st.integers(1, 30), max_length=st.integers(2, 40), seed=st.integers(0, 1000))
def test_cutting_is_that_of_the_released_code(first, second, max_length, seed):
    """Token by token: as long as both are too long, the longer one (the second in a tie) loses one."""
    lengths = [first, second]
    while sum(lengths) > max_length:
        lengths[lengths[0] <= lengths[1]] -= 1
    one, other = list(range(first)), list(range(100, 100 + second))
    kept = truncate_pair(one, other, max_length, random.Random(seed))
    assert [len(part) for part in kept] == lengths
    assert is_stretch(kept[0])
    assert is_stretch(kept[1])


def test_tokens_go_from_both_ends():
    fronts = torch.tensor([truncate_pair(list(range(30)), [100], 11, random.Random(seed))[0][0] for seed in range(400)])
    assert abs(fronts.double().mean() - 10) < 4 * (20 / 4 / 400) ** 0.5
    assert abs(fronts.double().var() - 5) < 1.5


# ---- as examples -----------------------------------------------------------------------------------------------------

TEXTS = [
    ["the cat sat .", "a dog playing", "the unbelievable mat ."],
    ["a dog sat on the mat", "", "the dogs !"],
    [""],
    ["playing", "the cat ."],
]


def test_examples_are_what_the_tokenizer_makes_of_the_pair():
    tokenizer = both()[0]
    documents = sentence_ids(TEXTS, tokenizer)
    assert [len(document) for document in documents] == [3, 2, 2]
    for task, name in (("next_sentence", "next_sentence_label"), ("sentence_order", "sentence_order_label")):
        dataset = SentencePairDataset.from_texts(TEXTS, tokenizer, task, max_length=20, seed=0)
        assert len(dataset) == len(dataset.pairs) > 0
        for index, (first, second, label) in enumerate(dataset.pairs):
            # Written again and read by the tokenizer; "##" in front would be of a word that was cut: none is here.
            text = [tokenizer.decode(part) for part in (first, second)]
            assert not any(part.startswith("##") for part in text)
            example = dataset[index]
            assert example == {**tokenizer(*text, return_special_tokens_mask=True), name: label}
            assert len(example["input_ids"]) <= 20


def test_pretraining_on_pairs():
    """Pairs, masked and padded, are what BertForPreTraining takes: the composition, in training, has a finite loss."""
    tokenizer = both()[0]
    dataset = SentencePairDataset.from_texts(TEXTS, tokenizer, max_length=16, seed=0)
    batch = DataCollatorForLanguageModeling(tokenizer, seed=0)([dataset[index] for index in range(len(dataset))])
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels", "next_sentence_label"}
    assert (batch["labels"][torch.isin(batch["input_ids"], torch.tensor([CLS, SEP, PAD]))] == -100).all()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    output = BertForPreTraining(config)(**batch)
    assert torch.isfinite(output.loss)
    assert batch["next_sentence_label"].tolist() == [pair.label for pair in dataset.pairs]


# ---- bad input -------------------------------------------------------------------------------------------------------

GOOD = [[[1], [2]], [[3]]]
BAD = {
    "one document": (lambda: next_sentence_pairs(GOOD[:1], max_length=9), "holds one document.*at least two"),
    "no documents": (lambda: next_sentence_pairs([], max_length=9), "documents is empty"),
    "an empty document": (lambda: sentence_order_pairs([[], [[1], [2]]], max_length=9), r"documents\[0\] is empty"),
    "an empty sentence": (
        lambda: next_sentence_pairs([[[1], []], [[1]]], max_length=9),
        r"documents\[0\]\[1\] is an empty",
    ),
    "one sentence each": (
        lambda: next_sentence_pairs([[[1]], [[2]]], max_length=9),
        "None of the 2 documents has two sentences",
    ),
    "one sentence each, order": (lambda: sentence_order_pairs([[[1]]], max_length=9), "None of the 1 documents"),
    "no room": (
        lambda: next_sentence_pairs(GOOD, max_length=1),
        "max_length=1 must be a whole number of at least 2",
    ),
    "no probability": (
        lambda: sentence_order_pairs(GOOD, max_length=9, short_sequence_probability=2),
        "short_sequence_probability=2 must be a probability",
    ),
    "a seed": (lambda: next_sentence_pairs(GOOD, max_length=9, seed="x"), "seed='x' must be a whole number"),
    "sentences as documents": (
        lambda: next_sentence_pairs([[1, 2], [3]], max_length=9),
        "sentence_ids makes them of texts",
    ),
    "no sep_token": (lambda: SentencePairDataset([], ours(sep_token=None)), "has no sep_token"),
    "a task": (
        lambda: SentencePairDataset.from_texts(TEXTS, both()[0], "next"),
        "task='next' must be one of 'next_sentence', 'sentence_order'",
    ),
    "room for special tokens only": (
        lambda: SentencePairDataset.from_texts(TEXTS, both()[0], max_length=4),
        "max_length=4 must be a whole number of at least 5",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        call()
    assert isinstance(caught.value, MinitransformersError)
