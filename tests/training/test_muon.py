"""Muon beside AdamW: which parameters each trains, steps equal to PyTorch's, and a state that is saved and loaded."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from minitransformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, InputError
from minitransformers.training.loop.muon import MuonWithAdamW, muon_groups


def tiny_gpt2():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=8, n_layer=2, n_head=2, n_positions=16))


def take_steps(model, optimizer, number, schedule=None):
    ids = torch.arange(12).view(2, 6)
    for _ in range(number):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


def names(model, group):
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    return [name_of[id(parameter)] for parameter in group["params"]]


def test_matrices_of_blocks_are_for_muon():
    model = tiny_gpt2()
    muon, tables, rest = (names(model, group) for group in muon_groups(model))
    linear = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    assert muon == [f"transformer.h.{block}.{part}.weight" for block in range(2) for part in linear]
    assert tables == ["transformer.wte.weight", "transformer.wpe.weight"]  # the head is tied to the first
    assert set(muon + tables + rest) == set(dict(model.named_parameters()))
    config = BertConfig(vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12)
    bert = BertForMaskedLM(config)
    bert.bert.encoder.layer[0].intermediate.dense.weight.requires_grad_(False)
    muon, tables, rest = (names(bert, group) for group in muon_groups(bert))
    assert all(name.startswith("bert.encoder.layer.0.") for name in muon)
    assert len(muon) == 5
    assert "cls.predictions.transform.dense.weight" in tables
    assert [group["weight_decay"] for group in muon_groups(bert, 0.3)] == [0.3, 0.3, 0.0]


def test_steps_are_those_of_both_optimizers():
    model, alone = tiny_gpt2().eval(), tiny_gpt2().eval()
    optimizer = MuonWithAdamW(muon_groups(model), lr=0.02)
    groups = [{key: value for key, value in group.items() if key != "kind"} for group in muon_groups(alone)]
    muon = torch.optim.Muon(groups[:1], lr=0.02, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(groups[1:], lr=0.02, betas=(0.9, 0.95))
    ids = torch.arange(12).view(2, 6)
    before = model(ids, labels=ids).loss
    for _ in range(4):
        take_steps(model, optimizer, 1)
        alone.zero_grad()
        alone(ids, labels=ids).loss.backward()
        muon.step()
        adamw.step()
    for (name, one), other in zip(model.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert model(ids, labels=ids).loss < before - 0.1


def test_a_saved_state_goes_on():
    """Six steps are four, a state that is saved and loaded, and two; a schedule reaches both optimizers."""

    def with_schedule(model):
        optimizer = MuonWithAdamW(muon_groups(model), lr=0.02)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))

    whole, stopped = tiny_gpt2().eval(), tiny_gpt2().eval()
    optimizer, schedule = with_schedule(whole)
    take_steps(whole, optimizer, 6, schedule)
    assert {group["lr"] for group in optimizer.param_groups} == {0.02 / 7}
    optimizer, schedule = with_schedule(stopped)
    take_steps(stopped, optimizer, 4, schedule)
    resumed = copy.deepcopy(stopped)
    optimizer_state, schedule_state = copy.deepcopy(optimizer.state_dict()), schedule.state_dict()
    optimizer, schedule = with_schedule(resumed)
    optimizer.load_state_dict(optimizer_state)
    schedule.load_state_dict(schedule_state)
    take_steps(resumed, optimizer, 2, schedule)
    for (name, one), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_copy_takes_the_same_steps():
    model = tiny_gpt2().eval()
    optimizer = MuonWithAdamW(muon_groups(model), lr=0.02)
    take_steps(model, optimizer, 1)
    copied_model, copied = copy.deepcopy((model, optimizer))
    for each, its_optimizer in ((model, optimizer), (copied_model, copied)):
        take_steps(each, its_optimizer, 2)
    for (name, one), other in zip(model.named_parameters(), copied_model.parameters(), strict=True):
        assert torch.equal(one, other), name


BAD = {
    "no kind": (lambda: MuonWithAdamW([{"params": [torch.ones(2, 2)]}]), "Group 0 needs a kind, 'muon' or 'adamw'"),
    "a vector": (
        lambda: MuonWithAdamW([{"params": [nn.Parameter(torch.ones(2))], "kind": "muon"}]),
        r"Group 0 is for Muon, which trains matrices; it has shapes \[\(2,\)\]",
    ),
    "one kind": (
        lambda: MuonWithAdamW([{"params": [nn.Parameter(torch.ones(2, 2))], "kind": "muon"}]),
        "groups must have both kinds",
    ),
    "no matrix": (lambda: muon_groups(nn.Embedding(3, 2)), "Embedding has no trained weight of a linear layer"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_groups(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call()
