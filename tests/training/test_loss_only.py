"""Forward passes for the loss alone: the same loss and gradients as with all logits and padding, for every class."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import minitransformers as mt
from minitransformers.errors import InputError
from minitransformers.nn import linear_cross_entropy as module
from minitransformers.nn.linear_cross_entropy import linear_cross_entropy
from minitransformers.nn.packed import packed_attention
from minitransformers.outputs import MaskedLMOutput
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import LABELS
from minitransformers.training import loss_only
from minitransformers.training.loop.objective import count_labels, normalized_loss, normalized_losses

WITH_LOSS = [
    pytest.param(model, marks=() if re.search("MaskedLM|PreTraining|CausalLM|LMHead|Conditional", model.__name__) else
                 pytest.mark.thorough, id=model.__name__)
    for model, labels in LABELS.items() if labels
]  # fmt: skip
MASKED = ("BertForMaskedLM", "RobertaForMaskedLM", "XLMRobertaForMaskedLM", "ElectraForMaskedLM", "AlbertForMaskedLM")
CAUSAL = ("GPT2LMHeadModel", "GPTNeoForCausalLM", "GPTNeoXForCausalLM", "LlamaForCausalLM", "OpenAIGPTLMHeadModel")


def batch_for(model, **options):
    """A batch in which two labels of three do not count, and none at padding."""
    batch = example_batch(model, rows=3, length=6, **{"padding": 3, **options})
    draw = torch.Generator().manual_seed(0)
    for name, values in batch.items():
        is_label = name in ("labels", "next_sentence_label", "sentence_order_label")
        if is_label and LABELS[type(model)][name].may_be_ignored and values.ndim > 1 and not values.is_floating_point():
            values[torch.rand(values.shape, generator=draw) < 0.66] = -100
            values[0, 1] = 1
            mask = batch.get("attention_mask")
            if mask is not None and mask.shape == values.shape:
                values[mask == 0] = -100
    return batch


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("model_class", WITH_LOSS)
def test_loss_and_gradients_are_those_of_the_whole_forward_pass(model_class, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 40)  # three tokens at a time
    model = tiny_model(model_class).train()
    batch = batch_for(model)
    counts = {kind: 2 * number for kind, number in count_labels(model, batch).items()}
    whole = sum(normalized_losses(model, batch, counts)[0].values())
    expected = gradients(model, whole)
    alone = normalized_loss(model, batch, counts)
    assert_close(alone, whole, rtol=1e-12, atol=1e-12)
    assert_close(gradients(model, alone), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [*MASKED, "DistilBertForMaskedLM", "ModernBertForMaskedLM"])
def test_a_masked_language_model_scores_the_labels_only(name):
    model = tiny_model(getattr(mt, name)).train()
    batch = batch_for(model)
    with loss_only(model, batch):
        logits = model(**batch).logits
    all_logits = model(**batch).logits
    has_label = batch["labels"] != -100
    assert 0 < has_label.sum() < has_label.numel()
    assert_close(logits, all_logits[has_label])
    assert all_logits.shape[:2] == has_label.shape


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_language_model_has_no_logits(name):
    model = tiny_model(getattr(mt, name)).train()
    batch = batch_for(model)
    with loss_only(model, batch):
        assert list(model(**batch)) == ["loss"]
    assert model(**batch).logits.shape[:2] == batch["input_ids"].shape


def tokens_computed(model, batch):
    """The shape of the first block's input."""
    seen = []
    backbone = getattr(model, model.base_model_prefix)
    block = next(each for each in backbone.modules() if type(each).__name__.endswith(("Layer", "TransformerBlock")))
    original = block.forward

    def forward(x, *arguments, **options):
        seen.append(x.shape[:2])
        return original(x, *arguments, **options)

    block.forward = forward
    with loss_only(model, batch):
        model(**batch)
    block.forward = original
    return tuple(seen[0])


@pytest.mark.parametrize("name", [*MASKED, "BertForSequenceClassification"])
def test_encoders_compute_no_padding(name):
    model = tiny_model(getattr(mt, name)).train()
    batch = batch_for(model)
    assert tokens_computed(model, batch) == (1, 15)
    if name in MASKED:
        batch["labels"][-1, -1] = 2  # a label at padding: the vector there counts
    else:
        model.set_attn_implementation("eager")
    assert tokens_computed(model, batch) == (3, 6)


def test_dropout_and_hooks_see_padding_unless_the_model_is_optimized():
    model = tiny_model(mt.BertForMaskedLM, dtype=torch.float32, dropout=True).train()
    batch = batch_for(model)
    assert tokens_computed(model, batch) == (3, 6)
    assert tokens_computed(model.optimize(), batch) == (1, 15)
    model = tiny_model(mt.BertForMaskedLM).train()
    assert tokens_computed(model, batch) == (1, 15)
    model.bert.encoder.layer[1].attention.register_forward_hook(lambda module, arguments, output: None)
    assert tokens_computed(model, batch) == (3, 6)


def test_question_answering_computes_padding():
    model = tiny_model(mt.BertForQuestionAnswering).train()
    assert tokens_computed(model, batch_for(model)) == (3, 6)


def test_packed_texts_drop_attention_weights_and_hidden_values():
    """With dropout of nearly everything, what attention adds is nearly always zero."""
    draw = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 7, 4, generator=draw, dtype=torch.float64)
    kept = packed_attention(query, key, value, lengths=(3, 4))
    torch.manual_seed(0)
    dropped = packed_attention(query, key, value, lengths=(3, 4), dropout=0.99)
    assert kept.ne(0).all()
    assert dropped.eq(0).double().mean() > 0.8


# ---- who reads the logits gets them ----------------------------------------------------------------------------------


class OwnForward(mt.BertForMaskedLM):
    def forward(self, input_ids, attention_mask=None, labels=None):
        output = super().forward(input_ids, attention_mask)
        return MaskedLMOutput(output.logits.logsumexp(-1).mean() + 0 * labels.sum(), output.logits)


def own_class():
    model = tiny_model(mt.BertForMaskedLM)
    model.__class__ = OwnForward
    return model


def with_hook(select):
    model = tiny_model(mt.BertForMaskedLM)
    select(model).register_forward_hook(lambda module, arguments, output: None)
    return model


def with_own_loss():
    model = tiny_model(mt.GPT2LMHeadModel)
    model.loss_function = lambda logits, labels, **_: logits.logsumexp(-1).mean()
    return model


def with_own_method():
    model = tiny_model(mt.BertForMaskedLM)
    model.forward = type(model).forward.__get__(model)
    return model


CHANGED = {
    "own class": own_class,
    "hook on the model": lambda: with_hook(lambda model: model),
    "hook in the head": lambda: with_hook(lambda model: model.cls.predictions.decoder),
    "own loss function": with_own_loss,
    "own method": with_own_method,
}


@pytest.mark.parametrize("make", CHANGED.values(), ids=CHANGED.keys())
def test_a_changed_model_is_run_as_it_is(make):
    model = make().train()
    batch = {name: value for name, value in example_batch(model).items() if name != "token_type_ids"}
    expected = model(**batch)
    with loss_only(model, batch):
        assert "_loss_only" not in vars(model)
        output = model(**batch)
    assert_close((output.loss, output.logits), (expected.loss, expected.logits))


def test_the_model_is_as_before_after_an_error():
    model = tiny_model(mt.BertForMaskedLM)
    batch = batch_for(model)
    before = copy.copy(vars(model))
    with pytest.raises(InputError), loss_only(model, batch):
        model(**{**batch, "labels": batch["labels"][:, :-1]})
    assert vars(model).keys() == before.keys()
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_overrides_of_a_trainer_get_logits(tmp_path):
    shapes = []

    class Reader(mt.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
            shapes.append(outputs.logits.shape[:2])
            return (loss, outputs) if return_outputs else loss

    model = tiny_model(mt.GPT2LMHeadModel, dtype=torch.float32)
    rows = [{"input_ids": torch.arange(5), "labels": torch.arange(5)}] * 4
    arguments = mt.TrainingArguments(str(tmp_path), max_steps=1, per_device_train_batch_size=2, report_to="none",
                                     save_strategy="no", disable_tqdm=True, use_cpu=True)  # fmt: skip
    Reader(model, arguments, train_dataset=rows, data_collator=mt.default_data_collator).train()
    assert shapes == [(2, 5)]
    assert mt.Trainer(model, arguments, eval_dataset=rows, data_collator=mt.default_data_collator).predict(
        rows
    ).predictions.shape[:2] == (4, 5)


# ---- cross-entropy in chunks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_chunks_give_the_loss_and_gradients_of_all_logits(tokens, has_bias, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 33)
    draw = torch.Generator().manual_seed(tokens)
    labels = torch.randint(11, (tokens,), generator=draw)
    x, weight, bias = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in ((tokens, 5), (11, 5), 11)
    )
    inputs = [x, weight, bias] if has_bias else [x, weight]
    ours = linear_cross_entropy(x, weight, bias if has_bias else None, labels)
    theirs = nn.functional.cross_entropy(x @ weight.T + (bias if has_bias else 0), labels, reduction="sum")
    assert_close(ours, theirs)
    assert_close(torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * theirs, inputs))
    with torch.no_grad():
        assert_close(linear_cross_entropy(x, weight, bias if has_bias else None, labels), theirs)


def test_what_is_frozen_has_no_gradient_and_a_second_backward_pass_is_refused():
    x, weight = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3)
    loss = linear_cross_entropy(x, weight, None, torch.tensor([1, 2]))
    loss.backward(retain_graph=True)
    assert weight.grad is None
    with pytest.raises(InputError, match="one backward pass"):
        loss.backward()


def test_under_autocast_products_are_in_half_precision_and_the_loss_in_float32():
    draw = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=draw).requires_grad_() for shape in ((6, 8), (11, 8)))
    labels = torch.randint(11, (6,), generator=draw)
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_cross_entropy(x, weight, None, labels)
        theirs = nn.functional.cross_entropy(nn.functional.linear(x, weight).float(), labels, reduction="sum")
    assert ours.dtype == torch.float32
    assert_close(ours, theirs)
    for mine, other in zip(
        torch.autograd.grad(ours, [x, weight]), torch.autograd.grad(theirs, [x, weight]), strict=True
    ):
        assert mine.dtype == torch.float32
        assert_close(mine, other, rtol=0.05, atol=0.05)
