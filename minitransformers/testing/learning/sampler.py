"""`check_sampler`: temperature, top-k and top-p, together or each in a function of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.testing.learning.judging import call, equal, find_cause, judge, table, takes, tensor_of

EXPECTED = (
    "sample(logits, temperature=1.0, top_k=None, top_p=None) -> logits, probabilities or ids; logits (rows, vocabulary)"
)
DRAWS = 20000
MISTAKES = {
    "greedy": "the best token is always taken",
    "no temperature": "the temperature is ignored",
    "times temperature": "the logits are multiplied by the temperature, not divided by it",
    "temperature of probabilities": "the temperature divides probabilities, not logits",
    "temperature last": "the temperature is applied after top-p, not before it",
    "no top-k": "top-k is ignored",
    "k + 1": "top-k keeps one token too many",
    "k − 1": "top-k keeps one token too few",
    "smallest": "top-k keeps the worst tokens, not the best",
    "no ties": "top-k drops tokens that tie with the k-th",
    "zeros": "dropped tokens get the logit 0, not −inf",
    "no top-p": "top-p is ignored",
    "drops crossing": "top-p drops the token that crosses p",
    "one more": "top-p keeps one token after the one that crosses p",
    "ascending": "top-p adds up from the worst token, not from the best",
    "no unsort": "top-p is applied in sorted order and not put back into the order of the vocabulary",
    "of logits": "top-p adds up logits, not probabilities",
    "threshold": "top-p drops tokens whose own probability is below p",
    "over rows": "top-p adds up over the rows of the batch, not over the vocabulary",
    "unsorted": "top-p adds up in the order of the vocabulary, without sorting",
    "first row": "all rows are filtered by the first one",
}
Case = tuple[Tensor, float, int | None, float | None]


def distribution(
    logits: Tensor, temperature: float, top_k: int | None, top_p: float | None, wrong: frozenset[str] = frozenset()
) -> Tensor:
    """The probabilities that are drawn from, in plain steps, with the mistakes that `wrong` names."""
    size = logits.shape[-1]
    away = 0.0 if "zeros" in wrong else -torch.inf

    def cool(x: Tensor) -> Tensor:
        if "no temperature" in wrong:
            return x
        if "temperature of probabilities" in wrong:
            return x if temperature == 1 else x.softmax(-1) / temperature
        return x * temperature if "times temperature" in wrong else x / temperature

    x = logits if "temperature last" in wrong else cool(logits)
    if top_k is not None and "no top-k" not in wrong:
        k = max(1, min(size, top_k + ("k + 1" in wrong) - ("k − 1" in wrong)))
        best = x.topk(k, largest="smallest" not in wrong)
        keep = x <= best.values[:, -1:] if "smallest" in wrong else x >= best.values[:, -1:]
        if "no ties" in wrong:
            keep = torch.zeros_like(x, dtype=torch.bool).scatter(1, best.indices, True)
        keep = keep[:1].expand_as(keep) if "first row" in wrong else keep
        x = x.masked_fill(~keep, away)
    if top_p is not None and "no top-p" not in wrong:
        order = x.sort(dim=-1, descending="ascending" not in wrong, stable=True).indices
        order = torch.arange(size).expand_as(order) if "unsorted" in wrong else order
        sorted_x = x.gather(1, order)
        mass = sorted_x if "of logits" in wrong else sorted_x.softmax(-1)
        total = mass.cumsum(0 if "over rows" in wrong else -1)
        before = total - mass
        if "threshold" in wrong:
            drop = mass < top_p
        elif "drops crossing" in wrong:
            drop = total > top_p
        elif "one more" in wrong:
            drop = before - mass.roll(1, -1) >= top_p
            drop[:, :2] = False
        else:
            drop = before >= top_p
        drop[:, 0] = False
        drop = drop[:1].expand_as(drop) if "first row" in wrong else drop
        x = x.masked_fill(drop if "no unsort" in wrong else torch.zeros_like(drop).scatter(1, order, drop), away)
    x = cool(x) if "temperature last" in wrong else x
    if "greedy" in wrong:
        x = x.masked_fill(x < x.amax(-1, keepdim=True), -torch.inf)
    return x.softmax(-1)


def check_sampler(function: Callable[..., Any]) -> None:
    """Check what a sampler draws from. The laws are those of the arguments that it takes.

    Args:
        function: takes logits (rows, vocabulary) and any of temperature, top_k and top_p. It returns filtered logits,
            probabilities, or drawn ids (rows,) or (rows, 1), which are counted.

    Raises:
        CheckError: a law is broken.
        InputError: it takes none of the three.
    """
    t, k, p = (takes(function, name) for name in ("temperature", "top_k", "top_p"))
    if not (t or k or p):
        raise InputError("The sampler takes none of temperature, top_k and top_p.")
    two = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.1, 0.05, 0.65, 0.2]]).log()
    ties = torch.tensor([[1.0, 3.0, 2.0, 2.0]])
    negative = torch.tensor([[-3.0, -1.0, -2.0, -4.0]])
    named: list[tuple[str, Case]] = []
    if t:
        named += [
            ("Temperature 1 changes nothing.", (two, 1.0, None, None)),
            ("A low temperature favours the best token: logits are divided by it.", (two, 0.5, None, None)),
        ]
    if k:
        named += [
            ("Top-k keeps the k best tokens.", (two[:1], 1.0, 1, None)),
            ("Top-k keeps the k best tokens.", (two, 1.0, 2, None)),
            ("Top-k keeps the k best tokens.", (two, 1.0, 3, None)),
            ("Top-k drops all others, also where logits are negative.", (negative, 1.0, 2, None)),
        ]
    if p:
        named += [
            ("The best token survives top-p.", (two[:1], 1.0, None, 0.1)),
            ("Top-p keeps the smallest set whose mass reaches p.", (two[:1], 1.0, None, 0.7)),
            ("Each row is filtered on its own.", (two, 1.0, None, 0.75)),
            ("Top-p keeps the smallest set whose mass reaches p.", (negative, 1.0, None, 0.9)),
        ]
    if p:
        named += [
            ("Each row is filtered on its own.", (two, 1.0, None, 0.2)),
            ("Top-p adds up probabilities.", (torch.tensor([[1.0, 0.5, 0.2, 0.1]]), 1.0, None, 0.9)),
        ]
    if t and p:
        named.append(("The temperature comes before top-p.", (two, 2.0, None, 0.6)))
    if k:
        named.append(("Top-k keeps every token that ties with the k-th.", (ties, 1.0, 2, None)))

    torch.manual_seed(0)
    seen: dict[int, tuple[Tensor, bool]] = {}

    def run(index: int) -> tuple[Tensor, bool]:
        """The probabilities of a case, and whether they were counted from draws."""
        if index not in seen:
            logits, temperature, top_k, top_p = named[index][1]
            seen[index] = _observe(function, logits, {"temperature": temperature, "top_k": top_k, "top_p": top_p})
        return seen[index]

    def same(ours: tuple[Tensor, bool], theirs: Tensor) -> bool:
        if not ours[1]:
            return equal(ours[0], theirs)
        margin = 5 * (theirs * (1 - theirs) / DRAWS).sqrt() + 1e-6
        return ours[0].shape == theirs.shape and bool(((ours[0] - theirs).abs() <= margin).all())

    def broken(index: int) -> str | None:
        case, ours = named[index][1], run(index)
        right = distribution(*case)
        if same(ours, right):
            return None
        if ours[0].shape != right.shape:
            return table(["shape"], {"yours": [tuple(ours[0].shape)], "expected": [tuple(right.shape)]})
        row = int((ours[0] - right).abs().nan_to_num(1).amax(-1).argmax())
        settings = ", ".join(
            f"{n}={v}" for n, v in zip(("temperature", "top_k", "top_p"), case[1:], strict=True) if v is not None
        )
        columns = [f"token {i}" for i in range(right.shape[1])]
        rows = {
            "before": case[0][row].softmax(-1).tolist(),
            "yours": ours[0][row].tolist(),
            "expected": right[row].tolist(),
        }
        return f"probabilities, {settings}:\n{table(columns, rows)}"

    def cause() -> str:
        observed = [run(index) for index in range(len(named))]
        return find_cause(observed, lambda wrong: (distribution(*case, wrong) for _, case in named), MISTAKES, same)

    judge([(law, partial(broken, i)) for i, (law, _) in enumerate(named)], cause)


def _observe(function: Callable[..., Any], logits: Tensor, settings: dict[str, Any]) -> tuple[Tensor, bool]:
    asked = {name: value for name, value in settings.items() if value is not None}
    # A function that has no default for an argument gets the value that asks for nothing.
    nothing = {"temperature": 1.0, "top_k": logits.shape[-1], "top_p": 1.0}
    needed = {name: asked.get(name, nothing[name]) for name in nothing if takes(function, name)}
    output = tensor_of(call(function, {"logits": logits.clone(), **needed}, EXPECTED), EXPECTED)
    if output.is_floating_point():
        sums = output.sum(-1)
        given = bool((output >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        return (output if given else output.softmax(-1)), False
    counts = []
    for row in logits:
        many = row.expand(DRAWS, -1).clone()
        ids = tensor_of(call(function, {"logits": many, **needed}, EXPECTED), EXPECTED).reshape(-1)
        counts.append(torch.bincount(ids, minlength=logits.shape[-1]) / len(ids))
    return torch.stack(counts), True
