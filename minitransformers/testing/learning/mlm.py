"""`check_mlm_masking`: 15 % of the tokens are selected; of those 80 % become [MASK], 10 % random, 10 % stay."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from minitransformers.testing.learning.judging import CALLABLE, CheckError, call, find_cause, judge, table, takes

EXPECTED = (
    "mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, generator=None) -> (input_ids, labels); "
    "(batch, length), special_tokens_mask 1 = special"
)
IGNORED, MASK, VOCABULARY = -100, 4, 50
MISTAKES = {
    "of all": "80/10/10 of all tokens, not of the selected ones",
    "always masked": "every selected token becomes [MASK]: the 10 % random and 10 % unchanged are missing",
    "no random": "no selected token becomes a random one: 90 % are [MASK]",
    "no unchanged": "no selected token stays unchanged: 20 % become random",
    "half random": "the share of random tokens is 10 % of what [MASK] left, not half of it",
    "swapped": "80 % of the selected tokens stay unchanged and 10 % become [MASK]",
    "specials": "special tokens are selected too",
    "labels everywhere": "labels are given for all tokens, not only for the selected ones",
    "labels masked": "labels are taken after the tokens were replaced",
    "labels inverted": "labels are given where nothing was selected",
    "labels of masked": "labels are given only where the token became [MASK]",
    "labels of changed": "labels are missing where a selected token stays unchanged",
    "labels shifted": "labels are shifted by one position: masked language models predict the token at the same place",
    "labels 0": "positions that were not selected have the label 0, not −100",
    "labels pad": "positions that were not selected have the label −1, not −100",
    "one in ten": "10 % of the tokens are selected, not 15 %",
    "four in five": "80 % of the tokens are selected, not 15 %",
    "same columns": "the same positions are selected in every text",
    "one random": "all random tokens are the same one",
}


def mask_tokens(ids: Tensor, special: Tensor, draw: torch.Generator, wrong: frozenset[str]) -> tuple[Tensor, Tensor]:
    """BERT's masking in plain steps (Devlin et al., 2019, §3.1), with the mistakes that `wrong` names."""

    def chance() -> Tensor:
        return torch.rand(ids.shape, generator=draw)

    share = 0.1 if "one in ten" in wrong else 0.8 if "four in five" in wrong else 0.15
    first = chance()
    first = first[:1].expand_as(first) if "same columns" in wrong else first
    selected = first < share
    if "specials" not in wrong:
        selected = selected & ~special.bool()
    labels = ids.clone()
    kind, randoms = chance(), torch.randint(VOCABULARY, ids.shape, generator=draw)
    if "one random" in wrong:
        randoms = randoms[0, 0].expand_as(randoms)
    masked_below, random_below = 0.8, 0.9
    if "always masked" in wrong:
        masked_below = random_below = 1.0
    elif "no random" in wrong:
        masked_below = random_below = 0.9
    elif "no unchanged" in wrong:
        random_below = 1.0
    elif "half random" in wrong:
        random_below = 0.82
    elif "swapped" in wrong:
        masked_below, random_below = 0.1, 0.2
    place = ~special.bool() if "of all" in wrong else selected
    masked, random = place & (kind < masked_below), place & (kind >= masked_below) & (kind < random_below)
    output = torch.where(masked, MASK, torch.where(random, randoms, ids))
    if "labels masked" in wrong:
        labels = output.clone()
    if "labels shifted" in wrong:
        labels, selected = labels.roll(-1, 1), selected.roll(-1, 1)
    given = ~selected if "labels inverted" in wrong else selected & masked if "labels of masked" in wrong else selected
    given = selected & (masked | random) if "labels of changed" in wrong else given
    rest = 0 if "labels 0" in wrong else -1 if "labels pad" in wrong else IGNORED
    return output, labels if "labels everywhere" in wrong else torch.where(given, labels, rest)


def shares(ids: Tensor, special: Tensor, output: Tensor, labels: Tensor) -> dict[str, tuple[float, int]]:
    """What masking did, as shares, each with the number of tokens that it is a share of."""
    chosen, plain = labels != IGNORED, ~special.bool()
    changed, masked = output != ids, output == MASK
    parts = {
        "selected, of plain tokens": (chosen, plain),
        "selected, of special tokens": (chosen, ~plain),
        "label is the token": (labels == ids, chosen),
        "label is the next token": (labels == ids.roll(-1, 1), chosen),
        "label is 0": (labels == 0, torch.ones_like(plain)),
        "label is −1": (labels == -1, torch.ones_like(plain)),
        "[MASK], of selected": (masked, chosen),
        "random, of selected": (changed & ~masked, chosen),
        "[MASK], of the rest": (masked, ~chosen),
        "changed, of the rest": (changed & ~masked, ~chosen),
        "selected in both of two texts": (chosen[0::2] & chosen[1::2], plain[0::2] & plain[1::2]),
    }
    found = {
        name: (float(hit[of].double().mean()) if of.any() else 0.0, int(of.sum())) for name, (hit, of) in parts.items()
    }
    drawn = output[changed & ~masked]
    most = float(torch.bincount(drawn.clamp(min=0)).max()) / len(drawn) if len(drawn) else 0.0
    return found | {"random tokens are all the same": (float(most > 0.5), 10**9)}


def _texts(with_special: bool) -> tuple[Tensor, Tensor]:
    """Ids (200, 300), and which of them are special: [CLS], and padding at the end."""
    ids = torch.randint(5, VOCABULARY, (200, 300), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, -30:] = 1, 2
    special = torch.zeros_like(ids)
    if with_special:
        special[:, 0], special[:, -30:] = 1, 1
    return ids, special


@cache  # the same for every learner's function
def _plain_shares(with_special: bool, wrong: frozenset[str]) -> dict[str, tuple[float, int]]:
    ids, special = _texts(with_special)
    return shares(ids, special, *mask_tokens(ids, special, torch.Generator().manual_seed(2), wrong))


def check_mlm_masking(function: Callable[..., Any]) -> None:
    """Check the masking of BERT's pre-training.

    Args:
        function: `mask_tokens(input_ids, special_tokens_mask, mask_token_id, vocab_size, generator=None)`, which
            returns the changed ids and the labels, −100 where nothing was selected; both (batch, length).

    Raises:
        CheckError: a law is broken.
    """
    with_special = takes(function, "special")
    ids, special = _texts(with_special)
    before = ids.clone()
    torch.manual_seed(0)
    values = {"input_ids": before, "special": special.bool(), "mask_token_id": MASK, "vocab_size": VOCABULARY}
    result = call(function, {**values, "generator": torch.Generator().manual_seed(1), "seed": 1}, EXPECTED)
    if not (isinstance(result, (tuple, list)) and len(result) == 2 and all(isinstance(t, Tensor) for t in result)):
        raise CheckError(CALLABLE, "it does not return two tensors, ids and labels", f"expected: {EXPECTED}")
    output, labels = result
    if output.shape != ids.shape or labels.shape != ids.shape:
        raise CheckError(
            "Ids and labels have the shape of the input.",
            "the shapes are others",
            table(
                ["shape"],
                {"ids": [tuple(output.shape)], "labels": [tuple(labels.shape)], "expected": [tuple(ids.shape)]},
            ),
        )
    ours = shares(ids, special, output, labels)

    right = _plain_shares(with_special, frozenset())

    def broken(*names: str) -> str | None:
        if all(near(ours[name], right[name]) for name in names):
            return None
        return table(["yours", "expected"], {name: [ours[name][0], right[name][0]] for name in names})

    def unchanged() -> str | None:
        return None if torch.equal(before, ids) else "the tensor that was passed holds other ids afterwards"

    if torch.equal(before, ids) is False:
        raise CheckError(
            "The input is left as it is.", "the input is changed in place: clone it first", unchanged() or ""
        )
    judge(
        [
            ("Labels are −100 where nothing was selected.", lambda: broken("label is 0", "label is −1")),
            ("A label is the token that stood at its place.", lambda: broken("label is the token")),
            ("Special tokens are never selected.", lambda: broken("selected, of special tokens")),
            ("15 % of the tokens are selected.", lambda: broken("selected, of plain tokens")),
            ("What is not selected stays as it is.", lambda: broken("[MASK], of the rest", "changed, of the rest")),
            (
                "80 % of the selected tokens become [MASK], 10 % random, 10 % stay.",
                lambda: broken("[MASK], of selected", "random, of selected"),
            ),
            ("Each text is masked on its own.", lambda: broken("selected in both of two texts")),
            ("A random token is any of the vocabulary.", lambda: broken("random tokens are all the same")),
        ],
        lambda: find_cause([ours], lambda wrong: [_plain_shares(with_special, wrong)], MISTAKES, same_shares),
    )


def near(ours: tuple[float, int], theirs: tuple[float, int]) -> bool:
    """Whether two shares differ by less than five standard deviations of what chance gives."""
    (a, m), (b, n) = ours, theirs
    if not m or not n:
        return m == n
    p = (a * m + b * n) / (m + n)
    return bool(abs(a - b) <= 5 * (p * (1 - p) * (1 / m + 1 / n)) ** 0.5 + 1e-9)


def same_shares(ours: dict[str, tuple[float, int]], theirs: dict[str, tuple[float, int]]) -> bool:
    """Whether all shares are near, and taken of about as many."""
    return all(near(ours[name], theirs[name]) for name in theirs)
