"""`check_training_loop` and `check_schedule`: gradients, their mean over batches, clipping, steps; and the warm-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from minitransformers.testing.learning.judging import (
    CALLABLE,
    CheckError,
    call,
    find_cause,
    judge,
    judge_outputs,
    table,
    takes,
)

LOOP = (
    "train(model, batches, optimizer, accumulation=1, max_norm=None) -> list of losses, one for each step; "
    "model(batch) is the mean loss of a batch"
)
SCHEDULE = "learning_rate(step, peak, warmup, total) -> float"
MISTAKES = {
    "no zero": "gradients are not set to zero: each step uses all gradients before it, too",
    "zero late": "gradients are set to zero between backward and step: nothing is trained",
    "zero each": "gradients are set to zero at every batch: only the last batch of a step counts",
    "step first": "the step comes before backward: it uses the gradients of the step before",
    "no step": "the optimizer takes no step",
    "sum": "gradients of several batches are added up, not averaged",
    "step each": "there is a step after every batch: accumulation is ignored",
    "rest dropped": "the last batches, too few for a whole step, are dropped",
    "rest divided": "the last step, of fewer batches, is divided by the full number of batches",
    "evaluation": "the model is in evaluation mode: dropout is off",
    "no clip": "gradients are not clipped, or only after the step",
    "clip each": "each parameter's gradient is clipped on its own: the norm is that of all of them together",
    "clip values": "single numbers are clipped, not the norm of all gradients",
    "clip always": "gradients are scaled to the norm even where they are shorter",
    "clip batch": "gradients are clipped at every batch, before all of a step are added up",
    "first batch": "the first batch is used again and again",
    "negative": "the step goes up, against the sign of the gradient",
}
SCHEDULE_MISTAKES = {
    "no warmup": "there is no warm-up: the rate begins at its peak",
    "no decay": "the rate stays at its peak after the warm-up",
    "decay from 0": "the decay counts from step 0, not from the end of the warm-up: the rate jumps at its peak",
    "late": "the rate is off by one: it is that of the step before",
    "early": "the rate is off by one: it is that of the next step",
    "long": "the decay takes as long as all steps, and begins after the warm-up: the rate never reaches 0",
    "cosine": "the decay is a cosine, not a line",
    "square": "the decay is squared",
    "below zero": "the rate goes below 0 after the last step",
    "warmup of total": "the warm-up is a line over all steps",
    "exchanged": "warm-up and decay are exchanged",
}


class TwoParameters(nn.Module):
    """A tiny model with a loss for each batch; in training fixed factors, like a dropout, change the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.b = nn.Parameter(torch.tensor([0.5]))

    def forward(self, batch: Tensor) -> Tensor:
        """The mean loss of a batch (rows, 3): two inputs and a target."""
        kept = torch.tensor([1.5, 0.5]) if self.training else torch.ones(2)
        found = batch[:, :2] @ (self.a * kept) + 3 * self.b
        return (found - batch[:, 2]).square().mean()


def plain_training(
    batches: Sequence[Tensor], accumulation: int, max_norm: float | None, wrong: frozenset[str] = frozenset()
) -> Tensor:
    """The parameters after training, and the number of steps, in plain steps, with the mistakes that `wrong` names."""
    model = TwoParameters().train("evaluation" not in wrong)
    parameters, rate = list(model.parameters()), 0.1
    accumulation = 1 if "step each" in wrong else accumulation
    gradients, steps = [torch.zeros_like(p) for p in parameters], 0

    def add(batch: Tensor, share: float) -> None:
        for total, new in zip(gradients, torch.autograd.grad(model(batch), parameters), strict=True):
            total += new * share

    def clip() -> None:
        if max_norm is None or "no clip" in wrong:
            return
        together = torch.cat([g.flatten() for g in gradients]).norm()
        for g in gradients:
            size = g.norm() if "clip each" in wrong else together
            if "clip values" in wrong:
                g.clamp_(-max_norm, max_norm)
            elif size > max_norm or "clip always" in wrong:
                g *= max_norm / size

    def step() -> None:
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p.sub_(g, alpha=rate * (-1 if "negative" in wrong else 0 if "no step" in wrong else 1))

    def zero() -> None:
        for g in gradients:
            g.zero_()

    for start in range(0, len(batches), accumulation):
        group = batches[start : start + accumulation]
        if len(group) < accumulation and "rest dropped" in wrong:
            break
        group = [batches[0]] * len(group) if "first batch" in wrong else group
        count = accumulation if "rest divided" in wrong else len(group)
        before = [g.clone() for g in gradients]
        if "no zero" not in wrong:
            zero()
        for batch in group:
            if "zero each" in wrong:
                zero()
            add(batch, 1.0 if "sum" in wrong else 1 / count)
            if "clip batch" in wrong:
                clip()
        if "zero late" in wrong:
            zero()
        if "clip batch" not in wrong:
            clip()
        if "step first" in wrong:
            gradients, before = before, gradients
        step()
        if "step first" in wrong:
            gradients = before
        steps += "no step" not in wrong
    return torch.cat([*(p.detach().flatten() for p in parameters), torch.tensor([float(steps)])])


def check_training_loop(function: Callable[..., Any]) -> None:
    """Check a training loop by the weights that it leaves, and the losses that it returns.

    Args:
        function: `train(model, batches, optimizer, accumulation=1, max_norm=None)`. Each step is of `accumulation`
            batches, the last one of those that are left, and its gradient is the mean of theirs, clipped to a norm of
            `max_norm`. It may return a list with the mean loss of each step. Laws of arguments that it does not take
            are left out.

    Raises:
        CheckError: a law is broken.
    """
    draw = torch.Generator().manual_seed(0)
    batches = [torch.randn(4, 3, generator=draw) for _ in range(5)]
    cases: list[tuple[str, int, float | None, str]] = [
        ("Each step follows the gradient of its batch.", 1, None, "one step"),
        ("Each step follows the gradient of its batch alone.", 1, None, "five steps"),
    ]
    if takes(function, "accumulation"):
        cases += [
            ("Several batches give the gradient of their mean.", 2, None, "four batches, accumulation=2"),
            ("The last step is of the batches that are left.", 2, None, "five batches, accumulation=2"),
        ]
    if takes(function, "max_norm"):
        cases += [
            ("The norm of all gradients is at most max_norm.", 1, 1.5, "five steps, max_norm=1.5"),
            ("Gradients that are short enough are not changed.", 1, 1e3, "five steps, max_norm=1000"),
        ]
    if takes(function, "accumulation") and takes(function, "max_norm"):
        cases.append(
            ("The mean over the batches of a step is clipped.", 2, 1.5, "five batches, accumulation=2, max_norm=1.5")
        )
    numbers = {"one step": 1, "four batches, accumulation=2": 4}
    used = [batches[: numbers.get(case[3], len(batches))] for case in cases]
    losses: list[Any] = []

    def run(index: int) -> Tensor:
        _, accumulation, max_norm, _ = cases[index]
        model = TwoParameters()
        model.eval()  # as a user may leave it after an evaluation
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        values = {"model": model, "batches": list(used[index]), "optimizer": optimizer}
        if takes(function, "accumulation"):
            values["accumulation"] = accumulation
        if takes(function, "max_norm"):
            values["max_norm"] = max_norm
        steps: list[Any] = []
        optimizer.register_step_post_hook(lambda *arguments: steps.append(arguments))
        losses.append(call(function, values, LOOP))
        return torch.cat([*(p.detach().flatten() for p in model.parameters()), torch.tensor([float(len(steps))])])

    judge_outputs(
        [run(index) for index in range(len(cases))],
        lambda wrong: (plain_training(u, case[1], case[2], wrong) for u, case in zip(used, cases, strict=True)),
        MISTAKES,
        [(law, f"the three weights and the number of steps after {place}") for law, *_, place in cases],
    )
    if isinstance(losses[1], (list, tuple)):
        _check_losses(losses[1], batches)


def _check_losses(losses: Sequence[Any], batches: Sequence[Tensor]) -> None:
    """The losses of a run with a step for each batch."""
    expected = []
    for index, batch in enumerate(batches):
        model = TwoParameters()
        weights = plain_training(batches[:index], 1, None)
        model.load_state_dict({"a": weights[:2], "b": weights[2:3]})
        expected.append(model(batch).item())
    if any(isinstance(loss, Tensor) and loss.requires_grad for loss in losses):
        shown = table(["type"], {"yours": ["tensor with a graph"], "expected": ["float"]})
        cause = "the losses keep their graphs, and all activations with them: use loss.item()"
        raise CheckError("The losses are plain numbers.", cause, shown)
    ours = [float(loss) for loss in losses]
    same = len(ours) == len(expected) and all(abs(a - b) < 1e-4 for a, b in zip(ours, expected, strict=True))
    if not same:
        rows = {"yours": ours, "expected": expected}
        cause = find_cause(
            [torch.tensor(ours)],
            lambda wrong: [torch.tensor(expected) * (4 if "sum" in wrong else 0)],
            {"sum": "the loss is added up over the rows of a batch, not averaged"},
        )
        columns = [f"step {i}" for i in range(max(len(ours), len(expected)))]
        raise CheckError("The loss of each step is returned, in order.", cause, table(columns, rows))


def linear_schedule(step: int, peak: float, warmup: int, total: int, wrong: frozenset[str] = frozenset()) -> float:
    """A line up to the peak, and a line down to 0, in plain steps, with the mistakes that `wrong` names."""
    step += ("early" in wrong) - ("late" in wrong)
    if "exchanged" in wrong:
        left, part = total - step, min(1, (total - step) / max(1, warmup))
        return peak * part if left <= warmup else peak * step / max(1, total - warmup)
    if "warmup of total" in wrong:
        return peak * step / total
    if step < warmup and "no warmup" not in wrong:
        return peak * step / warmup
    if "no decay" in wrong:
        return peak
    done = (step - warmup) / (total - warmup)
    done = step / total if "decay from 0" in wrong else (step - warmup) / total if "long" in wrong else done
    done = done if "below zero" in wrong else max(0, min(1, done))
    rest = (1 + cos(pi * done)) / 2 if "cosine" in wrong else 1 - done
    return peak * (rest**2 if "square" in wrong else rest)


def check_schedule(function: Callable[..., Any]) -> None:
    """Check a learning rate that grows from 0 to its peak in `warmup` steps, and then falls to 0 at `total`.

    Args:
        function: `learning_rate(step, peak, warmup, total)`, where `step` counts from 0.

    Raises:
        CheckError: a law is broken.
    """
    steps = [0, 1, 3, 4, 5, 8, 11, 12, 14]
    peak, warmup, total = 0.5, 4, 12

    def run(step: int) -> float:
        found = call(function, {"step": step, "peak": peak, "warmup": warmup, "total": total}, SCHEDULE)
        if not isinstance(found, (int, float)):
            raise CheckError(CALLABLE, f"it returns a {type(found).__name__}, not a number", f"expected: {SCHEDULE}")
        return float(found)

    ours = torch.tensor([run(step) for step in steps])

    def reference(wrong: frozenset[str]) -> list[Tensor]:
        return [torch.tensor([float(linear_schedule(step, peak, warmup, total, wrong)) for step in steps])]

    right = reference(frozenset())[0]

    def broken() -> str | None:
        if torch.allclose(ours, right, atol=1e-6):
            return None
        columns = [f"step {step}" for step in steps]
        rows = {"yours": ours.tolist(), "expected": right.tolist()}
        return f"peak {peak}, warmup {warmup}, total {total}:\n" + table(columns, rows)

    law = "The rate grows in a line to its peak at the end of the warm-up, and falls in a line to 0."
    judge([(law, broken)], lambda: find_cause([ours], reference, SCHEDULE_MISTAKES))
