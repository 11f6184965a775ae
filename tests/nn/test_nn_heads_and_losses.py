"""Which positions heads look at, and losses against sums written out."""

import math

import pytest
import torch
from hypothesis import given, strategies as st

from minitransformers.nn.losses import (
    IGNORED,
    causal_lm_loss,
    sequence_classification_loss,
    span_loss,
    token_cross_entropy,
)
from minitransformers.nn.selection import keep_positions, last_token_positions, of_last_tokens
from minitransformers.testing.comparing import assert_close


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "position"),
    [([5, 6, 0, 0], 1), ([0, 0, 5, 6], 3), ([5, 0, 6, 0], 2), ([5, 6, 7, 8], 3), ([5, 0, 0, 0], 0), ([0, 0, 0, 0], 0)],
)
def test_the_last_token_is_the_rightmost_that_is_not_padding(ids, position):
    assert last_token_positions(torch.tensor([ids]), 0).tolist() == [position]


def test_the_vector_of_the_last_token_is_the_last_of_the_row_where_padding_is_unknown():
    vectors, ids = random(2, 4, 3), torch.tensor([[5, 6, 0, 0], [5, 6, 7, 8]])
    assert torch.equal(of_last_tokens(vectors, ids, 0), torch.stack([vectors[0, 1], vectors[1, 3]]))
    assert torch.equal(of_last_tokens(vectors, None, 0), vectors[:, 3])
    assert torch.equal(of_last_tokens(vectors, ids, None), vectors[:, 3])


def test_positions_to_keep():
    hidden = random(2, 4, 3)
    assert torch.equal(keep_positions(hidden, 0), hidden)
    assert torch.equal(keep_positions(hidden, 1), hidden[:, 3:])
    assert torch.equal(keep_positions(hidden, 9), hidden)
    assert torch.equal(keep_positions(hidden, torch.tensor([2, 0])), hidden[:, [2, 0]])
    each = keep_positions(hidden, torch.tensor([[1, 3], [0, 0]]))
    assert torch.equal(each, torch.stack([hidden[0, [1, 3]], hidden[1, [0, 0]]]))
    mask = torch.tensor([[True, False, False, True], [False, True, False, False]])
    assert torch.equal(keep_positions(hidden, mask), hidden[mask])


# ---- losses ----------------------------------------------------------------------------------------------------------


def minus_log_p(logits, label):
    return math.log(sum(math.exp(x) for x in logits)) - logits[label]


def test_cross_entropy_by_hand():
    """Logits 0, log 3: probabilities 1/4 and 3/4."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64)
    assert token_cross_entropy(logits, torch.tensor([0, 0])).item() == pytest.approx(math.log(4))
    assert token_cross_entropy(logits, torch.tensor([0, 1])).item() == pytest.approx(
        (math.log(4) + math.log(4 / 3)) / 2
    )
    assert token_cross_entropy(logits, torch.tensor([IGNORED, 1])).item() == pytest.approx(math.log(4 / 3))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5), st.integers(0, 99), st.booleans())
def test_token_cross_entropy_is_the_mean_over_what_counts(batch, length, classes, seed, with_num_items):
    logits = random(batch, length, classes, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (batch, length), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORED
    labels[0, 0] = 0
    terms = [
        minus_log_p(logits[i, j].tolist(), labels[i, j].item())
        for i in range(batch)
        for j in range(length)
        if labels[i, j] != IGNORED
    ]
    num_items = 7 if with_num_items else None
    expected = sum(terms) / (num_items or len(terms))
    assert token_cross_entropy(logits, labels, num_items=num_items).item() == pytest.approx(expected)
    assert token_cross_entropy(logits, labels.int(), num_items=num_items).item() == pytest.approx(expected)


def test_with_nothing_to_count_there_is_no_mean():
    assert token_cross_entropy(random(2, 3), torch.tensor([IGNORED, IGNORED])).isnan()


@given(st.integers(1, 3), st.integers(2, 5), st.integers(0, 99))
def test_the_next_token_is_what_is_learnt(batch, length, seed):
    """Logits at t are scored against the label at t + 1: shifted once, here and nowhere else."""
    logits = random(batch, length, 6, seed=seed)
    labels = torch.randint(0, 6, (batch, length), generator=torch.Generator().manual_seed(seed))
    terms = [
        minus_log_p(logits[i, j].tolist(), labels[i, j + 1].item()) for i in range(batch) for j in range(length - 1)
    ]
    assert causal_lm_loss(logits, labels).item() == pytest.approx(sum(terms) / len(terms))
    assert causal_lm_loss(logits, labels, num_items=torch.tensor(5)).item() == pytest.approx(sum(terms) / 5)
    first_changed = labels.clone()
    first_changed[:, 0] = (labels[:, 0] + 1) % 6
    assert torch.equal(causal_lm_loss(logits, first_changed), causal_lm_loss(logits, labels))


def test_losses_of_micro_batches_add_up_to_the_batchs():
    logits = random(4, 5, 6)
    labels = torch.randint(0, 6, (4, 5), generator=torch.Generator().manual_seed(0))
    labels[0, 1:] = IGNORED  # micro-batches of different numbers of labels
    total = (labels[:, 1:] != IGNORED).sum()
    parts = [causal_lm_loss(logits[i : i + 1], labels[i : i + 1], num_items=total) for i in range(4)]
    assert_close(sum(parts), causal_lm_loss(logits, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_language_models_half_precision_logits_are_scored_in_float32(dtype):
    logits = random(2, 5, 6).to(dtype)
    labels = torch.randint(0, 6, (2, 5), generator=torch.Generator().manual_seed(0))
    loss = causal_lm_loss(logits, labels)
    assert loss.dtype == torch.float32
    assert_close(loss, causal_lm_loss(logits.float(), labels))


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem_type"),
    [
        (1, torch.tensor([1.5]), "regression"),
        (1, torch.tensor([1]), "regression"),
        (3, torch.tensor([1]), "single_label_classification"),
        (3, torch.tensor([[1.0, 0, 1]]), "multi_label_classification"),
    ],
)
def test_the_problem_is_told_by_number_and_type_of_labels(num_labels, labels, problem_type):
    logits = random(1, num_labels)
    told = sequence_classification_loss(logits, labels, problem_type)
    assert_close(sequence_classification_loss(logits, labels), told)


def test_sequence_losses_by_hand():
    logits = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)
    single = sequence_classification_loss(logits, torch.tensor([1]), "single_label_classification")
    assert single.item() == pytest.approx(math.log(4 / 3))
    multi = sequence_classification_loss(logits, torch.tensor([[1.0, 0.0]]), "multi_label_classification")
    assert multi.item() == pytest.approx((math.log(2) + math.log(4)) / 2)  # σ(0) = 1/2, 1 − σ(log 3) = 1/4
    numbers = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    for labels in (torch.tensor([3.0, 4.0]), torch.tensor([3, 4]), torch.tensor([[3.0], [4.0]])):
        assert sequence_classification_loss(numbers, labels, "regression").item() == pytest.approx((2**2 + 0) / 2)
    several = sequence_classification_loss(logits, torch.tensor([[1.0, math.log(3)]]), "regression")  # not two answers
    assert several.item() == pytest.approx(0.5)


def test_the_loss_of_a_span_is_the_mean_of_both_ends():
    start, end = random(2, 4), random(2, 4, seed=1)
    positions = torch.tensor([1, 2]), torch.tensor([3, 2])
    terms = [minus_log_p(start[i].tolist(), positions[0][i].item()) for i in range(2)]
    ends = [minus_log_p(end[i].tolist(), positions[1][i].item()) for i in range(2)]
    assert span_loss(start, end, *positions).item() == pytest.approx((sum(terms) / 2 + sum(ends) / 2) / 2)


@pytest.mark.parametrize("beyond", [4, 5, 1000])
def test_an_answer_that_was_cut_off_is_not_counted(beyond):
    start, end = random(2, 4), random(2, 4, seed=1)
    loss = span_loss(start, end, torch.tensor([1, beyond]), torch.tensor([beyond, 2]))
    expected = minus_log_p(start[0].tolist(), 1) / 2 + minus_log_p(end[1].tolist(), 2) / 2
    assert loss.item() == pytest.approx(expected)
