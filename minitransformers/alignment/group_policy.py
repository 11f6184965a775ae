"""Group relative policy optimization (Shao et al., 2024, §4.1): reinforcement learning without a value model.

For each question, G answers o_1 … o_G are sampled, and a program gives each a reward r_i. An answer is good if it is
better than the others to the same question:

    A_i = (r_i − mean r) / std r                                                                  (§4.1.2)
    L = −1/G Σ_i 1/|o_i| Σ_t min(ρ A_i, clip(ρ, 1−ε, 1+ε) A_i) − β D                              (eq. 3)
    ρ = π(o_t)/π_old(o_t),    D = π_ref(o_t)/π(o_t) − log π_ref(o_t)/π(o_t) − 1                   (eq. 4)

π_old is the policy that has sampled the answers, and D keeps π near the reference π_ref.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Optimizer

from minitransformers.alignment.likelihood import next_token_logits, token_log_probabilities
from minitransformers.configs.checks import check_count
from minitransformers.nn.losses import IGNORED
from minitransformers.nn.positions import positions_from_mask

Reward = Callable[[Tensor, Tensor], Tensor]


def group_advantages(rewards: Float[Tensor, " rows"], group_size: int) -> Float[Tensor, " rows"]:
    """A: each reward minus the mean of its group, over the group's standard deviation; 0 where all are alike."""
    groups = rewards.view(-1, group_size)
    centered = groups - groups.mean(dim=1, keepdim=True)
    return (centered / (groups.std(dim=1, keepdim=True) + 1e-4)).flatten()


def grpo_loss(
    policy: Float[Tensor, "rows length"],
    old: Float[Tensor, "rows length"],
    reference: Float[Tensor, "rows length"],
    advantages: Float[Tensor, " rows"],
    mask: Float[Tensor, "rows length"],
    *,
    epsilon: float = 0.2,
    beta: float = 0.04,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The loss, and the mean of D.

    Args:
        policy, old, reference: log π, log π_old and log π_ref of each token of the answers.
        advantages: A of each answer.
        mask: 1 at the answers' tokens.
        epsilon: how far ρ may move from 1 before it is cut.
        beta: the weight of D.
    """

    def mean(values: Tensor) -> Tensor:  # over each answer's tokens, then over the answers
        return ((values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()

    ratio = (policy - old).exp()
    gain = torch.minimum(ratio * advantages[:, None], ratio.clamp(1 - epsilon, 1 + epsilon) * advantages[:, None])
    divergence = (reference - policy).exp() - (reference - policy) - 1
    return mean(beta * divergence - gain), mean(divergence)


def grpo(
    model: Any,
    prompts: Iterable[dict[str, Tensor]],
    reward: Reward,
    optimizer: Optimizer,
    *,
    group_size: int = 8,
    max_new_tokens: int = 32,
    updates: int = 1,
    epsilon: float = 0.2,
    beta: float = 0.04,
    reference: Any = None,
    max_grad_norm: float = 1.0,
    **sampling: Any,
) -> Iterator[dict[str, float]]:
    """Train `model`, for each batch of prompts with `group_size` answers to each; yield `reward`, `loss`, `divergence`.

    Args:
        model: a causal language model.
        prompts: `input_ids` (batch, length) and `attention_mask`, padded on the left.
        reward: called with the prompts and answers, (rows, length) and (rows, new), answers filled with padding behind
            their end; returns (rows,) numbers.
        optimizer: of the parameters that are trained: all, or an adapter's.
        group_size: G, at least 2.
        updates: steps of the optimizer for each sample; from the second on ρ differs from 1.
        epsilon, beta: see `grpo_loss`.
        reference: π_ref; by default a copy of the model as it is when training starts.
        sampling: further arguments of `generate`: `temperature`, `generator` …
    """
    check_count("group_size", group_size, least=2)
    reference = (copy.deepcopy(model) if reference is None else reference).eval().requires_grad_(False)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sampling = {"do_sample": True, "top_k": 0, "max_new_tokens": max_new_tokens, **sampling}
    for batch in prompts:
        model.eval()
        texts = model.generate(**batch, num_return_sequences=group_size, **sampling)
        questions = batch["input_ids"].repeat_interleave(group_size, dim=0)
        answers = texts[:, questions.shape[1] :]
        rewards = reward(questions, answers).to(dtype=torch.float32, device=texts.device)
        advantages = group_advantages(rewards, group_size)
        prompt_mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
        inputs = _inputs(texts, prompt_mask.repeat_interleave(group_size, dim=0), ends_of(model, sampling))
        mask = (inputs["labels"][:, 1:] != IGNORED).float()
        with torch.no_grad():
            old, before = (_log_probabilities(policy, inputs) for policy in (model, reference))
        for _ in range(updates):
            policy = _log_probabilities(model, inputs)
            loss, divergence = grpo_loss(policy, old, before, advantages, mask, epsilon=epsilon, beta=beta)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
            optimizer.step()
        yield {"reward": float(rewards.mean()), "loss": float(loss.detach()), "divergence": float(divergence.detach())}


def ends_of(model: Any, sampling: dict[str, Any]) -> Int[Tensor, " ends"]:
    """The tokens that end an answer."""
    ends = sampling.get("eos_token_id", model.generation_config.eos_token_id)
    return torch.tensor([] if ends is None else ends, dtype=torch.long, device=model.device).view(-1)


def _inputs(texts: Tensor, prompt_mask: Tensor, ends: Tensor) -> dict[str, Tensor]:
    """Mask, positions and labels of prompts with their answers: an answer lasts up to its first end, included."""
    answers = texts[:, prompt_mask.shape[1] :]
    is_end = torch.isin(answers, ends).long()
    mask = (is_end.cumsum(dim=1) - is_end == 0).long()  # no end before
    attention_mask = torch.cat([prompt_mask, mask], dim=1)
    labels = torch.cat([torch.full_like(prompt_mask, IGNORED), answers.masked_fill(mask == 0, IGNORED)], dim=1)
    positions = positions_from_mask(attention_mask).masked_fill(attention_mask == 0, 0)
    return {"input_ids": texts, "attention_mask": attention_mask, "position_ids": positions, "labels": labels}


def _log_probabilities(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """log p of each token of the answers, without dropout, as when they were sampled."""
    model.eval()
    return token_log_probabilities(next_token_logits(model, inputs), inputs["labels"])
