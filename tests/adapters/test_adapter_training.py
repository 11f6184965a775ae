"""Training an adapter: what changes, what is learnt, and what it is saved and resumed with."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from adapted import METHODS, adapted, can_have

import minitransformers as mt
from minitransformers.adapters import (
    BottleneckConfig,
    LoraConfig,
    add_adapter,
    load_adapter,
    print_trainable_parameters,
    remove_adapter,
    save_adapter,
    trainable_parameters,
)
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import CLASSES

CLASSIFIERS = [model for model in CLASSES if "SequenceClassification" in model.__name__]


def train(model: Any, steps: int = 6, lr: float = 0.05) -> list[float]:
    batch = example_batch(model)
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        loss = model.train()(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


@pytest.mark.parametrize(
    ("model_class", "method"),
    [
        *((mt.BertForSequenceClassification, method) for method in METHODS),
        *((mt.T5ForConditionalGeneration, method) for method in ("lora", "houlsby", "prefix", "prompt")),
    ],
)
def test_only_the_adapter_and_the_head_change(model_class: Any, method: str) -> None:
    torch.manual_seed(0)
    model = tiny_model(model_class)
    before = copy.deepcopy(dict(model.named_parameters()))
    add_adapter(model, METHODS[method]())
    new = {name: parameter.detach().clone() for name, parameter in model.named_parameters() if name not in before}
    losses = train(model)
    assert losses[-1] < losses[0]
    norms = {name for name, module in model.named_modules() if "Norm" in type(module).__name__}
    for name, parameter in model.named_parameters():
        is_norm = method == "houlsby" and name.rpartition(".")[0] in norms
        if name in new:
            assert not torch.equal(parameter, new[name]), name
        else:
            is_trained = name.startswith("classifier.") or is_norm
            assert parameter.requires_grad is is_trained
            assert torch.equal(parameter, before[name]) is not is_trained, name


@pytest.mark.parametrize("model_class", CLASSIFIERS)
def test_the_head_of_every_classifier_is_trained(model_class: Any) -> None:
    """By default: with a new head that stays frozen, nothing would be learnt."""
    model = add_adapter(tiny_model(model_class), LoraConfig(r=1))
    head = {name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")}
    assert head
    assert {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and "lora" not in name
    } == head


@pytest.mark.parametrize("method", ["lora", "houlsby", "prompt"])
def test_training_goes_on_from_a_file(method: str, tmp_path: Any) -> None:
    model = adapted(mt.BertForSequenceClassification, method)
    train(model, steps=2)
    save_adapter(model, tmp_path)
    again = load_adapter(tiny_model(mt.BertForSequenceClassification), tmp_path, is_trainable=True)
    assert train(again, steps=3) == train(model, steps=3)


@pytest.mark.parametrize("method", ["lora-all", "dora", "ia3", "houlsby"])
def test_checkpointing_changes_no_gradient(method: str) -> None:
    gradients = []
    for is_checkpointed in (False, True):
        model = adapted(mt.T5ForConditionalGeneration, method).train()
        if is_checkpointed:
            model.gradient_checkpointing_enable()
        model(**example_batch(model)).loss.backward()
        gradients.append({n: parameter.grad for n, parameter in model.named_parameters() if parameter.requires_grad})
        assert all(gradient is not None for gradient in gradients[-1].values())
    assert_close(gradients[1], gradients[0])


def test_dropout_of_lora_is_of_the_update_alone() -> None:
    model = add_adapter(tiny_model(mt.BertModel), LoraConfig(r=2, lora_dropout=0.9))
    plain = tiny_model(mt.BertModel).train()
    batch = example_batch(plain)
    assert torch.equal(model.train()(**batch).last_hidden_state, plain(**batch).last_hidden_state)  # B is 0
    torch.nn.init.ones_(model.encoder.layer[0].attention.self.query.lora_B.weight)
    assert not torch.equal(model(**batch).last_hidden_state, model(**batch).last_hidden_state)
    model.eval()
    assert torch.equal(model(**batch).last_hidden_state, model(**batch).last_hidden_state)


def test_dora_learns_lengths_apart_from_directions() -> None:
    """Twice the length is twice the weight, whatever the update."""
    model = adapted(mt.BertModel, "dora")
    layer = model.encoder.layer[0].attention.self.query
    weight, bias = layer.merged()
    assert_close(weight.norm(dim=1), layer.lora_magnitude_vector.abs())
    layer.lora_magnitude_vector.data *= 2
    x = torch.randn(2, 12, dtype=torch.float64)
    assert_close(layer(x), x @ (2 * weight).T + bias)


def test_the_trainable_share_is_printed(capsys: Any) -> None:
    model = add_adapter(tiny_model(mt.GPT2LMHeadModel), LoraConfig(r=2))
    assert trainable_parameters(model) == (2 * (2 * 12 + 2 * 36), model.num_parameters())
    print_trainable_parameters(model)
    assert capsys.readouterr().out == f"trainable: 192 of {model.num_parameters():,} parameters (4.3360 %)\n"


def test_the_trainer_trains_an_adapter(tmp_path: Any) -> None:
    model = add_adapter(tiny_model(mt.BertForSequenceClassification, dtype=torch.float32), LoraConfig(r=2))
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    texts = [{"input_ids": [3, 4 + label, 5], "labels": label} for label in (0, 1)] * 8
    arguments = mt.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=8,
        learning_rate=0.05,
        per_device_train_batch_size=8,
        report_to="none",
    )
    trainer = mt.Trainer(model=model, args=arguments, train_dataset=texts)
    before = trainer.evaluate(texts)["eval_loss"]
    trainer.train()
    assert trainer.evaluate(texts)["eval_loss"] < before
    assert all(torch.equal(model.get_parameter(name), value) for name, value in frozen.items())
    save_adapter(model, tmp_path / "adapter")
    again = load_adapter(tiny_model(mt.BertForSequenceClassification, dtype=torch.float32), tmp_path / "adapter")
    batch = example_batch(model, labels=False)
    assert torch.equal(again(**batch).logits, model.eval()(**batch).logits)


def test_frozen_parameters_stay_frozen_after_removal() -> None:
    model = tiny_model(mt.BertForSequenceClassification)
    model.bert.embeddings.requires_grad_(False)
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    remove_adapter(add_adapter(model, BottleneckConfig(bottleneck_size=2)))
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == wanted


@pytest.mark.parametrize("method", [method for method in METHODS if can_have(mt.BertModel, method)])
def test_init_weights_leaves_the_adapter_alone(method: str) -> None:
    model = adapted(mt.BertModel, method)
    state = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
