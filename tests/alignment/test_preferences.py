"""Preferences and rewards: each loop learns a toy task, judged on what it has not seen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import minitransformers as mt
from minitransformers.alignment import (
    PairCollator,
    answer_log_probabilities,
    dpo,
    dpo_loss,
    group_advantages,
    grpo,
    grpo_loss,
    pairwise_loss,
    train_reward_model,
)
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import tiny_model

VOCAB, LENGTH = 12, 4


def answer_pair(generator: torch.Generator) -> dict[str, Any]:
    """A question of letters; the answer that repeats its first is preferred to one with another letter."""
    question = torch.randint(3, VOCAB, (LENGTH,), generator=generator).tolist()
    other = 3 + (question[0] - 3 + int(torch.randint(1, VOCAB - 3, (), generator=generator))) % (VOCAB - 3)
    return {
        side: {"input_ids": [*question, 1, letter], "labels": [-100] * (LENGTH + 1) + [letter]}
        for side, letter in (("chosen", question[0]), ("rejected", other))
    }


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    return [answer_pair(generator) for _ in range(count)]


def batches(steps: int, size: int = 32) -> list[dict[str, Tensor]]:
    return [PairCollator()(pairs(size, seed=step)) for step in range(steps)]


HELD_OUT = PairCollator()(pairs(200, seed=10**6))


def tiny(model_class: Any, **fields: Any) -> Any:
    torch.manual_seed(0)
    config = mt.GPT2Config(
        vocab_size=VOCAB, n_positions=16, n_embd=32, n_layer=2, n_head=2, pad_token_id=0, eos_token_id=2, **fields
    )
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(config, name, 0.0)
    return model_class(config)


def test_pairwise_loss_by_hand() -> None:
    chosen, rejected = torch.tensor([2.0, 0.5]), torch.tensor([1.0, 1.5])
    expected = -(math.log(1 / (1 + math.exp(-1))) + math.log(1 / (1 + math.exp(1)))) / 2
    assert_close(pairwise_loss(chosen, rejected), torch.tensor(expected))


def test_a_reward_model_ranks_pairs_that_it_has_not_seen() -> None:
    model = tiny(mt.GPT2ForSequenceClassification, num_labels=1)
    steps = list(train_reward_model(model, batches(120), torch.optim.AdamW(model.parameters(), lr=5e-3)))
    assert steps[-1]["loss"] < steps[0]["loss"]
    with torch.no_grad():
        inputs = {name: value for name, value in HELD_OUT.items() if name != "labels"}
        chosen, rejected = model.eval()(**inputs).logits.squeeze(-1).chunk(2)
    assert (chosen > rejected).float().mean() > 0.8
    model = tiny(mt.GPT2ForSequenceClassification, num_labels=2)
    with pytest.raises(mt.InputError, match="num_labels=1"):
        next(train_reward_model(model, batches(1), torch.optim.SGD(model.parameters())))


def test_dpo_loss_by_hand() -> None:
    policy, reference = torch.tensor([-1.0, -2.0, -3.0, -1.0]), torch.tensor([-2.0, -2.0, -2.0, -2.0])
    loss, margins = dpo_loss(policy, reference, beta=0.5)
    assert_close(margins, torch.tensor([0.5 * (1 - -1), 0.5 * (0 - 1)]))
    expected = sum(math.log(1 + math.exp(-margin)) for margin in (1.0, -0.5)) / 2
    assert_close(loss, torch.tensor(expected))
    assert_close(dpo_loss(policy, policy, 0.1)[0], torch.tensor(math.log(2)))  # before the first step


def test_dpo_raises_the_margin_of_pairs_that_it_has_not_seen() -> None:
    model = tiny(mt.GPT2LMHeadModel)

    @torch.no_grad()
    def margins() -> Tensor:
        chosen, rejected = answer_log_probabilities(model.eval(), HELD_OUT).chunk(2)
        return chosen - rejected

    before = margins()
    steps = list(dpo(model, batches(120), torch.optim.AdamW(model.parameters(), lr=5e-3), beta=0.5))
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert steps[-1]["margin"] > 0.5 > abs(steps[0]["margin"])
    after = margins()
    assert after.mean() > before.mean() + 1
    assert (after > before).float().mean() > 0.8


def test_dpo_keeps_the_reference() -> None:
    model, reference = tiny(mt.GPT2LMHeadModel), tiny(mt.GPT2LMHeadModel)
    state = {name: value.clone() for name, value in reference.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in dpo(model, batches(3, size=4), optimizer, reference=reference):
        pass
    assert all(torch.equal(value, state[name]) for name, value in reference.state_dict().items())
    assert not torch.equal(model.lm_head.weight, reference.lm_head.weight)


def test_advantages_are_within_groups() -> None:
    advantages = group_advantages(torch.tensor([1.0, 3.0, 2.0, 5.0, 5.0, 5.0]), group_size=3)
    assert_close(advantages, torch.tensor([-1.0, 1.0, 0.0, 0.0, 0.0, 0.0]), tolerance=1e-3)


def test_grpo_loss_by_hand() -> None:
    policy, old = torch.tensor([[0.5, 0.0], [-0.5, 9.0]]), torch.zeros(2, 2)
    mask, advantages = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([1.0, -1.0])
    loss, divergence = grpo_loss(policy, old, old, advantages, mask, epsilon=0.2, beta=0.1)

    def d(ratio: float) -> float:
        return 1 / ratio + math.log(ratio) - 1

    up, down = math.exp(0.5), math.exp(-0.5)
    divergences = ((d(up) + d(1.0)) / 2 + d(down)) / 2
    gains = ((min(up, 1.2) + 1.0) / 2 + min(-down, -0.8)) / 2
    assert_close(divergence, torch.tensor(divergences))
    assert_close(loss, torch.tensor(0.1 * divergences - gains))


def test_grpo_learns_what_a_program_rewards() -> None:
    """The share of even tokens in the answer rises, for prompts that it has not seen."""
    model = tiny(mt.GPT2LMHeadModel)
    generator = torch.Generator().manual_seed(0)

    def prompt(size: int) -> dict[str, Tensor]:
        ids = torch.randint(3, VOCAB, (size, LENGTH), generator=generator)
        ids[::2, 0] = 0  # padding on the left
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}

    def reward(questions: Tensor, answers: Tensor) -> Tensor:
        return ((answers % 2 == 0) & (answers > 2)).float().mean(dim=1)

    held_out = prompt(64)

    def score() -> float:
        texts = model.eval().generate(**held_out, do_sample=True, top_k=0, max_new_tokens=5, generator=1)
        return float(reward(held_out["input_ids"], texts[:, LENGTH:]).mean())

    before = score()
    steps = list(
        grpo(
            model,
            (prompt(8) for _ in range(25)),
            reward,
            torch.optim.AdamW(model.parameters(), lr=5e-3),
            group_size=8,
            max_new_tokens=5,
            updates=2,
            generator=torch.Generator().manual_seed(1),
        )
    )
    assert steps[0]["divergence"] < steps[-1]["divergence"]
    assert score() > before + 0.2


def test_an_answer_ends_with_its_first_end() -> None:
    """What stands behind the end of an answer counts neither in the mask nor in the loss."""
    from minitransformers.alignment.group_policy import _inputs

    texts = torch.tensor([[0, 5, 7, 2, 0], [5, 6, 7, 8, 9]])
    inputs = _inputs(texts, torch.tensor([[0, 1], [1, 1]]), torch.tensor([2]))
    assert inputs["attention_mask"].tolist() == [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert inputs["labels"].tolist() == [[-100, -100, 7, 2, -100], [-100, -100, 7, 8, 9]]
    assert inputs["position_ids"].tolist() == [[0, 0, 1, 2, 0], [0, 1, 2, 3, 4]]


def test_the_loops_refuse_a_group_of_one() -> None:
    model = tiny_model(mt.GPT2LMHeadModel)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(mt.InputError, match="group_size=1"):
        next(grpo(model, [], lambda q, a: a, optimizer, group_size=1))
