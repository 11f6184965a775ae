"""Padding collators against transformers on drawn examples, and their errors."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings, strategies as st
from small_tokenizers import VOCAB_SIZE, both, ours

import minitransformers
from minitransformers import InputError

NAMES = [
    "DataCollatorForLanguageModeling",
    "DataCollatorForMultipleChoice",
    "DataCollatorForSeq2Seq",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "default_data_collator",
]

rows = st.lists(st.integers(5, VOCAB_SIZE - 1), min_size=1, max_size=12)
sides = st.sampled_from(["right", "left"])
kinds = st.sampled_from(["pt", "np"])
forms = st.sampled_from(["list", "array", "tensor"])


def to_form(values, form):
    if form == "list":
        return values
    return np.array(values) if form == "array" else torch.tensor(values)


@st.composite
def examples(draw, *, labels=None):
    """One to four examples with the same fields, in lists, arrays or tensors."""
    form = draw(forms)
    optional = draw(st.sets(st.sampled_from(["token_type_ids", "attention_mask", "special_tokens_mask"])))
    result = []
    for ids in draw(st.lists(rows, min_size=1, max_size=4)):
        example = {"input_ids": to_form(ids, form)}
        for name in sorted(optional):
            example[name] = to_form(draw(st.lists(st.integers(0, 1), min_size=len(ids), max_size=len(ids))), form)
        if labels is not None:
            example |= labels(draw, ids, form)
        result.append(example)
    return result


@st.composite
def paddings(draw):
    options = {"padding": draw(st.sampled_from([True, "longest", "max_length"]))}
    if options["padding"] == "max_length":
        options["max_length"] = draw(st.sampled_from([12, 16]))
    if draw(st.booleans()):
        options["pad_to_multiple_of"] = draw(st.sampled_from([2, 8]))
    return options


def assert_same_batch(ours_, theirs_):
    """The same fields with the same types and numbers."""
    assert set(ours_.keys()) == set(theirs_.keys())
    for name, expected in theirs_.items():
        value = ours_[name]
        assert type(value) is type(expected), name
        if isinstance(expected, (torch.Tensor, np.ndarray)):
            assert value.dtype == expected.dtype, name
            assert value.shape == expected.shape, name
            assert (np.asarray(value) == np.asarray(expected)).all(), name
        else:
            assert value == expected, name


def copies(features):
    """A copy of the examples for each library."""
    return [dict(example) for example in features], [dict(example) for example in features]


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_transformers(name):
    """In the same order, with the same defaults; ours may have more at the end."""
    theirs_ = list(inspect.signature(getattr(transformers, name)).parameters.values())
    ours_ = list(inspect.signature(getattr(minitransformers, name)).parameters.values())
    assert [(one.name, one.default, one.kind) for one in ours_[: len(theirs_)]] == [
        (one.name, one.default, one.kind) for one in theirs_
    ]


# ---- stacking --------------------------------------------------------------------------------------------------------


@st.composite
def stackable(draw):
    length, number, form = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(forms)
    kind = draw(st.sampled_from([None, "label", "float label", "label_ids", "float label_ids"]))
    result = []
    for index in range(number):
        values = draw(st.lists(st.integers(0, 9), min_size=length, max_size=length))
        example = {
            "input_ids": to_form(values, form),
            "mask": to_form([bool(value % 2) for value in values], form),
            "scores": to_form([value / 2 for value in values], form),
            "text": "left out",
            "nothing": None,
        }
        if kind is not None:
            label = values if "ids" in kind else values[0]
            label = (np.array(label) / 2).tolist() if "float" in kind else label
            example[kind.removeprefix("float ")] = to_form(label, form) if "ids" in kind else label
        result.append(example if index or not draw(st.booleans()) else dict(example))
    return result


@given(features=stackable(), kind=kinds, objects=st.booleans())
def test_default_data_collator(features, kind, objects):
    if kind == "np" and isinstance(features[0]["input_ids"], torch.Tensor):
        kind = "pt"  # the reference makes arrays of objects in some versions of numpy
    if objects:
        features = [SimpleNamespace(**example) for example in features]
    expected = transformers.default_data_collator(features, kind)
    assert_same_batch(minitransformers.default_data_collator(features, kind), expected)
    assert_same_batch(minitransformers.DefaultDataCollator(kind)(features), expected)


# ---- padding ---------------------------------------------------------------------------------------------------------


@given(
    features=examples(labels=lambda draw, ids, form: {"label": draw(st.integers(0, 3))}),
    options=paddings(),
    side=sides,
    kind=kinds,
    as_columns=st.booleans(),
)
def test_padding(features, options, side, kind, as_columns):
    (our_features, their_features), (mine, reference) = copies(features), both(side)
    if as_columns:  # like a slice of a data set
        our_features = {name: [example[name] for example in features] for name in features[0]}
        their_features = dict(our_features)
    expected = transformers.DataCollatorWithPadding(reference, return_tensors=kind, **options)(their_features)
    got = minitransformers.DataCollatorWithPadding(mine, return_tensors=kind, **options)(our_features)
    assert "labels" in got
    assert_same_batch(got, expected)


@pytest.mark.parametrize("name", ["label", "label_ids"])
def test_padding_renames_labels(name):
    batch = minitransformers.DataCollatorWithPadding(both()[0])(
        [{"input_ids": [5], name: 1}, {"input_ids": [5, 6], name: 0}]
    )
    assert batch["labels"].tolist() == [1, 0]
    assert name not in batch


def token_labels(name):
    return lambda draw, ids, form: {
        name: to_form(draw(st.lists(st.integers(-100, 8), min_size=len(ids), max_size=len(ids))), form)
    }


@given(
    features=st.one_of(examples(), examples(labels=token_labels("label")), examples(labels=token_labels("labels"))),
    options=paddings(),
    side=sides,
    kind=kinds,
    filler=st.sampled_from([-100, 0]),
)
def test_token_classification(features, options, side, kind, filler):
    (our_features, their_features), (mine, reference) = copies(features), both(side)
    options = {**options, "label_pad_token_id": filler, "return_tensors": kind}
    expected = transformers.DataCollatorForTokenClassification(reference, **options)(their_features)
    assert_same_batch(minitransformers.DataCollatorForTokenClassification(mine, **options)(our_features), expected)


class ShiftsLabels:
    """An encoder-decoder with the method that collators use."""

    def prepare_decoder_input_ids_from_labels(self, labels):
        labels = torch.as_tensor(labels)
        return torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1).masked_fill(labels == -100, 1)


def targets(draw, ids, form):
    return {
        "labels": to_form(
            draw(st.lists(st.integers(5, 50), min_size=1, max_size=9)), "list" if form == "list" else "array"
        )
    }


@given(
    features=st.one_of(examples(), examples(labels=targets), examples(labels=lambda draw, ids, form: {"labels": None})),
    options=paddings(),
    side=sides,
    kind=kinds,
    filler=st.sampled_from([-100, 0]),
    with_model=st.booleans(),
)
def test_sequence_to_sequence(features, options, side, kind, filler, with_model):
    (our_features, their_features), (mine, reference) = copies(features), both(side)
    model = ShiftsLabels() if with_model else None
    options = {**options, "label_pad_token_id": filler, "return_tensors": kind}
    expected = transformers.DataCollatorForSeq2Seq(reference, model, **options)(their_features)
    got = minitransformers.DataCollatorForSeq2Seq(mine, model, **options)(our_features)
    if kind == "np" and "decoder_input_ids" in got:  # the stand-in always returns tensors
        got["decoder_input_ids"], expected["decoder_input_ids"] = map(
            np.asarray, (got["decoder_input_ids"], expected["decoder_input_ids"])
        )
    assert_same_batch(got, expected)


def test_sequence_to_sequence_without_padding():
    features = [{"input_ids": [5, 6], "labels": [7]}, {"input_ids": [8, 9], "labels": [5]}]
    mine, reference = both()
    expected = transformers.DataCollatorForSeq2Seq(reference, padding=False)([dict(one) for one in features])
    assert_same_batch(minitransformers.DataCollatorForSeq2Seq(mine, padding=False)(features), expected)
    with pytest.raises(InputError, match=r"'labels' of different lengths \(\[1, 2\]\).*pass padding=True"):
        minitransformers.DataCollatorForSeq2Seq(mine, padding=False)(
            [features[0], {"input_ids": [5, 6], "labels": [7, 8]}]
        )


@st.composite
def choices(draw):
    number, name = draw(st.integers(1, 4)), draw(st.sampled_from(["label", "labels"]))
    masked = draw(st.booleans())
    result = []
    for _ in range(draw(st.integers(1, 3))):
        ids = draw(st.lists(rows, min_size=number, max_size=number))
        example = {"input_ids": ids, "token_type_ids": [[len(row) % 2] * len(row) for row in ids]}
        if masked:
            example["attention_mask"] = [[1] * len(row) for row in ids]
        result.append({**example, name: draw(st.integers(0, number - 1))})
    return result


@given(features=choices(), options=paddings(), side=sides)
def test_multiple_choice(features, options, side):
    (our_features, their_features), (mine, reference) = copies(features), both(side)
    expected = transformers.DataCollatorForMultipleChoice(reference, **options)(their_features)
    collator = minitransformers.DataCollatorForMultipleChoice(mine, **options)
    assert_same_batch(collator(our_features), expected)
    arrays = collator(our_features, "np")  # the reference returns only tensors
    assert_same_batch(arrays, {name: value.numpy() for name, value in expected.items()})


@given(
    features=st.one_of(examples(), examples(labels=token_labels("labels"))),
    kind=kinds,
    extras=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    start=st.sampled_from([0, 2]),
    separator=st.sampled_from([None, -7]),
)
def test_flattening(features, kind, extras, start, separator):
    positions, flash, numbers = extras
    options = {
        "return_tensors": kind,
        "return_position_ids": positions,
        "return_flash_attn_kwargs": flash,
        "return_seq_idx": numbers,
        "position_ids_start": start,
    }
    expected = transformers.DataCollatorWithFlattening(**options)(features, separator_id=separator)
    got = minitransformers.DataCollatorWithFlattening(**options)(features, separator_id=separator)
    assert_same_batch(got, expected)
    assert_same_batch(FLAT()(features), transformers.DataCollatorWithFlattening()(features))


def test_examples_are_not_changed():
    features = [{"input_ids": [5, 6], "labels": [1, 2]}, {"input_ids": [5], "labels": [3]}]
    before = [{name: list(value) for name, value in example.items()} for example in features]
    for collator in (
        minitransformers.DataCollatorForTokenClassification(both()[0]),
        minitransformers.DataCollatorForSeq2Seq(both()[0]),
        minitransformers.DataCollatorForLanguageModeling(both()[0], seed=0),
        minitransformers.DataCollatorWithFlattening(),
    ):
        collator(features)
        assert features == before


# ---- bad input -------------------------------------------------------------------------------------------------------

ONE, TWO = {"input_ids": [5, 6], "labels": [1, 2]}, {"input_ids": [5]}
NESTED = {"input_ids": [[5], [6]], "labels": 1}
TOKENS = minitransformers.DataCollatorForTokenClassification
SEQUENCES = minitransformers.DataCollatorForSeq2Seq
CHOICES = minitransformers.DataCollatorForMultipleChoice
FLAT = minitransformers.DataCollatorWithFlattening
BAD = {
    "no examples": (lambda t: TOKENS(t)([]), "features is empty: a batch needs at least one example"),
    "no examples to stack": (lambda t: minitransformers.default_data_collator([]), "features is empty"),
    "no examples to pad": (lambda t: minitransformers.DataCollatorWithPadding(t)([]), "features is empty"),
    "a batch already": (lambda t: TOKENS(t)({"input_ids": [[5]]}), "features must be a list of examples, got dict"),
    "a generator": (lambda t: FLAT()(iter([ONE])), "features must be a list of examples, got list_iterator"),
    "no ids to flatten": (
        lambda t: FLAT()([{"input_id": [5]}]),
        r"features\[0\] has no 'input_ids', only.*Did you mean",
    ),
    "no ids to pad": (lambda t: TOKENS(t)([{"ids": [5]}]), "pad needs 'input_ids', got only"),
    "a kind of tensor": (lambda t: TOKENS(t, return_tensors="tf")([ONE]), "return_tensors='tf' must be 'pt'.*or 'np'"),
    "the same, later": (lambda t: FLAT()([ONE], "jax"), "return_tensors='jax' must be 'pt'.*or 'np'"),
    "labels missing in one": (
        lambda t: TOKENS(t)([ONE, TWO]),
        r"'labels' is missing in features \[1\].*remove it from all",
    ),
    "labels missing in the first": (lambda t: SEQUENCES(t)([TWO, ONE]), r"'labels' is missing in features \[0\]"),
    "labels missing for choices": (
        lambda t: CHOICES(t)([NESTED, {"input_ids": [[5], [6]]}]),
        r"'labels' is missing in features \[1\]",
    ),
    "a label missing to stack": (
        lambda t: minitransformers.default_data_collator([{"label": 1}, {"x": 2}]),
        r"'label' is missing in features \[1\]",
    ),
    "more labels than tokens": (
        lambda t: TOKENS(t)([{"input_ids": [5], "labels": [1, 2, 3]}]),
        r"labels of features\[0\] has 3 entries, but the batch has room for 1",
    ),
    "labels longer than max_length": (
        lambda t: SEQUENCES(t, padding="max_length", max_length=4)([{"input_ids": [5], "labels": [1] * 5}]),
        r"labels of features\[0\] has 5 entries, but the batch has room for 4.*truncate",
    ),
    "a text longer than max_length": (
        lambda t: TOKENS(t, padding="max_length", max_length=2)([{"input_ids": [5] * 3}, TWO]),
        "'input_ids' cannot become a tensor: its rows have different lengths.*truncation=True",
    ),
    "other numbers of choices": (
        lambda t: CHOICES(t)([NESTED, {"input_ids": [[5]], "labels": 0}]),
        r"features\[1\] has \{'input_ids': 1\} entries, but the first example has 2 choices",
    ),
    "an empty text to flatten": (lambda t: FLAT()([{"input_ids": []}]), r"features\[0\] has 0 input_ids"),
    "labels of another length": (
        lambda t: FLAT()([{"input_ids": [5], "labels": [1, 2]}]),
        r"features\[0\] has 1 input_ids and 2 labels",
    ),
    "rows of different lengths to stack": (
        lambda t: minitransformers.default_data_collator([{"x": [1]}, {"x": [1, 2]}]),
        r"'x' of these examples cannot be stacked.*\[1, 2\].*DataCollatorWithPadding",
    ),
    "text in place of ids": (
        lambda t: FLAT()([{"input_ids": ["a"]}]),
        r"input_ids of features\[0\] must be one sequence of ids",
    ),
    "no padding token": (lambda t: TOKENS(ours(pad_token=None))([ONE, {"input_ids": [5], "labels": [1]}]), "pad_token"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=f"(?s){message}") as caught:
        call(both()[0])
    assert isinstance(caught.value, minitransformers.MinitransformersError)


@settings(max_examples=20)
@given(features=examples(labels=token_labels("labels")))
def test_labels_may_be_missing_in_all(features):
    """For prediction: examples without labels give a batch without labels."""
    bare = [{name: value for name, value in example.items() if name != "labels"} for example in features]
    assert "labels" not in TOKENS(both()[0])(bare)
    assert SEQUENCES(both()[0])(bare)["labels"] is None
    assert "labels" not in CHOICES(both()[0])([{"input_ids": [[5], [6]]}])
