"""Training: every head learns, dropout is where it belongs, autocast and gradient checkpointing change nothing else."""

import copy
import itertools

import pytest
import torch
from small_models import BACKBONES, DROPOUTS, HEADS, loss_of, small_batch, small_model

from minitransformers.testing.comparing import assert_close, assert_gradients_close


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def saved_for_backward(model, batch):
    """How many numbers a forward pass keeps for the backward pass, those of the parameters apart."""
    kept = {}
    parameters = {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor):
        if tensor.data_ptr() not in parameters:
            kept[tensor.data_ptr()] = tensor  # holding it, so that its memory is given to no other
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(model(**batch))
    return sum(tensor.numel() for tensor in kept.values())


@pytest.mark.parametrize("name", HEADS)
def test_every_head_learns_its_batch(name):
    model, batch = small_model(name, dropout=0.0).train(), small_batch(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = loss_of(model(**batch))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("name", HEADS)
def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradients(name):
    model, batch = small_model(name, dropout=0.0, num_hidden_layers=4).double().train(), small_batch(name)
    assert not model.is_activation_checkpointing
    output = model(**batch)
    loss_of(output).backward()
    expected, kept = gradients(model), saved_for_backward(model, batch)
    assert any(gradient is not None and gradient.any() for gradient in expected.values())

    model.zero_grad()
    model.gradient_checkpointing_enable()
    assert model.is_activation_checkpointing
    again = model(**batch)
    loss_of(again).backward()
    assert_close(loss_of(again), loss_of(output))
    assert again.get("past_key_values") is None  # a block computed anew would write to a cache twice
    assert_gradients_close(gradients(model), expected, tolerance=1e-12)
    assert saved_for_backward(model, batch) < 0.7 * kept
    assert saved_for_backward(model.eval(), batch) == kept  # only training
    model.train().gradient_checkpointing_disable()
    assert not model.is_activation_checkpointing
    assert saved_for_backward(model, batch) == kept


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_gradient_checkpointing_draws_the_same_dropout_again(name):
    """Otherwise the backward pass would be of another function than the forward pass."""
    model, batch = small_model(name, dropout=0.3).double().train(), small_batch(name)
    found = []
    for enable in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        enable()
        model.zero_grad()
        torch.manual_seed(3)
        model(**batch).loss.backward()
        found.append({name: gradient.clone() for name, gradient in gradients(model).items() if gradient is not None})
    assert_gradients_close(found[1], found[0], tolerance=1e-12)


@pytest.mark.parametrize("name", HEADS)
def test_autocast_computes_nearly_the_same_in_bfloat16(name):
    model, batch = small_model(name, initializer_range=0.2), small_batch(name)
    expected = model(**batch)
    loss_of(expected).backward()
    wanted = gradients(model)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**batch)
    scores = "prediction_logits" if name == "BertForPreTraining" else "logits"
    scores = "start_logits" if name.endswith("QuestionAnswering") else scores
    assert output[scores].dtype == torch.bfloat16
    assert_close(output[scores].float(), expected[scores], tolerance=5e-2)
    assert not torch.equal(output[scores].float(), expected[scores])
    assert_close(loss_of(output).float(), loss_of(expected), tolerance=5e-2)
    loss_of(output).backward()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert_gradients_close(gradients(model), wanted, tolerance=0.1)


@pytest.mark.parametrize(
    ("name", "rate"),
    [("BertForSequenceClassification", rate) for rate in DROPOUTS["Bert"]]
    + [("GPT2Model", rate) for rate in ("resid_pdrop", "embd_pdrop", "attn_pdrop")]
    + [("GPT2DoubleHeadsModel", "summary_first_dropout"), ("GPT2ForTokenClassification", "classifier_dropout")],
)
def test_each_dropout_acts_in_training_alone(name, rate):
    model, batch = small_model(name, dropout=0.0), small_batch(name, labels=False)
    without = model(**batch)
    field = "mc_logits" if name == "GPT2DoubleHeadsModel" else next(iter(without))
    assert_close(model.train()(**batch)[field], without[field])

    model = small_model(name, **(dict.fromkeys(DROPOUTS[name[:4]], 0.0) | {rate: 0.5}))
    assert_close(model(**batch)[field], without[field], tolerance=0.0)
    model.train()
    assert not torch.allclose(model(**batch)[field], without[field])
    assert not torch.allclose(model(**batch)[field], model(**batch)[field])


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize(("name", "rate"), [("BertModel", "attention_probs_dropout_prob"), ("GPT2Model", "attn_pdrop")])
def test_attention_dropout_drops_probabilities(name, rate, kernel):
    """A text of one token attends to itself with probability 1: a head gives its value doubled, or nothing."""
    model = small_model(name, **(dict.fromkeys(DROPOUTS[name[:4]], 0.0) | {rate: 0.5}), attn_implementation=kernel)
    seen = []
    output = model.h[0].attn.c_proj if name == "GPT2Model" else model.encoder.layer[0].attention.output.dense
    output.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    input_ids = torch.arange(1, 21)[:, None]
    model(input_ids)
    torch.manual_seed(0)
    model.train()(input_ids)
    values, averages = (tensor.view(20, 3, 4) for tensor in seen)  # (batch, heads, dim)
    dropped = (averages == 0).all(dim=-1)
    assert 10 < dropped.sum() < 50  # of 60
    assert_close(averages, 2 * values.masked_fill(dropped[..., None], 0.0))


# ---- labels of language models ---------------------------------------------------------------------------------------


def counting_model():
    """Says that t + 1 follows t, with certainty: one-hot embeddings, no blocks, an output layer that moves by one."""
    model = small_model("GPT2LMHeadModel", n_layer=0, n_embd=24, vocab_size=24, tie_word_embeddings=False)
    with torch.no_grad():
        model.transformer.wte.weight.copy_(torch.eye(24))
        model.transformer.wpe.weight.zero_()
        model.lm_head.weight.copy_(10 * torch.eye(24).roll(1, dims=0))
    return model


def test_labels_are_shifted_once():
    model = counting_model()
    counting = torch.tensor([[3, 4, 5, 6, 7, 8]])
    assert torch.equal(model(counting).logits.argmax(dim=-1), counting + 1)
    assert model(counting, labels=counting).loss < 1e-3
    assert model(counting, labels=counting + 1).loss > 10  # the labels of a caller who has shifted them
    assert model(counting, labels=counting - 1).loss > 10


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel", "GPT2DoubleHeadsModel"])
def test_loss_of_a_language_model_written_out(name):
    model = small_model(name, initializer_range=0.5).double()
    input_ids = small_batch(name, labels=False)["input_ids"]
    labels = input_ids.clone()
    labels[..., 0] = -100
    labels[1, ..., 2:4] = -100
    output = model(input_ids, labels=labels)
    log_p = output.logits.log_softmax(dim=-1)
    terms = [
        -log_p[(*position, labels[(*position[:-1], position[-1] + 1)])]
        for position in itertools.product(*map(range, (*labels.shape[:-1], labels.shape[-1] - 1)))
        if labels[(*position[:-1], position[-1] + 1)] != -100
    ]
    assert len(terms) == (labels[..., 1:] != -100).sum() < labels.numel()
    assert_close(output.loss, sum(terms) / len(terms))


def test_loss_of_a_masked_language_model_written_out():
    model = small_model("BertForMaskedLM", initializer_range=0.5).double()
    input_ids = small_batch("BertForMaskedLM")["input_ids"]
    labels = torch.full_like(input_ids, -100)
    labels[0, 2], labels[2, 5] = 7, 11
    output = model(input_ids, labels=labels)
    log_p = output.logits.log_softmax(dim=-1)
    assert_close(output.loss, -(log_p[0, 2, 7] + log_p[2, 5, 11]) / 2)


@pytest.mark.parametrize("name", [name for name in HEADS if "labels" in small_batch(name)])
def test_an_ignored_label_has_no_influence(name):
    """Where −100 stands, loss and gradient are those of a batch without that label."""
    model, batch = small_model(name, initializer_range=0.5).double(), small_batch(name)
    labels = batch["labels"].clone()
    labels[0] = -100
    logits = "prediction_logits" if name == "BertForPreTraining" else "logits"
    output = model(**{**batch, "labels": labels})
    output[logits].retain_grad()
    output.loss.backward()
    gradient = output[logits].grad
    assert gradient[1:].any()
    assert not gradient[0].any()
    assert abs(output.loss - model(**batch).loss) > 1e-3


@pytest.mark.parametrize("name", ["BertLMHeadModel", "GPT2LMHeadModel"])
def test_micro_batches_add_up_to_the_batch(name):
    """With texts of different lengths a mean of means would not."""
    model, batch = small_model(name, initializer_range=0.5).double(), small_batch(name)
    batch["labels"][0, 2:] = -100
    whole = model(**batch).loss
    whole.backward()
    expected = gradients(model)

    model.zero_grad()
    num_items = int((batch["labels"][:, 1:] != -100).sum())
    micro_batches = [{key: value[row : row + 1] for key, value in batch.items()} for row in range(3)]
    total = 0.0
    for micro_batch, count in zip(micro_batches, [num_items, torch.tensor(num_items), num_items], strict=True):
        loss = model(**micro_batch, num_items_in_batch=count).loss
        loss.backward()
        total += loss.detach()
    assert_close(total, whole, tolerance=1e-12)
    assert_gradients_close(gradients(model), expected, tolerance=1e-12)
    mean_of_means = sum(model(**micro_batch).loss for micro_batch in micro_batches) / 3
    assert abs(mean_of_means - whole) > 1e-3


@pytest.mark.parametrize("name", BACKBONES)
def test_frozen_parameters_stay(name):
    """Fine-tuning a head alone."""
    head = small_model(f"{name.removesuffix('Model')}ForTokenClassification").train()
    head.base_model.requires_grad_(False)
    before = copy.deepcopy(head.state_dict())
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    loss_of(head(**small_batch(f"{name.removesuffix('Model')}ForTokenClassification"))).backward()
    optimizer.step()
    changed = {key for key, value in head.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"classifier.weight", "classifier.bias"}
