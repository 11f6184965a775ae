"""Span corruption and text infilling: how much is dropped, where, and that the text comes back whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from small_tokenizers import CLS, FIRST, MASK, PAD, SENTINELS, SEP, VOCAB_SIZE, both, chi_square_p, ours, with_sentinels

from minitransformers import InputError, MinitransformersError
from minitransformers.data import (
    DataCollatorForSpanCorruption,
    DataCollatorForTextInfilling,
    corrupt_spans,
    draw_spans,
    infill_text,
    permute_sentences,
    restore_infilled,
    restore_spans,
    sentinel_token_ids,
)

seeds = st.integers(0, 2**32)
ids_of_text = st.lists(st.integers(FIRST, VOCAB_SIZE - 1), min_size=2, max_size=60)
MANY = list(range(1000, 1100))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def runs(flags):
    """How many stretches of True there are."""
    return int((flags & ~torch.cat([torch.tensor([False]), flags[:-1]])).sum())


# ---- T5 --------------------------------------------------------------------------------------------------------------


@given(length=st.integers(2, 200), density=st.floats(0.01, 0.99), mean=st.floats(1, 10), seed=seeds)
def test_noise_has_its_share_and_its_number_of_spans(length, density, mean, seed):
    noise = draw_spans(length, density, mean, generator(seed))
    number = min(max(round(length * density), 1), length - 1)
    assert noise.shape == (length,)
    assert int(noise.sum()) == number
    assert runs(noise) == min(max(round(number / mean), 1), length - number)
    assert noise.tolist()[0] is False
    assert noise.tolist()[-1] is True
    assert torch.equal(noise, draw_spans(length, density, mean, generator(seed)))


def test_every_way_of_cutting_is_as_likely():
    """6 kept and 4 dropped tokens in 2 spans: 5 · 3 ways."""
    source, counts = generator(0), {}
    for _ in range(3000):
        key = tuple(draw_spans(10, 0.4, 2.0, source).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 15
    assert chi_square_p(list(counts.values()), [200.0] * 15) > 0.001


@given(text=ids_of_text, data=st.data(), final=st.booleans())
def test_spans_reassemble(text, data, final):
    """Any noise, also at the start, all of the text, or none."""
    ids = torch.tensor(text)
    noise = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text))))
    inputs, targets = corrupt_spans(ids, noise, MANY, final_sentinel=final)
    assert torch.equal(restore_spans(inputs, targets, MANY), ids)
    spans = runs(noise)
    used = [token for token in inputs.tolist() if token >= 1000]
    assert used == MANY[:spans]
    assert [token for token in targets.tolist() if token >= 1000] == MANY[: spans + final]
    assert len(inputs) == int((~noise).sum()) + spans
    assert len(targets) == int(noise.sum()) + spans + final
    assert torch.equal(ids, torch.tensor(text))


def test_figure_2():
    """Raffel et al., 2020, figure 2."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    vocabulary = {word: number for number, word in enumerate([*words, "<X>", "<Y>", "<Z>"])}
    names = {number: word for word, number in vocabulary.items()}
    noise = torch.tensor([word in ("for", "inviting", "last") for word in words])
    sentinels = [vocabulary[name] for name in ("<X>", "<Y>", "<Z>")]
    inputs, targets = corrupt_spans(torch.arange(len(words)), noise, sentinels)
    assert " ".join(names[token] for token in inputs.tolist()) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(names[token] for token in targets.tolist()) == "<X> for inviting <Y> last <Z>"


def test_a_missing_sentinel_restores_to_nothing():
    """What a model's answer leaves out is left out, and what it says before the first sentinel does not count."""
    assert restore_spans(torch.tensor([1, 90, 2, 91]), torch.tensor([7, 91, 5, 6]), [90, 91]).tolist() == [1, 2, 5, 6]


class ShiftsLabels:
    def prepare_decoder_input_ids_from_labels(self, labels):
        return torch.cat([torch.full_like(labels[:, :1], PAD), labels[:, :-1]], dim=1).masked_fill(labels == -100, PAD)


@given(
    texts=st.lists(ids_of_text, min_size=1, max_size=4), seed=seeds, form=st.sampled_from(["lists", "ended", "padded"])
)
def test_span_corruption_collator(texts, seed, form):
    tokenizer = with_sentinels()
    end, sentinels = tokenizer.eos_token_id, sentinel_token_ids(tokenizer)
    features = texts if form == "lists" else [{"input_ids": [*text, end]} for text in texts]
    if form == "padded":
        features = [{"input_ids": [*text, end, PAD], "attention_mask": [1] * (len(text) + 1) + [0]} for text in texts]
    collator = DataCollatorForSpanCorruption(tokenizer, seed=seed, model=ShiftsLabels(), pad_to_multiple_of=4)
    batch = collator(features)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "decoder_input_ids"}
    assert batch["input_ids"].shape[1] % 4 == batch["labels"].shape[1] % 4 == 0
    rows = zip(batch["input_ids"], batch["attention_mask"], batch["labels"], batch["decoder_input_ids"], strict=True)
    for text, (inputs, mask, labels, decoder_inputs) in zip(texts, rows, strict=True):
        inputs, targets = inputs[mask == 1], labels[labels != -100]
        assert inputs[-1] == targets[-1] == end
        assert restore_spans(inputs[:-1], targets[:-1], sentinels).tolist() == text
        assert torch.equal(decoder_inputs[1 : len(targets)], targets[:-1])
        dropped = len(text) - int((~torch.isin(inputs[:-1], torch.tensor(sentinels))).sum())
        assert dropped == max(round(0.15 * len(text)), 1)
    again = DataCollatorForSpanCorruption(tokenizer, seed=seed, pad_to_multiple_of=4)(features)
    assert torch.equal(again["input_ids"], batch["input_ids"])
    assert "decoder_input_ids" not in again


# ---- BART ------------------------------------------------------------------------------------------------------------


@given(
    text=st.lists(st.integers(FIRST, VOCAB_SIZE - 1), max_size=60),
    ratio=st.floats(0, 1),
    mean=st.floats(0.5, 6),
    seed=seeds,
)
def test_infilling_restores(text, ratio, mean, seed):
    ids = torch.tensor(text, dtype=torch.long)
    options = {"mask_token_id": MASK, "mask_ratio": ratio, "mean_span_length": mean}
    inputs, spans = infill_text(ids, **options, generator=generator(seed))
    assert torch.equal(restore_infilled(inputs, spans, MASK), ids)
    assert sum(map(len, spans)) == round(len(text) * ratio)
    assert len(inputs) == len(text) - sum(map(len, spans)) + len(spans)
    assert torch.equal(infill_text(ids, **options, generator=generator(seed)).input_ids, inputs)


def test_span_lengths_are_poisson():
    """All but the last span of a text, which is shortened to what is left."""
    ids = torch.arange(5, 20_005)
    spans = infill_text(ids, mask_token_id=MASK, mask_ratio=0.6, mean_span_length=3.0, generator=generator(0)).spans[
        :-1
    ]
    counts = torch.tensor([len(span) for span in spans]).bincount(minlength=9)
    counts = torch.cat([counts[:8], counts[8:].sum()[None]])
    number = torch.arange(8).double()
    shares = torch.exp(number * torch.log(torch.tensor(3.0).double()) - 3 - torch.lgamma(number + 1))
    shares = torch.cat([shares, 1 - shares.sum()[None]])
    assert chi_square_p(counts, shares * len(spans)) > 0.001


def test_every_place_of_a_span_is_as_likely():
    """One span of 6 of 20 tokens: 15 places. Several spans: every order of spans and tokens."""
    ids, source = torch.arange(5, 25), generator(0)
    places = torch.zeros(15)
    for _ in range(1500):
        (span,) = infill_text(ids, mask_token_id=MASK, mean_span_length=60.0, generator=source).spans
        places[span[0] - 5] += 1
    assert chi_square_p(places, [100.0] * 15) > 0.001

    orders = {}
    while len(orders) < 1 or sum(orders.values()) < 1000:
        inputs, spans = infill_text(ids[:5], mask_token_id=MASK, mask_ratio=0.4, mean_span_length=1.0, generator=source)
        if [len(span) for span in spans] == [1, 1]:  # 3 tokens and 2 spans: 10 orders
            key = tuple((inputs == MASK).tolist())
            orders[key] = orders.get(key, 0) + 1
    assert chi_square_p(list(orders.values()), [100.0] * 10) > 0.001


def test_permutation_of_a_long_text():
    """Tokens of one sentence stay in order, also where a sort that is not stable would mix them."""
    ids = torch.randint(1, 10, (5000,), generator=generator(0))
    ids[::1000] = 0
    order = permute_sentences(ids, torch.tensor([0]), generator(1))
    assert 1 <= int((order.diff() != 1).sum()) <= 5  # six sentences
    assert order.sort().values.tolist() == list(range(5000))


@given(text=st.lists(st.integers(0, 9), max_size=40), seed=seeds)
def test_permutation_moves_whole_sentences(text, seed):
    ids = torch.tensor(text, dtype=torch.long)
    order = permute_sentences(ids, torch.tensor([0, 1]), generator(seed))
    assert torch.equal(ids[order][order.argsort()], ids)
    sentences: list[list[int]] = [[]]
    for place, token in enumerate(text):
        sentences[-1].append(place)
        if token in (0, 1):
            sentences.append([])
    firsts = {sentence[0]: sentence for sentence in sentences if sentence}
    places, read = order.tolist(), []
    while places:  # what starts with a sentence's first token goes on with the rest of it
        sentence = firsts[places[0]]
        assert places[: len(sentence)] == sentence
        read.append(sentence[0])
        places = places[len(sentence) :]
    assert sorted(read) == sorted(firsts)


def test_every_order_of_sentences_is_as_likely():
    source, counts = generator(0), {}
    for _ in range(1200):
        key = tuple(permute_sentences(torch.tensor([5, 0, 6, 0, 7]), torch.tensor([0]), source).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert chi_square_p(list(counts.values()), [200.0] * 6) > 0.001


@given(texts=st.lists(ids_of_text, min_size=1, max_size=4), seed=seeds, shuffle=st.booleans())
def test_text_infilling_collator(texts, seed, shuffle):
    tokenizer = both()[0]
    features = [{"input_ids": [CLS, *text, SEP]} for text in texts]
    collator = DataCollatorForTextInfilling(tokenizer, shuffle_sentences=shuffle, seed=seed)
    batch = collator(features)
    for text, inputs, mask, labels in zip(
        texts, batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
    ):
        assert labels[labels != -100].tolist() == [CLS, *text, SEP]  # the text as it was, to be predicted
        seen = inputs[mask == 1].tolist()
        assert (seen[0], seen[-1]) == (CLS, SEP)
        left = [token for token in seen[1:-1] if token != MASK]
        assert len(left) == len(text) - round(0.3 * len(text))
        rest = iter(text)
        if not shuffle:
            assert all(token in rest for token in left)  # in the text's order
        assert not set(left) - set(text)
    again = DataCollatorForTextInfilling(tokenizer, shuffle_sentences=shuffle, seed=seed)(features)
    assert torch.equal(again["input_ids"], batch["input_ids"])


def test_text_infilling_shuffles_sentences():
    tokenizer = both()[0]
    ids = tokenizer("the cat sat . a dog ! on the mat .")["input_ids"]
    collator = DataCollatorForTextInfilling(tokenizer, mask_ratio=0.0, seed=1)
    seen = {tokenizer.decode(collator([ids])["input_ids"][0], skip_special_tokens=True) for _ in range(60)}
    first, second, third = "the cat sat .", "a dog !", "on the mat ."
    assert seen == {
        " ".join(order)
        for order in (
            (first, second, third),
            (first, third, second),
            (second, first, third),
            (second, third, first),
            (third, first, second),
            (third, second, first),
        )
    }


# ---- bad input -------------------------------------------------------------------------------------------------------

LONG = torch.arange(100)
BAD = {
    "too few sentinels": (
        lambda: corrupt_spans(LONG, LONG % 2 == 0, MANY[:5]),
        "50 spans and the end of the target need as many sentinels, but sentinel_ids holds 5.*shorter",
    ),
    "no sentinels": (lambda: DataCollatorForSpanCorruption(both()[0]), "has no sentinels: .*<extra_id_0>"),
    "a density": (
        lambda: DataCollatorForSpanCorruption(with_sentinels(), noise_density=1.5),
        "noise_density=1.5 must be a probability",
    ),
    "nothing kept": (
        lambda: DataCollatorForSpanCorruption(with_sentinels(), noise_density=1.0),
        "noise_density=1.0 must lie between 0 and 1",
    ),
    "no span": (
        lambda: DataCollatorForSpanCorruption(with_sentinels(), mean_span_length=0.5),
        "mean_span_length=0.5 must be at least 1",
    ),
    "a text of one token": (
        lambda: DataCollatorForSpanCorruption(with_sentinels())([[7]]),
        "A text has 1 tokens without its end-of-text token.*at least 2",
    ),
    "no mask token": (
        lambda: DataCollatorForTextInfilling(ours(mask_token=None)),
        "has no mask_token, which stands for a span",
    ),
    "a ratio": (lambda: DataCollatorForTextInfilling(both()[0], mask_ratio=-1), "mask_ratio=-1 must be a probability"),
    "a mean": (
        lambda: DataCollatorForTextInfilling(both()[0], mean_span_length=0),
        "mean_span_length=0 must be above 0",
    ),
    "no ids": (
        lambda: DataCollatorForTextInfilling(both()[0])([{"ids": [5]}]),
        r"features\[0\] has no 'input_ids', only \['ids'\]",
    ),
    "no sentence ends": (
        lambda: DataCollatorForTextInfilling(both()[0], sentence_ends=["。"]),
        "none of sentence_ends=.*shuffle_sentences=False",
    ),
    "a seed": (lambda: DataCollatorForTextInfilling(both()[0], seed="a"), "seed='a' must be a whole number"),
    "spans that do not fit": (
        lambda: restore_infilled(torch.tensor([MASK, 5]), [], MASK),
        "input_ids has 1 mask tokens, but there are 0 spans",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        call()
    assert isinstance(caught.value, MinitransformersError)


def test_as_many_sentinels_as_are_needed_are_enough():
    noise = torch.arange(10) % 2 == 1
    assert len(corrupt_spans(torch.arange(10), noise, MANY[:5], final_sentinel=False).labels) == 10
    with pytest.raises(InputError):
        corrupt_spans(torch.arange(10), noise, MANY[:5])
    assert len(sentinel_token_ids(with_sentinels())) == len(SENTINELS)
