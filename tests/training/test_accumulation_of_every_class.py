"""Micro-batches give the loss and gradient of the large batch, for every class with a loss; a repeated one counts 0."""

import pytest
import torch
from torch.testing import assert_close

import minitransformers as mt
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import LABELS
from minitransformers.training.loop.batches import Repeated, to_device
from minitransformers.training.loop.evaluation import evaluate
from minitransformers.training.loop.objective import count_labels, normalized_losses

WITH_LOSS = [model for model, labels in LABELS.items() if labels]
REPEATED = ("BertForPreTraining", "AlbertForPreTraining", "ElectraForPreTraining", "ViTForMaskedImageModeling",
            "BertForQuestionAnswering", "GPT2DoubleHeadsModel", "GPT2ForSequenceClassification")  # fmt: skip


def drawn(model, rows, **options):
    """A batch with labels of which many do not count; some positions of answers are beyond the text."""
    batch = example_batch(model, rows=rows, length=6, **options)
    generator = torch.Generator().manual_seed(rows)
    for name, values in batch.items():
        if name in ("labels", "sentence_order_label", "next_sentence_label") and not values.is_floating_point():
            may_be_ignored = LABELS[type(model)][name].may_be_ignored
            if may_be_ignored and values.ndim > 1:
                values[torch.rand(values.shape, generator=generator) < 0.5] = -100
        if name == "end_positions":
            values[0] = 99
    return batch


def micro_batches(model):
    """Of different sizes and numbers of labels, with padding."""
    batches = [drawn(model, rows, padding=padding, seed=rows) for rows, padding in ((3, 4), (1, 0), (2, 2))]
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    return batches, whole


def step(model, batches):
    """The loss and the gradients of a step of the loop."""
    model.zero_grad()
    counts: dict = {}
    for batch in batches:
        for kind, number in count_labels(model, batch).items():
            counts[kind] = counts.get(kind, 0) + number
    total = 0.0
    for batch in batches:
        loss = sum(normalized_losses(model, batch, counts)[0].values())
        loss.backward()
        total += float(loss.detach())
    return total, {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def own(model, batch):
    """The loss that the model itself gives for the batch, and its gradients."""
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    return float(loss.detach()), {
        n: weight.grad.clone() for n, weight in model.named_parameters() if weight.grad is not None
    }


def assert_same_step(ours, theirs, tolerance=1e-9):
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
    norm = sum(float(gradient.square().sum()) for gradient in theirs[1].values()) ** 0.5
    for name, gradient in theirs[1].items():
        assert float((ours[1][name] - gradient).norm()) <= tolerance * norm, name


@pytest.mark.parametrize("model_class", WITH_LOSS, ids=lambda each: each.__name__)
def test_micro_batches_equal_the_batch(model_class):
    """A mean over micro-batches would be another loss. (The model of images adds 1e-5 to the number of its pixels.)"""
    model = tiny_model(model_class)
    batches, whole = micro_batches(model)
    tolerance = 1e-6 if "bool_masked_pos" in whole else 1e-9
    assert_same_step(step(model, batches), own(model, whole), tolerance)


@pytest.mark.parametrize("fields", [{"num_labels": 1}, {"num_labels": 2, "problem_type": "multi_label_classification"}])
def test_every_number_counts_in_regression(fields):
    """−100 is a number like others there; whole numbers are numbers too."""
    model = tiny_model(mt.BertForSequenceClassification, **fields)
    batches, _ = micro_batches(model)
    for batch in batches:
        rows = len(batch["labels"])
        lowest = -100 if fields["num_labels"] == 1 else 0
        labels = torch.linspace(lowest, 1, rows).expand(fields["num_labels"], -1).T
        batch["labels"] = labels[:, 0].long() if fields["num_labels"] == 1 else labels.double()
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    assert_same_step(step(model, batches), own(model, whole))


def test_labels_that_a_sparse_head_ignores():
    model = tiny_model(mt.ModernBertForMaskedLM, sparse_prediction=True, sparse_pred_ignore_index=1)
    batches, whole = micro_batches(model)
    assert (whole["labels"] == 1).any()
    assert_same_step(step(model, batches), own(model, whole))


@pytest.mark.parametrize("name", REPEATED)
def test_a_repeated_batch_changes_nothing(name):
    """The one that a rank without further data uses again, while others have more."""
    model = tiny_model(getattr(mt, name))
    batches, _ = micro_batches(model)
    again = to_device(Repeated(batches[0]), torch.device("cpu"))
    assert not any(count_labels(model, again).values())
    expected = step(model, batches)
    ours = step(model, [*batches, again])
    assert ours[0] == expected[0]
    for key, gradient in expected[1].items():
        assert_close(ours[1][key], gradient, rtol=0, atol=0)


@pytest.mark.parametrize("name", REPEATED)
def test_an_evaluation_does_not_depend_on_batches(name):
    model = tiny_model(getattr(mt, name))
    batches, whole = micro_batches(model)
    metrics = evaluate(model, batches)
    assert metrics["loss"] == pytest.approx(float(model(**whole).loss), rel=1e-6)
    assert {**metrics, **evaluate(model, [*batches, Repeated(batches[1])])} == metrics
    if name == "AlbertForPreTraining":
        assert 0 <= metrics["sop_accuracy"] <= 1


def test_the_loss_of_a_subclass_is_kept():
    """A loss that is not the sum of the means of the class is weighted by the labels of each micro-batch."""

    class Weighted(mt.BertForPreTraining):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.loss = 3 * output.loss
            return output

    model = Weighted(tiny_model(mt.BertForPreTraining).config).double().eval()
    batch = example_batch(tiny_model(mt.BertForPreTraining), rows=2, padding=0, seed=1)
    assert step(model, [batch])[0] == pytest.approx(own(model, batch)[0])
