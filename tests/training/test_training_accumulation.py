"""Micro-batches give the loss and gradient of the large batch, for any numbers of labels."""

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch.testing import assert_close

import minitransformers as mt
from minitransformers.training import Hooks, Settings, evaluate, train
from minitransformers.training.loop.objective import count_labels, normalized_loss

VOCAB_SIZE, LENGTH = 17, 6
FAMILIES = ["BertForMaskedLM", "BertForPreTraining", "BertLMHeadModel", "GPT2LMHeadModel", "BertForTokenClassification"]


def build(name):
    torch.manual_seed(0)
    if name.startswith("GPT2"):
        config = mt.GPT2Config(
            vocab_size=VOCAB_SIZE, n_embd=8, n_layer=1, n_head=2, n_positions=LENGTH, bos_token_id=0, eos_token_id=0
        )
    else:
        config = mt.BertConfig(
            vocab_size=VOCAB_SIZE, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
            max_position_embeddings=LENGTH, is_decoder=name == "BertLMHeadModel", num_labels=5,
            initializer_range=0.3,
        )  # fmt: skip
    return getattr(mt, name)(config).double().eval()


@st.composite
def batches(draw):
    """Micro-batches of different sizes; each position has a label or none, and whole micro-batches may have none."""
    result = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(1, 3))
        numbers = st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=rows * LENGTH, max_size=rows * LENGTH)
        ids = torch.tensor(draw(numbers)).view(rows, LENGTH)
        portion = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
        has_label = torch.rand(ids.shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))) < portion
        pairs = torch.tensor(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)))
        labels = ids.masked_fill(~has_label, -100)
        result.append({"input_ids": ids, "labels": labels, "next_sentence_label": pairs})
    return result


def fitting(name, micro_batches):
    """The batches with the labels of a class."""
    if name == "BertForPreTraining":
        return micro_batches
    classes = 5 if name == "BertForTokenClassification" else VOCAB_SIZE
    return [
        {"input_ids": batch["input_ids"], "labels": torch.where(batch["labels"] < 0, -100, batch["labels"] % classes)}
        for batch in micro_batches
    ]


class GradientsBefore(Hooks):
    """Keeps the gradients of the optimizer step."""

    def on_pre_optimizer_step(self, run):
        self.gradients = gradients(run.model)


def gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


def train_one_step(model, micro_batches, **settings):
    """One step over all micro-batches: the run, and the gradients before the step."""
    hook = GradientsBefore()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    settings = {"steps": 1, "accumulation": len(micro_batches), "max_grad_norm": None, **settings}
    run = train(without_dropout(model), optimizer, None, micro_batches, Settings(**settings), hooks=[hook])
    return run, hook.gradients


@pytest.mark.parametrize("name", FAMILIES)
@given(micro_batches=batches())
def test_micro_batches_equal_the_batch(name, micro_batches):
    """Compared with the model's own loss of all rows at once, in float64, up to rounding."""
    model = build(name)
    micro_batches = fitting(name, micro_batches)
    whole = {key: torch.cat([batch[key] for batch in micro_batches]) for key in micro_batches[0]}
    run, ours = train_one_step(model, micro_batches)
    assert run.progress.step == 1
    if not count_labels(model, whole)["labels"]:  # the mean over no label is NaN; here it is 0
        if name != "BertForPreTraining":
            assert run.progress.loss == 0.0
            assert not any(gradient.any() for gradient in ours.values())
        return
    model.zero_grad()
    loss = without_dropout(model).train()(**whole).loss
    loss.backward()
    expected = loss.detach()
    theirs = gradients(model)
    assert run.progress.loss == pytest.approx(float(expected), rel=1e-12)
    assert ours.keys() == theirs.keys()
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in theirs.values()))
    assert run.progress.grad_norm == pytest.approx(norm, rel=1e-6)  # computed in another order
    for key, gradient in ours.items():
        assert float((gradient - theirs[key]).norm()) <= 1e-12 * norm, key


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_micro_batches_in_float32(name):
    """Up to 10⁻⁶ of the gradient's norm; the mean of means is far away."""
    model, generator = build(name).float(), torch.Generator().manual_seed(0)
    micro_batches = []
    for rows, portion in ((3, 1.0), (1, 0.2), (2, 0.5), (3, 0.1)):
        ids = torch.randint(VOCAB_SIZE, (rows, LENGTH), generator=generator)
        labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) > portion, -100)
        micro_batches.append({"input_ids": ids, "labels": labels})
    _, ours = train_one_step(model, micro_batches)
    model.zero_grad()
    model(
        **{key: torch.cat([batch[key] for batch in micro_batches]) for key in ("input_ids", "labels")}
    ).loss.backward()
    theirs = gradients(model)
    model.zero_grad()
    for batch in micro_batches:
        (model(**batch).loss / 4).backward()
    means = gradients(model)
    norm = sum(gradient.square().sum() for gradient in theirs.values()).sqrt()
    distance = sum((ours[key] - theirs[key]).square().sum() for key in theirs).sqrt() / norm
    assert distance <= 1e-6
    assert sum((means[key] - theirs[key]).square().sum() for key in theirs).sqrt() / norm > 1e-2


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel", "BertForTokenClassification"])
def test_a_batch_without_labels_changes_nothing(name):
    """A mean over no label is NaN, and would spoil all weights."""
    model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    ids = torch.arange(LENGTH)[None]
    batch = {"input_ids": ids, "labels": torch.full_like(ids, -100)}
    assert model(**batch).loss.isnan() or name == "GPT2LMHeadModel"
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    run = train(model, optimizer, None, [batch, batch], Settings(steps=3, accumulation=2, precision="bf16"))
    assert run.history[0]["loss"] == 0.0
    assert run.history[0]["grad_norm"] == 0.0
    for key, value in model.state_dict().items():
        assert value.equal(before[key])


def test_the_forward_pass_gets_the_number_of_labels_of_the_whole_batch():
    """Models that take `num_items_in_batch` divide by it themselves."""
    seen = []

    class Watched(mt.GPT2LMHeadModel):
        def forward(self, input_ids=None, labels=None, num_items_in_batch=None):
            seen.append(num_items_in_batch)
            return super().forward(input_ids, labels=labels, num_items_in_batch=num_items_in_batch)

    model = Watched(build("GPT2LMHeadModel").config)
    ids = torch.arange(LENGTH)[None]
    few = ids.masked_fill(ids < 4, -100)
    batches = [{"input_ids": ids, "labels": ids}, {"input_ids": ids, "labels": few}]
    train_one_step(model, batches)
    assert seen == [5 + 2] * 2  # the first label of a row is not predicted


def test_another_loss():
    """Any function of model, batch and counts."""

    def squares(model, batch, counts):
        return model(batch["x"]).square().sum() / counts["rows"]

    model = torch.nn.Linear(2, 1, bias=False).double()
    data = [{"x": torch.ones(1, 2).double()}, {"x": torch.full((3, 2), 2.0).double()}]
    hook = GradientsBefore()
    run = train(
        model,
        torch.optim.SGD(model.parameters(), lr=0.0),
        None,
        data,
        Settings(steps=1, accumulation=2, max_grad_norm=None),
        loss=squares,
        hooks=[hook],
    )
    rows = torch.cat([batch["x"] for batch in data])
    expected = model(rows).square().mean()
    assert run.progress.loss == pytest.approx(float(expected.detach()))
    (gradient,) = torch.autograd.grad(expected, model.weight)
    assert_close(hook.gradients["weight"], gradient)


@pytest.mark.parametrize("largest", [1e-3, 1e3])
def test_clipping(largest):
    """The logged norm is the one before clipping; that of the optimizer is at most the limit."""
    ids = torch.arange(LENGTH)[None]
    batch = {"input_ids": ids, "labels": ids}
    run, clipped = train_one_step(build("GPT2LMHeadModel"), [batch], max_grad_norm=largest)
    _, free = train_one_step(build("GPT2LMHeadModel"), [batch])
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in free.values()))
    assert run.progress.grad_norm == pytest.approx(norm)
    for key, gradient in clipped.items():
        assert_close(gradient, free[key] * min(1.0, largest / norm), rtol=1e-2, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
@given(micro_batches=batches())
def test_evaluation_does_not_depend_on_batches(name, micro_batches):
    """Loss, perplexity and accuracies do not depend on the division of rows into batches."""
    model = build(name)
    micro_batches = fitting(name, micro_batches)
    whole = {key: torch.cat([batch[key] for batch in micro_batches]) for key in micro_batches[0]}
    if not count_labels(model, whole)["labels"]:
        return
    metrics = evaluate(model, micro_batches)
    output = model(**whole)
    assert metrics.pop("loss") == pytest.approx(float(output.loss), rel=1e-9)
    logits = output[1] if name == "BertForPreTraining" else output.logits
    labels = whole["labels"]
    if "LMHead" in name:
        logits, labels = logits[:, :-1], labels[:, 1:]
    chosen = labels != -100
    right = (logits.argmax(-1) == labels)[chosen].double().mean()
    tokens_loss = torch.nn.functional.cross_entropy(logits[chosen], labels[chosen])
    if name == "BertForTokenClassification":
        assert metrics.pop("accuracy") == pytest.approx(float(right))
    else:
        accuracy = "token_accuracy" if "LMHead" in name else "mask_accuracy"
        assert metrics.pop(accuracy) == pytest.approx(float(right))
        assert metrics.pop("perplexity") == pytest.approx(float(tokens_loss.exp()), rel=1e-9)
    if name == "BertForPreTraining":
        pairs = (output.seq_relationship_logits.argmax(-1) == whole["next_sentence_label"]).double().mean()
        assert metrics.pop("nsp_accuracy") == pytest.approx(float(pairs))
    assert not metrics


def test_normalized_loss_of_a_part():
    """A micro-batch's loss is its own sum divided by the count of the whole batch."""
    model, ids = build("BertForMaskedLM"), torch.arange(LENGTH)[None]
    batch = {"input_ids": ids, "labels": ids}
    assert_close(normalized_loss(model, batch, {"labels": 2 * LENGTH}), model(**batch).loss / 2)
