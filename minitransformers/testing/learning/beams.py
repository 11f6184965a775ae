"""`check_beam_search`: the most likely continuation, among a few that are kept at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from minitransformers.testing.learning.judging import CALLABLE, CheckError, call, find_cause, judge, table

EXPECTED = (
    "beam_search(model, input_ids, num_beams, max_new_tokens, eos_token_id) -> ids or (ids, score); "
    "model(new_ids, cache) -> (logits of the last token, cache); cache.reorder(rows)"
)
VOCABULARY, STEPS, EOS = 4, 4, 0
PROMPT = [1, 2, 3, 3, 2, 1]  # longer than what is generated, to tell whether a result begins with it
MISTAKES = {
    "no reorder": "beams don't reorder the cache",
    "greedy": "each step keeps only the best token: the search is greedy",
    "equal beams": "all beams begin equal: the first step takes the same token in every beam",
    "own best": "each beam keeps its own best token: beams never replace each other",
    "last score": "scores are those of the last token only, not added up",
    "logits": "logits are added up, not log-probabilities",
    "probabilities": "probabilities are added up, not their logarithms",
    "no gather": "tokens are appended to beams in their old order: ids are not reordered",
    "worst": "the worst of the kept beams is returned, not the best",
    "first": "the first finished text is returned, whatever its score",
    "goes on": "the end token does not end a text: other tokens are added, and to its score too",
    "unfinished only": "finished texts are dropped",
    "finished only": "texts that did not reach the end token are dropped, although they are better",
    "one step less": "the search ends one step too early",
    "one step more": "the search goes one step too far",
    "worst tokens": "the least likely tokens are kept, not the most likely",
}


class BeamCache:
    """The state of a tiny recurrent model, one row a beam. Pass it on; where beams change places, call `reorder`."""

    def __init__(self, state: Tensor) -> None:
        self.state = state

    def reorder(self, rows: Tensor | Sequence[int]) -> BeamCache:
        """Row i becomes what row rows[i] was; in place, and returned."""
        self.state = self.state[torch.as_tensor(rows)]
        return self

    reorder_cache = reorder


class TinyModel:
    """Logits that depend on every token before: call it with new ids (rows, n) and the cache of those before."""

    def __init__(self, seed: int, *, eos: bool) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.mix = torch.randn(5, 5, generator=draw, dtype=torch.float64) * 0.5
        self.embed = torch.randn(VOCABULARY, 5, generator=draw, dtype=torch.float64) * 1.5
        self.out = torch.randn(5, VOCABULARY, generator=draw, dtype=torch.float64) * 0.8
        self.eos, self.vocab_size = eos, VOCABULARY

    def __call__(self, input_ids: Tensor, cache: BeamCache | None = None) -> tuple[Tensor, BeamCache]:
        """Logits (rows, vocabulary) of the token after the last one, and the cache."""
        state = torch.zeros(len(input_ids), 5, dtype=torch.float64) if cache is None else cache.state
        if len(state) != len(input_ids):
            raise ValueError(
                f"The cache has {len(state)} rows and the ids {len(input_ids)}: repeat or reorder the cache."
            )
        for column in input_ids.T:
            state = torch.tanh(state @ self.mix + self.embed[column])
        logits = state @ self.out + 3  # not normalized: log_softmax is up to the search
        if not self.eos:
            logits = logits.index_fill(1, torch.tensor([EOS]), -30.0)
        return logits, BeamCache(state)


def beam_search(
    model: TinyModel, prompt: Tensor, beams: int, steps: int, wrong: frozenset[str] = frozenset()
) -> list[int]:
    """Beam search in plain steps, with the mistakes that `wrong` names: the new ids of the best text.

    Finished texts wait with their score, and the best of all is returned.
    """
    if "greedy" in wrong:
        beams = 1
    steps += ("one step more" in wrong) - ("one step less" in wrong)
    ids, scores, finished = prompt, torch.zeros(1, dtype=torch.float64), []
    logits, cache = model(prompt)
    if "equal beams" in wrong:
        ids, scores, logits = ids.repeat(beams, 1), scores.repeat(beams), logits.repeat(beams, 1)
        cache.reorder([0] * beams)
    for step in range(steps):
        gains = (
            logits if "logits" in wrong else logits.softmax(-1) if "probabilities" in wrong else logits.log_softmax(-1)
        )
        totals = gains if "last score" in wrong else scores[:, None] + gains
        sign = -1 if "worst tokens" in wrong else 1
        if ("own best" in wrong and step) or "equal beams" in wrong:
            best, tokens = totals.max(1)
            rows = torch.arange(len(totals))
        else:
            best, flat = (sign * totals).flatten().topk(min(beams, totals.numel()))
            best, rows, tokens = sign * best, flat // VOCABULARY, flat % VOCABULARY
        previous = ids
        kept = torch.arange(len(rows)) % len(previous) if "no gather" in wrong else rows
        ids = torch.cat([previous[kept], tokens[:, None]], 1)
        ended = tokens == EOS
        if "goes on" in wrong:
            ended = torch.zeros_like(ended)
        if "unfinished only" not in wrong:
            finished += [(float(best[i]), ids[i].tolist()) for i in ended.nonzero().flatten()]
        alive = (~ended).nonzero().flatten()[:beams]
        ids, scores, rows, tokens = ids[alive], best[alive], rows[alive], tokens[alive]
        if "first" in wrong and finished:
            break
        if not len(alive) or step == steps - 1:
            break
        if "no reorder" in wrong:
            rows = torch.arange(len(rows)) % len(cache.state)
        logits, cache = model(tokens[:, None], cache.reorder(rows))
    alive_texts = [(float(s), text.tolist()) for s, text in zip(scores, ids, strict=True)]
    if "first" in wrong and finished:
        return list(finished[0][1][prompt.shape[1] :])
    texts = finished if "finished only" in wrong and finished else finished + alive_texts
    text = (min if "worst" in wrong else max)(texts, key=lambda pair: pair[0])[1]
    return list(text[prompt.shape[1] :])


@cache  # the same for every learner's function
def _plain(seed: int, beams: int, steps: int, eos: bool, wrong: frozenset[str] = frozenset()) -> list[int]:
    return beam_search(TinyModel(seed, eos=eos), torch.tensor([PROMPT]), beams, steps, wrong)


def check_beam_search(function: Callable[..., Any]) -> None:
    """Check beam search on tiny models, against a plain one and against all texts there are.

    The score of a text is the sum of its log-probabilities, without a length penalty. A text ends at `eos_token_id` and
    waits with its score; the best of all texts is returned.

    Args:
        function: `beam_search(model, input_ids, num_beams, max_new_tokens, eos_token_id)`; `input_ids` is (1, length)
            and `model(ids, cache=None)` gives logits (rows, vocabulary) and a cache with `reorder(rows)`. Without a
            cache the model takes whole texts. The result is ids, (1, n) or (n,), or a tuple that begins with them.

    Raises:
        CheckError: a law is broken.
    """
    prompt = torch.tensor([PROMPT])
    cases = [(seed, 1, 2, False) for seed in range(3)] + [(seed, 2, 2, False) for seed in range(4)]
    cases += [(seed, 2, STEPS, False) for seed in range(20)] + [(seed, 3, STEPS, False) for seed in range(8)]
    wide = [(seed, VOCABULARY**3, 3, True) for seed in range(20)]
    seen: dict[tuple[int, int, int, bool], list[int]] = {}

    def run(seed: int, beams: int, steps: int, eos: bool) -> list[int]:
        case = (seed, beams, steps, eos)
        if case not in seen:
            values = {
                "model": TinyModel(seed, eos=eos),
                "input_ids": prompt.clone(),
                "beams": beams,
                "steps": steps,
                "eos_token_id": EOS,
            }
            result = call(function, values, EXPECTED)
            result = result[0] if isinstance(result, tuple) else result
            try:
                ids = torch.as_tensor(result).reshape(-1).tolist()
            except (TypeError, ValueError, RuntimeError) as error:
                raise CheckError(
                    CALLABLE, f"it returns a {type(result).__name__}, not ids", f"expected: {EXPECTED}"
                ) from error
            seen[case] = ids[len(PROMPT) :] if ids[: len(PROMPT)] == PROMPT else ids
        return seen[case]

    def broken(cases: list[tuple[int, int, int, bool]]) -> str | None:
        for case in cases:
            ours, theirs = run(*case), _plain(*case)
            if ours != theirs:
                rows = {
                    "yours": [str(ours), log_probability(case, ours)],
                    "expected": [str(theirs), log_probability(case, theirs)],
                }
                return f"prompt {PROMPT}, {case[1]} beams, {case[2]} steps:\n" + table(
                    ["new ids", "log-probability"], rows
                )
        return None

    def cause() -> str:
        # A search that is wrong without an end token is explained without it: what a finished text does to the
        # others is a choice as long as there are few beams.
        probes = cases if broken(cases) else wide

        def reference(wrong: frozenset[str]) -> Iterable[list[int]]:
            return (_plain(*case, wrong) for case in probes)

        return find_cause([run(*case) for case in probes], reference, MISTAKES)

    judge(
        [
            ("One beam takes the best token at each step.", lambda: broken(cases[:3])),
            ("Two beams find the best of two steps that two beams can see.", lambda: broken(cases[3:7])),
            ("Beams keep the best sums of log-probabilities, each with its own past.", lambda: broken(cases[7:])),
            (
                "With enough beams the best text of all is found, and a text ends at the end token.",
                lambda: broken(wide),
            ),
        ],
        cause,
    )


def log_probability(case: tuple[int, int, int, bool], ids: list[int]) -> float:
    """The sum of the log-probabilities of new ids after the prompt."""
    model, total, text = TinyModel(case[0], eos=case[3]), 0.0, list(PROMPT)
    for token in ids:
        logits, _ = model(torch.tensor([text]))
        total += float(logits.log_softmax(-1)[0, token]) if 0 <= token < VOCABULARY else -torch.inf
        text.append(token)
    return total
