"""The collator of language modelling against transformers: after equal draws, in distribution, and in workers."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings, strategies as st
from small_tokenizers import CLS, FIRST, MASK, PAD, SEP, VOCAB_SIZE, WORDS, both, chi_square_p, ours, two_sample_p
from torch.utils.data import DataLoader

from minitransformers import (
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    DataCollatorForTokenClassification,
    InputError,
    MinitransformersError,
)
from minitransformers.assets import fetch
from minitransformers.data import MaskedDataset, ShuffledBatchSampler
from minitransformers.training import Settings
from minitransformers.training.loop.batches import Batches
from minitransformers.training.loop.progress import Progress

Reference = transformers.DataCollatorForLanguageModeling
SPECIAL = torch.arange(FIRST)
seeds = st.integers(0, 2**32)
sides = st.sampled_from(["right", "left"])
texts = st.lists(st.lists(st.integers(FIRST, VOCAB_SIZE - 1), min_size=1, max_size=14), min_size=1, max_size=5)
forms = st.sampled_from(["examples", "no mask", "lists", "tensors"])


def examples_of(rows, *, with_mask=True):
    """Examples as from a tokenizer: special tokens around each row, and a mask of them.

    The mask has some ordinary tokens too, as for a user who does not want to predict them.
    """
    examples = []
    for row in rows:
        ids = [CLS, *row, SEP]
        example = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        if with_mask:
            example["special_tokens_mask"] = [1, *[int(token % 3 == 0) for token in row], 1]
        examples.append(example)
    return examples


@st.composite
def masking_options(draw):
    # Few values, most of them large: freely drawn values would mostly be near 0.
    options = {"mlm_probability": draw(st.sampled_from([0.5, 1.0, 0.15, 0.0])), "seed": draw(st.none() | seeds)}
    options["mask_replace_prob"] = draw(st.sampled_from([0.0, 0.5, 0.8, 1.0]))
    options["random_replace_prob"] = draw(st.sampled_from([0.0, 0.1, 0.2])) if options["mask_replace_prob"] < 1 else 0.0
    options["pad_to_multiple_of"] = draw(st.sampled_from([None, 8]))
    return options


def assert_agree(ours_, theirs_, specials_drawn):
    """Equal except for special tokens that the reference drew at random; their number is added to a list."""
    assert set(ours_.keys()) == set(theirs_.keys())
    for name in theirs_:
        assert ours_[name].dtype == theirs_[name].dtype
        assert ours_[name].shape == theirs_[name].shape
        if name != "input_ids":
            assert torch.equal(ours_[name], theirs_[name]), name
    mine, reference = ours_["input_ids"], theirs_["input_ids"]
    other = mine != reference
    assert (ours_["labels"][other] != -100).all()
    assert torch.isin(reference[other], SPECIAL).all()
    assert not torch.isin(mine[other], SPECIAL).any()
    specials_drawn.append(int(other.sum()))


# ---- agreement with transformers -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(rows=texts, options=masking_options(), side=sides, form=forms)
def test_equal_draws_give_equal_batches(rows, options, side, form):
    """Three batches after one seed: an additional draw in one would change the next."""
    mine, reference = both(side)
    if form in ("lists", "tensors"):
        make = torch.tensor if form == "tensors" else list
        features = [make([CLS, *row, SEP]) for row in rows]
    else:
        features = examples_of(rows, with_mask=form == "examples")
    batches = []
    for collator in (DataCollatorForLanguageModeling(mine, **options), Reference(reference, **options)):
        torch.manual_seed(3)
        batches.append([collator([one if form != "examples" else dict(one) for one in features]) for _ in range(3)])
    for one, other in zip(*batches, strict=True):
        assert_agree(one, other, [])


def test_few_tokens_differ_after_equal_draws():
    """The exceptions of the test above are as frequent as special tokens in the draws of the reference."""
    rows = torch.randint(FIRST, VOCAB_SIZE, (400, 100), generator=torch.Generator().manual_seed(0)).tolist()
    drawn: list[int] = []
    mine, reference = both()
    options = {"seed": 7, "mlm_probability": 0.5, "random_replace_prob": 0.2}
    assert_agree(DataCollatorForLanguageModeling(mine, **options)(rows), Reference(reference, **options)(rows), drawn)
    expected = 400 * 100 * 0.5 * 0.2 * FIRST / VOCAB_SIZE
    assert abs(drawn[0] - expected) < 4 * expected**0.5


@given(rows=texts, seed=seeds, probability=st.floats(0, 1), with_mask=st.booleans())
def test_whole_words_agree(rows, seed, probability, with_mask):
    """The reference does not pad offsets: one length."""
    length = min(map(len, rows))
    features = examples_of([row[:length] for row in rows], with_mask=with_mask)
    for example, row in zip(features, rows, strict=True):
        # A third of the tokens have a space before them, and start a word.
        ends = np.cumsum([3 + (token % 3 == 0) for token in row[:length]]).tolist()
        offsets = [(end - 3, end) for end in ends]
        example["offset_mapping"] = [(0, 0), *offsets, (0, 0)]
    options = {"whole_word_mask": True, "mlm_probability": probability, "seed": seed}
    options |= {"mask_replace_prob": 1.0, "random_replace_prob": 0.0}
    mine, reference = both()
    one = DataCollatorForLanguageModeling(mine, **options)([dict(example) for example in features])
    other = Reference(reference, **options)([dict(example) for example in features])
    assert set(one.keys()) == set(other.keys())
    for name in other:
        assert torch.equal(one[name], other[name])


def test_whole_words_of_real_text_in_a_padded_batch():
    tokenizer = both()[0]
    sentences = ["the unbelievable cat sat on the mat .", "a dog playing", "unbelievable"]
    features = [tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True) for text in sentences]
    collator = DataCollatorForLanguageModeling(
        tokenizer, whole_word_mask=True, mlm_probability=0.5, mask_replace_prob=1.0, random_replace_prob=0.0, seed=0
    )
    pieces = torch.tensor([FIRST + index for index, word in enumerate(WORDS) if word.startswith("##")])
    seen = set()
    for _ in range(20):
        batch = collator(features)
        assert "offset_mapping" not in batch
        selected = batch["labels"] != -100
        piece = torch.isin(torch.where(selected, batch["labels"], batch["input_ids"]), pieces)
        goes_on = piece[:, 1:]
        assert torch.equal(selected[:, 1:][goes_on], selected[:, :-1][goes_on])
        assert (batch["input_ids"][selected] == MASK).all()
        seen |= set(selected[0].tolist())
    assert seen == {True, False}


def test_whole_words_of_a_real_vocabulary_agree():
    """BERT's WordPiece on sentences of one length, which the reference needs."""
    texts = ["Unbelievably, transformers' tokenizers disagree.", "A man is eating food — overcooked couscous!"] * 8
    call = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    call |= {"padding": "max_length", "truncation": True, "max_length": 16}
    options = {"whole_word_mask": True, "mlm_probability": 0.4, "mask_replace_prob": 1.0, "random_replace_prob": 0.0}
    path = fetch("minilm")
    batches = []
    for make, load in (
        (DataCollatorForLanguageModeling, AutoTokenizer),
        (Reference, transformers.AutoTokenizer),
    ):
        tokenizer = load.from_pretrained(path)
        batches.append(make(tokenizer, seed=1, **options)([tokenizer(text, **call) for text in texts]))
    for name, expected in batches[1].items():
        assert torch.equal(batches[0][name], expected)
    assert (batches[0]["labels"] != -100).any()


def test_distribution_is_that_of_transformers():
    """With different seeds: the shares of replacements, and of selections by position, by Pearson's test."""
    rows = torch.randint(FIRST, VOCAB_SIZE, (300, 50), generator=torch.Generator().manual_seed(0)).tolist()
    counts, places = [], []
    for seed, make, tokenizer in ((1, DataCollatorForLanguageModeling, both()[0]), (2, Reference, both()[1])):
        original = torch.tensor(rows)
        batches = [make(tokenizer, seed=seed + 10 * part)(rows) for part in range(6)]
        shown = torch.stack([batch["input_ids"] for batch in batches])
        selected = torch.stack([batch["labels"] for batch in batches]) != -100
        masked, kept = selected & (shown == MASK), selected & (shown == original)
        random = selected & ~masked & ~kept
        counts.append([int(kind.sum()) for kind in (~selected, masked, kept, random)])
        places.append(selected.sum(dim=(0, 1)))
    assert two_sample_p(*counts) > 0.001
    assert two_sample_p(*places) > 0.001
    assert (
        two_sample_p(counts[0], [counts[1][0], counts[1][1], counts[1][3], counts[1][2]]) > 0.0
    )  # the test of the test
    assert two_sample_p(counts[0], [counts[1][0], counts[1][1] // 2, counts[1][2] * 3, counts[1][3]]) < 1e-6


@given(rows=texts, side=sides, multiple=st.sampled_from([None, 8]), form=st.sampled_from(["examples", "lists"]))
def test_causal_labels_agree(rows, side, multiple, form):
    """If the padding token has no other use; also for examples with padding tokens."""
    mine, reference = both(side)
    padded = [[*row, PAD] if side == "right" else [PAD, *row] for row in rows]
    features = (
        padded
        if form == "lists"
        else [{"input_ids": row, "attention_mask": [int(t != PAD) for t in row]} for row in padded]
    )
    options = {"mlm": False, "pad_to_multiple_of": multiple}
    for kind in ("pt", "np"):
        got = DataCollatorForLanguageModeling(mine, **options)(features, kind)
        expected = Reference(reference, **options)(features, kind)
        assert set(got.keys()) == set(expected.keys())
        for name in expected:
            assert type(got[name]) is type(expected[name])
            assert got[name].dtype == expected[name].dtype
            assert (np.asarray(got[name]) == np.asarray(expected[name])).all()


# ---- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("form", ["mask", "no mask", "lists"])
def test_the_end_of_text_is_learnt_if_it_is_also_the_padding_token(side, form):
    tokenizer = ours(eos_token="[SEP]", pad_token="[SEP]", padding_side=side)
    rows = [[7, 8, SEP], [9, SEP]]
    features = rows if form == "lists" else [{"input_ids": row} for row in rows]
    if form == "mask":
        features = [{**one, "attention_mask": [1] * len(one["input_ids"])} for one in features]
    labels = DataCollatorForLanguageModeling(tokenizer, mlm=False)(features)["labels"].tolist()
    assert labels == [[7, 8, SEP], [9, SEP, -100] if side == "right" else [-100, 9, SEP]]


@given(rows=texts, seed=seeds, side=sides, with_mask=st.booleans())
def test_both_kinds_of_tensors_hold_the_same_numbers(rows, seed, side, with_mask):
    features = examples_of(rows, with_mask=with_mask)
    tensors = DataCollatorForLanguageModeling(both(side)[0], seed=seed)(features)
    arrays = DataCollatorForLanguageModeling(both(side)[0], seed=seed, return_tensors="np")(features)
    assert set(tensors.keys()) == set(arrays.keys())
    for name in tensors:
        assert isinstance(arrays[name], np.ndarray)
        assert (tensors[name].numpy() == arrays[name]).all()


@given(rows=texts, seed=seeds)
def test_special_tokens_are_never_selected(rows, seed):
    """Also those inside a text, which are ordinary in a tokenizer's special_tokens_mask."""
    features = examples_of([[*row, SEP, 1] for row in rows])
    collator = DataCollatorForLanguageModeling(both()[0], mlm_probability=1.0, seed=seed)
    batch = collator(features)
    original = DataCollatorForLanguageModeling(both()[0], mlm_probability=0.0)(features)["input_ids"]
    assert torch.equal(batch["labels"] != -100, ~torch.isin(original, SPECIAL) & (original % 3 != 0))


def test_at_least_one():
    rows = [[7], [8, 9], [10] * 30]
    collator = DataCollatorForLanguageModeling(both()[0], mlm_probability=0.0, at_least_one=True, seed=0)
    counts = torch.zeros(30)
    for _ in range(600):
        selected = collator(rows)["labels"] != -100
        assert selected.sum(1).tolist() == [1, 1, 1]
        counts += selected[2]
    assert chi_square_p(counts, torch.full((30,), 20.0)) > 0.001
    without = DataCollatorForLanguageModeling(both()[0], mlm_probability=0.0, seed=0)
    assert (without(rows)["labels"] == -100).all()


# ---- seeds and workers -----------------------------------------------------------------------------------------------


def rows_of(number):
    return torch.randint(FIRST, VOCAB_SIZE, (number, 20), generator=torch.Generator().manual_seed(number)).tolist()


def test_a_seed_and_its_generator_are_the_same():
    rows = rows_of(8)
    by_seed = DataCollatorForLanguageModeling(both()[0], seed=5)
    by_generator = DataCollatorForLanguageModeling(both()[0], seed=torch.Generator().manual_seed(5))
    batches = [[collator(rows)["labels"] for _ in range(2)] for collator in (by_seed, by_generator)]
    assert torch.equal(batches[0][0], batches[1][0])
    assert torch.equal(batches[0][1], batches[1][1])
    assert not torch.equal(batches[0][0], batches[0][1])  # dynamic masking


def test_without_a_seed_torch_draws():
    collator = DataCollatorForLanguageModeling(both()[0])
    labels = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        labels.append(collator(rows_of(8))["labels"])
    assert torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[0], labels[2])


def epoch_of(collator, workers, dataset=None):
    torch.manual_seed(0)  # a DataLoader seeds its workers from it
    loader = DataLoader(dataset or rows_of(24), batch_size=4, num_workers=workers, collate_fn=collator)
    return [batch["labels"] for batch in loader]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_workers():
    """Reproducible, as in transformers; workers and epochs differ."""
    seeded = DataCollatorForLanguageModeling(both()[0], seed=5)
    seeded([[7, 8, 9]])  # draws before the workers start have no effect
    first = epoch_of(seeded, 2)
    assert same(first, epoch_of(DataCollatorForLanguageModeling(both()[0], seed=5), 2))
    assert same(first, epoch_of(Reference(both()[1], seed=5), 2))
    assert not torch.equal(first[0] == -100, first[1] == -100)  # one from each worker
    seeded.set_epoch(1)
    second = epoch_of(seeded, 2)
    assert not same(first, second)
    again = DataCollatorForLanguageModeling(both()[0], seed=5)
    again.set_epoch(1)
    assert same(second, epoch_of(again, 2))
    again.set_epoch(0)
    assert same(first, epoch_of(again, 2))


def test_workers_and_a_generator():
    collator = DataCollatorForLanguageModeling(both()[0], seed=torch.Generator().manual_seed(5))
    first = epoch_of(collator, 2)
    assert not torch.equal(first[0] == -100, first[1] == -100)
    assert same(first, epoch_of(DataCollatorForLanguageModeling(both()[0], seed=torch.Generator().manual_seed(5)), 2))


def test_a_collator_can_be_pickled():
    collator = DataCollatorForLanguageModeling(both()[0], seed=torch.Generator().manual_seed(5))
    copy = pickle.loads(pickle.dumps(collator))
    assert torch.equal(copy(rows_of(4))["labels"], collator(rows_of(4))["labels"])


@pytest.mark.parametrize("kind", ["int", "generator"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_has_the_same_masks(kind, workers):
    """With the training loop: stopped in its second epoch, and resumed by another process."""

    def run_of(how):
        seed = 5 if kind == "int" else torch.Generator().manual_seed(5)
        collator = DataCollatorForLanguageModeling(both()[0], seed=seed)
        rows = rows_of(24)
        if how == "a sampler that jumps":
            sampler = ShuffledBatchSampler(len(rows), 4, seed=0)
            return Batches(DataLoader(rows, batch_sampler=sampler, num_workers=workers, collate_fn=collator))
        return Batches(DataLoader(rows, batch_size=4, shuffle=True, num_workers=workers, collate_fn=collator))

    def epoch_from(run, number, batch=0):
        return (
            micro_batches[0]["labels"]
            for micro_batches in run.epoch(Progress(epoch=number, batch=batch), Settings(epochs=1000))
        )

    for how in ("torch's sampler", "a sampler that jumps"):
        torch.manual_seed(1)
        whole = run_of(how)
        assert len(list(epoch_from(whole, 0))) == 6
        second = epoch_from(whole, 1)
        next(second), next(second)
        place = Progress(epoch=1, batch=2)
        state = whole.state_dict(place)
        rest = list(second)
        resumed = run_of(how)
        torch.manual_seed(2)
        resumed.load_state_dict(state, place)
        assert len(rest) == 4
        assert same(list(epoch_from(resumed, 1, batch=2)), rest)


@pytest.mark.parametrize("versions", [1, 3, None])
def test_static_masking(versions):
    """One mask for all epochs, or a few masks in turn, for any workers and order."""
    collator = DataCollatorForLanguageModeling(both()[0], pad_to_multiple_of=8)
    examples = examples_of([row[: 5 + index] for index, row in enumerate(rows_of(12))])
    dataset = MaskedDataset(examples, collator, seed=3, versions=versions)
    pad = DataCollatorForTokenClassification(both()[0])
    epochs = []
    for epoch in range(4):
        dataset.set_epoch(epoch)
        epochs.append(epoch_of(pad, 0, dataset))
        if epoch == 1:
            assert same(epochs[1], epoch_of(pad, 2, dataset))
            shuffled = [dataset[index] for index in (5, 3, -1)]
            assert torch.equal(shuffled[0]["labels"], dataset[5]["labels"])
            assert torch.equal(shuffled[2]["labels"], dataset[11]["labels"])
    distinct = [not any(same(epoch, before) for before in epochs[:number]) for number, epoch in enumerate(epochs)]
    assert sum(distinct) == (4 if versions is None else versions)
    assert len(dataset[0]["input_ids"]) == len(examples[0]["input_ids"])
    lengths = [len(example["input_ids"]) for example in examples[:4]]
    assert epochs[0][0].shape == (4, max(lengths))
    assert all((row[length:] == -100).all() for row, length in zip(epochs[0][0], lengths, strict=True))


def test_static_masks_of_examples_are_unrelated():
    collator = DataCollatorForLanguageModeling(both()[0], mlm_probability=0.5)
    dataset = MaskedDataset(rows_of(1) * 200, collator, seed=0)
    selected = torch.stack([item["labels"] for item in dataset]) != -100
    assert len(set(map(tuple, selected.tolist()))) == 200
    assert chi_square_p(selected.sum(0), torch.full((20,), 100.0)) > 1e-3


# ---- bad input -------------------------------------------------------------------------------------------------------

MAKE = DataCollatorForLanguageModeling
BAD = {
    "no mask token": (
        lambda t: MAKE(ours(mask_token=None)),
        "tokenizer .PreTrainedTokenizer.* has no mask_token.*mlm=False.*add_special_tokens",
    ),
    "mlm_probability": (lambda t: MAKE(t, mlm_probability=1.5), "mlm_probability=1.5 must be a probability"),
    "no mlm_probability": (lambda t: MAKE(t, mlm_probability=None), "mlm_probability=None must be a probability"),
    "mask_replace_prob": (lambda t: MAKE(t, mask_replace_prob=-0.1), "mask_replace_prob=-0.1 must be a probability"),
    "random_replace_prob": (
        lambda t: MAKE(t, random_replace_prob=float("nan")),
        "random_replace_prob=nan must be a probability",
    ),
    "more than one": (
        lambda t: MAKE(t, mask_replace_prob=0.8, random_replace_prob=0.3),
        "mask_replace_prob=0.8 and random_replace_prob=0.3 add up to more than 1",
    ),
    "whole words of causal": (
        lambda t: MAKE(t, mlm=False, whole_word_mask=True),
        "whole_word_mask=True needs mlm=True",
    ),
    "a seed": (lambda t: MAKE(t, seed=-1), "seed=-1 must be a whole number.*torch.Generator"),
    "a seed with a fraction": (lambda t: MAKE(t, seed=1.5), "seed=1.5 must be a whole number"),
    "no offsets": (
        lambda t: MAKE(t, whole_word_mask=True, mask_replace_prob=1, random_replace_prob=0)(examples_of([[7]])),
        "whole_word_mask=True.*no 'offset_mapping'.*return_offsets_mapping=True",
    ),
    "no padding token": (
        lambda t: MAKE(ours(pad_token=None), mlm=False)([[5], [5, 6]]),
        "has no pad_token, which texts of different lengths need",
    ),
    "no examples": (lambda t: MAKE(t)([]), "features is empty"),
    "no ids": (lambda t: MAKE(t)([{"ids": [5]}]), "pad needs 'input_ids', got only"),
    "a batch already": (lambda t: MAKE(t)({"input_ids": [[5]]}), "features must be a list of examples, got dict"),
    "ids in a table": (lambda t: MAKE(t)([[[5]], [[6]]]), r"features\[0\] must be one sequence of ids"),
    "static causal": (lambda t: MaskedDataset([], MAKE(t, mlm=False)), "collator has mlm=False"),
    "a number of versions": (
        lambda t: MaskedDataset([], MAKE(t), versions=0),
        "versions=0 must be a whole number of at least 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        call(both()[0])
    assert isinstance(caught.value, MinitransformersError)


def test_an_index_out_of_range():
    with pytest.raises(IndexError, match="index 1 is out of range for 1 examples"):
        MaskedDataset([[7, 8]], MAKE(both()[0]))[1]


def test_whole_words_warn_of_changed_settings():
    with pytest.warns(UserWarning, match="mask_replace_prob becomes 1"):
        collator = MAKE(both()[0], whole_word_mask=True)
    assert (collator.mask_replace_prob, collator.random_replace_prob) == (1.0, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MAKE(both()[0], whole_word_mask=True, mask_replace_prob=1.0, random_replace_prob=0.0)


def test_a_causal_collator_needs_no_mask_token():
    tokenizer = ours(mask_token=None)
    assert MAKE(tokenizer, mlm=False)([[5, 6]])["labels"].tolist() == [[5, 6]]
    with pytest.raises(InputError):
        MAKE(tokenizer)
